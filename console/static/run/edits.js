/** Values of the context that are changed before a node goes on, or a run is run again, as JSON text. */

import { html } from "../base.js";

/** The edits as the server takes them. */
export const setOf = (edits) => Object.fromEntries(edits.filter(({ path }) => path).map(({ path, text }) => [path, text]));

export function Edits({ edits, onChange, isDisabled, context }) {
  const change = (index, values) => onChange(edits.map((each, place) => (place === index ? { ...each, ...values } : each)));
  return html`<div class="edits">
    ${edits.map(({ path, text }, index) => html`<div class="edit" key=${index}>
      <input class="mono" aria-label="Path to change" placeholder="path" list="paths-of-context" value=${path} disabled=${isDisabled}
        onInput=${(event) => change(index, { path: event.target.value, text: text || (context.get(event.target.value) ?? "") })} />
      <input class="mono" aria-label="New value, as JSON" placeholder="JSON" value=${text} disabled=${isDisabled}
        onInput=${(event) => change(index, { text: event.target.value })} />
      <button type="button" class="quiet" aria-label=${`Do not change ${path || "it"}`} disabled=${isDisabled}
        onClick=${() => onChange(edits.filter((_, place) => place !== index))}>✕</button></div>`)}
    <datalist id="paths-of-context">${edits.length > 0 && [...context.keys()].map((path) => html`<option key=${path} value=${path} />`)}</datalist>
    <button type="button" class="quiet" disabled=${isDisabled} onClick=${() => onChange([...edits, { path: "", text: "" }])}>
      Change the context before</button></div>`;
}
