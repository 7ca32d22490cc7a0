/** Small parts that pages share. */

import { html } from "../vendor/preact.js";
import { ago, iso, moment } from "./time.js";

export function Ago({ at, now }) {
  return html`<time datetime=${iso(at)} title=${moment(at)}>${ago(at, now)}</time>`;
}

export function Problem({ error }) {
  return html`<div class="problem" role="alert">
    <strong>${error.message}</strong>
    ${error.place && html`<div class="mono">${error.place}</div>`}
    ${error.suggestion && html`<div>${error.suggestion}</div>`}
  </div>`;
}

export function Empty({ title, children }) {
  return html`<div class="empty"><h2>${title}</h2><div>${children}</div></div>`;
}

export function Loading() {
  return html`<p class="loading" aria-live="polite">Loading …</p>`;
}
