/** Which run it is, how it is, and what can be done with it as a whole. */

import { Ago, duration, html, idPath, State, useNow, withQuery } from "../base.js";
import { Operations } from "./operations.js";
import { seen } from "./seen.js";
import { eventLink, runLink } from "./links.js";

/** Where decisions about the whole run are named. */
const RUN = "(run)";

export function Header({ store, web, may }) {
  const { header } = store;
  const { graph, end } = header;
  return html`<header class="run-head" data-run=${header.run_id} data-event=${header.event}>
    <div class="title">
      <p class="quiet-text">${graph
        ? html`<a href=${`/graphs/${encodeURIComponent(graph.name)}`}>${graph.name}</a> ${graph.version}`
        : header.type}</p>
      <h1>${seen(header.workflow_id)}</h1>
    </div>
    <${Operations} store=${store} may=${may} />
    <div class="facts">
      <${State} state=${statusOf(header)} />
      ${header.is_paused && header.decisions[RUN] && html`<span>${header.decisions[RUN].did} by ${header.decisions[RUN].by}</span>`}
      <${Times} header=${header} />
      ${web.address && html`<a href=${runLink(web, header)}>In the Web UI</a>`}
      ${header.previous_run_id && html`<a href=${pageOf(header, header.previous_run_id)}>Earlier run</a>`}
      ${header.next_run_id && html`<a href=${pageOf(header, header.next_run_id)}>It goes on as a new run</a>`}
      <span class="live" role="status">${store.isLost ? "Connection lost: trying again …" : ""}</span>
    </div>
    <${Failure} header=${header} end=${end} web=${web} />
    ${end?.result && html`<details class="result"><summary>Result</summary><pre tabindex="0">${end.result}</pre></details>`}
    <${Children} header=${header} />
  </header>`;
}

/** An open run that waits for people is said to wait, as in the list of runs. */
function statusOf({ status, todo, is_paused: isPaused }) {
  return status === "running" && !isPaused && todo.some(({ kind }) => kind !== "event") ? "waiting" : status;
}

function Times({ header }) {
  const now = useNow(header.end ? 60 : 1);
  return html`<span>started <${Ago} at=${header.started} now=${now} /></span>
    ${header.end && html`<span class="numeric">took ${duration(header.end.at - header.started)}</span>`}`;
}

function Failure({ header, end, web }) {
  const error = end?.error ?? header.failure;
  const lacking = Object.entries(header.lacking);
  const limited = Object.entries(header.limited);
  return html`
    ${error && html`<div class="problem" role="group" aria-label="Why it failed">
      <strong><code>${error.code}</code> ${error.message}</strong>
      ${error.compensated?.length > 0 && html`<div>Undone: ${error.compensated.join(", ")}</div>`}
      ${error.more && html`<details><summary>More</summary><pre tabindex="0">${error.more}</pre></details>`}
      ${end && web.address && html`<a href=${eventLink(web, header, end.event)}>Event ${end.event}</a>`}
    </div>`}
    ${lacking.map(([address, what]) => html`<div class="note" key=${address}>${address} waits for another worker: ${what}</div>`)}
    ${limited.map(([address, why]) => html`<div class="note" key=${address}>${address} waits for its turn: ${why}</div>`)}
  `;
}

function Children({ header: { children, all_children: count } }) {
  if (!count) return null;
  return html`<details class="children"><summary>${count.toLocaleString("en")} child ${count === 1 ? "run" : "runs"}</summary>
    <ul>${children.map((child) => html`<li key=${child.address}>
      <a href=${`/runs/${idPath(child.workflow_id)}`}>${child.address}</a> ${child.outcome ?? "running"}
    </li>`)}</ul></details>`;
}

const pageOf = (header, runId) => withQuery(`/runs/${idPath(header.workflow_id)}`, { run_id: runId });
