/** What all runs wait for people to do, the oldest first: answered one by one, or the same for many at once. */

import { Ago, Empty, Loading, Problem, Sign, duration, html, idPath, me, newId, post, rankOf, render, toast, toastError } from "../base.js";
import { useLive, useMe, useNow, useRef, useState, withQuery } from "../base.js";
import { useAddress } from "../listing/address.js";
import { namesOf } from "../form/event.js";
import { Confirm, counted } from "../listing/bulk.js";
import { Question } from "../listing/question.js";

const SECONDS = 4;
const READING_SECONDS = 1;
const KINDS = { "": "For people", approval: "Approvals", conflict: "Conflicts", paused: "Paused nodes", event: "Events" };
const STATES = { approval: "waiting", conflict: "conflict", paused: "paused", event: "waiting" };
const NEEDS = { approval: "answerer", conflict: "answerer", paused: "operator", event: "operator" };

function Inbox() {
  const [filters, setFilters] = useAddress(["kind", "graph", "id", "for"]);
  const [isReading, setReading] = useState(false);
  const live = useLive(withQuery("/api/inbox", filters), isReading ? READING_SECONDS : SECONDS);
  const found = live.value;
  if (found && isReading !== found.unread > 0) setReading(found.unread > 0);
  const who = useMe(me);
  return html`
    <div class="head"><h1>Inbox</h1><p class="quiet-text" role="status">${found && summary(found, filters.kind === "event")}</p></div>
    <${Filters} filters=${filters} found=${found} onChange=${setFilters} />
    ${live.error && html`<${Problem} error=${live.error} />`}
    ${!found ? !live.error && html`<${Loading} />` : html`<${List} found=${found} who=${who} filters=${filters} again=${live.again} />`}
  `;
}

function summary({ total, runs, unread, is_all: isAll }, isOfEvents) {
  const reading = unread ? `; ${unread.toLocaleString("en")} of them are being read` : "";
  const newest = isAll ? "" : "the newest ";
  if (isOfEvents) return `${counted(total, "node")} of ${newest}${counted(runs, "run")} under way wait${total === 1 ? "s" : ""} for an event${reading}`;
  return `${counted(total, "question")} of ${newest}${counted(runs, "run")} that wait${runs === 1 ? "s" : ""} for somebody${reading}`;
}

function Filters({ filters, found, onChange }) {
  const { graphs = [], people = [], groups = [] } = found ?? {};
  return html`<form class="filters" role="search" aria-label="Questions" onSubmit=${(event) => event.preventDefault()}>
    <div class="chips kinds" role="group" aria-label="Kind">${Object.entries(KINDS).map(([kind, label]) => html`
      <button type="button" class="chip" key=${kind} aria-pressed=${String(filters.kind === kind)} onClick=${() => onChange(kind === "event" ? { kind, for: "" } : { kind })}>
        ${kind && html`<span class="wait" data-state=${STATES[kind]}><${Sign} state=${STATES[kind]} /></span>`}${label}</button>`)}
    </div>
    <label class="field short">Graph
      <select value=${filters.graph} onChange=${(event) => onChange({ graph: event.target.value })}>
        <option value="">All</option>
        ${graphs.map((name) => html`<option key=${name} value=${name} selected=${name === filters.graph}>${name}</option>`)}
      </select></label>
    ${filters.kind !== "event" && html`<label class="field short">For
      <select value=${filters.for} onChange=${(event) => onChange({ for: event.target.value })}>
        <option value="">Everybody</option>
        <option value="mine" selected=${filters.for === "mine"}>Me and my groups</option>
        <${Names} label="People" kind="person" names=${people} chosen=${filters.for} />
        <${Names} label="Groups" kind="group" names=${groups} chosen=${filters.for} />
      </select></label>`}
    <label class="field narrow">Run's id begins with
      <input type="search" value=${filters.id} autocomplete="off" onInput=${(event) => onChange({ id: event.target.value })} /></label>
  </form>`;
}

function Names({ label, kind, names, chosen }) {
  if (!names.length) return null;
  return html`<optgroup label=${label}>${names.map((name) => html`<option key=${name} value=${`${kind}:${name}`}
    selected=${chosen === `${kind}:${name}`}>${name}</option>`)}</optgroup>`;
}

const UNSURE = ["TIMEOUT", "UNAVAILABLE"];
const keyOf = (item) => [item.run_id, item.address, item.path ?? ""].join(" ");

function emptyTitle({ kind, for: whom, graph, id }) {
  if (kind === "event") return "Nothing waits for an event";
  if (whom === "mine") return "Nothing waits for you";
  return kind || whom || graph || id ? "Nothing that fits waits for anybody" : "Nothing waits for anybody";
}

function List({ found, who, again, filters }) {
  const now = useNow(1);
  const [open, setOpen] = useState(null);
  if (!found.items.length) {
    return found.unread
      ? html`<${Loading} />`
      : html`<${Empty} title=${emptyTitle(filters)}>
        ${filters.kind === "event" ? "The receive nodes of all runs come here." : "Approvals, conflicts and paused nodes of all runs come here."}<//>`;
  }
  return html`<ol class="card inbox">${found.items.map((item) => html`<${Item} key=${keyOf(item)} item=${item} now=${now} who=${who}
      all=${found.items} isOpen=${open === keyOf(item)} again=${again}
      onOpen=${() => setOpen(open === keyOf(item) ? null : keyOf(item))} />`)}</ol>
    ${found.total > found.items.length && html`<p class="note">These are the oldest ${found.items.length} of ${found.total}.</p>`}`;
}

function Item({ item, now, who, all, isOpen, onOpen, again }) {
  const [asked, setAsked] = useState(null);
  const alike = all.filter((each) => each.alike === item.alike);
  const [isForAll, setForAll] = useState(false);
  const isAllowed = who && rankOf(who.role) >= rankOf(NEEDS[item.kind]);
  const form = useRef(newId()); // what is sent again by it, since no answer came, is told once
  const send = async (request, items) => {
    const told = await tell(form.current, request, items);
    if (!told.refused.some((each) => UNSURE.includes(each.code))) form.current = newId();
    return told;
  };
  const tellOne = async (request) => {
    const told = await send(request, [item]);
    if (told.refused.length) throw told.refused[0];
    toast(`${item.workflow_id}: sent`, "good");
    again();
  };
  const onTell = (request) => (isForAll ? Promise.resolve(setAsked(request)) : tellOne(request));
  const done = () => {
    setAsked(null);
    again();
  };
  return html`<li data-state=${STATES[item.kind]}>
    <button type="button" class="question" aria-expanded=${String(isOpen)} onClick=${onOpen}>
      <${Sign} state=${STATES[item.kind]} />
      <span class="what"><span class="asked">${titleOf(item)}</span>
        <span class="quiet-text">${item.kind} · ${item.graph} · <span class="mono">${item.address}</span>${forWhom(item)}</span></span>
      <span class="where"><span class="mono">${item.workflow_id}</span>
        <span class="quiet-text"><${Ago} at=${item.asked} now=${now} />${item.deadline && html` · <${Deadline} at=${item.deadline} now=${now} />`}</span></span>
    </button>
    ${isOpen && html`<div class="answer">
      <${Question} item=${item} isAllowed=${isAllowed} onTell=${["approval", "event"].includes(item.kind) ? onTell : (request) => onTell(request).catch(toastError)}>
        ${alike.length > 1 && isAllowed && html`<label class="check"><input type="checkbox" checked=${isForAll} onChange=${(event) => setForAll(event.target.checked)} />
          Do the same for all ${alike.length} that wait for this</label>`}
      <//>
      <p><a href=${`/runs/${idPath(item.workflow_id)}?run_id=${encodeURIComponent(item.run_id)}`}>See the whole run</a></p>
    </div>`}
    ${asked && html`<${Confirm} title=${`The same for ${counted(alike.length, "run")}?`} label=${`Send to ${counted(alike.length, "run")}`} runs=${alike}
      onDo=${() => send(asked, alike)} onDone=${done} onClose=${() => setAsked(null)}>
      <p>Each of these runs is told: <code>${said(asked)}</code></p><//>`}
  </li>`;
}

const tell = (request_id, request, items) =>
  post("/api/inbox/tell", { ...request, request_id, items: items.map((each) => ({ workflow_id: each.workflow_id, run_id: each.run_id, node: each.address })) });

const said = ({ verb, value, choose }) => [verb, choose ?? value].filter(Boolean).join(" ");

function titleOf(item) {
  if (item.kind === "approval") return item.prompt || "An answer";
  if (item.kind === "conflict") return `The branches disagree on ${item.path}`;
  if (item.kind === "event") return `The event ${namesOf(item)}`;
  return item.error?.message ?? "A node waits for an operator";
}

/** Whom a question is for, and how many have answered, in the line of the list. */
function forWhom({ assignee = [], groups = [], needed = 1, given = [] }) {
  const names = [...assignee, ...groups];
  const more = names.length > 3 ? ` and ${names.length - 3} more` : "";
  const whom = names.length ? ` · for ${names.slice(0, 3).join(", ")}${more}` : "";
  return needed > 1 ? `${whom} · ${given.length} of ${needed} answered` : whom;
}

function Deadline({ at, now }) {
  return at > now ? html`<span>${duration(at - now)} left</span>` : html`<span>overdue</span>`;
}

render(html`<${Inbox} />`, document.getElementById("main"));
