/** What a graph says of how a form looks: the order of its fields, their words, and what they are filled in with. */

/** The shape with the hints. What an answer may be stays as the schema says it. */
export function hinted(shape, hints) {
  if (!hints || shape.kind !== "object") return shape;
  const named = (hints.order ?? []).filter((name) => Object.hasOwn(shape.fields, name));
  const names = [...new Set([...named, ...Object.keys(shape.fields)])];
  return { ...shape, fields: Object.fromEntries(names.map((name) => [name, looked(shape.fields[name], hints.fields?.[name])])) };
}

const looked = (shape, hint) =>
  hint
    ? {
        ...shape,
        title: hint.label ?? shape.title,
        description: hint.help ?? shape.description,
        placeholder: hint.placeholder,
        widget: hint.widget,
      }
    : shape;
