/** Who uses the page, and what that person may do. The server judges; the page only does not offer what it refuses. */

import { get, post } from "./api.js";

const RANKS = ["viewer", "answerer", "operator"];
let asked;

export const me = () => (asked ??= get("/api/me"));

export async function rename(name) {
  await post("/api/me", { name });
  asked = undefined;
}

export async function signOut() {
  await post("/sign-out");
  location.assign("/sign-in");
}

export const rankOf = (role) => RANKS.indexOf(role);
