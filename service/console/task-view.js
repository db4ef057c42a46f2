// The page of one task: description, versions and aliases, publishing, activity, comparison and history.

import { activityPanel } from "./activity.js";
import { comparePanel } from "./compare.js";
import { askRollback } from "./changes.js";
import { h, replace } from "./dom.js";
import { count, kind, number } from "./format.js";
import { historyPanel } from "./history.js";
import { button, facts, heading, notAllowed, tag } from "./parts.js";
import { publishPanel } from "./publish.js";
import { described, missing, onChange, store, unlisted } from "./store.js";
import { choose } from "./try-view.js";
import { versionsPanel } from "./versions.js";

const LABELS_SHOWN = 24;
const CUT = { right: "at the end", left: "at the beginning", "head-tail": "in the middle" };
const UNSEEN = { live: null, versions: null, aliases: {} };

export function taskView(name) {
  const about = h("div", { class: "stack" });
  const actions = h("div", { class: "buttons" });
  const compare = comparePanel(name);
  const activity = activityPanel(name);
  const history = historyPanel(name);

  function draw() {
    const task = store.tasks.get(name);
    replace(actions, task && [
      button("Try it", () => { choose(name); location.hash = "#try"; }, { focus: "try" }),
      button(task.rollbackTo ? `Roll back to ${task.rollbackTo}` : "Roll back", () => askRollback(task), { focus: "rollback", why: missing("upload") || (task.rollbackTo ? "" : "There is no earlier live version.") })]);
    replace(about, task ? [summary(task), versions(task)] : absent(name));
    activity.draw();
    compare.draw(task ?? UNSEEN);
    history.draw();
  }

  draw();
  const stop = onChange(draw);
  const element = h("div", {},
    h("nav", { class: "crumbs", "aria-label": "Breadcrumb" }, h("a", { href: "#tasks" }, "Tasks"), h("span", { "aria-hidden": "true" }, "/"), h("span", { "aria-current": "page" }, name)),
    heading(name, actions),
    h("div", { class: "split" }, h("div", { class: "stack" }, about, activity.element, compare.element, history.element), publishPanel(name)));
  return { element, title: name, leave: () => { stop(); activity.leave(); compare.leave(); } };
}

/** The text for a task that is not listed. */
function absent(name) {
  if (!store.loaded) return h("p", { class: "empty" }, "Loading…");
  if (unlisted()) return notAllowed(missing("predict"), `You cannot see whether the task ${name} exists.`);
  if (missing("upload")) return h("p", { class: "notice" }, `There is no task ${name} with a live version.`);
  return h("p", { class: "notice" }, `There is no task ${name}, or this key may not see it. Publishing the first adapter creates the task.`);
}

function versions(task) {
  if (task.versions) return versionsPanel(task);
  return notAllowed(missing("upload") || "This key is not for this task.", "You cannot see or change versions.");
}

function summary(task) {
  const shown = described(task);
  if (!shown) return null;
  const metrics = Object.entries(shown.metrics);
  const more = shown.labels.length - LABELS_SHOWN;
  return h("section", { class: "card about", "aria-label": "About this task" },
    facts([
      ["Live", task.live ? tag(`version ${task.live.version}`, "live") : tag("no version is live", "warn")],
      ["Kind", kind(shown.type)],
      ["Input", shown.pair ? "two texts" : "one text"],
      ["Max length", `${count(shown.max_length)} tokens`],
      ["Truncation", CUT[shown.truncation] ?? shown.truncation],
      ["Temperature", number(shown.temperature)],
      ["Context", shown.context ?? null],
      ["Weight", task.weight === undefined ? null : number(task.weight)],
    ].filter(([, value]) => value !== null)),
    shown.labels.length > 0 && h("div", { class: "labelled" }, h("h2", { class: "small" }, "Labels"),
      h("ul", { class: "chips" }, shown.labels.slice(0, LABELS_SHOWN).map((label) => h("li", { class: "chip" }, h("span", {}, label))),
        more > 0 && h("li", { class: "hint" }, `and ${count(more)} more`))),
    metrics.length > 0 && h("div", { class: "labelled" }, h("h2", { class: "small" }, `Metrics of version ${shown.version}`), facts(metrics.map(([word, value]) => [word, number(value)]), "small")));
}
