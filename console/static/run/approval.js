/** A question of an approval, with the form that answers it. */

import { html, moment, State } from "../base.js";
import { SchemaForm } from "../form.js";
import { tell } from "./steer.js";

export function Approval({ item: { address, prompt, schema, deadline }, store, onChoose, onDone, isDisabled }) {
  const send = async (text) => {
    await tell(store, "answer", { node: address, value: text }, `${address} is answered`);
    onDone();
  };
  return html`
    <p class="line"><${State} state="waiting" /><button type="button" class="link" onClick=${() => onChoose(address)}>${address}</button>
      ${deadline && html`<span class="quiet-text">until ${moment(deadline)}</span>`}</p>
    <h2>${prompt || "An answer is awaited"}</h2>
    <${SchemaForm} id=${`answer-${address}`} schema=${schema} label="Answer" submit="Answer" onSubmit=${send} isDisabled=${isDisabled} />
  `;
}
