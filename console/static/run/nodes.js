/** The nodes as a table: the same as the drawing, for who would rather read. */

import { duration, html, State } from "../base.js";

const rows = new WeakMap();

export function Nodes({ store, onChoose }) {
  const { film, chosen } = store;
  return html`<table class="nodes">
    <caption class="unseen">The nodes of the graph at the moment that is shown</caption>
    <thead><tr><th scope="col">Node</th><th scope="col">State</th><th scope="col">Took</th></tr></thead>
    <tbody>${store.cards.map((card) => rowOf(card, film.cards.get(card.address), card.address === chosen, onChoose))}</tbody>
  </table>`;
}

/** A row that is as it was is the same object, which is not compared again: a film may have hundreds of them. */
function rowOf(card, shown, isChosen, onChoose) {
  const known = rows.get(card);
  if (known && known.shown === shown && known.isChosen === isChosen) return known.row;
  const { address, type, undoes } = card;
  const took = shown?.ended ? duration(shown.ended - shown.started) : "";
  const row = html`<tr key=${address} class=${isChosen ? "chosen" : ""}>
    <th scope="row"><button type="button" class="link" aria-current=${isChosen ? "true" : undefined} onClick=${() => onChoose(address)}>
      ${undoes ? `undo ${undoes}` : address}</button><div class="quiet-text">${type}</div></th>
    <td><${State} state=${shown?.state ?? "pending"} />${shown?.note && html`<div class="quiet-text">${shown.note}</div>`}
      ${shown?.error && html`<div class="quiet-text">${shown.error}</div>`}</td>
    <td class="numeric">${took}</td></tr>`;
  rows.set(card, { shown, isChosen, row });
  return row;
}
