/** The text of a graph with its lines numbered, and what is wrong with them. */

import { html } from "../vendor/preact.js";

export function Problems({ problems }) {
  return html`<section class="card padded problems" aria-label="Problems"><h2>Problems</h2><ul>
    ${problems.map((each, index) => html`<li key=${index} class=${each.is_warning ? "warn" : "bad"}>
      <span class=${`badge ${each.is_warning ? "warn" : "bad"}`}>${each.is_warning ? "warning" : "error"}</span>
      <div><div>${each.message}</div>
        <div class="quiet-text">${each.place && (each.line ? html`<a class="mono" href=${`#line-${each.line}`}>line ${each.line}</a>` : html`<span class="mono">${each.place}</span>`)}
          ${" "}<span class="mono">${each.code}</span>${each.suggestion && html` · ${each.suggestion}`}</div></div>
    </li>`)}
  </ul></section>`;
}

export function Text({ file, text, problems }) {
  const marked = new Map(problems.filter((each) => each.line).map((each) => [each.line, each.is_warning ? "warn" : "bad"]));
  return html`<section class="card source" aria-label="Source"><h2>${file}</h2>
    <ol class="lines" tabindex="0" role="list" aria-label=${`Text of ${file}`}>${text.replace(/\n$/, "").split("\n").map(
      (line, index) => html`<li key=${index} id=${`line-${index + 1}`} class=${marked.get(index + 1) ?? ""}><code>${line}</code></li>`,
    )}</ol>
  </section>`;
}
