// Current latency and throughput of the server that answers this page.

import { chartCard } from "./chart-card.js";
import { h, replace } from "./dom.js";
import { count, milliseconds, number } from "./format.js";
import { monitor, points, resident } from "./monitor.js";
import { heading, refusal } from "./parts.js";

const TASKS_SHOWN = 10;

export const REQUESTS = { title: "Requests", unit: "per second", lines: ["all"], show: number, values: (p) => [p.rate], figure: (p) => number(p.rate) };
export const LATENCY = { title: "Latency", unit: "95th percentile", lines: ["median", "95th"], show: milliseconds, values: (p) => [p.p50, p.p95], figure: (p) => milliseconds(p.p95), scale: " ms" };
export const FAILURES = { title: "Failures", unit: "per second", lines: ["failed (5xx)", "refused (429)"], show: number, values: (p) => [p.failures, p.refused], figure: (p) => number(p.failures) };

const CARDS = [
  REQUESTS,
  LATENCY,
  FAILURES,
  { title: "Queue", unit: "requests waiting", lines: ["now"], show: count, values: (p) => [p.queueDepth], figure: (p) => count(p.queueDepth) },
  { title: "Batch", unit: "inputs, on average", lines: ["mean"], show: number, values: (p) => [p.batchSize], figure: (p) => number(p.batchSize) },
  { title: "Stages", unit: "of inference, mean", lines: ["tokenize", "queue", "inference"], show: milliseconds, values: (p) => [p.tokenize, p.queue, p.inference], figure: (p) => milliseconds(p.inference), scale: " ms" },
];

export function liveView() {
  const cards = CARDS.map(chartCard);
  const table = h("div", { class: "table-place" });
  const problem = h("div", {});
  const adapters = h("p", { class: "hint" });
  let told = "";

  function draw(error) {
    if ((error?.message ?? "") !== told) replace(problem, error && refusal(error)); // announce a lasting failure once
    told = error?.message ?? "";
    for (const card of cards) card.draw(points);
    replace(table, points.length > 0 && taskTable(points.at(-1).tasks));
    adapters.textContent = resident() === null ? "Loading…" : `${count(resident())} adapters in memory`;
  }

  draw(null);
  const stop = monitor(draw);
  const element = h("div", {}, heading("Live", adapters), problem, h("div", { class: "charts" }, cards.map((card) => card.element)),
    h("section", { class: "card", "aria-label": "By task" }, h("h2", {}, "By task, last 10 seconds"), table),
    h("p", { class: "hint foot" }, "The last five minutes of the server that answers this page, sampled every two seconds while the page is visible. Point at a chart, or focus it and press an arrow key, to read its values. Use Prometheus for all servers and longer periods."));
  return { element, title: "Live", leave: stop };
}

function taskTable(tasks) {
  if (tasks.length === 0) return h("p", { class: "empty" }, "No requests in this period.");
  const rows = tasks.toSorted((one, other) => other.rate - one.rate).slice(0, TASKS_SHOWN);
  const columns = [
    ["Requests", "Requests per second", (task) => number(task.rate)],
    ["Failures", "Failures per second", (task) => number(task.failures)],
    ["Refused", "Refused per second", (task) => number(task.refused)],
    ["Median", "Median", (task) => milliseconds(task.p50)],
    ["95th", "95th percentile", (task) => milliseconds(task.p95)],
  ];
  return h("table", {},
    h("thead", {}, h("tr", {}, ["Task", ...columns.map(([, title]) => title)].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map((task) => h("tr", {}, h("th", { scope: "row" }, task.name === "_other" ? "others" : task.name),
      columns.map(([name, , text]) => h("td", { "data-name": name, class: "figure" }, text(task)))))),
    tasks.length > rows.length && h("caption", { class: "hint" }, `The ${rows.length} busiest of ${count(tasks.length)} tasks.`));
}
