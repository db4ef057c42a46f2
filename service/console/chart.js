// Small line charts in SVG. The figures beside them are text; to a screen reader the drawing is nothing more.

import { h, svg } from "./dom.js";

const [WIDTH, HEIGHT] = [300, 72];

/** `points`: [{ at, values: [number or null, ...] }], oldest first, drawn over `spanMs` up to `nowMs`. */
export function chart(points, spanMs, nowMs, gapMs, unit = "") {
  const top = niceTop(Math.max(0, ...points.flatMap((point) => point.values.filter((value) => value !== null))));
  const x = (at) => WIDTH * (1 - (nowMs - at) / spanMs);
  const y = (value) => HEIGHT - 1 - (value / top) * (HEIGHT - 6);
  const numLines = points[0]?.values.length ?? 0;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "chart", "aria-hidden": "true", focusable: "false" },
    [0.5, 1].map((share) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y(top * share), y2: y(top * share) })),
    Array.from({ length: numLines }, (_, i) => runs(points, i, gapMs).flatMap((run) => line(run, i, x, y, numLines))));
  return h("div", { class: "plot" }, drawing, h("span", { class: "top" }, `${top >= 10_000 ? `${top / 1000}k` : top}${unit}`));
}

/** Points that belong together: a line ends where there is no value, or where nobody looked. */
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

/** The least of 1, 2, 5, 10, 20 ... that `value` fits under. */
export function niceTop(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return Number((power * [1, 2, 5, 10].find((step) => step * power >= value)).toPrecision(1));
}
