/** The audit trail up to the moment that is shown, the newest version first. */

import { duration, html, iso, moment, useState } from "../base.js";
import { Settled } from "./node.js";
import { seen } from "./seen.js";

const STEP = 60;

export function Log({ store, onChoose }) {
  const { film } = store;
  const [count, setCount] = useState(STEP);
  const until = film.versions.findLastIndex(({ number }) => number <= film.version) + 1;
  const shown = film.versions.slice(Math.max(0, until - count), until).reverse();
  const began = film.frames[0]?.at ?? 0;
  const nodes = new Set(store.cards.map(({ address }) => address));
  return html`<div class="log">
    ${until === 0 && html`<p class="hint">Nothing was written yet.</p>`}
    <ol reversed>${shown.map((version) => html`<${Entry} version=${version} began=${began} key=${version.number}
      isNode=${nodes.has(version.by)} onChoose=${onChoose} />`)}</ol>
    ${until > count && html`<button type="button" onClick=${() => setCount(count + STEP)}>Show earlier versions</button>`}
  </div>`;
}

function Entry({ version, began, isNode, onChoose }) {
  const { number, kind, by, at, set = [], removed = [], more = 0, conflicts = [], warnings = [], answered_by: answeredBy } = version;
  return html`<li value=${number}>
    <p class="line"><span class="number numeric">${number}</span>
      ${isNode ? html`<button type="button" class="link" onClick=${() => onChoose(by)}>${by}</button>` : html`<strong>${seen(by)}</strong>`}
      ${kind !== "node" && kind !== by && html`<span class="badge">${kind}</span>`}
      ${answeredBy && html`<span class="quiet-text">answered by ${answeredBy}</span>`}
      <time class="quiet-text numeric" datetime=${iso(at)} title=${moment(at)}>+${duration(at - began)}</time></p>
    ${set.map(([path, text]) => html`<div class="write" key=${path}><code class="path">${seen(path)}</code> <code>${text}</code></div>`)}
    ${removed.map((path) => html`<div class="write" key=${path}><code class="path">${seen(path)}</code> <span class="absent">removed</span></div>`)}
    ${more > 0 && html`<p class="quiet-text">and ${more} more</p>`}
    ${conflicts.map((each) => html`<${Settled} conflict=${each} key=${each.path} />`)}
    ${warnings.map((text) => html`<p class="warning" key=${text}>${text}</p>`)}
  </li>`;
}
