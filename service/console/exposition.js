// Parses the part of Prometheus' text format that GET /metrics uses.

const LINE = /^((?:adakron|process)_[a-z_]+?)(?:\{(.*)\})? ([^ ]+)$/;
const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;

/** Parse the series named in `wanted`: name -> [[labels, value], ...]. */
export function parse(text, wanted) {
  const found = new Map([...wanted].map((name) => [name, []]));
  for (const line of text.split("\n")) {
    const match = LINE.exec(line);
    if (!match || !found.has(match[1])) continue;
    found.get(match[1]).push([labelsOf(match[2] ?? ""), Number(match[3])]);
  }
  return found;
}

function labelsOf(text) {
  const labels = {};
  for (const [, name, value] of text.matchAll(LABEL)) labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
  return labels;
}
