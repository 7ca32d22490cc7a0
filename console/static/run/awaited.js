/** Events that a node waits for: how a program sends one, and a form by which an operator does. */

import { html, moment, State, useState } from "../base.js";
import { eventSchema, namesOf } from "../form/event.js";
import { SchemaForm } from "../form.js";
import { tell } from "./steer.js";

export function Awaited({ item, store, onChoose, onDone, isDisabled }) {
  const { address, deadline, send } = item;
  const [isOpen, setOpen] = useState(false);
  const deliver = async (value) => {
    await tell(store, "deliver", { value }, "The event is sent");
    onDone();
  };
  return html`
    <p class="line"><${State} state="waiting" /><button type="button" class="link" onClick=${() => onChoose(address)}>${address}</button>
      ${deadline && html`<span class="quiet-text">until ${moment(deadline)}</span>`}</p>
    <h2>It waits for the event ${namesOf(item)}</h2>
    <details open=${isOpen} onToggle=${(event) => setOpen(event.target.open)}><summary>Deliver it</summary>
      ${isOpen && html`<p class="quiet-text">A program sends it so:</p><pre>${send}</pre>
        <${SchemaForm} id=${`event-${address}`} schema=${eventSchema(item)} label="Event" submit="Deliver" onSubmit=${deliver} isDisabled=${isDisabled} />`}
    </details>
  `;
}
