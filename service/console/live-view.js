// Latency and throughput as they are now, from GET /metrics of the server that answers. Asked only while it is seen.

import { chart } from "./chart.js";
import { h, replace } from "./dom.js";
import { parse } from "./exposition.js";
import { count, milliseconds, number } from "./format.js";
import { send } from "./http.js";
import { heading, refusal } from "./parts.js";
import { between, sample, WANTED } from "./rates.js";

const EVERY_MS = 2000;
const LONGEST_MS = 20_000; // between two looks at a server that takes long to answer
const OLDEST_MS = 30_000; // of a sample that is compared with: before that nobody looked
const SPAN_MS = 300_000;
const LEAST_SPAN_MS = 60_000; // at first
const WINDOW = 5; // samples that a figure looks back, 10 s: percentiles of two seconds jump about
const TASKS_SHOWN = 10;

const samples = []; // stay when one comes back
const points = [];

const CARDS = [
  { title: "Requests", unit: "per second", lines: ["all"], values: (p) => [p.rate], figure: (p) => number(p.rate) },
  { title: "Latency", unit: "95th percentile", lines: ["median", "95th"], values: (p) => [p.p50, p.p95], figure: (p) => milliseconds(p.p95), scale: " ms" },
  { title: "Failures", unit: "per second", lines: ["all"], values: (p) => [p.failures], figure: (p) => number(p.failures) },
  { title: "Queue", unit: "requests waiting", lines: ["now"], values: (p) => [p.queueDepth], figure: (p) => count(p.queueDepth) },
  { title: "Batch", unit: "inputs, on average", lines: ["mean"], values: (p) => [p.batchSize], figure: (p) => number(p.batchSize) },
  { title: "Stages", unit: "of inference, mean", lines: ["tokenize", "queue", "inference"], values: (p) => [p.tokenize, p.queue, p.inference], figure: (p) => milliseconds(p.inference), scale: " ms" },
];

export function liveView() {
  const grid = h("div", { class: "charts" });
  const table = h("div", { class: "table-place" });
  const problem = h("div", {});
  const resident = h("p", { class: "hint" });
  let timer = 0;
  let over = false;
  let told = "";

  async function look() {
    let waitMs = EVERY_MS;
    if (!document.hidden) {
      const started = performance.now();
      try {
        take(parse(await (await send("GET", "metrics")).text(), WANTED), started);
        replace(problem);
        told = "";
      } catch (error) {
        if (error.message !== told) replace(problem, refusal(error)); // what is said once is not said every two seconds
        told = error.message;
      }
      waitMs = Math.min(LONGEST_MS, Math.max(EVERY_MS, 20 * (performance.now() - started))); // a twentieth of its time
      if (!over) draw();
    }
    if (!over) timer = setTimeout(look, waitMs);
  }

  function draw() {
    const latest = points.at(-1) ?? null;
    replace(grid, CARDS.map((card) => chartCard(card, latest)));
    replace(table, latest && taskTable(latest.tasks));
    resident.textContent = samples.length ? `${count(samples.at(-1).resident)} adapters in memory` : "Looking…";
  }

  draw();
  look();
  const element = h("div", {}, heading("Live", resident), problem, grid,
    h("section", { class: "card", "aria-label": "By task" }, h("h2", {}, "By task, last 10 seconds"), table),
    h("p", { class: "hint foot" }, "The last five minutes of the server that answers this page, looked at every two seconds while the page is seen. For all servers and longer times use Prometheus."));
  return { element, title: "Live", leave: () => { over = true; clearTimeout(timer); } };
}

function take(series, nowMs) {
  const newest = sample(series, nowMs);
  if (samples.at(-1)?.began !== newest.began) samples.length = 0; // the server has been started anew
  samples.push(newest);
  while (samples.length > WINDOW + 1) samples.shift();
  const older = samples.find((old) => newest.atMs - old.atMs <= OLDEST_MS && old !== newest);
  if (older) points.push({ at: nowMs, queueDepth: newest.queueDepth, ...between(older, newest) });
  while (points.length && nowMs - points[0].at > SPAN_MS) points.shift();
}

function chartCard({ title, unit, lines, values, figure, scale }, latest) {
  const drawn = points.map((point) => ({ at: point.at, values: values(point) }));
  const shown = latest ? values(latest) : [];
  const minutes = latest ? Math.ceil((latest.at - points[0].at) / LEAST_SPAN_MS) : 1;
  const span = Math.min(SPAN_MS, Math.max(1, minutes) * LEAST_SPAN_MS);
  const each = lines.map((line, i) => h("li", { class: `key-${i}` }, line, lines.length > 1 && h("b", {}, ` ${milliseconds(shown[i] ?? null)}`)));
  return h("section", { class: "card chart-card", "aria-label": title },
    h("header", {}, h("h2", {}, title), h("p", {}, h("span", { class: "figure big" }, latest ? figure(latest) : "–"), h("span", { class: "hint" }, ` ${unit}`))),
    chart(drawn, span, latest?.at ?? 0, OLDEST_MS, scale),
    h("footer", {}, h("span", { class: "hint" }, `${Math.round(span / 60_000)} min ago`), lines.length > 1 && h("ul", { class: "legend" }, each), h("span", { class: "hint" }, "now")));
}

function taskTable(tasks) {
  if (tasks.length === 0) return h("p", { class: "empty" }, "No request in this time.");
  const rows = tasks.toSorted((one, other) => other.rate - one.rate).slice(0, TASKS_SHOWN);
  return h("table", {},
    h("thead", {}, h("tr", {}, ["Task", "Requests per second", "Failures per second", "Median", "95th percentile"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map((task) => h("tr", {}, h("th", { scope: "row" }, task.name === "_other" ? "others" : task.name),
      [["Requests", number(task.rate)], ["Failures", number(task.failures)], ["Median", milliseconds(task.p50)], ["95th", milliseconds(task.p95)]]
        .map(([name, text]) => h("td", { "data-name": name, class: "figure" }, text))))),
    tasks.length > rows.length && h("caption", { class: "hint" }, `The ${rows.length} busiest of ${count(tasks.length)}.`));
}
