// The comparison of two versions' answers to the same lines, as plain values; compare.js shows it.

/** Split pasted lines into inputs: one text per line, or two texts with a tab between them. Returns [inputs, complaint]. */
export function inputsOf(pasted, pair) {
  const numbered = pasted.split(/\r?\n/).map((line, i) => [line, i + 1]).filter(([line]) => line.trim() !== "");
  if (!pair) return [numbered.map(([line]) => line), ""];
  const split = numbered.map(([line, number]) => [line.split("\t"), number]);
  const bad = split.find(([texts]) => texts.length !== 2 || texts.some((text) => text.trim() === ""));
  return bad ? [[], `Line ${bad[1]} needs two texts with a tab between them.`] : [split.map(([texts]) => texts), ""];
}

/** Split `inputs` into parts that each fit into one request. */
export function parts(inputs, mostInputs = 64, mostCharacters = 100_000) {
  const found = [];
  let size = Infinity;
  for (const input of inputs) {
    const length = [input].flat().join("").length;
    if (size + length > mostCharacters || found.at(-1).length >= mostInputs) {
      found.push([]);
      size = 0;
    }
    found.at(-1).push(input);
    size += length;
  }
  return found;
}

/** Compare the two answers to one line: their names, whether they are equal, and their distance. */
export function compared(input, one, other) {
  const text = [input].flat().join(" ⇥ ");
  const [a, b] = [answer(one), answer(other)];
  if ("value" in one && "value" in other) {
    const apart = Math.abs(one.value - other.value);
    return { text, a, b, same: apart < 0.005, apart };
  }
  const same = a.name === b.name;
  return { text, a, b, same, apart: Math.abs((a.score ?? 0) - (b.score ?? 0)) + (same ? 0 : 1) };
}

function answer(prediction) {
  if ("value" in prediction) return { name: prediction.value.toFixed(3), score: null };
  if ("labels" in prediction) return { name: prediction.labels.toSorted().join(", ") || "none", score: highest(prediction.scores) };
  return { name: prediction.label, score: prediction.score };
}

const highest = (scores) => Math.max(...Object.values(scores));

/** Sort differing rows first, by distance, and compute the share of equal rows. */
export function ranked(rows) {
  const sorted = rows.toSorted((one, other) => one.same - other.same || other.apart - one.apart);
  return { rows: sorted, agreement: rows.length ? rows.filter((row) => row.same).length / rows.length : 1 };
}
