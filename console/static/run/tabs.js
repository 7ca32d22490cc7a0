/** Tabs, of which the arrow keys choose one. */

import { html } from "../base.js";

const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

export function Tabs({ parts, chosen, onChoose }) {
  const move = (event) => {
    const names = parts.map(([name]) => name);
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const next = names[(names.indexOf(chosen) + step + names.length) % names.length];
    onChoose(next);
    document.getElementById(`tab-${next}`).focus();
  };
  return html`<div class="tabs" role="tablist" aria-label="Parts of the run" onKeyDown=${move}>
    ${parts.map(([name, label]) => html`<button
      type="button" role="tab" id=${`tab-${name}`} key=${name} class="quiet" aria-selected=${String(name === chosen)}
      aria-controls=${name === chosen ? `part-${name}` : undefined} tabindex=${name === chosen ? 0 : -1}
      onClick=${() => onChoose(name)}>${label}</button>`)}
  </div>`;
}
