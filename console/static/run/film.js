/**
 * The frames of a run, and what they have come to at one of them: cards, edges, context, status and version.
 *
 * A frame holds what it changed. Going on applies that; going back applies what was noted when the frame was entered.
 */

const FACTS = ["status", "versions"];

export class Film {
  frames = [];
  versions = [];
  index = -1;
  cards = new Map();
  edges = new Map();
  context = new Map();
  facts = new Map();
  #undo = [];

  get last() {
    return this.frames.length - 1;
  }

  get frame() {
    return this.frames[this.index];
  }

  get version() {
    return this.facts.get("versions") ?? 0;
  }

  /** Take in frames and versions that follow, or replace, those from an index on. Returns what has to be drawn anew. */
  extend({ from, frames, versions_from, versions }) {
    const touched = this.goTo(Math.min(this.index, from - 1));
    this.frames.splice(from, this.frames.length, ...frames);
    this.#undo.length = Math.min(this.#undo.length, from);
    this.versions.splice(versions_from, this.versions.length, ...versions);
    return touched;
  }

  /** Show a frame; -1 is before the first one. Returns the names of the cards and edges that have changed. */
  goTo(index) {
    const touched = { cards: new Set(), edges: new Set() };
    while (this.index < index && this.index < this.last) this.#forward(touched);
    while (this.index > index && this.index >= 0) this.#back(touched);
    return touched;
  }

  /** The index of the frame that shows the run as of an event. */
  at(event) {
    const after = this.frames.findIndex((frame) => frame.event > event);
    return after < 0 ? this.last : Math.max(0, after - 1);
  }

  #forward(touched) {
    const place = ++this.index;
    const frame = this.frames[place];
    const undo = (this.#undo[place] ??= this.#undoOf(frame));
    for (const [name, card] of Object.entries(frame.cards ?? {})) this.cards.set(name, card);
    for (const [name, edge] of Object.entries(frame.edges ?? {})) this.edges.set(name, edge);
    for (const path of frame.removed ?? []) this.context.delete(path);
    for (const [path, text] of frame.set ?? []) this.context.set(path, text);
    for (const name of FACTS) if (name in frame) this.facts.set(name, frame[name]);
    note(touched, undo);
  }

  #back(touched) {
    const undo = this.#undo[this.index--];
    restore(this.cards, undo.cards);
    restore(this.edges, undo.edges);
    restore(this.context, undo.context);
    restore(this.facts, undo.facts);
    note(touched, undo);
  }

  #undoOf(frame) {
    const paths = [...(frame.removed ?? []), ...(frame.set ?? []).map(([path]) => path)];
    return {
      cards: valuesOf(this.cards, Object.keys(frame.cards ?? {})),
      edges: valuesOf(this.edges, Object.keys(frame.edges ?? {})),
      context: valuesOf(this.context, paths),
      facts: valuesOf(this.facts, FACTS.filter((name) => name in frame)),
    };
  }
}

const valuesOf = (map, names) => names.map((name) => [name, map.get(name)]);

function restore(map, values) {
  for (const [name, value] of values) value === undefined ? map.delete(name) : map.set(name, value);
}

function note(touched, undo) {
  for (const [name] of undo.cards) touched.cards.add(name);
  for (const [name] of undo.edges) touched.edges.add(name);
}
