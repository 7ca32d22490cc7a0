/** Values that a page keeps up to date while somebody looks at it. */

import { useCallback, useEffect, useRef, useState } from "../vendor/preact.js";
import { get } from "./api.js";

/**
 * What a path answers, asked again every so many seconds while the page is visible.
 * Returns `{value, error, again}`; a value stays while the next one is fetched, and an answer that was overtaken is dropped.
 */
export function useLive(path, seconds = 0) {
  const [state, setState] = useState({ path: null, value: null, error: null });
  const newest = useRef(0);
  const again = useCallback(async () => {
    const number = ++newest.current;
    try {
      const value = await get(path);
      if (number === newest.current) setState({ path, value, error: null });
    } catch (error) {
      if (number === newest.current) setState((before) => ({ ...before, path, error }));
    }
  }, [path]);
  useEffect(() => {
    again();
    if (!seconds) return undefined;
    const ask = () => document.visibilityState === "visible" && again();
    const timer = setInterval(ask, seconds * 1000);
    document.addEventListener("visibilitychange", ask);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", ask);
    };
  }, [again, seconds]);
  return { ...state, again, isStale: state.path !== path };
}

/** A value that follows another one once that has stayed the same for a while. */
export function useSettled(value, milliseconds = 250) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return settled;
}

/** The time, which moves every so many seconds. */
export function useNow(seconds = 1) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
  return now;
}

/** Who uses the page; null until that is known. */
export function useMe(ask) {
  const [who, setWho] = useState(null);
  useEffect(() => void ask().then(setWho, () => {}), [ask]);
  return who;
}
