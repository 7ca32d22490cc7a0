/** Requests to the console's own API. What it refuses is an `ApiError` with the fields of its answer. */

export class ApiError extends Error {
  constructor(status, { code, message, place, suggestion } = {}) {
    super(message || "The console does not answer.");
    Object.assign(this, { status, code, place, suggestion });
  }
}

export const get = (path) => request(path, { method: "GET" });

export const post = (path, body = {}) =>
  request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/** What a form is known by: what it sends again, since no answer came, is carried out once. */
export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** The path of a route with the values of a query; those that are empty are left out. */
export function withQuery(path, values) {
  const pairs = Object.entries(values).flatMap(([name, value]) => [value].flat().map((each) => [name, each]));
  const query = new URLSearchParams(pairs.filter(([, value]) => value !== "" && value != null));
  return query.size ? `${path}?${query}` : path;
}

/** A workflow id as part of a path: its slashes stay, so that the address can be read. */
export const idPath = (id) => id.split("/").map(encodeURIComponent).join("/");

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new ApiError(0);
  }
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const error = new ApiError(response.status, body.error);
  if (error.status === 401 && location.pathname !== "/sign-in") leaveForSignIn(error.code);
  throw error;
}

function leaveForSignIn(why) {
  const next = location.pathname + location.search;
  location.assign(withQuery("/sign-in", { why, next }));
}
