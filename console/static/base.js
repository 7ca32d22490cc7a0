/** What the scripts of pages are made of. */

export * from "./vendor/preact.js";
export { ApiError, get, idPath, newId, post, withQuery } from "./base/api.js";
export { Choice, Dialog } from "./base/dialog.js";
export { useLive, useMe, useNow, useSettled } from "./base/live.js";
export { me, rankOf, rename, signOut } from "./base/me.js";
export { People, whyNot } from "./base/people.js";
export { Ago, Empty, Loading, Problem } from "./base/parts.js";
export { Sign, State } from "./base/state.js";
export { ago, duration, iso, moment } from "./base/time.js";
export { toast, toastError } from "./base/toast.js";
