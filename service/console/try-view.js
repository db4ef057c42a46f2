// Try a text, or a pair of texts, on some tasks at once: POST /v1/predict.

import { complain, field, fresh, h, replace, say } from "./dom.js";
import { examplesPanel } from "./examples.js";
import { call, Refused } from "./http.js";
import { button, heading, notAllowed, refusal } from "./parts.js";
import { results, spoken } from "./results.js";
import { showSnippets } from "./snippets.js";
import { described, missing, onChange, store } from "./store.js";
import { taskPicker } from "./task-picker.js";

const PRESELECTED = 4;

// What the user has typed stays while the page is open, and is sent to the server alone.
const draft = { text: "", second: "", pair: false, truncation: "", chosen: [], setAside: [], preselected: false, shown: null };

/** Open the view with this task chosen. */
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
  const picker = taskPicker(draft.chosen, () => examples.draw(draft.chosen, draft.pair));
  const examples = examplesPanel(take);
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
      onchange: () => (changeKind(name === "Pair"), arrange()) });
    return h("label", {}, radio, h("span", {}, name));
  }

  function arrange() {
    secondField.hidden = !draft.pair;
    for (const area of [text, second]) complain(area, "");
    picker.draw();
  }

  function take(inputs) {
    [draft.text, draft.second] = [inputs, draft.second].flat();
    text.value = draft.text;
    second.value = draft.second;
    for (const area of [text, second]) complain(area, "");
    run.focus();
    say("The example is filled in");
  }

  /** The path and body to send; null where a text is missing, which is then marked. */
  function request() {
    const empty = (draft.pair ? [text, second] : [text]).filter((area) => area.value.trim() === "");
    for (const area of empty) complain(area, "Type a text first.");
    empty[0]?.focus();
    if (empty.length) return null;
    const inputs = draft.pair ? { text: draft.text, text_pair: draft.second } : draft.text;
    return { inputs, tasks: [...draft.chosen], ...(draft.truncation && { truncation: draft.truncation }) };
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

  /** One task has a route of its own, which is simpler. */
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
    replace(locked, store.loaded && missing("predict") && notAllowed(missing("predict"), "Predictions are not open here."));
    picker.draw();
  }

  arrange();
  refresh();
  const stop = onChange(refresh);
  replace(output, draft.shown ?? h("p", { class: "empty" }, "Answers appear here. Several tasks share one forward pass of the backbone."));
  const form = h("form", { class: "card composer", novalidate: true, onsubmit: ask },
    h("fieldset", { class: "segmented" }, h("legend", { class: "unseen" }, "What to send"), kinds),
    h("div", { class: "texts" }, field("Text", text), secondField), examples.element,
    h("div", { class: "buttons" }, h("label", { class: "inline", for: (cut.id = fresh("cut")) }, "Cut a long text"), cut,
      h("span", { class: "spring" }), button("As curl or Python…", copy, { kind: "quiet", focus: "snippets" }), h("kbd", { class: "hint" }, "Ctrl + Enter"), run));
  const element = h("div", {}, heading("Try"), locked,
    h("div", { class: "split try" }, h("div", { class: "stack" }, form, output), picker.element));
  return { element, title: "Try", leave: () => { stop(); asking?.abort(); } };
}

const taskOf = (reference) => described(store.tasks.get(reference.split("@")[0]) ?? {});

/** Change between a text and a pair: tasks that take the other kind are set aside, and come back with it. */
function changeKind(pair) {
  draft.pair = pair;
  const fits = (reference) => (taskOf(reference)?.pair ?? pair) === pair;
  const others = draft.chosen.filter((reference) => !fits(reference));
  draft.chosen.splice(0, Infinity, ...draft.chosen.filter(fits), ...draft.setAside.filter(fits));
  draft.setAside = others;
  if (draft.chosen.length === 0) preselect();
}

/** Choose the first tasks that take what is to be sent, a few of them. */
function preselect() {
  draft.preselected = true;
  const fitting = [...store.tasks.values()].filter((task) => task.live && task.live.pair === draft.pair);
  draft.chosen.push(...fitting.slice(0, PRESELECTED).map((task) => task.name));
}
