// Example inputs: the golden examples in a task's adapter file, for keys with the scope upload.

import { h, replace } from "./dom.js";
import { adminTask, call } from "./http.js";
import { button } from "./parts.js";
import { missing, store } from "./store.js";

const SHOWN = 6;
const LONGEST = 60; // characters of an example on its button
const known = new Map(); // promises of the inputs, by digest

/** Show examples of the first chosen task that takes the selected kind of input; a click calls `pick(inputs)`. */
export function examplesPanel(pick) {
  const element = h("div", { class: "examples", hidden: true });
  let wanted = null;

  async function draw(chosen, pair) {
    const version = missing("upload") ? null : chosen.map(versionOf).find((found) => found?.pair === pair) ?? null;
    if (version?.digest === wanted) return;
    wanted = version?.digest ?? null;
    element.hidden = true;
    if (version === null) return;
    const inputs = await examplesOf(version);
    if (version.digest !== wanted || inputs.length === 0) return;
    replace(element, h("span", { class: "hint" }, `Examples of ${version.task}`), h("ul", { class: "chips" }, inputs.slice(0, SHOWN).map((input, i) =>
      h("li", {}, button(shortened([input].flat().join(" ⇥ ")), () => pick(input), { kind: "chip", focus: `example ${i}` })))));
    element.hidden = false;
  }

  return { element, draw };
}

/** The version that "sst2", "sst2@7" or "sst2@canary" refers to; null if it is unknown. */
export function versionOf(reference) {
  const [name, selector = "live"] = reference.split("@");
  const task = store.tasks.get(name);
  const number = task?.aliases[selector] ?? Number(selector);
  return task?.versions?.find((version) => version.version === number) ?? null;
}

function examplesOf({ task, version, digest }) {
  if (!known.has(digest)) {
    const asked = call("GET", adminTask(task, `/versions/${version}/examples`)).then(({ examples }) => examples.map((example) => example.inputs));
    known.set(digest, asked.catch(() => (known.delete(digest), []))); // the page works without examples
  }
  return known.get(digest);
}

const shortened = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST).trimEnd()}…` : text);
