/** A question of an approval, with the form that answers it. */

import { People, State, html, me, moment, useMe, useNow, whyNot } from "../base.js";
import { SchemaForm } from "../form.js";
import { tell } from "./steer.js";

export function Approval({ item, store, onChoose, onDone, isDisabled }) {
  const { address, prompt, schema, deadline, form } = item;
  const who = useMe(me);
  const now = useNow(1);
  const refusal = whyNot(item, who);
  const send = async (text) => {
    await tell(store, "answer", { node: address, value: text }, `${address} is answered`);
    onDone();
  };
  return html`
    <p class="line"><${State} state="waiting" /><button type="button" class="link" onClick=${() => onChoose(address)}>${address}</button>
      ${deadline && html`<span class="quiet-text">until ${moment(deadline)}</span>`}</p>
    <h2>${prompt || "An answer is awaited"}</h2>
    <${People} item=${item} now=${now} />
    ${refusal && html`<p class="note">${refusal}</p>`}
    <${SchemaForm} id=${`answer-${address}`} schema=${schema} hints=${form} label="Answer" submit="Answer" onSubmit=${send}
      isDisabled=${isDisabled || refusal !== null} />
  `;
}
