// The audit log of all tasks or one, for administrators of every task.

import { h, replace, say } from "./dom.js";
import { whenQuiet } from "./filter.js";
import { counted } from "./format.js";
import { auditTable, readAudit } from "./history.js";
import { button, heading, notAllowed, refusal } from "./parts.js";
import { administers, onChange, store } from "./store.js";

const PAGE = 100;
const TASK = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** `task` is the initial value of the filter. */
export function auditView(task = "") {
  const place = h("div", {});
  const complaint = h("p", { class: "complaint", role: "alert" });
  const filter = h("input", { type: "search", value: task, placeholder: "Every task", "aria-label": "Filter by task",
    list: "audit-tasks", autocomplete: "off", spellcheck: "false", oninput: whenQuiet(read, 250) });
  const names = h("datalist", { id: "audit-tasks" });
  let asked = 0;
  let entries = [];

  async function read() {
    const why = administers();
    replace(names, [...store.tasks.keys()].map((value) => h("option", { value })));
    if (!store.loaded) return;
    if (why) return replace(place, notAllowed(why, "The audit log cannot be shown."));
    const wanted = filter.value.trim();
    complaint.textContent = wanted === "" || TASK.test(wanted) ? "" : "This is not a valid task name.";
    if (complaint.textContent) return;
    await page(wanted, undefined);
  }

  /** Show the newest changes; with `before`, append the changes older than this id. */
  async function page(wanted, before) {
    const mine = ++asked;
    try {
      const older = await readAudit({ task: wanted, limit: PAGE, before });
      if (mine !== asked) return;
      entries = before === undefined ? older : [...entries, ...older];
      const more = older.length === PAGE && button("Show older changes", () => page(wanted, entries.at(-1).id), { kind: "more", focus: "older" });
      replace(place, entries.length === 0 ? h("p", { class: "empty" }, "No change has been recorded.")
        : h("section", { class: "card", "aria-label": "Changes" }, h("div", { class: "table-place" }, auditTable(entries, true), more)));
      if (before !== undefined) say(`${counted(older.length, "older change")} shown`);
    } catch (error) {
      if (mine === asked) replace(place, refusal(error));
    }
  }

  read();
  const stop = onChange(read);
  const element = h("div", {}, heading("Audit"), h("div", { class: "toolbar" }, filter, button("Reload", read, { kind: "quiet", focus: "reload" })), names, complaint, place);
  return { element, title: "Audit", leave: () => { asked++; stop(); } };
}
