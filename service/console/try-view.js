// Sends a text or a pair of texts to several tasks at once: POST /v1/predict.

import { complain, field, fresh, h, replace, say } from "./dom.js";
import { examplesPanel, versionOf } from "./examples.js";
import { call, Refused } from "./http.js";
import { button, heading, notAllowed, refusal } from "./parts.js";
import { results, spoken } from "./results.js";
import { showSnippets } from "./snippets.js";
import { described, missing, onChange, store } from "./store.js";
import { taskPicker } from "./task-picker.js";

const PRESELECTED = 4;

// The input stays while the page is open and is sent only to the server.
const draft = { text: "", second: "", pair: false, context: {}, truncation: "", chosen: [], setAside: [], preselected: false, shown: null };

/** Choose this task for the next time the view opens. */
export function choose(name) {
  const task = described(store.tasks.get(name) ?? {});
  draft.chosen.splice(0, Infinity, name);
  draft.setAside = [];
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
  const contexts = h("div", { class: "texts", hidden: true });
  const picker = taskPicker(draft.chosen, () => (drawContexts(), examples.draw(draft.chosen, draft.pair)));
  const examples = examplesPanel(take);
  const cut = h("select", { onchange: () => (draft.truncation = cut.value) },
    [["", "as trained"], ["right", "at the end"], ["left", "at the beginning"], ["head-tail", "in the middle"], ["error", "never: refuse the text"]].map(([value, name]) => h("option", { value }, name)));
  cut.value = draft.truncation;
  let asking = null;

  function area(placeholder, name) {
    return h("textarea", { rows: 3, placeholder, value: draft[name], "data-focus": name,
      oninput: (event) => (draft[name] = event.target.value),
      onkeydown: (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && ask(event) });
  }

  function kindChoice(name) {
    const radio = h("input", { type: "radio", name: "kind", value: name, checked: (name === "Pair") === draft.pair,
      onchange: () => (changeKind(name === "Pair"), arrange()) });
    return h("label", {}, radio, h("span", {}, name));
  }

  function arrange() {
    secondField.hidden = !draft.pair;
    for (const area of [text, second]) complain(area, "");
    picker.draw();
  }

  /** Show an input for each field by which a chosen task has gates. */
  function drawContexts() {
    replace(contexts, fields().map((name) => field(`Context: ${name}`, h("input", { value: draft.context[name] ?? "", maxlength: 256, autocomplete: "off", spellcheck: "false", "data-focus": `context ${name}`,
      oninput: (event) => (draft.context[name] = event.target.value) }), "Chooses the adapter. Without it the mean gate answers.")));
    contexts.hidden = contexts.children.length === 0;
  }

  function take(inputs) {
    [draft.text, draft.second] = [inputs, draft.second].flat();
    text.value = draft.text;
    second.value = draft.second;
    for (const area of [text, second]) complain(area, "");
    run.focus();
    say("The example is filled in");
  }

  /** The request to send; null if a text is missing, which is then marked. */
  function request() {
    const empty = (draft.pair ? [text, second] : [text]).filter((area) => area.value.trim() === "");
    for (const area of empty) complain(area, "Enter a text first.");
    empty[0]?.focus();
    if (empty.length) return null;
    const inputs = draft.pair ? { text: draft.text, text_pair: draft.second } : draft.text;
    const keys = fields().filter((name) => draft.context[name]).map((name) => [name, draft.context[name]]);
    return { inputs, tasks: [...draft.chosen], ...(draft.truncation && { truncation: draft.truncation }), ...(keys.length > 0 && { context: Object.fromEntries(keys) }) };
  }

  async function ask(event) {
    event.preventDefault();
    asking?.abort();
    if (draft.chosen.length === 0) return show(refusal(new Refused(0, { error: "choose a task first", error_type: "none" })), "Choose a task first");
    const json = request();
    if (json === null) return;
    const mine = (asking = new AbortController());
    output.setAttribute("aria-busy", "true");
    const started = performance.now();
    try {
      const answer = await call("POST", "v1/predict", { json, signal: mine.signal });
      const tookMs = performance.now() - started;
      show(results(json.tasks, answer, tookMs), spoken(json.tasks, answer));
    } catch (error) {
      if (error.name === "AbortError") return;
      show(refusal(error), error.message);
    }
  }

  /** Show the request as a snippet; a single task has a simpler route. */
  function copy() {
    const json = request();
    if (json === null) return;
    const { tasks, ...rest } = json;
    if (tasks.length === 1) showSnippets(`v1/${tasks[0]}/predict`, rest);
    else showSnippets("v1/predict", json);
  }

  function show(content, said) {
    draft.shown = [content].flat();
    output.removeAttribute("aria-busy");
    replace(output, draft.shown);
    say(said);
  }

  function refresh() {
    if (store.loaded && !draft.preselected) preselect();
    replace(locked, store.loaded && missing("predict") && notAllowed(missing("predict"), "You cannot predict."));
    picker.draw();
  }

  arrange();
  refresh();
  const stop = onChange(refresh);
  replace(output, draft.shown ?? h("p", { class: "empty" }, "The answers appear here. All tasks share one forward pass of the backbone."));
  const form = h("form", { class: "card composer", novalidate: true, onsubmit: ask },
    h("fieldset", { class: "segmented" }, h("legend", { class: "unseen" }, "Kind of input"), kinds),
    h("div", { class: "texts" }, field("Text", text), secondField), contexts, examples.element,
    h("div", { class: "buttons" }, h("label", { class: "inline", for: (cut.id = fresh("cut")) }, "Truncate long texts"), cut,
      h("span", { class: "spring" }), button("As curl or Python…", copy, { kind: "quiet", focus: "snippets" }), h("kbd", { class: "hint" }, "Ctrl + Enter"), run));
  const element = h("div", {}, heading("Try"), locked,
    h("div", { class: "split try" }, h("div", { class: "stack" }, form, output), picker.element));
  return { element, title: "Try", leave: () => { stop(); asking?.abort(); } };
}

const taskOf = (reference) => described(store.tasks.get(reference.split("@")[0]) ?? {});

/** The fields of the context that the chosen tasks take. */
const fields = () => [...new Set(draft.chosen.map((reference) => (versionOf(reference) ?? taskOf(reference))?.context).filter(Boolean))];

/** Switch between a text and a pair. Chosen tasks that take the other kind are set aside until the user switches back. */
function changeKind(pair) {
  draft.pair = pair;
  const fits = (reference) => (taskOf(reference)?.pair ?? pair) === pair;
  const others = draft.chosen.filter((reference) => !fits(reference));
  draft.chosen.splice(0, Infinity, ...draft.chosen.filter(fits), ...draft.setAside.filter(fits));
  draft.setAside = others;
  if (draft.chosen.length === 0) preselect();
}

/** Choose the first few tasks that take the selected kind of input. */
function preselect() {
  draft.preselected = true;
  const fitting = [...store.tasks.values()].filter((task) => task.live && task.live.pair === draft.pair);
  draft.chosen.push(...fitting.slice(0, PRESELECTED).map((task) => task.name));
}
