// Who has changed a task, and when: its rows of the audit log.

import { h, replace } from "./dom.js";
import { time } from "./format.js";
import { call } from "./http.js";
import { refusal } from "./parts.js";
import { store } from "./store.js";

const ROWS = 20;
const WORDS = {
  publish: "published", set_alias: "set alias", delete_alias: "removed alias", rollback: "rolled back", delete_version: "deleted",
  set_weight: "set the share", quarantine: "found damaged", repair_bytes: "repaired", repair_version: "repaired", restore: "restored a backup",
};

/** Read when it is opened, and after each change while it is open. Only administrators of every task see it. */
export function historyPanel(name) {
  const place = h("div", { class: "table-place" });
  const details = h("details", { class: "card", hidden: true, ontoggle: read }, h("summary", {}, h("h2", {}, "History")), place);

  async function read() {
    if (!details.open || details.hidden) return;
    let content;
    try {
      const { entries } = await call("GET", `admin/v1/audit?task=${encodeURIComponent(name)}&limit=${ROWS}`);
      content = table(entries);
    } catch (error) {
      content = refusal(error);
    }
    if (!details.hidden) replace(place, content); // the key may have been forgotten meanwhile
  }

  function draw() {
    details.hidden = store.refused.admin !== null || store.limited;
    if (details.hidden) replace(place);
    read();
  }

  return { element: details, draw };
}

function table(entries) {
  return h("table", {},
    h("thead", {}, h("tr", {}, ["When", "What", "Who", "From"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, entries.map((entry) => h("tr", {},
      h("td", { "data-name": "When" }, h("time", { datetime: entry.at }, time(entry.at))),
      h("td", { "data-name": "What" }, what(entry)),
      h("td", { "data-name": "Who" }, entry.actor),
      h("td", { "data-name": "From" }, entry.source || "–")))));
}

function what({ action, alias, version, detail }) {
  const words = [WORDS[action] ?? action, alias, version && `version ${version}`].filter(Boolean).join(" ");
  return /^was /.test(detail) ? `${words} (${detail})` : words;
}
