/** The graphs of the folder: what they are for, and whether they are right. */

import { Empty, Loading, Problem, html, render, useLive } from "../base.js";
import { counted } from "../listing/bulk.js";

const SECONDS = 10;

function Graphs() {
  const { value, error } = useLive("/api/graphs", SECONDS);
  return html`
    <div class="head"><h1>Graphs</h1></div>
    ${error && html`<${Problem} error=${error} />`}
    ${!value ? !error && html`<${Loading} />` : value.graphs.length ? html`<ul class="graphs">${value.graphs.map((each) => html`<${Card} key=${each.name} graph=${each} />`)}</ul>`
      : html`<${Empty} title="No graphs yet">Put a YAML file into the folder of graphs, and it shows here.<//>`}
  `;
}

function Card({ graph }) {
  return html`<li class="card graph-card">
    <h2><a href=${`/graphs/${encodeURIComponent(graph.name)}`}>${graph.name}</a></h2>
    <p class="quiet-text">${graph.description || (graph.nodes === null ? "This file cannot run" : "No description")}</p>
    <p class="facts">
      ${graph.nodes !== null && html`<span class="badge">${graph.version}</span><span class="badge">${counted(graph.nodes, "node")}</span>`}
      ${graph.errors > 0 && html`<span class="badge bad">${counted(graph.errors, "error")}</span>`}
      ${graph.warnings > 0 && html`<span class="badge warn">${counted(graph.warnings, "warning")}</span>`}
    </p>
  </li>`;
}

render(html`<${Graphs} />`, document.getElementById("main"));
