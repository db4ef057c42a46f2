// Try a text, or a pair of texts, on some tasks at once: POST /v1/predict.

import { field, fresh, h, replace, say } from "./dom.js";
import { call, Refused } from "./http.js";
import { heading, notAllowed, refusal } from "./parts.js";
import { results, spoken } from "./results.js";
import { described, missing, onChange, store } from "./store.js";
import { taskPicker } from "./task-picker.js";

// What was typed stays while the page is open, and goes nowhere but to the server.
const draft = { text: "", second: "", pair: false, truncation: "", chosen: [], preselected: false, shown: null };

/** Come to the view with this task chosen. */
export function choose(name) {
  const task = described(store.tasks.get(name) ?? {});
  draft.chosen.splice(0, Infinity, name);
  draft.pair = task?.pair ?? draft.pair;
  draft.preselected = true;
}

export function tryView() {
  const text = area("a warm, funny and moving film", "text");
  const second = area("the film is funny", "second");
  const secondField = field("Second text", second);
  const kinds = ["Text", "Pair"].map((name) => kindChoice(name));
  const output = h("section", { class: "output", "aria-label": "Answers", "aria-live": "off" });
  const run = h("button", { type: "submit", class: "primary" }, "Run");
  const locked = h("div", {});
  const picker = taskPicker(draft.chosen);
  const cut = h("select", { onchange: () => (draft.truncation = cut.value) },
    [["", "as the task was trained"], ["right", "at its end"], ["left", "at its beginning"], ["head-tail", "in its middle"], ["error", "refuse it"]].map(([value, name]) => h("option", { value }, name)));
  cut.value = draft.truncation;
  let asking = null;

  function area(placeholder, name) {
    return h("textarea", { rows: 3, placeholder, value: draft[name], "data-focus": name,
      oninput: (event) => (draft[name] = event.target.value),
      onkeydown: (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && ask(event) });
  }

  function kindChoice(name) {
    const radio = h("input", { type: "radio", name: "kind", value: name, checked: (name === "Pair") === draft.pair,
      onchange: () => ((draft.pair = name === "Pair"), arrange()) });
    return h("label", {}, radio, h("span", {}, name));
  }

  function arrange() {
    secondField.hidden = !draft.pair;
  }

  async function ask(event) {
    event.preventDefault();
    asking?.abort();
    if (draft.chosen.length === 0) return show(refusal(new Refused(0, { error: "choose a task first", error_type: "none" })), "Choose a task first");
    const mine = (asking = new AbortController());
    const references = [...draft.chosen];
    const inputs = draft.pair ? { text: draft.text, text_pair: draft.second } : draft.text;
    output.setAttribute("aria-busy", "true");
    const started = performance.now();
    try {
      const answer = await call("POST", "v1/predict", { json: { inputs, tasks: references, truncation: draft.truncation || null }, signal: mine.signal });
      const tookMs = performance.now() - started;
      show(results(references, answer, tookMs), spoken(references, answer));
    } catch (error) {
      if (error.name === "AbortError") return;
      show(refusal(error), error.message);
    }
  }

  function show(content, said) {
    draft.shown = [content].flat();
    output.removeAttribute("aria-busy");
    replace(output, draft.shown);
    say(said);
  }

  function refresh() {
    if (store.loaded && !draft.preselected) preselect();
    replace(locked, store.loaded && missing("predict") && notAllowed(missing("predict"), "Predictions are not open here."));
    picker.draw();
  }

  arrange();
  refresh();
  const stop = onChange(refresh);
  replace(output, draft.shown ?? h("p", { class: "empty" }, "Answers appear here. Several tasks share one forward pass of the backbone."));
  const form = h("form", { class: "card composer", novalidate: true, onsubmit: ask },
    h("fieldset", { class: "segmented" }, h("legend", { class: "unseen" }, "What to send"), kinds),
    h("div", { class: "texts" }, field("Text", text), secondField),
    h("div", { class: "buttons" }, h("label", { class: "inline", for: (cut.id = fresh("cut")) }, "Cut a long text"), cut,
      h("span", { class: "spring" }), h("kbd", { class: "hint" }, "Ctrl + Enter"), run));
  const element = h("div", {}, heading("Try"), locked,
    h("div", { class: "split try" }, h("div", { class: "stack" }, form, output), picker.element));
  return { element, title: "Try", leave: () => { stop(); asking?.abort(); } };
}

/** At first, what takes a single text, as far as a glance can take it in. */
function preselect() {
  draft.preselected = true;
  const single = [...store.tasks.values()].filter((task) => task.live && !task.live.pair);
  draft.chosen.push(...single.slice(0, 4).map((task) => task.name));
}
