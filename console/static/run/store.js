/** The state of the page: the run as it is told, the moment that is shown, and the card that is chosen. */

import { get, idPath, withQuery } from "../base.js";
import { follow } from "./connection.js";
import { Film } from "./film.js";

export class Store {
  film = new Film();
  header = null;
  canvas = null;
  chosen = null;
  /** Whether the newest frame is shown as soon as it comes. */
  isLive = true;
  isLost = false;
  error = null;
  #listeners = new Set();
  #drawing = null;
  #wanted;
  #isScheduled = false;

  constructor({ workflowId, runId, event }) {
    this.workflowId = workflowId;
    this.#wanted = event;
    follow({ workflowId, runId }, {
      snapshot: (message) => this.#begin(message),
      delta: (message) => this.#take(message),
      end: () => this.#change({ isLost: false }),
      problem: (error) => this.#change({ error }),
      lost: () => this.#change({ isLost: true }),
    });
  }

  /** The id of the workflow run that is shown. */
  get runId() {
    return this.header?.run_id;
  }

  get cards() {
    return this.canvas?.cards ?? [];
  }

  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A drawing is told of each card and edge that changes, at once: it is too large to be made anew. */
  attach(drawing) {
    this.#drawing = drawing;
    drawing?.show(this.film, new Set(this.film.cards.keys()), new Set(this.film.edges.keys()));
    drawing?.choose(this.chosen);
  }

  goTo(index) {
    const place = Math.max(0, Math.min(index, this.film.last));
    this.isLive = place === this.film.last;
    this.#draw(this.film.goTo(place));
    this.#tell();
  }

  choose(card) {
    if (card === this.chosen) return;
    this.#drawing?.choose(card);
    this.#change({ chosen: card });
  }

  /** Show a card, and bring it into sight. */
  visit(card) {
    this.choose(card);
    this.#drawing?.reveal(card);
  }

  /** Open or close the body of a card on the drawing. */
  async toggleBody(card) {
    const opened = new Set(this.canvas.opened);
    opened.delete(card) || opened.add(card);
    const path = withQuery(`/api/run/canvas/${idPath(this.workflowId)}`, { run_id: this.runId, opened: [...opened] });
    const { drawing } = await get(path);
    this.#change({ canvas: { ...this.canvas, drawing, opened: [...opened] } });
  }

  /** Draw the page anew. */
  touch() {
    this.#tell();
  }

  #begin(message) {
    const isOther = this.runId !== message.header.run_id;
    const shown = this.film.index;
    this.film = new Film();
    this.film.extend(message);
    const isDrawn = !isOther && this.canvas !== null; // the connection was lost: zoom and open bodies stay
    if (!isDrawn) this.canvas = message.canvas;
    this.header = message.header;
    this.isLost = false;
    if (isOther && this.chosen && !this.cards.some(({ address }) => address === this.chosen)) this.chosen = null;
    const wanted = this.#wanted === undefined ? (this.isLive || isOther ? this.film.last : shown) : this.film.at(this.#wanted);
    this.#wanted = undefined;
    this.film.goTo(Math.min(wanted, this.film.last));
    this.isLive = this.film.index === this.film.last;
    if (isDrawn) this.#draw({ cards: this.cards.map(({ address }) => address), edges: this.film.edges.keys() });
    this.#tell();
  }

  #take(message) {
    this.header = message.header;
    this.isLost = false;
    const shown = this.film.index;
    const touched = this.film.extend(message);
    const then = this.film.goTo(this.isLive ? this.film.last : Math.min(shown, this.film.last));
    this.#draw({ cards: new Set([...touched.cards, ...then.cards]), edges: new Set([...touched.edges, ...then.edges]) });
    this.#tell();
  }

  #draw({ cards, edges }) {
    this.#drawing?.show(this.film, cards, edges);
  }

  #change(values) {
    Object.assign(this, values);
    this.#tell();
  }

  /** Once a frame of the screen, however often something changes. */
  #tell() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      for (const listener of this.#listeners) listener();
    });
  }
}
