/** How large a drawing is shown, and which part of it: it scrolls, can be dragged, and zooms by keys and wheel. */

const STEP = 1.25;
const LEAST = 0.08;
const MOST = 3;
/** Below this size texts cannot be read: a large drawing is cut off at first rather than shown smaller. */
const READABLE = 0.62;
const MARGIN = 8;

export class Camera {
  scale = 1;
  onZoom = () => {};

  constructor(place, svg) {
    this.place = place;
    this.svg = svg;
    [, , this.width, this.height] = svg.getAttribute("viewBox").split(" ").map(Number);
    this.#zoomTo(Math.max(READABLE, this.#fitting()));
    this.place.scrollLeft = (this.place.scrollWidth - this.place.clientWidth) / 2;
    place.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    place.addEventListener("pointerdown", (event) => this.#onDown(event));
  }

  zoom(steps) {
    this.#zoomTo(this.scale * STEP ** steps);
  }

  fit() {
    this.#zoomTo(this.#fitting());
  }

  /** Returns whether the key was one of the camera's. */
  onKey(event) {
    const does = { "+": () => this.zoom(1), "=": () => this.zoom(1), "-": () => this.zoom(-1), 0: () => this.fit() }[event.key];
    if (!does || event.ctrlKey || event.metaKey || event.altKey) return false;
    event.preventDefault();
    does();
    return true;
  }

  #fitting() {
    const { clientWidth, clientHeight } = this.place;
    return Math.min(1, (clientWidth - MARGIN) / this.width, (clientHeight - MARGIN) / this.height);
  }

  /** Keeps the point that is in the middle, or at `x` and `y`, where it is. */
  #zoomTo(scale, x = this.place.clientWidth / 2, y = this.place.clientHeight / 2) {
    const before = this.scale;
    this.scale = Math.min(MOST, Math.max(LEAST, scale));
    const grown = this.scale / before;
    const [left, top] = [(this.place.scrollLeft + x) * grown - x, (this.place.scrollTop + y) * grown - y];
    this.svg.style.width = `${this.width * this.scale}px`;
    this.svg.style.height = `${this.height * this.scale}px`;
    this.place.scrollLeft = left;
    this.place.scrollTop = top;
    this.onZoom(this.scale);
  }

  #onWheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const { left, top } = this.place.getBoundingClientRect();
    this.#zoomTo(this.scale * Math.exp(-event.deltaY / 300), event.clientX - left, event.clientY - top);
  }

  #onDown(event) {
    if (event.pointerType !== "mouse" || event.button !== 0 || event.target.closest("[data-address]")) return;
    const [x, y, left, top] = [event.clientX, event.clientY, this.place.scrollLeft, this.place.scrollTop];
    const move = (moved) => {
      this.place.scrollLeft = left + x - moved.clientX;
      this.place.scrollTop = top + y - moved.clientY;
    };
    const up = () => {
      this.place.classList.remove("dragged");
      window.removeEventListener("pointermove", move);
    };
    this.place.classList.add("dragged");
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", up, { once: true });
  }
}
