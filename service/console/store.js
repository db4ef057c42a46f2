// What the server has: tasks with their versions, and what the key in use may do. Views are told when it changes.

import { adminTask, call, isAway, Refused } from "./http.js";
import { sentence } from "./parts.js";
import { hasKey } from "./session.js";

const NO_KEY = new Refused(401, { error: "no key is given", error_type: "unauthorised", reason: "key_missing" });
const listeners = new Set();
let loads = 0;
let puts = 0;

/**
 * tasks: by name; `refused`: by scope, why the server does not allow it (null: it does);
 * `limited`: whether the key is an administrator's for certain tasks only.
 */
export const store = { tasks: new Map(), refused: { predict: null, upload: NO_KEY, admin: NO_KEY }, limited: false, loaded: false };

/** Call `told` after every change; the function that is returned ends it. */
export function onChange(told) {
  listeners.add(told);
  return () => listeners.delete(told);
}

function changed() {
  for (const told of listeners) told();
}

/** Read everything anew. What cannot be read is left out, and `refused` says why. */
export async function load() {
  const mine = ++loads;
  const before = puts;
  const outcome = (promise) => promise.then((body) => [body, null], (error) => [null, error]);
  const keyed = (path) => (hasKey() ? outcome(call("GET", path)) : [null, NO_KEY]);
  const [[open, predict], [admin, upload], [, keys]] = await Promise.all([
    outcome(call("GET", "v1/tasks")),
    keyed("admin/v1/tasks"),
    keyed("admin/v1/keys"), // nothing else tells whether a key has the scope admin
  ]);
  if (mine !== loads) return; // a later one is under way
  if (before !== puts) return load(); // what was read may be older than what was put
  store.limited = keys?.reason === "key_task";
  store.refused = { predict, upload, admin: store.limited ? null : keys };
  store.tasks = new Map();
  for (const live of open?.tasks ?? []) store.tasks.set(live.task, { name: live.task, live, versions: null, aliases: {} });
  for (const task of admin?.tasks ?? []) store.tasks.set(task.task, entry(task));
  store.tasks = new Map([...store.tasks].sort(([one], [other]) => (one < other ? -1 : 1)));
  store.loaded = true;
  changed();
}

/** Take over what the admin API has said of one task. */
export function put(task) {
  puts++;
  store.tasks.set(task.task, entry(task));
  changed();
}

/** Read one task anew; it goes from the list where its last version has gone. */
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

/** What a task is, of its live version or else its newest. */
export const described = (task) => task.live ?? task.versions?.at(-1) ?? null;

/** The names of a task's aliases, `live` first. */
export function aliasNames(task) {
  return Object.keys(task.aliases).sort((one, other) => (other === "live") - (one === "live") || (one < other ? -1 : 1));
}

/** The names of the aliases that point to a version, `live` first. */
export function aliasesOf(task, version) {
  return aliasNames(task).filter((name) => task.aliases[name] === version);
}

/** Why `scope` is not given, in a sentence; "" where it is. */
export function missing(scope) {
  const error = store.refused[scope];
  if (error === null) return "";
  if (isAway(error)) return `${sentence(error.message)}.`;
  if (error.reason === "key_missing") return `This needs a key with the scope ${scope}.`;
  if (error.reason === "key_scope") return `This key lacks the scope ${scope}.`;
  return `This needs the scope ${scope}: ${error.message}.`;
}

/** Why the keys and the audit log cannot be used, in a sentence; "" where they can. */
export const administers = () => missing("admin") || (store.limited ? "This needs a key that is for every task." : "");

/** Why tasks are not listed, in a sentence; "" where some are, or could be. */
export function unlisted() {
  const { predict, upload } = store.refused;
  if (predict === null || upload === null) return "";
  return isAway(predict) ? missing("predict") : "Tasks are listed with a key only.";
}

const SCORES = ["accuracy", "micro_f1", "pearson", "f1", "matthews", "spearman"];

/** The metric that says most: [name, value], or null. */
export function mainMetric(metrics) {
  const name = SCORES.find((known) => known in metrics) ?? Object.keys(metrics).find((other) => !/ece|nll/.test(other));
  return name === undefined ? null : [name, metrics[name]];
}
