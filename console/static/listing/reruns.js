/** Run again every run that failed and that the filters show: first it is shown which, and what that would do. */

import { get, html, post, Problem, toastError, useEffect, useState, withQuery } from "../base.js";
import { Confirm, counted, RunList } from "./bulk.js";

const PARTS = [
  ["first", "runs"],
  ["effects_again", "has its effect again"],
  ["undone_before", "was undone, so runs again"],
];

export function RerunAll({ selection, onDone }) {
  const [found, setFound] = useState(null);
  const preview = () => get(withQuery("/api/runs/failed", selection)).then(setFound, toastError);
  const close = () => setFound(null);
  const done = () => {
    close();
    onDone();
  };
  return html`<button type="button" onClick=${preview} aria-haspopup="dialog">Run again …</button>
    ${found && html`<${Preview} found=${found} onDone=${done} onClose=${close} />`}`;
}

function Preview({ found: { runs, is_all: isAll }, onDone, onClose }) {
  const [keeps, setKeeps] = useState(false);
  const { made, error } = usePlans(runs, keeps);
  const title = `Run ${counted(runs.length, "run")} again?`;
  const refusing = new Set((made?.refused ?? []).map((each) => each.run_id));
  const listed = runs.filter((each) => !refusing.has(each.run_id));
  return html`<${Confirm} title=${title} label=${`Run ${counted(runs.length, "run")} again`} runs=${runs} listed=${listed}
    isDisabled=${!made || made.plans.length === 0}
    onDo=${() => post("/api/runs/rerun", { runs, keep_unchanged: keeps })} onDone=${onDone} onClose=${onClose}>
    <p>${runs.length ? "Each is run again as another run, from the nodes that failed." : "None of the runs that are shown has failed."}
      ${!isAll && " There are more: these are the newest 1,000."}</p>
    ${error && html`<${Problem} error=${error} />`}
    ${runs.length > 0 && !made && !error && html`<p class="quiet-text" role="status">Looking at what that would do …</p>`}
    ${made && html`<${Plans} made=${made} all=${runs.length} />`}
    ${runs.length > 0 && html`<label class="check"><input type="checkbox" checked=${keeps} onChange=${(event) => setKeeps(event.target.checked)} />
      Keep what reads the same again</label>`}
  <//>`;
}

function Plans({ made: { plans, refused, planned }, all }) {
  return html`<div class="plans">
    ${planned < all && html`<p class="quiet-text">Of the newest ${planned} of them:</p>`}
    ${plans.map((plan) => html`<dl class="plan" key=${JSON.stringify(plan)}><dt>In ${counted(plan.runs, "run")}</dt>
      ${PARTS.filter(([name]) => plan[name]).map(([name, label]) => html`<dd key=${name}><span class="quiet-text">${label}:</span> ${plan[name]}</dd>`)}</dl>`)}
    ${refused.length > 0 && html`<p>${counted(refused.length, "run")} will refuse:</p><${RunList} runs=${refused} />`}
  </div>`;
}

/** What the reruns would do, asked again when the wish changes. */
function usePlans(runs, keeps) {
  const [state, setState] = useState({ made: null, error: null });
  useEffect(() => {
    if (!runs.length) return undefined;
    let isWanted = true;
    const keep = (values) => isWanted && setState({ made: null, error: null, ...values });
    keep({});
    post("/api/runs/rerun-plan", { runs, keep_unchanged: keeps }).then((made) => keep({ made }), (error) => keep({ error }));
    return () => void (isWanted = false);
  }, [keeps]);
  return state;
}
