/** A path on which branches disagree: what it was, what each of them made of it, and what they had read. */

import { html, Problem, State, useState } from "../base.js";
import { about, useAnswer } from "./ask.js";
import { seen } from "./seen.js";
import { tell } from "./steer.js";
import { Value } from "./value.js";

const OTHER = "other";
const REMOVE = "remove";

export function Conflict({ item, store, onChoose, onDone, isDisabled }) {
  const { address, path, base, candidates } = item;
  const [choice, setChoice] = useState(null);
  const [text, setText] = useState("");
  const [error, setError] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const name = `conflict-${address}-${path}`;
  const settle = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await tell(store, "resolve", { node: address, path, ...chosen(choice, text) }, `${path} is settled`);
      onDone();
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  const option = (value) => ({ type: "radio", name, value, checked: choice === value, disabled: isDisabled, onChange: () => setChoice(value) });
  return html`<form onSubmit=${settle}>
    <p class="line"><${State} state="conflict" /><button type="button" class="link" onClick=${() => onChoose(address)}>${address}</button></p>
    <h2>What is <code>${seen(path)}</code>?</h2>
    ${error && html`<${Problem} error=${error} />`}
    <fieldset><legend class="unseen">The value of ${path}</legend><div class="sides">
      <div class="side-value"><span class="quiet-text">before the branches</span><${Value} text=${base} /></div>
      ${candidates.map((side, index) => html`<div class="side-value" key=${index}>
        <label class="check"><input ...${option(String(index))} /><strong>${seen(side.by)}</strong></label>
        ${side.value === null ? html`<span class="absent">removed it</span>` : html`<${Value} text=${side.value} />`}
        <${ReadBy} store=${store} by=${side.by} /></div>`)}
      <div class="side-value"><label class="check"><input ...${option(OTHER)} /><strong>Another value</strong></label>
        ${choice === OTHER && html`<textarea aria-label="Another value, as JSON" disabled=${isDisabled} value=${text}
          onInput=${(event) => setText(event.target.value)} />`}</div>
      <div class="side-value"><label class="check"><input ...${option(REMOVE)} /><strong>Remove it</strong></label></div>
    </div></fieldset>
    <div class="choice"><button class="primary" disabled=${isDisabled || isBusy || choice === null}>${isBusy ? "Sending …" : "Settle"}</button></div>
  </form>`;
}

function chosen(choice, text) {
  if (choice === OTHER) return { value: text };
  return choice === REMOVE ? { remove: true } : { choose: Number(choice) };
}

/** What the writer of a candidate had read. */
function ReadBy({ store, by }) {
  const { value } = useAnswer(store.cards.some(({ address }) => address === by) ? about(store, "node", { address: by }) : null, 0);
  const read = value?.read ?? [];
  if (read.length === 0) return null;
  return html`<details><summary>It read</summary><ul>${read.map((each) =>
    html`<li key=${each.path}><code>${seen(each.path)}</code> <${Value} text=${each.value} /></li>`)}</ul></details>`;
}
