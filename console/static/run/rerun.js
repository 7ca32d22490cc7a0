/** A run that has ended is run again from a node on, once it was seen what that does. */

import { Choice, Dialog, html, idPath, post, Problem, useEffect, useSettled, useState, withQuery } from "../base.js";
import { Edits, setOf } from "./edits.js";
import { seen } from "./seen.js";
import { tell } from "./steer.js";

const PARTS = [
  ["first", "Runs"],
  ["behind", "And behind it, where the conditions lead there"],
  ["kept", "Is kept"],
  ["kept_if_unchanged", "Is kept if it reads the same again"],
  ["effects_again", "Has its effect again"],
  ["undone_before", "Was undone, so runs again"],
  ["taken_over", "Is undone should the new run fail"],
  ["stays", "Stays of the run before"],
];

/** `from` is a node; without one it is run again from the nodes that failed. */
export function Rerun({ store, from }) {
  const [isOpen, setOpen] = useState(false);
  return html`<button type="button" aria-haspopup="dialog" onClick=${() => setOpen(true)}>
      ${from ? "Run again from here …" : "Run again …"}</button>
    ${isOpen && html`<${RerunDialog} store=${store} from=${from} onClose=${() => setOpen(false)} />`}`;
}

function RerunDialog({ store, from, onClose }) {
  const [edits, setEdits] = useState([]);
  const [keeps, setKeeps] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [refused, setRefused] = useState(null);
  const body = { ...(from ? { from: [from] } : { failed: true }), set: setOf(edits), keep_unchanged: keeps };
  const { plan, error } = usePlan(store, useSettled(JSON.stringify(body), 300));
  const start = async () => {
    setBusy(true);
    try {
      const { workflow_id: id } = await tell(store, "rerun", body, "The run is run again");
      location.assign(`/runs/${idPath(id)}`);
    } catch (problem) {
      setRefused(problem);
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${from ? `Run again from ${seen(from)}?` : "Run again what failed?"} onClose=${onClose}>
    ${(refused ?? error) && html`<${Problem} error=${refused ?? error} />`}
    ${plan && html`<dl class="rerun-plan">${PARTS.filter(([name]) => plan[name].length > 0).map(([name, title]) => html`<div key=${name}>
      <dt>${title}</dt><dd>${plan[name].join(", ")}</dd></div>`)}</dl>`}
    <label class="check"><input type="checkbox" checked=${keeps} onChange=${(event) => setKeeps(event.target.checked)} />
      Keep what reads the same again</label>
    <${Edits} edits=${edits} onChange=${setEdits} context=${store.film.context} />
    <${Choice} label="Run it again" isBusy=${isBusy} isDisabled=${!plan} onChoose=${start} onClose=${onClose} />
  <//>`;
}

/** What a rerun would do, asked again when the wish changes. */
function usePlan(store, wish) {
  const [state, setState] = useState({ plan: null, error: null });
  useEffect(() => {
    let isWanted = true;
    const keep = (values) => isWanted && setState({ plan: null, error: null, ...values });
    const path = withQuery(`/api/run/rerun-plan/${idPath(store.workflowId)}`, { run_id: store.runId });
    post(path, JSON.parse(wish)).then((plan) => keep({ plan }), (error) => keep({ error }));
    return () => void (isWanted = false);
  }, [wish]);
  return state;
}
