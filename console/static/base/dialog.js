/** A modal dialog of the browser's own: it keeps the focus inside, and Escape closes it. */

import { html, useEffect, useRef } from "../vendor/preact.js";

let last = 0;

export function Dialog({ title, onClose, children }) {
  const place = useRef(null);
  const id = useRef(`dialog-${++last}`);
  useEffect(() => {
    const before = document.activeElement;
    place.current.showModal();
    return () => before?.focus?.();
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog class="dialog" ref=${place} aria-labelledby=${id.current} onCancel=${cancel}>
    <header><h2 id=${id.current}>${title}</h2>
      <button type="button" class="quiet" aria-label="Close" onClick=${onClose}>✕</button></header>
    <div class="dialog-body">${children}</div>
  </dialog>`;
}

/** The buttons at the end of a dialog. */
export function Choice({ label, tone = "", isBusy, onChoose, onClose, isDisabled }) {
  return html`<div class="choice">
    <button type="button" onClick=${onClose}>Back</button>
    <button type="button" class=${`primary ${tone}`} disabled=${isBusy || isDisabled} onClick=${onChoose}>
      ${isBusy ? "Sending …" : label}
    </button>
  </div>`;
}
