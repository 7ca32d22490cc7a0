/** The context at the moment that is shown: a tree of its values. A value tells who wrote it, and why it is what it is. */

import { Ago, html, Problem, useState } from "../base.js";
import { about, useAnswer } from "./ask.js";
import { Causes } from "./causes.js";
import { atOf } from "./node.js";
import { rowsOf } from "./paths.js";
import { seen } from "./seen.js";
import { Value } from "./value.js";

const SHOWN = 300;

export function Context({ store, onChoose }) {
  const { film } = store;
  const [filter, setFilter] = useState("");
  const [closed, setClosed] = useState(new Set());
  const [path, setPath] = useState(null);
  const fresh = new Set((film.frame?.set ?? []).map(([each]) => each));
  const all = [...film.context.keys()].filter((each) => each.toLowerCase().includes(filter.toLowerCase()));
  const rows = rowsOf(all.slice(0, SHOWN), closed);
  const toggle = (group) => {
    const next = new Set(closed);
    next.delete(group) || next.add(group);
    setClosed(next);
  };
  return html`<div class="context">
    <div class="line"><h2>Version ${film.version}</h2>
      <input type="search" aria-label="Filter the paths" placeholder="Filter the paths" value=${filter}
        onInput=${(event) => setFilter(event.target.value)} /></div>
    ${all.length === 0 && html`<p class="hint">${filter ? "No path matches." : "The context is empty."}</p>`}
    <ul class="tree">${rows.map((row) => html`<li key=${row.path} style=${{ "--depth": row.depth }}>
      ${row.isGroup
        ? html`<button type="button" class="row" aria-expanded=${String(!row.isClosed)} onClick=${() => toggle(row.path)}>
            <span class="key">${seen(row.key)}</span></button>`
        : html`<button type="button" class=${`row leaf ${fresh.has(row.path) ? "fresh" : ""}`}
            aria-expanded=${String(path === row.path)} onClick=${() => setPath(path === row.path ? null : row.path)}>
            <span class="key">${seen(row.key)}</span> <code>${film.context.get(row.path)}</code>
            ${fresh.has(row.path) && html`<span class="unseen">written at this moment</span>`}</button>`}
      ${path === row.path && html`<${Explained} store=${store} path=${path} onChoose=${onChoose} key="explained" />`}
    </li>`)}</ul>
    ${all.length > SHOWN && html`<p class="quiet-text">and ${(all.length - SHOWN).toLocaleString("en")} more: filter them</p>`}
  </div>`;
}

/** The whole value at a path, who wrote it, and why it is so. */
function Explained({ store, path, onChoose }) {
  const moment = { path, at: atOf(store) };
  const turn = store.isLive ? store.film.context.get(path) : "";
  const whole = useAnswer(about(store, "context", moment), 120, turn);
  const blame = useAnswer(about(store, "blame", moment), 120, turn);
  const why = useAnswer(about(store, "why", moment), 120, turn);
  const nodes = new Set(store.cards.map(({ address }) => address));
  return html`<div class="explained">
    ${whole.value && html`<${Value} text=${whole.value.value} label="Whole value" />`}
    <h3>Written by</h3>
    <ul class="blame">${(blame.value?.paths ?? []).map((each) => html`<li key=${each.path}>
      ${each.path !== path && html`<code>${seen(each.path)}</code> `}
      ${nodes.has(each.by) ? html`<button type="button" class="link" onClick=${() => onChoose(each.by)}>${each.by}</button>` : seen(each.by)}
      <span class="quiet-text"> ${each.version === null ? "in an earlier run" : `version ${each.version}`}
        ${each.at !== null && html` · <${Ago} at=${each.at} />`}</span></li>`)}</ul>
    <h3>Why</h3>
    ${why.error && html`<${Problem} error=${why.error} />`}
    ${why.value ? html`<${Causes} found=${why.value} />` : !why.error && html`<p class="quiet-text">…</p>`}
  </div>`;
}
