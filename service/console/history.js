// Entries of the audit log: the history on a task's page, and the table of the audit view.

import { h, replace } from "./dom.js";
import { digest, time } from "./format.js";
import { call, parseJson } from "./http.js";
import { refusal } from "./parts.js";
import { administers } from "./store.js";

const ROWS = 20;
const WORDS = {
  publish: "published", set_alias: "set alias", delete_alias: "removed alias", rollback: "rolled back", delete_version: "deleted",
  set_weight: "set the weight", create_key: "created a key", revoke_key: "revoked a key", quarantine: "found damaged",
  repair_bytes: "repaired", repair_version: "repaired", restore: "restored a backup",
};

/** Read entries of the audit log, newest first, optionally of one `task` or older than the id `before`. Throws Refused. */
export async function readAudit({ task, limit, before }) {
  const given = Object.entries({ task, limit, before }).filter(([, value]) => value);
  return (await call("GET", `admin/v1/audit?${new URLSearchParams(given)}`)).entries;
}

/** The history of one task; it is loaded when opened and reloaded after each change while open. */
export function historyPanel(name) {
  const place = h("div", { class: "table-place" });
  const all = h("p", { class: "hint" }, h("a", { href: `#audit/${encodeURIComponent(name)}` }, "Older changes and changes of other tasks"));
  const details = h("details", { class: "card", hidden: true, ontoggle: read }, h("summary", {}, h("h2", {}, "History")), place, all);

  async function read() {
    if (!details.open || details.hidden) return;
    let content;
    try {
      content = auditTable(await readAudit({ task: name, limit: ROWS }), false);
    } catch (error) {
      content = refusal(error);
    }
    if (!details.hidden) replace(place, content); // the user may have removed the key
  }

  function draw() {
    details.hidden = administers() !== "";
    if (details.hidden) replace(place);
    read();
  }

  return { element: details, draw };
}

/** Show `entries` as a table; `withTask` adds a column with the task. */
export function auditTable(entries, withTask) {
  const heads = ["When", withTask && "Task", "What", "Who", "From"].filter(Boolean).map((text) => h("th", { scope: "col" }, text));
  const cell = (name, ...content) => h("td", { "data-name": name }, content);
  return h("table", { class: "audit" }, h("thead", {}, h("tr", {}, heads)),
    h("tbody", {}, entries.map((entry) => h("tr", {},
      cell("When", h("time", { datetime: entry.at }, time(entry.at))),
      withTask && cell("Task", entry.task ? h("a", { href: `#tasks/${encodeURIComponent(entry.task)}` }, entry.task) : "–"),
      cell("What", what(entry)), cell("Who", entry.actor), cell("From", entry.source || "–")))));
}

function what({ action, alias, version, detail }) {
  const words = [WORDS[action] ?? action, alias, version && `version ${version}`].filter(Boolean).join(" ");
  return detail ? `${words} (${explained(detail)})` : words;
}

/** Format the detail of an entry: a SHA-256, a key as JSON, or text. */
function explained(detail) {
  if (/^[0-9a-f]{64}$/.test(detail)) return digest(detail);
  const key = detail.startsWith("{") ? parseJson(detail) : null;
  return key ? [key.name, key.scopes?.join(", "), key.tasks?.join(", ")].filter(Boolean).join("; ") : detail;
}
