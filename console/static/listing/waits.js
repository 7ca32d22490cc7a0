/** What a run waits for, in words: `approval:sign_off` is an approval at the node sign_off. */

import { html } from "../vendor/preact.js";
import { Sign } from "../base/state.js";

const STATES = { approval: "waiting", conflict: "conflict", paused: "paused" };

export function Waits({ words }) {
  return html`<span class="waits">${words.map((word) => {
    const [kind, node] = word.split(/:(.*)/s);
    return html`<span class="wait" key=${word} data-state=${STATES[kind]}><${Sign} state=${STATES[kind] ?? "waiting"} />
      ${kind}${node && html` <span class="mono">${node}</span>`}</span>`;
  })}</span>`;
}
