/** A form made from a JSON Schema, and the JSON text of what somebody fills in. The server judges it again. */

import { html, useMemo, useState } from "./vendor/preact.js";
import { Problem } from "./base.js";
import { parse } from "./form/exact.js";
import { Field, Fields, idOf } from "./form/fields.js";
import { hinted } from "./form/hints.js";
import { initial, jsonOf, problemsOf } from "./form/model.js";
import { shapeOf } from "./form/schema.js";

export { parse, textOf } from "./form/exact.js";

/**
 * `schema` is the text of a JSON Schema, or one that is parsed; without one the form is a text of JSON.
 * `hints` say how it looks. `onSubmit` is given the JSON text; what it throws is shown above the fields.
 */
export function SchemaForm({ id, schema, hints, label = "Answer", submit = "Send", onSubmit, onCancel, isDisabled, children }) {
  const told = JSON.stringify(hints ?? null);
  const shape = useMemo(
    () => hinted(shapeOf((typeof schema === "string" ? parse(schema) : schema) ?? {}), JSON.parse(told)),
    [schema, told],
  );
  const [model, setModel] = useState(() => initial(shape));
  const [isTried, setTried] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const problems = isTried ? problemsOf(shape, model, true) : {};
  const send = async (event) => {
    event.preventDefault();
    setTried(true);
    const wrong = Object.keys(problemsOf(shape, model, true));
    if (wrong.length) {
      requestAnimationFrame(() => document.getElementById(idOf({ id }, wrong[0] ? wrong[0].split(".") : []))?.focus());
      return;
    }
    setBusy(true);
    setError(null);
    await onSubmit(jsonOf(shape, model, true)).catch(setError);
    setBusy(false);
  };
  const form = { id, problems };
  return html`<form class="form" onSubmit=${send} noValidate>
    ${error && html`<${Problem} error=${error} />`}
    ${shape.kind === "object"
      ? html`<${Fields} form=${form} shape=${shape} model=${model} path=${[]} onChange=${setModel} />`
      : html`<${Field} form=${form} shape=${shape} model=${model} path=${[]} label=${label} isRequired onChange=${setModel} />`}
    ${children}
    <div class="choice">
      ${onCancel && html`<button type="button" onClick=${onCancel}>Back</button>`}
      <button class="primary" disabled=${isBusy || isDisabled}>${isBusy ? "Sending …" : (hints?.submit ?? submit)}</button>
    </div>
  </form>`;
}
