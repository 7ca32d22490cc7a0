/** The slider over the frames: it goes to any moment of the run, plays it, and follows it while it goes on. */

import { duration, html, moment, useEffect, useMemo, useRef, useState } from "../base.js";

const FILM_MILLISECONDS = 12_000;
const SLOWEST = 500;
const QUICKEST = 16;
const MARKS = 300;
const TROUBLE = new Set(["failed", "timed_out", "compensation_failed"]);
const ASKING = new Set(["waiting", "conflict", "paused"]);

export function Timeline({ store }) {
  const { film } = store;
  const [isPlaying, setPlaying] = usePlaying(store);
  useAddress(store);
  if (film.last < 0) return null;
  const go = (index) => {
    setPlaying(false);
    store.goTo(index);
  };
  const play = () => {
    if (!isPlaying && film.index === film.last) store.goTo(0);
    setPlaying(!isPlaying);
  };
  return html`<div class="timeline" role="group" aria-label="Moments of the run">
    <div class="moments">
      <button type="button" class="quiet" aria-label="One moment back" disabled=${film.index <= 0}
        onClick=${() => go(film.index - 1)}>‹</button>
      <button type="button" class="quiet play" aria-label=${isPlaying ? "Stop playing" : "Play the run"} onClick=${play}>
        <${PlaySign} isPlaying=${isPlaying} /></button>
      <button type="button" class="quiet" aria-label="One moment on" disabled=${film.index >= film.last}
        onClick=${() => go(film.index + 1)}>›</button>
    </div>
    <div class="track">
      <${Marks} film=${film} count=${film.frames.length} />
      <input type="range" min="0" max=${film.last} value=${film.index} step="1" aria-label="Moment"
        aria-valuetext=${told(film)} onInput=${(event) => go(Number(event.target.value))} />
    </div>
    <button type="button" class=${`quiet newest ${store.isLive ? "is-live" : ""}`} aria-pressed=${String(store.isLive)}
      onClick=${() => go(film.last)}>${store.header.end ? "End" : "Live"}</button>
    <p class="told numeric">${told(film)}</p>
  </div>`;
}

function told(film) {
  const { frame } = film;
  const since = duration(frame.at - film.frames[0].at);
  return `${moment(frame.at)} · ${film.index ? `${since} in` : "start"} · version ${film.version} · event ${frame.event}`;
}

function PlaySign({ isPlaying }) {
  return html`<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
    <path fill="currentColor" d=${isPlaying ? "M4 3h3v10H4zM9 3h3v10H9z" : "M4 2.5 13 8l-9 5.5z"} /></svg>`;
}

/** Plays one frame after the other, all of them in some seconds. */
function usePlaying(store) {
  const [isPlaying, setPlaying] = useState(false);
  const count = store.film.frames.length;
  useEffect(() => {
    if (!isPlaying) return undefined;
    const pause = Math.min(SLOWEST, Math.max(QUICKEST, FILM_MILLISECONDS / count));
    const timer = setInterval(() => {
      store.goTo(store.film.index + Math.max(1, Math.round((QUICKEST * count) / FILM_MILLISECONDS)));
      if (store.film.index >= store.film.last) setPlaying(false);
    }, pause);
    return () => clearInterval(timer);
  }, [isPlaying, store]);
  return [isPlaying, setPlaying];
}

/** The page's address names the moment, so that it can be sent to somebody. */
function useAddress(store) {
  const first = useRef(true);
  const event = store.isLive ? undefined : store.film.frame?.event;
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return undefined;
    }
    const timer = setTimeout(() => {
      const address = new URL(location);
      event === undefined ? address.searchParams.delete("at") : address.searchParams.set("at", event);
      if (event !== undefined) address.searchParams.set("run_id", store.runId);
      history.replaceState(null, "", address);
    }, 300);
    return () => clearTimeout(timer);
  }, [event]);
}

/** Where something failed, or people were asked. */
function Marks({ film, count }) {
  const marks = useMemo(() => marksOf(film), [film, count]);
  return html`<svg class="marks" viewBox="0 0 1000 6" preserveAspectRatio="none" aria-hidden="true">
    ${marks.map(([place, tone]) => html`<line key=${place} x1=${place} x2=${place} y1="0" y2="6" class=${tone} />`)}
  </svg>`;
}

function marksOf(film) {
  const found = new Map();
  film.frames.forEach(({ cards }, index) => {
    const states = Object.values(cards ?? {}).map(({ state }) => state);
    const tone = states.some((state) => TROUBLE.has(state)) ? "trouble" : states.some((state) => ASKING.has(state)) ? "asking" : null;
    const place = film.last ? Math.round((index / film.last) * MARKS) * (1000 / MARKS) : 0;
    if (tone && found.get(place) !== "trouble") found.set(place, tone);
  });
  return [...found];
}
