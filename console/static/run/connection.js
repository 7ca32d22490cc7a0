/**
 * A run as the server sees it: a snapshot, then what changes, to its end. A lost connection is made again.
 *
 * A browser has at most six connections to a server that speaks HTTP/1.1. So a page that nobody sees has none.
 */

import { ApiError, idPath, withQuery } from "../base.js";

const HIDDEN_MILLISECONDS = 3000;

/** `on` has `snapshot`, `delta`, `end`, `problem` and `lost`. Returns how to stop. */
export function follow(run, on) {
  let stop = connect(run, { ...on, end });
  let waiting = 0;
  let isOver = false;
  function end() {
    isOver = true;
    on.end();
  }
  const look = () => {
    clearTimeout(waiting);
    if (isOver) return;
    if (document.hidden) {
      waiting = setTimeout(() => {
        stop?.();
        stop = null;
      }, HIDDEN_MILLISECONDS);
    } else stop ??= connect(run, { ...on, end });
  };
  document.addEventListener("visibilitychange", look);
  return () => {
    document.removeEventListener("visibilitychange", look);
    clearTimeout(waiting);
    stop?.();
  };
}

function connect({ workflowId, runId }, on) {
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
