// The tasks of the server with their versions, and the scopes of the current key. Views subscribe to changes.

import { adminTask, call, isAway, Refused } from "./http.js";
import { sentence } from "./parts.js";
import { hasKey } from "./session.js";

const NO_KEY = new Refused(401, { error: "no key was sent", error_type: "unauthorised", reason: "key_missing" });
const listeners = new Set();
let loads = 0;
let puts = 0;

/**
 * `tasks`: by name; `refused`: the error by scope, null if the scope is allowed;
 * `limited`: whether the key has the scope admin for certain tasks only.
 */
export const store = { tasks: new Map(), refused: { predict: null, upload: NO_KEY, admin: NO_KEY }, limited: false, loaded: false };

/** Call `told` after every change; returns a function that unsubscribes. */
export function onChange(told) {
  listeners.add(told);
  return () => listeners.delete(told);
}

function changed() {
  for (const told of listeners) told();
}

/** Load everything again. `refused` has the errors of the parts that cannot be read. */
export async function load() {
  const mine = ++loads;
  const before = puts;
  const outcome = (promise) => promise.then((body) => [body, null], (error) => [null, error]);
  const keyed = (path) => (hasKey() ? outcome(call("GET", path)) : [null, NO_KEY]);
  const [[open, predict], [admin, upload], [, keys]] = await Promise.all([
    outcome(call("GET", "v1/tasks")),
    keyed("admin/v1/tasks"),
    keyed("admin/v1/keys"), // only this shows whether the key has the scope admin
  ]);
  if (mine !== loads) return; // a later load is running
  if (before !== puts) return load(); // the response may be older than a task that was put
  store.limited = keys?.reason === "key_task";
  store.refused = { predict, upload, admin: store.limited ? null : keys };
  store.tasks = new Map();
  for (const live of open?.tasks ?? []) store.tasks.set(live.task, { name: live.task, live, versions: null, aliases: {} });
  for (const task of admin?.tasks ?? []) store.tasks.set(task.task, entry(task));
  store.tasks = new Map([...store.tasks].sort(([one], [other]) => (one < other ? -1 : 1)));
  store.loaded = true;
  changed();
}

/** Store a task as the admin API returned it. */
export function put(task) {
  puts++;
  store.tasks.set(task.task, entry(task));
  changed();
}

/** Load one task again; remove it if it no longer exists. */
export async function reload(name) {
  try {
    put(await call("GET", adminTask(name)));
  } catch (error) {
    if (error.status !== 404) throw error;
    puts++;
    store.tasks.delete(name);
    changed();
  }
}

function entry(task) {
  const live = task.versions.find((version) => version.version === task.aliases.live) ?? null;
  return { name: task.task, live, versions: task.versions, aliases: task.aliases, weight: task.weight, rollbackTo: task.rollback_to };
}

/** The version that describes a task: the live version, else the newest. */
export const described = (task) => task.live ?? task.versions?.at(-1) ?? null;

/** The names of a task's aliases, `live` first. */
export function aliasNames(task) {
  return Object.keys(task.aliases).sort((one, other) => (other === "live") - (one === "live") || (one < other ? -1 : 1));
}

/** The names of the aliases that point to a version, `live` first. */
export function aliasesOf(task, version) {
  return aliasNames(task).filter((name) => task.aliases[name] === version);
}

/** The reason why `scope` is missing, as a sentence; "" if the key has it. */
export function missing(scope) {
  const error = store.refused[scope];
  if (error === null) return "";
  if (isAway(error)) return `${sentence(error.message)}.`;
  if (error.reason === "key_missing") return `This needs a key with the scope ${scope}.`;
  if (error.reason === "key_scope") return `This key lacks the scope ${scope}.`;
  return `This needs the scope ${scope}: ${error.message}.`;
}

/** The reason why keys and the audit log are not available, as a sentence; "" if they are. */
export const administers = () => missing("admin") || (store.limited ? "This needs a key for every task." : "");

/** The reason why tasks are not listed, as a sentence; "" if they can be listed. */
export function unlisted() {
  const { predict, upload } = store.refused;
  if (predict === null || upload === null) return "";
  return isAway(predict) ? missing("predict") : "Enter a key to list the tasks.";
}

const SCORES = ["accuracy", "micro_f1", "pearson", "f1", "matthews", "spearman"];

/** The main metric: [name, value], or null. */
export function mainMetric(metrics) {
  const name = SCORES.find((known) => known in metrics) ?? Object.keys(metrics).find((other) => !/ece|nll/.test(other));
  return name === undefined ? null : [name, metrics[name]];
}
