/** Values as the server's JSON text. The browser never parses them: every digit stays. */

import { html } from "../base.js";
import { seen } from "./seen.js";

const LINES = 14;

export function Value({ text, label }) {
  if (text === null || text === undefined) return html`<span class="absent">absent</span>`;
  const isLong = text.length > 90 || text.includes("\n");
  if (!isLong) return html`<code>${text}</code>`;
  const open = text.split("\n", LINES + 1).length <= LINES;
  return html`<details class="value" open=${open}><summary>${label ?? summaryOf(text)}</summary><pre tabindex="0">${text}</pre></details>`;
}

const summaryOf = (text) => ({ "{": "object", "[": "list", '"': "text" })[text[0]] ?? "value";

/** What was written over what. */
export function Change({ path, before, after }) {
  return html`<div class="change">
    <code class="path">${seen(path)}</code>
    ${before !== null && html`<div class="before"><span class="unseen">before</span><${Value} text=${before} /></div>`}
    <div class="after"><span class="unseen">${after === null ? "removed" : "after"}</span>
      ${after === null ? html`<span class="absent">removed</span>` : html`<${Value} text=${after} />`}</div>
  </div>`;
}
