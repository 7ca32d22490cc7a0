/** What the run waits for, people or events. What somebody has begun stays in sight, also when it can no longer be done. */

import { html, useRef } from "../base.js";
import { Approval } from "./approval.js";
import { Awaited } from "./awaited.js";
import { Conflict } from "./conflict.js";
import { Paused } from "./paused.js";

const KINDS = { approval: Approval, conflict: Conflict, paused: Paused, event: Awaited };
const ROLES = { approval: "answerer", conflict: "answerer", paused: "operator", event: "operator" };
const SHOWN = 5;

/** `kinds` are those that are shown. */
export function Todo({ store, may, onChoose, kinds }) {
  const begun = useRef(new Map());
  const asked = store.header.todo.filter(({ kind }) => kinds.includes(kind));
  const waiting = new Map(asked.map((each) => [keyOf(store, each), each]));
  const gone = [...begun.current].filter(([key]) => !waiting.has(key));
  const shown = [...[...waiting].slice(0, SHOWN), ...gone];
  if (shown.length === 0) return null;
  return html`<section class=${`todo ${kinds[0]}s`} aria-label=${`What it waits for: ${kinds.join(", ")}`}>
    ${shown.map(([key, item]) => {
      const Kind = KINDS[item.kind];
      const isOver = !waiting.has(key);
      const close = () => {
        begun.current.delete(key);
        store.touch();
      };
      return html`<section class=${`card todo-item ${item.kind}`} key=${key} aria-label=${`${item.kind} at ${item.address}`}
        onInput=${() => begun.current.set(key, item)}>
        <${Kind} item=${item} store=${store} onChoose=${onChoose} isDisabled=${isOver || !may(ROLES[item.kind])}
          onDone=${close} />
        ${isOver && html`<p class="note line">${whoDid(store.header.decisions[item.address])}
          <button type="button" class="quiet" onClick=${close}>Close</button></p>`}
        ${!isOver && !may(ROLES[item.kind]) && html`<p class="quiet-text">This needs the role ${ROLES[item.kind]}.</p>`}
      </section>`;
    })}
    ${waiting.size > SHOWN && html`<p class="quiet-text">and ${(waiting.size - SHOWN).toLocaleString("en")} more wait</p>`}
  </section>`;
}

const whoDid = (decision) =>
  decision ? `This was ${decision.did} by ${decision.by}.` : "This can no longer be done: the run has gone on.";

const keyOf = (store, { kind, address, path = "" }) => JSON.stringify([store.runId, kind, address, path]);
