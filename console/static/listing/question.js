/** One thing that a run waits for: what is asked, and the form or the choices that answer it. */

import { People, html, me, useMe, useNow, useState, whyNot } from "../base.js";
import { eventSchema } from "../form/event.js";
import { SchemaForm } from "../form.js";

/** `onTell` is given the request without its items: `{verb, …}`. */
export function Question({ item, onTell, isAllowed, children }) {
  const Kind = { approval: Approval, conflict: Conflict, paused: Paused, event: Awaited }[item.kind];
  return html`<${Kind} item=${item} onTell=${onTell} isAllowed=${isAllowed}>${children}<//>`;
}

function Approval({ item, onTell, isAllowed, children }) {
  const refusal = whyNot(item, useMe(me));
  const now = useNow(1);
  const about = html`<${People} item=${item} now=${now} />`;
  if (!isAllowed) return html`${about}<p class="quiet-text">Your role may look, and not answer.</p>`;
  if (refusal) return html`${about}<p class="note">${refusal}</p>`;
  return html`${about}<${SchemaForm} id=${`answer-${item.run_id}-${item.address}`} schema=${item.schema} hints=${item.form} submit="Answer"
    onSubmit=${(value) => onTell({ verb: "answer", value })}>${children}<//>`;
}

function Conflict({ item, onTell, isAllowed, children }) {
  const [chosen, setChosen] = useState(null);
  const name = `side-${item.run_id}-${item.address}-${item.path}`;
  const settle = (event) => {
    event.preventDefault();
    onTell({ verb: "resolve", path: item.path, choose: chosen });
  };
  return html`<form class="form" onSubmit=${settle}>
    <fieldset><legend>Which value of <code>${item.path}</code> is right?</legend>
      <div class="sides">
        <div class="side base"><div class="quiet-text">Before the branches</div><pre>${item.base ?? "not there"}</pre></div>
        ${item.candidates.map((side) => html`<label class="side" key=${side.by}>
          <span class="check"><input type="radio" name=${name} disabled=${!isAllowed} checked=${chosen === side.by}
            onChange=${() => setChosen(side.by)} />${side.by}</span>
          <pre>${side.value ?? "removed"}</pre></label>`)}
      </div>
    </fieldset>
    ${children}
    ${isAllowed && html`<div class="choice"><button class="primary" disabled=${chosen === null}>Settle</button></div>`}
  </form>`;
}

function Paused({ item, onTell, isAllowed, children }) {
  return html`<div class="form">
    ${item.error && html`<div class="problem"><strong>${item.error.message}</strong><span class="mono">${item.error.code}</span></div>`}
    ${children}
    ${isAllowed && html`<div class="choice">
      <button type="button" onClick=${() => onTell({ verb: "fail" })}>Let it fail</button>
      <button type="button" onClick=${() => onTell({ verb: "skip" })}>Skip</button>
      <button type="button" class="primary" onClick=${() => onTell({ verb: "retry" })}>Try again</button>
    </div>`}
  </div>`;
}

function Awaited({ item, onTell, isAllowed, children }) {
  return html`<div class="form">
    <p>${item.needs_all ? "It waits for each of these events" : "It waits for an event"} of the name${" "}
      ${item.names.map((name, index) => html`${index > 0 && ", "}<code key=${name}>${name}</code>`)}. A program sends one like this:</p>
    <pre>${item.send}</pre>
    ${isAllowed
      ? html`<${SchemaForm} id=${`event-${item.run_id}-${item.address}`} schema=${eventSchema(item)} submit="Deliver"
          onSubmit=${(value) => onTell({ verb: "deliver", value })}>${children}<//>`
      : html`<p class="quiet-text">Your role may look, and not deliver.</p>`}
  </div>`;
}
