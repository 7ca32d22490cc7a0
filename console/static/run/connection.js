/** A run as the server sees it: a snapshot, then what changes, to its end. A lost connection is made again. */

import { ApiError, idPath, withQuery } from "../base.js";

/** `on` has `snapshot`, `delta`, `end`, `problem` and `lost`. Returns how to stop. */
export function follow({ workflowId, runId }, on) {
  const source = new EventSource(withQuery(`/api/run/live/${idPath(workflowId)}`, { run_id: runId }));
  source.addEventListener("snapshot", (event) => on.snapshot(JSON.parse(event.data)));
  source.addEventListener("delta", (event) => on.delta(JSON.parse(event.data)));
  source.addEventListener("end", () => {
    source.close();
    on.end();
  });
  source.addEventListener("problem", (event) => {
    source.close();
    on.problem(new ApiError(0, JSON.parse(event.data).error));
  });
  source.addEventListener("error", () => on.lost(source.readyState === EventSource.CLOSED));
  return () => source.close();
}
