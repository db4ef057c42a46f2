// The line at the top of the page: the backbone and whether the server is ready. Also reloads the tasks when the registry changes.

import { h, replace } from "./dom.js";
import { counted } from "./format.js";
import { address, isAway } from "./http.js";
import { load, store } from "./store.js";

const EVERY_MS = 10_000;
const TIMEOUT_MS = 8000;

/** Keep `place` up to date while the page is visible; reload the tasks when the registry has changed or the last load failed. */
export function watchServer(place) {
  let revision = null;

  async function look() {
    if (document.hidden) return;
    const ready = await health();
    show(place, ready);
    const changed = revision !== null && ready?.registry_revision !== revision;
    if (ready && (changed || Object.values(store.refused).some(isAway))) await load();
    revision = ready?.registry_revision ?? revision;
  }

  document.addEventListener("visibilitychange", look);
  setInterval(look, EVERY_MS);
  return look();
}

/** The body of GET /health/ready, also from a draining server; null if no server answers. */
async function health() {
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const body = await (await fetch(address("health/ready"), { cache: "no-store", signal })).json();
    return "backbone" in body ? body : null;
  } catch {
    return null;
  }
}

function show(place, ready) {
  const state = ready === null ? "no answer" : ready.status === "ok" ? "ready" : ready.status;
  const detail = ready && `${counted(ready.num_tasks, "task")} · ${ready.backbone} · ${ready.device}`;
  replace(place, h("span", { class: `dot ${state === "ready" ? "good" : "bad"}`, "aria-hidden": "true" }),
    h("span", { class: "state" }, state), detail && h("span", { class: "detail", title: detail }, detail));
}
