// What clients of a task notice when one version takes the place of another. The server has the same rule.

import { h } from "./dom.js";
import { counted, kind } from "./format.js";

const SHOWN = 8;

/** The differences between two versions, or a version and a file: [{ text, breaks }]; `breaks` where clients rely on it. */
export function differences(live, next) {
  const found = [];
  const add = (breaks, text) => found.push({ breaks, text });
  if (live.type !== next.type) add(true, `It answers with ${kind(next.type)} in place of ${kind(live.type)}.`);
  if (live.pair !== next.pair) add(true, next.pair ? "It takes pairs of texts in place of single texts." : "It takes single texts in place of pairs.");
  const gone = live.labels.filter((label) => !next.labels.includes(label));
  const more = next.labels.filter((label) => !live.labels.includes(label));
  if (gone.length) add(true, `It never answers ${listed(gone)}.`);
  if (more.length) add(false, `It also answers ${listed(more)}.`);
  if (!gone.length && !more.length && live.labels.some((label, i) => label !== next.labels[i])) add(false, "Its labels are in another order.");
  return found;
}

export const breaks = (found) => found.some((difference) => difference.breaks);

/** The differences as a list; nothing where there are none. */
export const differenceList = (found) =>
  found.length > 0 && h("ul", { class: "differences" }, found.map(({ text, breaks: bad }) => h("li", { class: bad ? "breaks" : "" }, bad && h("b", {}, "Clients break: "), text)));

function listed(labels) {
  const quoted = labels.slice(0, SHOWN).map((label) => `“${label}”`).join(", ");
  return labels.length > SHOWN ? `${quoted} and ${counted(labels.length - SHOWN, "more label")}` : quoted;
}
