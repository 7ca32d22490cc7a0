/** A node that failed and waits for an operator: it is tried again, skipped, or fails for good. */

import { html, Problem, State, useState } from "../base.js";
import { Edits, setOf } from "./edits.js";
import { tell } from "./steer.js";

const VERBS = [
  ["retry", "Retry", "is tried again", "primary"],
  ["skip", "Skip", "is skipped", ""],
  ["fail", "Let it fail", "fails", "danger"],
];

export function Paused({ item: { address, error }, store, onChoose, onDone, isDisabled }) {
  const [edits, setEdits] = useState([]);
  const [refused, setRefused] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const act = async (verb, said) => {
    setBusy(true);
    setRefused(null);
    try {
      await tell(store, verb, { node: address, ...(verb === "fail" ? {} : { set: setOf(edits) }) }, `${address} ${said}`);
      onDone();
    } catch (problem) {
      setRefused(problem);
    }
    setBusy(false);
  };
  return html`
    <p class="line"><${State} state="paused" /><button type="button" class="link" onClick=${() => onChoose(address)}>${address}</button></p>
    <h2>What happens next?</h2>
    ${error && html`<p><code>${error.code}</code> ${error.message}</p>`}
    ${refused && html`<${Problem} error=${refused} />`}
    <${Edits} edits=${edits} onChange=${setEdits} isDisabled=${isDisabled} context=${store.film.context} />
    <div class="choice">${VERBS.toReversed().map(([verb, label, said, tone]) => html`<button type="button" key=${verb} class=${tone}
      disabled=${isDisabled || isBusy} onClick=${() => act(verb, said)}>${label}</button>`)}</div>
  `;
}
