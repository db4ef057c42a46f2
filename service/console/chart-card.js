// A card with a figure and its chart. draw() shows the newest points in the same elements.

import { chart } from "./chart.js";
import { h, replace } from "./dom.js";
import { GAP_MS, shownSpanMs } from "./monitor.js";

/**
 * `values` returns one value per entry of `lines`, `show` formats a value, `figure` formats the large text, and `scale`
 * is the unit at the top of the chart.
 */
export function chartCard({ title, unit, lines, values, show, figure, scale }) {
  const large = h("span", { class: "figure big" }, "–");
  const drawn = chart({ label: title, lines, show });
  const since = h("span", { class: "hint" });
  const legend = lines.length > 1 && h("ul", { class: "legend" });
  const element = h("section", { class: "card chart-card", "aria-label": title },
    h("header", {}, h("h2", {}, title), h("p", {}, large, h("span", { class: "hint" }, ` ${unit}`))), drawn.element,
    h("footer", {}, since, legend, h("span", { class: "hint" }, "now")));

  function draw(points) {
    const latest = points.at(-1) ?? null;
    const span = shownSpanMs();
    large.textContent = latest ? figure(latest) : "–";
    since.textContent = `${Math.round(span / 60_000)} min ago`;
    drawn.draw(points.map((point) => ({ at: point.at, values: values(point) })), span, latest?.at ?? 0, GAP_MS, scale);
    if (legend) replace(legend, lines.map((line, i) => h("li", { class: `key-${i}` }, line, h("b", {}, ` ${show(latest ? values(latest)[i] : null)}`))));
  }

  return { element, draw };
}
