/** Filters live in the address of the page: it can be sent to somebody, and the browser's Back leads to the one before. */

import { useCallback, useEffect, useState } from "../vendor/preact.js";
import { withQuery } from "../base/api.js";

/** `lists` are the names of filters that have several values. Returns `[filters, set]`. */
export function useAddress(names, lists = []) {
  const [filters, setFilters] = useState(() => read(names, lists));
  useEffect(() => {
    const follow = () => setFilters(read(names, lists));
    addEventListener("popstate", follow);
    return () => removeEventListener("popstate", follow);
  }, []);
  const set = useCallback((changed) => {
    const next = { ...read(names, lists), ...changed };
    history.pushState(null, "", withQuery(location.pathname, next));
    setFilters(next);
  }, []);
  return [filters, set];
}

function read(names, lists) {
  const query = new URLSearchParams(location.search);
  const single = names.map((name) => [name, query.get(name) ?? ""]);
  return Object.fromEntries([...single, ...lists.map((name) => [name, query.getAll(name)])]);
}
