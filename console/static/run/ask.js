/** What the server tells of a run at a moment. */

import { get, idPath, useEffect, useState, withQuery } from "../base.js";

/** The path of an answer about the run of a store. */
export const about = (store, what, values = {}) =>
  withQuery(`/api/run/${what}/${idPath(store.workflowId)}`, { run_id: store.runId, ...values });

/**
 * The answer at a path, asked once the path has stayed the same for a while: a slider passes many.
 * It is asked again when `turn` is another one: at the newest moment the path stays, and the run goes on.
 * The last answer stays until the next one is there.
 */
export function useAnswer(path, milliseconds = 120, turn = "") {
  const [state, setState] = useState({ path: null, value: null, error: null });
  useEffect(() => {
    if (path === null) return undefined;
    let isWanted = true;
    const keep = (values) => isWanted && setState({ path, value: null, error: null, ...values });
    const timer = setTimeout(() => get(path).then((value) => keep({ value }), (error) => keep({ error })), milliseconds);
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }, [path, turn]);
  return { ...state, isStale: state.path !== path };
}
