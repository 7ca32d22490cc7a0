/** A state as colour, sign and word. */

import { html } from "../vendor/preact.js";

const SIGNS = {
  ready: "M8 4.5v3.5l2.5 2",
  running: "M6 4.5 11.5 8 6 11.5z",
  loading: "M8 4.5v3.5l2.5 2",
  finishing: "M6 4.5 11.5 8 6 11.5z",
  waiting: "M6 6.2a2 2 0 1 1 2.9 1.8c-.6.3-.9.7-.9 1.3M8 11.6v.1",
  conflict: "M4.5 5.5 8 8m3.5-2.5L8 8v4",
  paused: "M6.3 5v6M9.7 5v6",
  completed: "m4.8 8.3 2.2 2.2 4.2-4.7",
  succeeded: "m4.8 8.3 2.2 2.2 4.2-4.7",
  failed: "m5.5 5.5 5 5m0-5-5 5",
  timed_out: "M8 4.5v3.5l2.5 2",
  cancelled: "M5 8h6",
  terminated: "M5 8h6",
  skipped: "M5 8h6",
  compensating: "M10.5 11a3 3 0 0 0 0-5.5H5.5M7.3 3.7 5.5 5.5l1.8 1.8",
  compensated: "M10.5 11a3 3 0 0 0 0-5.5H5.5M7.3 3.7 5.5 5.5l1.8 1.8",
  compensation_failed: "M8 4.5v4.5M8 11.4v.1",
  continued: "M4.5 8h7M9 5.5 11.5 8 9 10.5",
};

export function State({ state }) {
  return html`<span class="state" data-state=${state}>
    <${Sign} state=${state} />${String(state).replaceAll("_", " ")}
  </span>`;
}

export function Sign({ state }) {
  return html`<svg class="sign" viewBox="0 0 16 16" aria-hidden="true">
    <circle cx="8" cy="8" r="7.5" /><path d=${SIGNS[state] ?? "M8 8v.1"} />
  </svg>`;
}
