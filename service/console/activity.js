// The traffic of one task: its request rate, latency and failures, and how often each label is the answer.

import { chartCard } from "./chart-card.js";
import { h, replace } from "./dom.js";
import { count, counted, number, percent } from "./format.js";
import { adminTask, call } from "./http.js";
import { FAILURES, LATENCY, REQUESTS } from "./live-view.js";
import { monitor, points } from "./monitor.js";
import { missing } from "./store.js";

const IDLE = { rate: 0, failures: 0, refused: 0, p50: null, p95: null };
const LABELS_SHOWN = 12;

/** The charts of task `name`, and its label shares if the key may list versions. Metrics are polled only while the panel is open. */
export function activityPanel(name) {
  const cards = [REQUESTS, LATENCY, FAILURES].map(chartCard);
  const shares = h("div", { class: "stack" });
  const note = h("p", { class: "hint" });
  const body = h("div", { class: "stack" }, h("div", { class: "charts" }, cards.map((card) => card.element)), shares, note);
  const details = h("details", { class: "card", ontoggle: toggled }, h("summary", {}, h("h2", {}, "Activity")), body);
  let stop = null;
  let first = null; // label counts when the panel was opened

  function toggled() {
    stop?.();
    stop = details.open ? monitor(draw) : null;
    first = null;
  }

  async function draw(error) {
    note.textContent = error ? `The metrics cannot be read: ${error.message}.` : "Traffic of the server that answers this page over the last five minutes. Other servers of the same registry are not included.";
    const own = points.map(({ at, tasks }) => ({ at, ...(tasks.find((task) => task.name === name) ?? IDLE) }));
    for (const card of cards) card.draw(own);
    if (missing("upload")) return replace(shares);
    try {
      const { versions } = await call("GET", adminTask(name, "/activity"));
      first ??= versions;
      if (stop && !missing("upload")) replace(shares, versions.map((now) => versionShares(now, first.find((then) => then.version === now.version))));
    } catch {
      replace(shares); // the charts stay; the next poll tries again
    }
  }

  /** Remove the label shares as soon as the key may no longer list versions. */
  const forget = () => missing("upload") && replace(shares);

  return { element: details, draw: forget, leave: () => { stop?.(); stop = null; } };
}

/** The label shares of one version: since the panel was opened if there are answers since then, else since the server started. */
function versionShares(now, then) {
  const fresh = then !== undefined && now.num_inputs > then.num_inputs;
  const before = new Map((fresh ? then.labels : []).map(({ label, count: n }) => [label, n]));
  const inputs = now.num_inputs - (fresh ? then.num_inputs : 0);
  const rows = now.labels.map(({ label, count: n }) => [label, Math.max(0, n - (before.get(label) ?? 0))]).sort(([, one], [, other]) => other - one);
  const rest = Math.max(0, rows.length - LABELS_SHOWN) + now.num_other_labels;
  const title = `Answers of version ${now.version}`;
  return h("section", { "aria-label": title },
    h("h3", {}, `${title} · ${counted(inputs, "input")} ${fresh ? "since this panel was opened" : "since the server started"}`),
    now.mean === null ? h("ol", { class: "bars shares" }, rows.slice(0, LABELS_SHOWN).map(([label, n]) => share(label, n / inputs)))
      : h("p", { class: "value" }, h("span", { class: "figure" }, number(now.mean)), h("span", { class: "hint" }, "mean value since the server started")),
    rest > 0 && h("p", { class: "hint" }, `and ${count(rest)} more`));
}

function share(label, part) {
  const fill = h("span", { class: "fill" });
  fill.style.width = `${100 * part}%`;
  return h("li", { class: "on" }, h("span", { class: "label", title: label }, label), h("span", { class: "track", "aria-hidden": "true" }, fill), h("span", { class: "score" }, percent(part)));
}
