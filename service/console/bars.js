// A prediction as bars: the score of every label, best first.

import { focusOn, h } from "./dom.js";
import { count, number, percent } from "./format.js";
import { tag } from "./parts.js";

const FIRST = 8;
const THRESHOLD = 0.5; // of a multi-label task

/** Show the bars of one prediction, or the value of a regression. */
export function bars(prediction) {
  if ("value" in prediction) return h("p", { class: "value" }, h("span", { class: "figure" }, number(prediction.value)), h("span", { class: "hint" }, "value"));
  const ranked = Object.entries(prediction.scores).sort(([, one], [, other]) => other - one);
  const chosen = new Set(prediction.labels ?? [prediction.label]);
  const multi = "labels" in prediction;
  const rows = ranked.map(([label, score]) => bar(label, score, chosen.has(label), multi));
  const list = h("ol", { class: `bars ${multi ? "multi" : ""}` }, rows.slice(0, FIRST));
  const more = rows.length > FIRST && h("button", { type: "button", class: "link", onclick: (event) => {
    list.append(...rows.slice(FIRST));
    focusOn(rows[FIRST]);
    event.target.remove();
  } }, `${count(rows.length - FIRST)} more`);
  return h("div", {}, headline(prediction, multi), list,
    multi && h("p", { class: "hint threshold-note" }, `The line is the threshold, ${percent(THRESHOLD)}.`), more);
}

function headline(prediction, multi) {
  if (!multi) return h("p", { class: "answer" }, prediction.label);
  if (prediction.labels.length === 0) return h("p", { class: "answer none" }, "no label reaches the threshold");
  return h("p", { class: "answer" }, prediction.labels.map((label) => tag(label, "strong")));
}

function bar(label, score, on, multi) {
  const fill = h("span", { class: "fill" });
  fill.style.width = `${Math.max(0, Math.min(1, score)) * 100}%`;
  return h("li", { class: on ? "on" : "" },
    h("span", { class: "label", title: label }, label),
    h("span", { class: "track", "aria-hidden": "true" }, fill, multi && h("span", { class: "threshold" })),
    h("span", { class: "score" }, percent(score)));
}
