// Filters thousands of tasks by name, type and label.

import { described } from "./store.js";

/** Find the entries that contain every word of `text` in name, type or labels; names that begin with it come first. */
export function matching(entries, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return entries;
  const found = entries.filter((entry) => {
    const searched = haystack(entry);
    return words.every((word) => searched.includes(word));
  });
  const begins = (entry) => entry.name.startsWith(words[0]);
  return [...found.filter(begins), ...found.filter((entry) => !begins(entry))];
}

const made = new WeakMap(); // searched text by entry, computed once so that typing does not lag

function haystack(entry) {
  if (!made.has(entry)) {
    const shown = described(entry);
    const words = shown ? [shown.type.replace("_", " "), shown.type.replace("_", "-"), shown.pair ? "pair" : "", ...shown.labels] : [];
    made.set(entry, [entry.name, ...words].join("\n").toLowerCase());
  }
  return made.get(entry);
}

/** Debounce: run `act` after a pause in typing. */
export function whenQuiet(act, pauseMs = 80) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, pauseMs);
  };
}
