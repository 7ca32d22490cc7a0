/** Short messages at the edge of the page, which screen readers say. */

const SHOWN_MILLISECONDS = 6000;

/** `tone` is `good`, `bad` or none. */
export function toast(text, tone = "") {
  const place = document.getElementById("toasts");
  const shown = document.createElement("div");
  shown.className = `toast ${tone}`;
  shown.textContent = text;
  place.append(shown);
  setTimeout(() => shown.remove(), SHOWN_MILLISECONDS);
}

/** Say why something was refused. */
export const toastError = (error) => toast([error.message, error.suggestion].filter(Boolean).join(" – "), "bad");
