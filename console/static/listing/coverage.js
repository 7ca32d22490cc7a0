/** What the tests of a graph cover: they are played when somebody looks, so it may take a moment. */

import { Problem, html, idPath, useLive } from "../base.js";
import { counted } from "./bulk.js";

export function Coverage({ name }) {
  const { value, error } = useLive(`/api/graphs/tests/${idPath(name)}`);
  return html`<section class="card padded"><h2>Tests</h2>
    ${error ? html`<${Problem} error=${error} />` : !value ? html`<p class="quiet-text">They are being played …</p>` : html`<${Found} found=${value} />`}
  </section>`;
}

function Found({ found }) {
  if (!found.tests && found.problems.length) return html`<ul class="plain-list">${found.problems.map((each) => html`<li key=${each}>${each}</li>`)}</ul>`;
  if (!found.tests) return html`<p class="quiet-text">No <code>*.test.yaml</code> beside it tests this graph.</p>`;
  return html`
    <p class="wait" data-state=${found.failed.length ? "failed" : "succeeded"}>
      ${found.failed.length ? `${counted(found.failed.length, "test")} of ${found.tests} fail` : `${counted(found.tests, "test")} pass`}</p>
    ${found.failed.length > 0 && html`<ul class="plain-list">${found.failed.map((each) => html`<li key=${each.place}>${each.name}</li>`)}</ul>`}
    ${Object.entries(found.shares).filter(([, share]) => share.total).map(([kind, share]) => html`<div class="share" key=${kind}>
      <div class="share-head"><span>${kind}</span><span class="numeric">${share.covered} of ${share.total}</span></div>
      <progress max=${share.total} value=${share.covered} aria-label=${`${kind} covered`}></progress>
      ${share.missing.length > 0 && html`<details><summary>${share.missing.length} missing</summary>
        <ul class="plain-list mono">${share.missing.map((each) => html`<li key=${each}>${each}</li>`)}</ul></details>`}
    </div>`)}`;
}
