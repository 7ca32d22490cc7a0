/** JSON whose numbers keep every digit: those that a float cannot hold are kept as their text. */

class Exact {
  constructor(text) {
    this.text = text;
  }
}

export const parse = (text) =>
  JSON.parse(text, (_, value, context) =>
    typeof value === "number" && context?.source && context.source !== String(value) ? new Exact(context.source) : value,
  );

/** The JSON text of what `parse` gave. */
export function textOf(value) {
  if (value instanceof Exact) return value.text;
  if (Array.isArray(value)) return `[${value.map(textOf).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const pairs = Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${textOf(each)}`);
  return `{${pairs.join(", ")}}`;
}

/** Why a text is no JSON; null where it is. */
export function jsonProblem(text) {
  try {
    JSON.parse(text);
    return null;
  } catch {
    return "This is not JSON. Text needs quotes: \"like this\".";
  }
}
