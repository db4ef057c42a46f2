// What changes for clients when another version becomes live: the rule of the server, applied to a file before its upload.

import { h } from "./dom.js";
import { count } from "./format.js";

const SHOWN = 10; // labels
const LABEL_SHOWN = 40; // characters of a label

/** Compare the live version with a file: { breaking, notes }, two lists of sentences like `changes` of the admin API. */
export function compared(live, next) {
  const breaking = [];
  const notes = [];
  const kept = new Set(live.labels.filter((label) => next.labels.includes(label)));
  const inputs = ({ pair }) => (pair ? "pairs of texts" : "single texts");
  if (live.type !== next.type) breaking.push(`type: ${live.type} -> ${next.type}`);
  if (live.pair !== next.pair) breaking.push(`inputs: ${inputs(live)} -> ${inputs(next)}`);
  const removed = live.labels.filter((label) => !kept.has(label));
  const added = next.labels.filter((label) => !kept.has(label));
  if (removed.length) breaking.push(`labels removed: ${listed(removed)}`);
  const [before, after] = [live.context ?? null, next.context ?? null];
  if (before !== null && before !== after) breaking.push(`context: ${before} -> ${after ?? "none"}`);
  if (added.length) notes.push(`labels added: ${listed(added)}`);
  const moved = live.labels.some((label, i) => i < next.labels.length && label !== next.labels[i] && (kept.has(label) || kept.has(next.labels[i])));
  if (moved) notes.push("labels in another order");
  if (live.max_length !== next.max_length) notes.push(`max_length: ${live.max_length} -> ${next.max_length} tokens`);
  if (before === null && after !== null) notes.push(`takes the context ${after}`);
  return { breaking, notes };
}

/** Show `changes` of the admin API as lists; null if there are none. */
export function differenceList(changes) {
  if (!changes || changes.breaking.length + changes.notes.length === 0) return null;
  const list = (name, items, kind) => items.length > 0 && h("div", { class: kind }, h("h3", {}, name), h("ul", {}, items.map((text) => h("li", {}, text))));
  return h("div", { class: "differences" },
    list("Breaks clients of the live version", changes.breaking, "breaks"), list("Clients will notice", changes.notes, ""));
}

export const breaks = (changes) => (changes?.breaking.length ?? 0) > 0;

function listed(labels) {
  const shown = labels.slice(0, SHOWN).map((label) => `'${[...label].slice(0, LABEL_SHOWN).join("")}'`).join(", ");
  return labels.length > SHOWN ? `${shown} and ${count(labels.length - SHOWN)} more` : shown;
}
