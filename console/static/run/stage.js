/** The drawing, how large it is, and the moment that it shows. */

import { html, useEffect, useRef } from "../base.js";
import { Drawing } from "./drawing.js";
import { Timeline } from "./timeline.js";

export function Stage({ store, onChoose }) {
  const place = useRef(null);
  const drawing = useRef(null);
  const { canvas } = store;
  useEffect(() => {
    if (!canvas) return undefined;
    const choose = (card) => {
      store.choose(card);
      onChoose();
    };
    drawing.current = new Drawing(place.current, canvas, choose);
    store.attach(drawing.current);
    return () => store.attach(null);
  }, [canvas]);
  const zoom = (steps) => drawing.current?.camera.zoom(steps);
  return html`<section class=${`card stage ${canvas ? "" : "empty"}`} aria-label="The graph">
    ${!canvas && html`<p class="loading">No worker has loaded the graph of this run.</p>`}
    <div class="canvas" ref=${place} hidden=${!canvas} />
    ${canvas && html`<div class="zoom" role="group" aria-label="Size of the drawing">
      <button type="button" class="quiet" aria-label="Smaller" onClick=${() => zoom(-1)}>−</button>
      <button type="button" class="quiet" onClick=${() => drawing.current?.camera.fit()}>Fit</button>
      <button type="button" class="quiet" aria-label="Larger" onClick=${() => zoom(1)}>+</button>
    </div>
    <${Timeline} store=${store} />`}
  </section>`;
}
