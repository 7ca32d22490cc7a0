/** The drawing of the graph, which shows the states of cards and edges, and is walked with the arrow keys. */

import { Camera } from "./camera.js";
import { nearest, towards } from "./geometry.js";

const SVG = "http://www.w3.org/2000/svg";
const DRAWN_AS = /\. state: ready$/;
const ARROWS = { ArrowDown: "down", ArrowUp: "up", ArrowLeft: "left", ArrowRight: "right" };

export class Drawing {
  #cards = new Map();
  #edges = new Map();
  #out = new Map();
  #in = new Map();
  #svg;
  #signs;
  #chosen = null;
  #onChoose;

  /** `place` is the element that scrolls; `canvas` is what the server sent. */
  constructor(place, { drawing, signs }, onChoose) {
    this.#signs = signs;
    this.#onChoose = onChoose;
    this.#svg = document.importNode(new DOMParser().parseFromString(drawing, "image/svg+xml").documentElement, true);
    place.replaceChildren(this.#svg);
    this.camera = new Camera(place, this.#svg);
    for (const element of this.#svg.querySelectorAll("[data-address]")) this.#adopt(element);
    this.#linkEdges();
    const first = this.#svg.querySelector("[data-address]");
    first?.setAttribute("tabindex", "0");
    this.#svg.addEventListener("click", (event) => this.#onClick(event));
    this.#svg.addEventListener("focusin", (event) => this.#onFocus(event));
    this.#svg.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** Draw these cards and edges as a film shows them. */
  show(film, cards, edges) {
    for (const name of cards) this.#showCard(name, film.cards.get(name));
    for (const name of edges) {
      const edge = this.#edges.get(name);
      edge?.classList.remove("taken", "dead");
      if (film.edges.has(name)) edge?.classList.add(film.edges.get(name));
    }
  }

  choose(name) {
    this.#cards.get(this.#chosen)?.element.classList.remove("chosen");
    this.#cards.get(this.#chosen)?.element.removeAttribute("aria-current");
    this.#chosen = name;
    const element = this.#cards.get(name)?.element;
    if (!element) return;
    for (const each of this.#svg.querySelectorAll('[tabindex="0"]')) each.setAttribute("tabindex", "-1");
    element.setAttribute("tabindex", "0");
    element.setAttribute("aria-current", "true");
    element.classList.add("chosen");
  }

  reveal(name) {
    this.#cards.get(name)?.element.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  #adopt(element) {
    const label = element.getAttribute("aria-label").replace(DRAWN_AS, "");
    const badge = element.querySelector(":scope > .badge");
    const isBox = element.classList.contains("around");
    if (!isBox) element.setAttribute("role", "button");
    element.setAttribute("tabindex", "-1");
    element.querySelector(":scope > title")?.remove();
    const card = { element, label, badge, isBox, state: "ready", note: null };
    this.#cards.set(element.dataset.address, card);
    this.#showCard(element.dataset.address, undefined);
  }

  /** Edges have no ids: they are numbered within their level, in the order in which they are drawn. */
  #linkEdges() {
    const counts = new Map();
    for (const element of this.#svg.querySelectorAll(".edge")) {
      const { from, to } = element.dataset;
      const level = from.slice(0, from.lastIndexOf("/") + 1);
      const number = counts.get(level) ?? 0;
      counts.set(level, number + 1);
      this.#edges.set(`${level}#${number}`, element);
      this.#out.set(from, [...(this.#out.get(from) ?? []), to]);
      this.#in.set(to, [...(this.#in.get(to) ?? []), from]);
    }
  }

  #showCard(name, shown) {
    const card = this.#cards.get(name);
    if (!card) return;
    const state = (shown?.state ?? "pending").replaceAll("_", "-");
    if (state !== card.state) {
      card.element.classList.remove(`state-${card.state}`);
      card.element.classList.add(`state-${state}`);
      card.state = state;
      card.badge.toggleAttribute("hidden", !this.#signs[state]);
      card.badge.querySelector("path").setAttribute("d", this.#signs[state] ?? "");
    }
    const note = shown?.note ?? "";
    card.element.setAttribute("aria-label", `${card.label}. ${[state.replaceAll("-", " "), note].filter(Boolean).join(", ")}`);
    this.#showNote(card, note);
  }

  #showNote(card, text) {
    const count = card.element.querySelector(":scope > .count"); // a body that is not drawn has room for it
    if (count) {
      count.textContent = text;
      return;
    }
    if (!text && !card.note) return;
    card.note ??= noteOn(card);
    card.note.show(text);
  }

  #nameOf(target) {
    return target.closest?.("[data-address]")?.dataset.address;
  }

  #onClick(event) {
    const name = this.#nameOf(event.target);
    if (name === undefined) return;
    this.#onChoose(name);
    this.#cards.get(name).element.focus({ preventScroll: true });
  }

  #onFocus(event) {
    const name = this.#nameOf(event.target);
    if (name !== undefined) this.#onChoose(name);
  }

  #onKey(event) {
    const name = this.#nameOf(event.target);
    if (this.camera.onKey(event) || name === undefined || !(event.key in ARROWS)) return;
    event.preventDefault();
    const next = this.#cards.get(this.#beside(name, ARROWS[event.key]))?.element;
    next?.focus();
    next?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** Down and up follow the edges; where there is none, and to the sides, the nearest card is next. */
  #beside(name, direction) {
    const along = { down: this.#out, up: this.#in }[direction]?.get(name);
    const box = (each) => this.#cards.get(each).element.getBoundingClientRect();
    if (along) return nearest(box(name), along.map((each) => [each, box(each)]));
    return towards(box(name), [...this.#cards.keys()].filter((each) => each !== name).map((each) => [each, box(each)]), direction);
  }
}

/** A short text on a card: how far it is. */
function noteOn({ element, isBox }) {
  const outline = element.querySelector(isBox ? ":scope > .box" : ":scope > .shape").getBBox();
  const group = document.createElementNS(SVG, "g");
  const back = document.createElementNS(SVG, "rect");
  const text = document.createElementNS(SVG, "text");
  group.setAttribute("class", "note");
  group.setAttribute("aria-hidden", "true");
  back.setAttribute("rx", "9");
  back.setAttribute("height", "18");
  group.append(back, text);
  element.append(group);
  const show = (note) => {
    const width = note.length * 6.1 + 16;
    const left = isBox ? outline.width - width - 24 : (outline.width - width) / 2;
    group.setAttribute("transform", `translate(${left} ${isBox ? 3 : outline.height - 9})`);
    group.toggleAttribute("hidden", !note);
    back.setAttribute("width", String(width));
    text.setAttribute("x", String(width / 2));
    text.setAttribute("y", "13");
    text.textContent = note;
  };
  return { show };
}
