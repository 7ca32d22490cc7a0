/** Paths of the context: keys joined by dots, a dot inside a key as `\.` and a backslash as `\\`. */

export const keysOf = (path) => path.match(/(?:\\.|[^.\\])+/g)?.map((key) => key.replace(/\\(.)/g, "$1")) ?? [path];

/** The paths as rows of a tree: groups where several are in one object, and leaves. */
export function rowsOf(paths, closed) {
  const rows = [];
  const open = [];
  for (const path of paths.toSorted()) {
    const parts = path.match(/(?:\\.|[^.\\])+/g) ?? [path];
    let shared = 0;
    while (shared < open.length && shared < parts.length - 1 && open[shared] === parts[shared]) shared += 1;
    open.length = shared;
    let isHidden = open.some((_, depth) => closed.has(open.slice(0, depth + 1).join(".")));
    while (open.length < parts.length - 1) {
      const depth = open.length;
      open.push(parts[depth]);
      const group = open.join(".");
      if (!isHidden) rows.push({ path: group, key: keysOf(parts[depth])[0], depth, isGroup: true, isClosed: closed.has(group) });
      isHidden ||= closed.has(group);
    }
    if (!isHidden) rows.push({ path, key: keysOf(path).at(-1), depth: parts.length - 1 });
  }
  return rows;
}
