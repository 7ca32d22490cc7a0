/** Times are Unix milliseconds. */

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1000],
];
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** How long something took, in its two largest units: `2 h 5 min`; of some seconds with a tenth. */
export function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.max(0, Math.round(milliseconds))} ms`;
  if (milliseconds < 10_000) return `${(Math.floor(milliseconds / 100) / 10).toFixed(1)} s`;
  const first = UNITS.findIndex(([, size]) => milliseconds >= size);
  const [name, size] = UNITS[first];
  const rest = UNITS[first + 1];
  const count = Math.floor(milliseconds / size);
  const more = rest ? Math.floor((milliseconds % size) / rest[1]) : 0;
  return more ? `${count} ${name} ${more} ${rest[0]}` : `${count} ${name}`;
}

export function ago(moment, now = Date.now()) {
  const passed = now - moment;
  if (passed < 1000) return "just now";
  const [name, size] = UNITS.find(([, each]) => passed >= each);
  return `${Math.floor(passed / size)} ${name} ago`;
}

export const moment = (milliseconds) => MOMENT.format(milliseconds);
export const iso = (milliseconds) => new Date(milliseconds).toISOString();
