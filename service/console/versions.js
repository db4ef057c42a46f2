// The versions and aliases of a task, with their actions.

import { askActivate, askAlias, askDeleteAlias, askDeleteVersion } from "./changes.js";
import { focusOn, h } from "./dom.js";
import { save } from "./download.js";
import { bytes, count, digest, number, time } from "./format.js";
import { alias, button, tag } from "./parts.js";
import { aliasesOf, aliasNames, mainMetric, missing } from "./store.js";

const SHOWN = 20;
const open = new Set(); // tasks with all versions shown

export function versionsPanel(task) {
  const newest = task.versions.toReversed();
  const rows = open.has(task.name) ? newest : newest.slice(0, SHOWN);
  const hidden = newest.length - rows.length;
  const place = h("div", { class: "table-place" }, table(task, rows));
  if (hidden > 0) place.append(button(`Show ${count(hidden)} older`, () => {
    open.add(task.name);
    place.replaceChildren(table(task, newest));
    focusOn(place.querySelectorAll("tbody tr")[SHOWN]);
  }, { kind: "more", focus: "older" }));
  return h("section", { class: "card", "aria-label": "Versions" }, h("h2", {}, "Versions"), place, aliases(task));
}

function table(task, versions) {
  const heads = ["Version", "Published", "Score", "Size", "SHA-256"].map((text) => h("th", { scope: "col" }, text));
  return h("table", { class: "versions" },
    h("thead", {}, h("tr", {}, heads, h("th", { scope: "col" }, h("span", { class: "unseen" }, "Actions")))),
    h("tbody", {}, versions.map((version) => row(task, version))));
}

function row(task, version) {
  const names = aliasesOf(task, version.version);
  const metric = mainMetric(version.metrics);
  const cell = (name, ...content) => h("td", { "data-name": name }, content);
  return h("tr", { class: names.includes("live") ? "current" : "" },
    h("th", { scope: "row" }, h("span", { class: "figure" }, version.version), " ", names.map(alias), version.quarantined && tag("damaged", "bad")),
    cell("Published", h("time", { datetime: version.created_at }, time(version.created_at))),
    cell("Score", metric ? [h("span", { class: "figure" }, number(metric[1])), h("span", { class: "hint" }, ` ${metric[0]}`)] : "–"),
    cell("Size", h("span", { title: `${count(version.num_parameters)} parameters` }, bytes(version.num_bytes))),
    cell("SHA-256", h("span", { class: "mono", title: version.digest }, digest(version.digest))),
    h("td", { class: "actions" }, actions(task, version, names)));
}

function actions(task, version, names) {
  const n = version.version;
  const upload = missing("upload");
  const inUse = names.length ? `An alias points to this version: ${names.join(", ")}.` : "";
  const named = (word) => ({ focus: `${word} ${n}`, label: `${word} version ${n}` });
  return [
    !names.includes("live") && button("Activate", () => askActivate(task, n), { ...named("Activate"), why: upload || (version.quarantined ? "The file of this version is damaged." : "") }),
    button("Alias…", () => askAlias(task, n), { ...named("Alias"), kind: "quiet", why: upload }),
    button("Download", () => save(task.name, n), { ...named("Download"), kind: "quiet", why: upload }),
    button("Delete…", () => askDeleteVersion(task, n), { ...named("Delete"), kind: "quiet", why: missing("admin") || inUse }),
  ];
}

function aliases(task) {
  const names = aliasNames(task);
  if (names.length === 0) return h("p", { class: "hint" }, "No alias: clients must name a version number.");
  return h("div", { class: "labelled" }, h("h3", {}, "Aliases"),
    h("ul", { class: "chips aliases" }, names.map((name) => h("li", { class: "chip" },
      h("span", {}, h("b", {}, name), ` → ${task.aliases[name]}`),
      button("×", () => askDeleteAlias(task, name), { kind: "remove", focus: `remove ${name}`, label: `Remove the alias ${name}`, why: missing("admin") })))));
}
