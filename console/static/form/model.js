/**
 * What somebody has filled in, as a tree beside the shape: `{text}` of a single value, `{fields}` of an object,
 * `{items}` of an array. It becomes JSON text; what is empty and not required is left out.
 */

import { jsonProblem, textOf } from "./exact.js";

export function initial(shape, value = shape.default) {
  if (shape.kind === "object") {
    const fields = Object.entries(shape.fields).map(([name, each]) => [name, initial(each, value?.[name])]);
    return { fields: Object.fromEntries(fields) };
  }
  if (shape.kind === "array") return { items: (value ?? []).map((each) => initial(shape.item, each)) };
  if (value === undefined || value === null) return { text: "" };
  if (shape.kind === "choice") return { text: String(shape.enum.findIndex((each) => textOf(each) === textOf(value))) };
  return { text: shape.kind === "string" ? String(value) : textOf(value) };
}

/** The JSON text; undefined for what is not given. */
export function jsonOf(shape, model, isRequired) {
  if (shape.kind === "object") return objectText(shape, model, isRequired);
  if (shape.kind === "array") {
    const items = model.items.map((each) => jsonOf(shape.item, each, true) ?? "null");
    return items.length || isRequired ? `[${items.join(", ")}]` : undefined;
  }
  if (shape.kind === "const") return textOf(shape.const);
  if (model.text.trim() === "") return isRequired && shape.isNullable ? "null" : undefined;
  if (shape.kind === "choice") return textOf(shape.enum[Number(model.text)]);
  return shape.kind === "string" ? JSON.stringify(model.text) : model.text.trim();
}

function objectText(shape, model, isRequired) {
  const given = Object.entries(shape.fields)
    .map(([name, each]) => [name, each, jsonOf(each, model.fields[name], isNeeded(shape, name))])
    .filter(([, , text]) => text !== undefined);
  const isEmpty = given.every(([, each]) => each.kind === "const");
  if (isEmpty && !isRequired) return undefined;
  return `{${given.map(([name, , text]) => `${JSON.stringify(name)}: ${text}`).join(", ")}}`;
}

export const isNeeded = (shape, name) => (shape.required ?? []).includes(name);

/** What is wrong, by the path of the field: `order.lines.0`. */
export function problemsOf(shape, model, isRequired, path = []) {
  if (shape.kind === "object") {
    if (!isRequired && !isTouched(model)) return {};
    const fields = Object.entries(shape.fields);
    return merged(fields, ([name, each]) => problemsOf(each, model.fields[name], isNeeded(shape, name), [...path, name]));
  }
  if (shape.kind === "array") {
    const inside = merged([...model.items.entries()], ([at, each]) => problemsOf(shape.item, each, true, [...path, at]));
    const own = amountProblem(shape, model.items.length, isRequired);
    return own ? { ...inside, [path.join(".")]: own } : inside;
  }
  const found = singleProblem(shape, model.text, isRequired);
  return found ? { [path.join(".")]: found } : {};
}

const isTouched = (model) =>
  model.fields ? Object.values(model.fields).some(isTouched) : model.items ? model.items.length > 0 : model.text.trim() !== "";

const merged = (entries, problems) => Object.assign({}, ...entries.map(problems));

function amountProblem({ minItems = 0, maxItems = Infinity }, count, isRequired) {
  if (count > maxItems) return `At most ${maxItems}.`;
  return count < minItems && (isRequired || count) ? `At least ${minItems}.` : null;
}

function singleProblem(shape, text, isRequired) {
  if (shape.kind === "const") return null;
  if (text.trim() === "") return isRequired && !shape.isNullable ? "Please fill this in." : null;
  return CHECKS[shape.kind]?.(shape, text) ?? null;
}

const CHECKS = {
  integer: (shape, text) => (/^-?\d+$/.test(text.trim()) ? rangeProblem(shape, text) : "A whole number, please."),
  number: (shape, text) =>
    /^-?\d+(\.\d+)?([eE][-+]?\d+)?$/.test(text.trim()) ? rangeProblem(shape, text) : "A number, please, such as 12.5.",
  json: (_, text) => jsonProblem(text),
  string: lengthProblem,
};

const BOUNDS = [
  ["minimum", "At least", (number, bound) => number < bound],
  ["maximum", "At most", (number, bound) => number > bound],
  ["exclusiveMinimum", "Over", (number, bound) => number <= bound],
  ["exclusiveMaximum", "Under", (number, bound) => number >= bound],
];

function rangeProblem(shape, text) {
  const broken = BOUNDS.find(([name, , isBroken]) => name in shape && isBroken(Number(text), Number(textOf(shape[name]))));
  return broken ? `${broken[1]} ${textOf(shape[broken[0]])}.` : null;
}

function lengthProblem({ minLength = 0, maxLength = Infinity }, text) {
  const length = [...text].length;
  if (length < minLength) return `At least ${minLength} characters.`;
  return length > maxLength ? `At most ${maxLength} characters.` : null;
}
