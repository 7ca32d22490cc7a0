/** What is told to a run. Each message has an id of its own: sent again, it is carried out once. */

import { idPath, newId, post, toast, withQuery } from "../base.js";

/** Tell the run something; what it refuses is thrown. `said` is what is shown when it has taken it. */
export async function tell(store, verb, body, said) {
  const path = withQuery(`/api/run/${verb}/${idPath(store.workflowId)}`, { run_id: store.runId });
  const answer = await post(path, { update_id: newId(), ...body });
  toast(said, "good");
  return answer;
}
