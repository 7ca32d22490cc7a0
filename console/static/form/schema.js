/**
 * The shape of a form: a JSON Schema whose references are followed, with the `kind` of its fields.
 * What is too rich for fields, or holds itself, is a text of JSON.
 */

const RICH = ["anyOf", "oneOf", "allOf", "not", "if", "patternProperties", "prefixItems", "dependentSchemas"];
const SINGLE = ["string", "integer", "number", "boolean"];

export const shapeOf = (schema) => shape(schema, schema, []);

function shape(schema, root, trail) {
  const given = schema === true || !schema ? {} : schema;
  const reference = given.$ref;
  if (trail.includes(reference)) return { kind: "json" };
  const within = reference ? [...trail, reference] : trail;
  const known = withoutNull(reference ? { ...target(root, reference), ...given, $ref: undefined } : given);
  if (known.$ref) return shape(known, root, within);
  const kind = kindOf(known);
  if (kind === "object") return { ...known, kind, fields: mapped(known.properties, (each) => shape(each, root, within)) };
  if (kind === "array") return { ...known, kind, item: shape(known.items, root, within) };
  return { ...known, kind };
}

function target(root, reference) {
  const names = reference.startsWith("#/") ? reference.slice(2).split("/") : ["", ""];
  const unescaped = names.map((name) => decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~"));
  return unescaped.reduce((found, name) => found?.[name], root) ?? {};
}

/** `isNullable` says that null is allowed. */
function withoutNull(schema) {
  if (Array.isArray(schema.type) && schema.type.length === 2 && schema.type.includes("null")) {
    return { ...schema, type: schema.type.find((each) => each !== "null"), isNullable: true };
  }
  const either = schema.anyOf ?? schema.oneOf;
  const others = either?.filter((each) => each?.type !== "null");
  if (either?.length !== 2 || others.length !== 1) return schema;
  const { anyOf, oneOf, ...own } = schema;
  return { ...others[0], ...own, isNullable: true };
}

function kindOf(schema) {
  if (Array.isArray(schema.enum)) return "choice";
  if ("const" in schema) return "const";
  if (RICH.some((keyword) => keyword in schema)) return "json";
  if (schema.type === "object") return schema.properties ? "object" : "json";
  if (schema.type === "array") return schema.items && schema.items !== true ? "array" : "json";
  return SINGLE.includes(schema.type) ? schema.type : "json";
}

const mapped = (object, change) => Object.fromEntries(Object.entries(object).map(([name, each]) => [name, change(each)]));
