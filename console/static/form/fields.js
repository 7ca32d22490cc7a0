/** The fields of a form: each shows a part of a schema, and tells what somebody fills in. */

import { html } from "../vendor/preact.js";
import { textOf } from "./exact.js";
import { initial, isNeeded } from "./model.js";

const INPUTS = { date: "date", time: "time", email: "email", uri: "url", password: "password" };

/** `form` has what all fields share: `{id, problems}`. */
export function Field({ form, shape, model, path, label, isRequired, onChange }) {
  const props = { form, shape, model, path, label: shape.title ?? label, isRequired, onChange };
  if (shape.kind === "object") return html`<${Nested} ...${props} />`;
  if (shape.kind === "array") return html`<${Several} ...${props} />`;
  if (shape.kind === "const") return html`<p class="field">${props.label}<code>${textOf(shape.const)}</code></p>`;
  if (shape.kind === "boolean") return html`<${YesOrNo} ...${props} />`;
  if (shape.kind === "choice" && shape.widget === "radio") return html`<${OneOf} ...${props} />`;
  return html`<${Single} ...${props} />`;
}

/** The fields of an object, without a frame. */
export function Fields({ form, shape, model, path, onChange }) {
  return Object.entries(shape.fields).map(
    ([name, each]) => html`<${Field} key=${name} form=${form} shape=${each} model=${model.fields[name]}
      path=${[...path, name]} label=${name} isRequired=${isNeeded(shape, name)}
      onChange=${(field) => onChange({ fields: { ...model.fields, [name]: field } })} />`,
  );
}

function Nested({ form, shape, model, path, label, isRequired, onChange }) {
  return html`<fieldset>
    <${Legend} label=${label} isRequired=${isRequired} about=${shape.description} />
    <div class="nested"><${Fields} form=${form} shape=${shape} model=${model} path=${path} onChange=${onChange} /></div>
  </fieldset>`;
}

function Several({ form, shape, model, path, label, isRequired, onChange }) {
  const set = (index, item) => onChange({ items: model.items.map((each, at) => (at === index ? item : each)) });
  const without = (index) => onChange({ items: model.items.filter((_, at) => at !== index) });
  const more = () => onChange({ items: [...model.items, initial(shape.item)] });
  return html`<fieldset>
    <${Legend} label=${label} isRequired=${isRequired} about=${shape.description} />
    <div class="nested items">
      ${model.items.map((item, index) => html`<div class="item" key=${index}>
        <${Field} form=${form} shape=${shape.item} model=${item} path=${[...path, index]}
          label=${`${label} ${index + 1}`} isRequired onChange=${(each) => set(index, each)} />
        <button type="button" class="quiet" aria-label=${`Remove ${label} ${index + 1}`} onClick=${() => without(index)}>✕</button>
      </div>`)}
      <div><button type="button" onClick=${more}>Add ${model.items.length ? "another" : "one"}</button></div>
      <${Wrong} form=${form} path=${path} />
    </div>
  </fieldset>`;
}

function YesOrNo(props) {
  return html`<${Radios} ...${props} words=${[["true", "Yes"], ["false", "No"]]} />`;
}

function OneOf(props) {
  const words = props.shape.enum.map((each, index) => [String(index), bare(each)]);
  return html`<${Radios} ...${props} words=${words} />`;
}

function Radios({ form, shape, model, path, label, isRequired, onChange, words }) {
  const choices = [...words, ...(isRequired ? [] : [["", "Not given"]])];
  return html`<fieldset aria-describedby=${`${idOf(form, path)}-wrong`}>
    <${Legend} label=${label} isRequired=${isRequired} about=${shape.description} />
    <div class="choices">${choices.map(
      ([value, word], index) => html`<label class="check" key=${value}>
        <input type="radio" id=${index ? undefined : idOf(form, path)} name=${idOf(form, path)}
          checked=${model.text === value} onChange=${() => onChange({ text: value })} />${word}
      </label>`,
    )}</div>
    <${Wrong} form=${form} path=${path} />
  </fieldset>`;
}

function Single({ form, shape, model, path, label, isRequired, onChange }) {
  const id = idOf(form, path);
  const wrong = form.problems[path.join(".")];
  const shared = {
    id,
    "aria-invalid": wrong ? "true" : undefined,
    "aria-describedby": `${id}-about ${id}-wrong`,
    "aria-required": isRequired ? "true" : undefined,
    onInput: (event) => onChange({ text: event.target.value }),
  };
  return html`<div class="field">
    <label for=${id}>${label}<${Star} isRequired=${isRequired} /></label>
    <${About} id=${id} shape=${shape} />
    <${control(shape)} shape=${shape} text=${model.text} shared=${shared} isRequired=${isRequired} />
    <${Wrong} form=${form} path=${path} />
  </div>`;
}

function control(shape) {
  if (shape.kind === "choice") return Select;
  if (shape.widget === "datetime") return Instant;
  if (shape.widget) return shape.widget === "textarea" ? Long : Short;
  if (shape.kind === "json" || (shape.kind === "string" && (shape.maxLength > 200 || shape.format === "textarea"))) return Long;
  return Short;
}

function Short({ shape, text, shared }) {
  const type = shape.kind === "string" ? (INPUTS[shape.widget ?? shape.format] ?? "text") : "text";
  const inputmode = { integer: "numeric", number: "decimal" }[shape.kind];
  return html`<input type=${type} inputmode=${inputmode} value=${text} autocomplete="off" placeholder=${example(shape)} ...${shared} />`;
}

function Long({ shape, text, shared }) {
  return html`<textarea value=${text} spellcheck=${shape.kind === "string"} placeholder=${shape.placeholder ?? (shape.kind === "json" ? "JSON" : "")} ...${shared}></textarea>`;
}

/** A time of this place; the answer has it as ISO 8601, in UTC. */
function Instant({ text, shared }) {
  const onInput = ({ target }) => shared.onInput({ target: { value: target.value && new Date(target.value).toISOString() } });
  return html`<input type="datetime-local" ...${shared} value=${local(text)} onInput=${onInput} />`;
}

function local(text) {
  const at = new Date(text);
  return text && !Number.isNaN(at.getTime()) ? new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16) : "";
}

function Select({ shape, text, shared, isRequired }) {
  return html`<select value=${text} ...${shared}>
    <option value="">${isRequired ? "Choose …" : "Not given"}</option>
    ${shape.enum.map((each, index) => html`<option key=${index} value=${String(index)} selected=${text === String(index)}>
      ${typeof each === "string" ? each : textOf(each)}
    </option>`)}
  </select>`;
}

const example = (shape) => shape.placeholder ?? (shape.examples?.length ? `e.g. ${bare(shape.examples[0])}` : shape.format === "date-time" ? "2026-11-29T14:00:00Z" : "");
const bare = (value) => (typeof value === "string" ? value : textOf(value));

function About({ id, shape }) {
  return html`<span class="about" id=${`${id}-about`}>${shape.description}</span>`;
}

function Legend({ label, isRequired, about }) {
  return html`<legend>${label}<${Star} isRequired=${isRequired} /></legend>${about && html`<p class="quiet-text">${about}</p>`}`;
}

function Star({ isRequired }) {
  return isRequired ? html`<span class="required" aria-hidden="true"> *</span>` : null;
}

function Wrong({ form, path }) {
  const wrong = form.problems[path.join(".")];
  return html`<span class="wrong" id=${`${idOf(form, path)}-wrong`} role=${wrong ? "alert" : undefined}>${wrong}</span>`;
}

export const idOf = (form, path) => [form.id, ...path].join("-");
