/** The page: the run's header, what waits for people, the drawing over its frames, and what explains it beside that. */

import { html, Loading, me, Problem, rankOf, useEffect, useMe, useState } from "../base.js";
import { Context } from "./context.js";
import { Header } from "./header.js";
import { Log } from "./log.js";
import { NodePanel } from "./node.js";
import { Nodes } from "./nodes.js";
import { Stage } from "./stage.js";
import { Tabs } from "./tabs.js";
import { Todo } from "./todo.js";

const PARTS = [
  ["node", "Node", NodePanel],
  ["context", "Context", Context],
  ["log", "Log", Log],
  ["nodes", "All nodes", Nodes],
];

export function Page({ store, web }) {
  const [, redraw] = useState(0);
  const [part, setPart] = useState("node");
  const who = useMe(me);
  useEffect(() => store.subscribe(() => redraw((count) => count + 1)), [store]);
  if (store.error && !store.header) return html`<${Problem} error=${store.error} />`;
  if (!store.header) return html`<${Loading} />`;
  const may = (role) => who !== null && rankOf(who.role) >= rankOf(role);
  const choose = (card) => {
    store.visit(card);
    setPart("node");
  };
  return html`
    <${Header} store=${store} web=${web} may=${may} />
    ${store.error && html`<${Problem} error=${store.error} />`}
    <${Todo} store=${store} may=${may} onChoose=${choose} kinds=${["conflict"]} />
    <div class="run-grid">
      <${Todo} store=${store} may=${may} onChoose=${choose} kinds=${["approval", "paused", "event"]} />
      <${Stage} store=${store} onChoose=${() => setPart("node")} />
      <section class="card side" aria-label="What explains it">
        <${Tabs} parts=${PARTS} chosen=${part} onChoose=${setPart} />
        ${PARTS.map(([name, , Part]) => name === part && html`<div
          class="part" role="tabpanel" id=${`part-${name}`} aria-labelledby=${`tab-${name}`} tabindex="0" key=${name}
        ><${Part} store=${store} web=${web} may=${may} onChoose=${choose} /></div>`)}
      </section>
    </div>
  `;
}
