/** One graph: drawn, its inputs, what is wrong with it, its text, what its tests cover; and the start of a run. */

import { Dialog, Loading, Problem, html, idPath, me, newId, post, rankOf, render, useLive, useLayoutEffect, useMe, useRef, useState } from "../base.js";
import { SchemaForm } from "../form.js";
import { counted } from "../listing/bulk.js";
import { Coverage } from "../listing/coverage.js";
import { Problems, Text } from "../listing/source.js";

const name = decodeURIComponent(location.pathname.slice("/graphs/".length));
const SECONDS = 5;
const LARGEST_SCALE = 1.2;

function Graph() {
  const { value: graph, error } = useLive(`/api/graphs/one/${idPath(name)}`, SECONDS);
  if (!graph) return error ? html`<${Problem} error=${error} />` : html`<${Loading} />`;
  return html`
    <nav class="crumbs" aria-label="Above"><a href="/graphs">Graphs</a></nav>
    <div class="head"><h1>${graph.name} ${graph.version && html`<span class="badge">${graph.version}</span>`}</h1>
      ${graph.nodes !== null && html`<a class="button" href=${`/?graph=${encodeURIComponent(graph.name)}`}>Its runs</a><${Start} graph=${graph} />`}
      ${graph.description && html`<p class="quiet-text">${graph.description}</p>`}
    </div>
    ${graph.problems.length > 0 && html`<${Problems} problems=${graph.problems} />`}
    ${graph.picture && html`<${Picture} picture=${graph.picture} />`}
    <div class="columns">
      <${Text} file=${graph.file} text=${graph.text} problems=${graph.problems} />
      ${graph.nodes !== null && html`<aside>
        <${Inputs} schema=${JSON.parse(graph.inputs)} />
        <${Coverage} name=${name} />
      </aside>`}
    </div>
  `;
}

/** The server's own SVG, in which every text is escaped; small graphs are not blown up. */
function Picture({ picture }) {
  const place = useRef(null);
  useLayoutEffect(() => {
    const drawing = place.current.firstElementChild;
    drawing.style.maxWidth = `${drawing.viewBox.baseVal.width * LARGEST_SCALE}px`;
  }, [picture]);
  return html`<div class="card picture" tabindex="0" role="region" aria-label="Drawing" ref=${place}
    dangerouslySetInnerHTML=${{ __html: picture }}></div>`;
}

function Start({ graph }) {
  const [form, setForm] = useState(null); // what a start is known by that is sent again by the same form
  const [id, setId] = useState("");
  const who = useMe(me);
  if (!who || rankOf(who.role) < rankOf("operator")) return null;
  const start = async (input) => {
    const started = await post(`/api/graphs/start/${idPath(name)}`, { input, workflow_id: id.trim() || undefined, request_id: form });
    location.assign(`/runs/${idPath(started.workflow_id)}?run_id=${encodeURIComponent(started.run_id)}`);
  };
  return html`<button type="button" class="primary" onClick=${() => setForm(newId())} aria-haspopup="dialog">Start a run</button>
    ${form && html`<${Dialog} title=${`Start ${graph.name}`} onClose=${() => setForm(null)}>
      <${SchemaForm} id="start" schema=${graph.inputs} submit="Start" onSubmit=${start} onCancel=${() => setForm(null)}>
        <label class="field">Id of the run
          <span class="about">Leave it empty for the one that the graph makes, else its name and random letters</span>
          <input value=${id} autocomplete="off" onInput=${(event) => setId(event.target.value)} /></label>
      <//>
    <//>`}`;
}

function Inputs({ schema }) {
  const names = Object.keys(schema.properties);
  return html`<section class="card padded"><h2>Inputs</h2>
    ${names.length ? html`<dl class="inputs">${names.map((each) => html`<div key=${each}>
      <dt><code>${each}</code>${schema.required.includes(each) && html`<span class="badge">required</span>`}</dt>
      <dd>${typeOf(schema.properties[each])}${schema.properties[each].description && html`<div class="quiet-text">${schema.properties[each].description}</div>`}</dd>
    </div>`)}</dl>` : html`<p class="quiet-text">It needs none.</p>`}
  </section>`;
}

function typeOf(schema) {
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" or ");
  if (schema.properties) return `object with ${counted(Object.keys(schema.properties).length, "field")}`;
  return [schema.type].flat().filter(Boolean).join(" or ") || "any value";
}

render(html`<${Graph} />`, document.getElementById("main"));
