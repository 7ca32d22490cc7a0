/** Whom a question is for, who has answered, when it is asked again: beside the form of an approval. */

import { html } from "../vendor/preact.js";
import { rankOf } from "./me.js";
import { Ago } from "./parts.js";
import { moment } from "./time.js";

/** Why somebody cannot answer a question, in words; null for who can. */
export function whyNot(item, who) {
  if (!who) return null;
  if (item.needed > 1 && item.given.some(({ by }) => by === who.name)) return "You have answered. Somebody else has to answer too.";
  const isNamed = item.assignee.length + item.groups.length > 0;
  const isAsked = item.assignee.includes(who.name) || item.groups.some((name) => who.groups?.includes(name));
  const mayAnyway = !who.signed_in || rankOf(who.role) >= rankOf("operator");
  return isNamed && !isAsked && !mayAnyway ? "This is for others. You may look, and not answer." : null;
}

/** `isOver` where the question no longer waits: then nothing is due any more. `place` tells apart what a page has twice. */
export function People({ item, now, isOver = false, place = "" }) {
  const lines = [...asked(item), ...again(item, isOver)];
  if (!lines.length && item.needed === 1) return null;
  return html`<div class="people">
    ${item.needed > 1 && html`<${Progress} item=${item} now=${now} place=${place} />`}
    ${lines.length > 0 && html`<ul class="known">${lines.map((line) => html`<li key=${line}>${line}</li>`)}</ul>`}
  </div>`;
}

function Progress({ item: { address, needed, given }, now, place }) {
  const id = `answers-${place}${address}`;
  return html`<div class="progress">
    <div class="heading"><strong id=${id}>${given.length} of ${needed} have answered</strong>
      <meter aria-labelledby=${id} min="0" max=${needed} value=${given.length}></meter></div>
    ${given.length > 0 && html`<ol class="known">${given.map(({ by, at, answer }) => html`<li key=${by}>
      <strong>${by}</strong> <span class="quiet-text"><${Ago} at=${at} now=${now} /></span> <code>${answer}</code></li>`)}</ol>`}
  </div>`;
}

function asked({ assignee, groups }) {
  const people = assignee.length ? [`For ${assignee.join(", ")}`] : [];
  return groups.length ? [...people, `For the group${groups.length > 1 ? "s" : ""} ${groups.join(", ")}`] : people;
}

function again({ reminders, escalation }, isOver) {
  const lines = [];
  if (reminders) {
    const next = reminders.next && !isOver ? `; the next one at ${moment(reminders.next)}` : "";
    const failed = reminders.failed ? `, ${reminders.failed} failed` : "";
    lines.push(`${reminders.sent} of ${reminders.times} reminders sent${failed}${next}`);
  }
  if (escalation?.escalated) lines.push(`Escalated at ${moment(escalation.escalated)}`);
  else if (escalation && !isOver) lines.push(`Escalates at ${moment(escalation.at)} to ${[...escalation.assignee, ...escalation.groups].join(", ")}`);
  return lines;
}
