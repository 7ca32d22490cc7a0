/** Why something is as it is: conditions and versions, back to the input. */

import { html } from "../base.js";
import { seen } from "./seen.js";

const DEEPEST = 12;
const MANY = 12;

export function Causes({ found }) {
  const causes = new Map(found.causes.map((cause) => [cause.version, cause]));
  const told = new Set();
  return html`<ul class="causes">
    ${found.conditions.map((each, index) => html`<${Condition} each=${each} key=${index} />`)}
    ${found.versions.map((number) => versionOf(number, causes, told, 0))}
  </ul>`;
}

/** A version is told once; elsewhere its number refers to it. */
function versionOf(number, causes, told, depth) {
  const cause = causes.get(number);
  if (!cause) return html`<li key=${number} class="quiet-text">version ${number}: in an earlier run</li>`;
  if (told.has(number) || depth > DEEPEST) return html`<li key=${number}>version ${number} by ${cause.by} <span class="quiet-text">(above)</span></li>`;
  told.add(number);
  const reads = cause.reads.slice(0, MANY);
  return html`<li key=${number}>
    <span class="cause"><strong>${seen(cause.by)}</strong> <span class="quiet-text">version ${number}${cause.type && ` · ${cause.type}`}</span></span>
    <div class="wrote">${cause.set.map(([path, text]) => html`<code key=${path}>${seen(path)} = ${text}</code>`)}
      ${cause.removed.map((path) => html`<code key=${path}>${seen(path)} removed</code>`)}</div>
    <ul>
      ${cause.did.map((text) => html`<li key=${text} class="did">${text}</li>`)}
      ${cause.conditions.filter(({ values }) => values.length).map((each, index) => html`<${Condition} each=${each} key=${index} />`)}
      ${reads.map((read) => html`<li key=${read.path}>read <${Seen} each=${read} />
        <ul>${read.versions.map((each) => versionOf(each, causes, told, depth + 1))}</ul></li>`)}
      ${cause.reads.length > MANY && html`<li class="quiet-text">and ${cause.reads.length - MANY} more</li>`}
    </ul></li>`;
}

function Condition({ each }) {
  const whence = each.source === null ? "" : `${each.source} ${each.source_status.replaceAll("_", " ")} → `;
  return html`<li class=${each.held ? "held" : "not-held"}>
    <span aria-hidden="true">${each.held ? "✓" : "✗"}</span> <span class="unseen">${each.held ? "held" : "did not hold"}:</span>
    ${whence}<code>${each.text}</code>
    <ul>${each.values.map((value) => html`<li key=${value.path}><${Seen} each=${value} /></li>`)}
      ${each.because.map((one, index) => html`<${Condition} each=${one} key=${index} />`)}</ul></li>`;
}

const Seen = ({ each: { path, value } }) => html`<code>${seen(path)} = ${value ?? "absent"}</code>`;
