/** What the chosen card did by the moment that is shown. */

import { duration, html, idPath, iso, moment, People, Problem, State, toastError, useNow, useState } from "../base.js";
import { namesOf } from "../form/event.js";
import { about, useAnswer } from "./ask.js";
import { Causes } from "./causes.js";
import { eventLink } from "./links.js";
import { Rerun } from "./rerun.js";
import { seen } from "./seen.js";
import { Change, Value } from "./value.js";

export function NodePanel({ store, web, may, onChoose }) {
  const { chosen, film } = store;
  const [visit, setVisit] = useState({});
  const card = store.cards.find(({ address }) => address === chosen);
  const place = visit.card === chosen ? visit.place : undefined;
  const path = chosen && film.frame ? about(store, "node", { address: chosen, at: atOf(store), visit: place }) : null;
  const turn = turnOf(store);
  const { value, error } = useAnswer(path, 120, turn);
  if (!chosen) return html`<p class="hint">Choose a node of the drawing to see what it read and wrote.</p>`;
  const shown = film.cards.get(chosen);
  const told = value?.card === chosen ? value : null;
  return html`<article class="node-panel">
    <h2>${card?.undoes ? html`Undo of <button type="button" class="link" onClick=${() => onChoose(card.undoes)}>${card.undoes}</button>` : chosen}</h2>
    <p class="quiet-text">${[card?.type, card?.summary].filter(Boolean).join(": ")}</p>
    ${card?.description && html`<p>${card.description}</p>`}
    <p class="line"><${State} state=${shown?.state ?? "pending"} /> ${shown?.note && html`<span>${shown.note}</span>`}
      <${Timing} shown=${shown} until=${store.isLive && !store.header.end ? null : film.frame?.at} /></p>
    ${card?.has_body && html`<div><button type="button" onClick=${() => store.toggleBody(chosen).catch(toastError)}>
      ${store.canvas.opened.includes(chosen) ? "Close its body" : "Open its body"}</button></div>`}
    ${error && html`<${Problem} error=${error} />`}
    ${told && html`<${Visits} told=${told} onChoose=${(each) => setVisit({ card: chosen, place: each })} />
      <${Told} told=${told} header=${store.header} web=${web} />`}
    ${isRerun(store, card) && may("operator") && html`<div><${Rerun} store=${store} from=${chosen} key=${chosen} /></div>`}
    <${WhyNode} store=${store} key=${chosen} turn=${turn} address=${told?.visit?.address ?? chosen} />
  </article>`;
}

/** Whether the run can be run again from a card: it has ended, and the card is no part of a body, and undoes nothing. */
const isRerun = ({ header }, card) => header.end && header.end.kind !== "continued" && !card?.undoes && !card?.address.includes("/");

/** The moment that is asked about; none where that is the newest one, of which the server knows more. */
export const atOf = ({ film, isLive }) => (isLive ? undefined : film.frame?.event);

/** What has to change for the answer about the chosen card to be another one, while the run is followed. */
function turnOf({ film, header, chosen, isLive }) {
  if (!isLive) return "";
  const pending = header.pending.filter(({ address }) => address.replace(/\[\d+\]/g, "") === chosen);
  return JSON.stringify([film.cards.get(chosen) ?? null, pending, header.end !== null]);
}

/** Without `until` what is under way goes on now. */
function Timing({ shown, until }) {
  const now = useNow(1);
  if (!shown?.started) return null;
  const took = duration(Math.max(0, (shown.ended ?? until ?? now) - shown.started));
  return html`<span class="quiet-text numeric"><time datetime=${iso(shown.started)}>${moment(shown.started)}</time> · ${took}</span>`;
}

function Visits({ told: { visits, visit, all_visits: count }, onChoose }) {
  if (count < 2) return null;
  return html`<label class="field">Visit (${count.toLocaleString("en")} so far)
    <select value=${visit.visit} onChange=${(event) => onChoose(event.target.value)}>
      ${visits.map((each) => html`<option key=${each.visit} value=${each.visit}>
        ${each.address}: ${each.error ? each.error.code : each.ended ? "succeeded" : "under way"}</option>`)}
    </select></label>`;
}

function Told({ told, header, web }) {
  const { visit, read = [], wrote = [], activities = [], pending, events = [], children, decision, saga, question, awaits } = told;
  return html`
    ${visit?.error && html`<div class="problem"><strong><code>${visit.error.code}</code> ${visit.error.message}</strong>
      ${visit.error.outcome !== "failure" && html`<div>Whether it had its effect is not known: ${visit.error.outcome}.</div>`}</div>`}
    ${question && html`<${Asked} question=${question} />`}
    ${awaits && html`<p class="note">It waits for the event ${namesOf(awaits)}${awaits.deadline && ` until ${moment(awaits.deadline)}`}.</p>`}
    ${visit?.received?.map((text) => html`<p class="note" key=${text}>It received the ${seen(text)}.</p>`)}
    ${pending && html`<${Pending} pending=${pending} />`}
    ${read.length > 0 && html`<section><h3>Read</h3><dl class="values">
      ${read.map(({ path, value, versions }) => html`<div key=${path}><dt><code class="path">${seen(path)}</code></dt>
        <dd><${Value} text=${value} /></dd>
        ${versions.length > 0 && html`<dd class="quiet-text">version ${versions.join(", ")}</dd>`}</div>`)}</dl></section>`}
    ${wrote.map((version) => html`<${Wrote} version=${version} key=${version.number} />`)}
    ${activities.length > 0 && html`<section><h3>Attempts</h3><${Activities} activities=${activities} /></section>`}
    ${decision && html`<p class="note">${seen(`${decision.did} by ${decision.by}`)}</p>`}
    ${saga && html`<p>In the saga: <strong>${saga.replaceAll("_", " ")}</strong></p>`}
    ${children.length > 0 && html`<section><h3>Child runs</h3><ul>${children.map((child) => html`<li key=${child.workflow_id}>
      <a href=${`/runs/${idPath(child.workflow_id)}`}>${child.workflow_id}</a> ${child.outcome ?? "running"}</li>`)}</ul></section>`}
    ${events.length > 0 && html`<p class="quiet-text">Events ${events.map((event) =>
      web.address ? html` <a key=${event} href=${eventLink(web, header, event)}>${event}</a>` : ` ${event}`)}</p>`}
  `;
}

function Asked({ question }) {
  const now = useNow(1);
  return html`<section><h3>Asked</h3>
    <p>${seen(question.prompt)}</p>
    <${People} item=${question} now=${now} isOver=${!question.is_open} place="node-" /></section>`;
}

function Wrote({ version }) {
  const { number, kind, changes, conflicts, warnings, more, answered_by: answeredBy } = version;
  return html`<section><h3>${kind === "merge" ? "Merged" : "Wrote"} <span class="quiet-text">version ${number}${answeredBy && `, answered by ${answeredBy}`}</span></h3>
    ${conflicts.map((each) => html`<${Settled} conflict=${each} key=${each.path} />`)}
    ${changes.map(({ path, before, after }) => html`<${Change} path=${path} after=${after} key=${path}
      before=${kind === "merge" ? null : before} />`)}
    ${changes.length === 0 && html`<p class="quiet-text">nothing</p>`}
    ${more > 0 && html`<p class="quiet-text">and ${more} more</p>`}
    ${warnings.map((text) => html`<p class="warning" key=${text}>${text}</p>`)}</section>`;
}

export function Settled({ conflict: { path, candidates, strategy, choice, settled_by: settledBy } }) {
  return html`<p class="settled"><code class="path">${seen(path)}</code> ${candidates.map(({ by, value }, index) =>
    html`${index > 0 && " | "}${seen(by)}: <code>${value ?? "removed"}</code>`)} → ${choice === undefined
      ? "not settled"
      : html`<code>${choice ?? "removed"}</code>`} <span class="quiet-text">(${settledBy ? `by ${settledBy}` : strategy})</span></p>`;
}

function Pending({ pending: { is_running: isRunning, attempt, max_attempts: most, queue, worker, failure, scheduled } }) {
  const which = `Attempt ${attempt}${most ? ` of ${most}` : ""}`;
  const where = isRunning ? `runs on ${worker}` : scheduled > Date.now() ? `starts ${moment(scheduled)}` : `waits in the task queue ${queue}`;
  return html`<div class="note"><p>${which} ${where}.</p>
    ${failure && html`<p>The one before failed: <code>${failure.code}</code> ${failure.message}</p>`}</div>`;
}

function Activities({ activities }) {
  return html`<ul class="attempts">${activities.map(({ event, outcome, attempt, started, ended, worker, queue, failure }) =>
    html`<li key=${event}>${outcome
      ? html`${outcome.replaceAll("_", " ")} at attempt ${attempt}, ${duration(ended - (started ?? ended))} on ${worker || queue}`
      : `in the task queue ${queue}`}
      ${failure && html`<div class="quiet-text"><code>${failure.code}</code> ${failure.message}</div>`}</li>`)}</ul>`;
}

function WhyNode({ store, address, turn }) {
  const [isOpen, setOpen] = useState(false);
  const path = isOpen ? about(store, "why", { node: address, at: atOf(store) }) : null;
  const { value, error } = useAnswer(path, 0, turn);
  return html`<details class="why" onToggle=${(event) => setOpen(event.target.open)}>
    <summary>Why did it run, or not?</summary>
    ${error && html`<p class="quiet-text">${error.message}</p>`}
    ${value && html`<${Causes} found=${value} />`}
  </details>`;
}
