// Chooses the tasks of a request: a filter, a list with checkboxes, and the chosen tasks as removable chips.

import { h, replace, say } from "./dom.js";
import { matching, whenQuiet } from "./filter.js";
import { count, counted } from "./format.js";
import { aliasesOf, described, store, unlisted } from "./store.js";

export const MOST = 64; // tasks per request
const SHOWN = 40;
const REFERENCE = /^[a-z0-9][a-z0-9-]{0,62}(@[a-z0-9][a-z0-9-]{0,62})?$/;

/** `chosen`: an array of references such as "sst2" and "sst2@7" that is changed in place; `changed` is called afterwards. */
export function taskPicker(chosen, changed) {
  const chips = h("ul", { class: "chips", "aria-label": "Chosen tasks" });
  const list = h("div", { class: "options", role: "group", "aria-label": "Tasks" });
  const rest = h("p", { class: "hint" });
  const filter = h("input", {
    type: "search", placeholder: "Filter, or sst2@7 for a version", "aria-label": "Filter tasks, or name a version",
    autocomplete: "off", spellcheck: "false", oninput: whenQuiet(drawList), onkeydown: entered,
  });
  const title = h("h2", {}, "Tasks");

  function set(reference, on) {
    const at = chosen.indexOf(reference);
    if (on && at < 0) {
      if (chosen.length >= MOST) return say(`At most ${MOST} tasks at once`), draw();
      chosen.push(reference);
    }
    if (!on && at >= 0) chosen.splice(at, 1);
    draw();
  }

  function entered(event) {
    if (event.key !== "Enter" || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    drawList(); // the list may lag behind the typed text
    if (filter.value) list.querySelector("input")?.click();
  }

  function draw() {
    replace(chips, chosen.map((reference) =>
      h("li", { class: "chip" }, h("span", {}, reference),
        h("button", { type: "button", class: "remove", "aria-label": `Remove ${reference}`, "data-focus": `chip ${reference}`,
          onclick: () => (set(reference, false), filter.focus()) }, "×"))));
    chips.hidden = chosen.length === 0;
    drawList();
    changed();
  }

  function drawList() {
    const [options, num] = candidates(filter.value.trim().toLowerCase());
    replace(list, options.map(option));
    list.hidden = options.length === 0;
    rest.textContent = num > options.length ? `${count(num - options.length)} more: narrow the filter.`
      : options.length === 0 ? (store.tasks.size ? "No matching task." : nothing()) : "";
    rest.hidden = rest.textContent === "";
    title.textContent = chosen.length ? `Tasks (${chosen.length})` : "Tasks";
  }

  function option([reference, note]) {
    const box = h("input", { type: "checkbox", checked: chosen.includes(reference), "data-focus": `task ${reference}`,
      onchange: (event) => set(reference, event.target.checked) });
    return h("label", { class: "option" }, box, h("span", { class: "name" }, reference), note && h("span", { class: "note" }, note));
  }

  return { element: h("section", { class: "card picker", "aria-label": "Tasks" }, title, chips, filter, list, rest), draw };
}

function nothing() {
  if (!store.loaded) return "Loading…";
  return unlisted() || "There are no tasks yet.";
}

/** The options that match the filter as [reference, note], and their total number. */
function candidates(text) {
  const [name, selector] = text.split("@");
  if (selector !== undefined) return versions(name, selector, text);
  const found = matching([...store.tasks.values()], text).filter((task) => task.live);
  return [found.slice(0, SHOWN).map((task) => [task.name, note(task)]), found.length];
}

function versions(name, selector, text) {
  const known = store.tasks.get(name);
  const options = (known?.versions ?? []).toReversed().map((version) =>
    [`${name}@${version.version}`, aliasesOf(known, version.version).join(", ")]);
  for (const alias of Object.keys(known?.aliases ?? {})) options.push([`${name}@${alias}`, `version ${known.aliases[alias]}`]);
  const fitting = options.filter(([reference]) => reference.startsWith(text));
  const exact = fitting.some(([reference]) => reference === text);
  if (selector && !exact && REFERENCE.test(text)) fitting.unshift([text, known?.versions ? "unknown" : ""]);
  return [fitting.slice(0, SHOWN), fitting.length];
}

function note(task) {
  const shown = described(task);
  if (shown.type === "regression") return shown.pair ? "pair · value" : "value";
  return `${shown.pair ? "pair · " : ""}${counted(shown.labels.length, "label")}`;
}
