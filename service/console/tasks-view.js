// The list of tasks: a filter, a table with a hundred rows at a time, and the panel to publish an adapter.

import { focusOn, h, replace } from "./dom.js";
import { matching, whenQuiet } from "./filter.js";
import { count, kind, number } from "./format.js";
import { isAway } from "./http.js";
import { alias, button, heading, notAllowed, refusal, tag } from "./parts.js";
import { publishPanel } from "./publish.js";
import { described, load, mainMetric, missing, onChange, store, unlisted } from "./store.js";

const PAGE = 100;
let filterText = ""; // kept while the user visits a task

export function tasksView() {
  let shown = PAGE;
  const counter = h("p", { class: "hint", role: "status" });
  const notes = h("div", {});
  const table = h("div", { class: "table-place" });
  const filter = h("input", { type: "search", value: filterText, placeholder: "Filter by name, label or type", "aria-label": "Filter tasks",
    autocomplete: "off", spellcheck: "false", oninput: whenQuiet(() => {
      filterText = filter.value;
      shown = PAGE;
      draw();
    }) });

  function draw() {
    const found = matching([...store.tasks.values()], filterText);
    counter.textContent = !store.loaded ? "Loading…" : found.length === store.tasks.size ? `${count(found.length)} in all` : `${count(found.length)} of ${count(store.tasks.size)}`;
    replace(notes, problems());
    replace(table, found.length > 0 ? taskTable(found.slice(0, shown)) : store.loaded && nothing(),
      found.length > shown && button(`Show ${count(Math.min(PAGE, found.length - shown))} more of ${count(found.length - shown)}`, showMore, { kind: "more", focus: "more" }));
  }

  function showMore() {
    shown += PAGE;
    draw();
    focusOn(table.querySelectorAll("tbody tr")[shown - PAGE]);
  }

  draw();
  const element = h("div", {},
    heading("Tasks", counter),
    notes,
    h("div", { class: "split" },
      h("section", { class: "card list", "aria-label": "Tasks" },
        h("div", { class: "toolbar" }, filter, button("Reload", load, { kind: "quiet", focus: "reload" })), table),
      publishPanel()));
  return { element, title: "Tasks", leave: onChange(draw) };
}

function problems() {
  if (!store.loaded) return null;
  const { predict, upload } = store.refused;
  if (isAway(predict)) return refusal(predict);
  return [
    missing("predict") && notAllowed(missing("predict"), "You cannot list the tasks."),
    missing("upload") && notAllowed(missing("upload"), "You cannot see or change versions."),
  ];
}

function nothing() {
  const words = unlisted() || (filterText ? "No task matches the filter."
    : "There are no tasks yet: train an adapter with adakron train and publish it here.");
  return h("p", { class: "empty" }, words);
}

function taskTable(tasks) {
  const heads = ["Task", "Live", "Kind", "Labels", "Score"].map((text) => h("th", { scope: "col" }, text));
  return h("table", { class: "tasks" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, tasks.map(row)));
}

function row(task) {
  const shown = described(task);
  const metric = shown && mainMetric(shown.metrics);
  const others = Object.keys(task.aliases).filter((name) => name !== "live");
  return h("tr", {},
    h("th", { scope: "row" }, h("a", { href: `#tasks/${encodeURIComponent(task.name)}`, "data-focus": `open ${task.name}` }, task.name)),
    cell("Live", task.live ? tag(`version ${task.live.version}`, "live") : tag("not live", "warn"), others.slice(0, 2).map(alias),
      task.versions && h("span", { class: "hint" }, ` of ${count(task.versions.length)}`)),
    cell("Kind", shown ? kind(shown.type) : "–", shown?.pair && tag("pair")),
    cell("Labels", shown && labels(shown.labels)),
    cell("Score", metric ? [h("span", { class: "figure" }, number(metric[1])), h("span", { class: "hint" }, ` ${metric[0]}`)] : "–"));
}

const cell = (name, ...content) => h("td", { "data-name": name }, content);

function labels(names) {
  if (names.length === 0) return "–";
  const more = names.length > 3 ? ` and ${count(names.length - 3)} more` : "";
  return h("span", { class: "labels", title: names.slice(0, 30).join(", ") }, names.slice(0, 3).join(", ") + more);
}
