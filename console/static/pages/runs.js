/** All runs: filtered, counted by state, a page at a time. */

import { Ago, Empty, Loading, Problem, State, duration, get, html, idPath, me, post, rankOf, render, toastError } from "../base.js";
import { useLive, useMe, useNow, useSettled, useState, withQuery } from "../base.js";
import { useAddress } from "../listing/address.js";
import { Confirm, counted } from "../listing/bulk.js";
import { RerunAll } from "../listing/reruns.js";
import { Waits } from "../listing/waits.js";

const LIST_SECONDS = 5;
const COUNT_SECONDS = 5;
const KINDS = ["approval", "conflict", "paused"];
const ORDER = ["waiting", "paused", "running", "loading", "compensating", "finishing", "failed", "timed_out", "cancelled", "terminated", "completed", "continued"];

function Runs() {
  const [filters, setFilters] = useAddress(["id", "graph", "waiting", "after"], ["state"]);
  const asked = useSettled(filters, 150);
  const { after, ...selection } = asked;
  const list = useLive(withQuery("/api/runs", asked), after ? 0 : LIST_SECONDS);
  const { state, ...uncounted } = selection;
  const counts = useLive(withQuery("/api/runs/counts", uncounted), COUNT_SECONDS);
  const who = useMe(me);
  const set = (changed) => setFilters({ after: "", ...changed });
  return html`
    <div class="head"><h1>Runs</h1>
      ${who && rankOf(who.role) >= rankOf("operator") && html`<${RerunAll} selection=${selection} onDone=${list.again} /><${CancelAll} selection=${selection} onDone=${list.again} />
        <a class="button primary" href="/graphs">Start a run</a>`}
    </div>
    <${Filters} filters=${filters} counts=${counts.value?.counts} onChange=${set} />
    ${list.error && html`<${Problem} error=${list.error} />`}
    ${list.value ? html`<${Table} runs=${list.value.runs} isStale=${list.isStale} isFiltered=${Object.values(selection).some((each) => each.length)} />` : !list.error && html`<${Loading} />`}
    ${list.value && html`<${Pager} after=${after} next=${list.value.next} onGo=${(token) => setFilters({ after: token })} />`}
  `;
}

function Filters({ filters, counts, onChange }) {
  const graphs = useLive("/api/graphs").value?.graphs ?? [];
  const typed = (name) => (event) => onChange({ [name]: event.target.value });
  return html`<form class="filters" role="search" aria-label="Runs" onSubmit=${(event) => event.preventDefault()}>
    <label class="field grow">Id begins with
      <input type="search" value=${filters.id} placeholder="order-" autocomplete="off" onInput=${typed("id")} /></label>
    <label class="field">Graph
      <input list="graphs" value=${filters.graph} placeholder="All" autocomplete="off" onInput=${typed("graph")} /></label>
    <datalist id="graphs">${graphs.map((each) => html`<option key=${each.name} value=${each.name} />`)}</datalist>
    <label class="field">Waits for
      <select value=${filters.waiting} onChange=${typed("waiting")}>
        <option value="">Anything</option>
        ${KINDS.map((kind) => html`<option key=${kind} value=${kind} selected=${filters.waiting === kind}>${kind}</option>`)}
      </select></label>
    <${States} chosen=${filters.state} counts=${counts} onChange=${onChange} />
  </form>`;
}

function States({ chosen, counts, onChange }) {
  const toggle = (state) => onChange({ state: chosen.includes(state) ? chosen.filter((each) => each !== state) : [...chosen, state] });
  const shown = ORDER.filter((state) => counts?.[state] || chosen.includes(state));
  return html`<div class="chips" role="group" aria-label="State">
    ${shown.map((state) => html`<button type="button" class="chip" key=${state} aria-pressed=${String(chosen.includes(state))} onClick=${() => toggle(state)}>
      <${State} state=${state} /><span class="numeric">${counts ? (counts[state] ?? 0).toLocaleString("en") : "…"}</span>
    </button>`)}
  </div>`;
}

function Table({ runs, isStale, isFiltered }) {
  const now = useNow(1);
  if (!runs.length) {
    return isFiltered
      ? html`<${Empty} title="No run fits">Take a filter away to see more.<//>`
      : html`<${Empty} title="No runs yet">Start one from <a href="/graphs">its graph</a>, or with <code>temporal workflow start</code>.<//>`;
  }
  return html`<div class=${`card rows ${isStale ? "stale" : ""}`}><table>
    <thead><tr><th scope="col">State</th><th scope="col">Run</th><th scope="col">Graph</th><th scope="col">Waits for</th>
      <th scope="col">Started</th><th scope="col">Took</th></tr></thead>
    <tbody>${runs.map((run) => html`<tr key=${run.run_id}>
      <td><${State} state=${run.state} /></td>
      <td class="id"><a class="mono" href=${`/runs/${idPath(run.workflow_id)}?run_id=${encodeURIComponent(run.run_id)}`}>${run.workflow_id}</a></td>
      <td class="graph">${run.graph}</td>
      <td class="for">${run.waits_for.length ? html`<${Waits} words=${run.waits_for} />` : ""}</td>
      <td class="started"><${Ago} at=${run.started} now=${now} /></td>
      <td class="numeric took">${duration((run.ended ?? now) - run.started)}</td>
    </tr>`)}</tbody>
  </table></div>`;
}

function Pager({ after, next, onGo }) {
  if (!after && !next) return null;
  return html`<nav class="pager" aria-label="Pages">
    <button type="button" disabled=${!after} onClick=${() => onGo("")}>Newest</button>
    <button type="button" disabled=${!after} onClick=${() => history.back()}>Back</button>
    <button type="button" disabled=${!next} onClick=${() => onGo(next)}>Older</button>
  </nav>`;
}

/** Cancel every run under way that the filters show. What is confirmed is what is cancelled: its ids are sent. */
function CancelAll({ selection, onDone }) {
  const [found, setFound] = useState(null);
  const preview = () => get(withQuery("/api/runs/open", selection)).then(setFound, toastError);
  const close = () => setFound(null);
  const done = () => {
    close();
    onDone();
  };
  return html`<button type="button" onClick=${preview} aria-haspopup="dialog">Cancel these …</button>
    ${found && html`<${Confirm} title=${`Cancel ${counted(found.runs.length, "run")}?`} label=${`Cancel ${counted(found.runs.length, "run")}`} tone="danger"
      runs=${found.runs} isDisabled=${!found.runs.length} onDo=${() => post("/api/runs/cancel", { runs: found.runs })} onDone=${done} onClose=${close}>
      <p>${found.runs.length
        ? "Each of them undoes its completed steps, where its graph says how. Its own page shows what that would be."
        : "None of the runs that are shown is under way."}
        ${!found.is_all && " There are more: these are the newest 1,000."}</p>
    <//>`}`;
}

render(html`<${Runs} />`, document.getElementById("main"));
