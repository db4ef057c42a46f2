// A line chart in SVG. The pointer or the arrow keys select a time and show its values.

import { h, replace, svg } from "./dom.js";

const [WIDTH, HEIGHT] = [300, 72];

/** `label` names the chart, `lines` are the names of its lines, `show` formats a value. */
export function chart({ label, lines, show }) {
  const top = h("span", { class: "top", "aria-hidden": "true" });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "chart", "aria-hidden": "true", focusable: "false" });
  const cursor = h("span", { class: "cursor", hidden: true });
  const tip = h("span", { class: "tip", hidden: true });
  const element = h("div", { class: "plot", role: "slider", tabindex: 0, "aria-label": `${label} over time`, "aria-valuemin": 0,
    onpointermove: pointed, onpointerdown: pointed, onpointerleave: () => point(null), onblur: () => point(null), onkeydown: pressed },
  top, h("div", { class: "canvas" }, drawing, cursor), tip);
  let shown = { points: [], spanMs: 1, nowMs: 0 };
  let at = null; // the selected time in milliseconds, on the clock of the points

  const share = (time) => 1 - (shown.nowMs - time) / shown.spanMs;

  /** Draw `points`, [{ at, values: [number or null, ...] }] with the oldest first, over `spanMs` up to `nowMs`. */
  function draw(points, spanMs, nowMs, gapMs, unit = "") {
    shown = { points, spanMs, nowMs };
    const highest = niceTop(Math.max(0, ...points.flatMap((each) => each.values.filter((value) => value !== null))));
    const x = (time) => WIDTH * share(time);
    const y = (value) => HEIGHT - 1 - (value / highest) * (HEIGHT - 6);
    top.textContent = `${highest >= 10_000 ? `${highest / 1000}k` : highest}${unit}`;
    replace(drawing, [0.5, 1].map((part) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y(highest * part), y2: y(highest * part) })),
      lines.map((_, i) => runs(points, i, gapMs).flatMap((run) => line(run, i, x, y, lines.length))));
    element.setAttribute("aria-valuemax", Math.max(0, points.length - 1));
    point(at);
  }

  function nearest() {
    if (at === null || shown.points.length === 0) return -1;
    const apart = shown.points.map((each) => Math.abs(each.at - at));
    return apart.indexOf(Math.min(...apart));
  }

  function point(time) {
    at = time;
    const i = nearest();
    cursor.hidden = tip.hidden = i < 0;
    element.setAttribute("aria-valuenow", i < 0 ? Math.max(0, shown.points.length - 1) : i);
    const near = shown.points[i < 0 ? shown.points.length - 1 : i];
    element.setAttribute("aria-valuetext", near ? words(near) : "no value yet");
    if (i < 0) return;
    tip.textContent = words(near);
    cursor.style.left = `${100 * share(near.at)}%`;
    tip.classList.toggle("left", share(near.at) > 0.5); // beside the cursor
  }

  function words({ at: time, values }) {
    const ago = Math.round((shown.nowMs - time) / 1000);
    const each = values.map((value, i) => (lines.length > 1 ? `${lines[i]} ${show(value)}` : show(value)));
    return `${ago === 0 ? "now" : `${ago} s ago`}: ${each.join(", ")}`;
  }

  function pointed(event) {
    const box = drawing.getBoundingClientRect();
    if (box.width > 0) point(shown.nowMs - shown.spanMs * (1 - (event.clientX - box.left) / box.width));
  }

  function pressed(event) {
    const last = shown.points.length - 1;
    const i = at === null ? last : nearest();
    const next = { ArrowLeft: i - 1, ArrowDown: i - 1, ArrowRight: i + 1, ArrowUp: i + 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") point(null);
    if (next === undefined || last < 0) return;
    event.preventDefault();
    point(shown.points[Math.max(0, Math.min(last, next))].at);
  }

  return { element, draw };
}

/** Split the points into connected lines: a missing value or sample interrupts a line. */
function runs(points, i, gapMs) {
  const found = [];
  let last = null;
  for (const { at, values } of points) {
    if (values[i] === null) { last = null; continue; }
    if (last === null || at - last > gapMs) found.push([]);
    found.at(-1).push([at, values[i]]);
    last = at;
  }
  return found;
}

function line(run, i, x, y, numLines) {
  const steps = run.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
  if (steps.length === 1) return [svg("circle", { class: `line-${i} point`, cx: x(run[0][0]), cy: y(run[0][1]), r: 1.5 })];
  const area = numLines === 1 && svg("path", { class: "area", d: `M${x(run[0][0]).toFixed(1)},${HEIGHT} L${steps.join(" L")} L${x(run.at(-1)[0]).toFixed(1)},${HEIGHT} Z` });
  return [area, svg("path", { class: `line line-${i}`, d: `M${steps.join(" L")}` })].filter(Boolean);
}

/** The smallest of 1, 2, 5, 10, 20 ... that is at least `value`. */
export function niceTop(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return Number((power * [1, 2, 5, 10].find((step) => step * power >= value)).toPrecision(1));
}
