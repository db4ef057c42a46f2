// Compares two versions of a task on pasted lines: the label and score of each, differing lines first.

import { compared, inputsOf, parts, ranked } from "./agreement.js";
import { field, focusOn, fresh, h, replace, say } from "./dom.js";
import { count, counted, percent } from "./format.js";
import { call, Refused } from "./http.js";
import { button, refusal } from "./parts.js";
import { described } from "./store.js";

const PAGE = 100;
const MOST_LINES = 2000;
const TRIES = 5; // for a request that is refused because the queue is full

export function comparePanel(name) {
  const list = h("datalist", { id: fresh("versions") });
  const choice = (focus) => h("input", { list: list.id, class: "version", autocomplete: "off", spellcheck: "false", placeholder: "number or alias", "data-focus": focus });
  const [first, second] = [choice("first"), choice("second")];
  const lines = h("textarea", { rows: 6, spellcheck: "false", "data-focus": "lines" });
  const linesField = field("Lines", lines, "One text per line.");
  const output = h("div", { class: "outcome" });
  const run = h("button", { type: "submit", class: "primary" }, "Compare");
  let pair = false;
  let asking = null;

  async function compare(event) {
    event.preventDefault();
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    const pasted = inputsOf(lines.value, pair);
    const complaint = !first.value.trim() || !second.value.trim() ? "Name two versions." : pasted[1] || (pasted[0].length === 0 ? "Paste some lines." : "");
    if (complaint) return replace(output, h("p", { class: "complaint", role: "alert" }, complaint));
    const inputs = pasted[0].slice(0, MOST_LINES);
    const references = [first, second].map((input) => `${name}@${input.value.trim()}`);
    const bar = h("progress", { max: inputs.length, value: 0, "aria-label": "Compared" });
    replace(output, bar);
    try {
      const rows = [];
      for (const part of parts(inputs)) {
        const answers = await predictions(references, part, signal);
        part.forEach((input, i) => rows.push(compared(input, answers[0][i], answers[1][i])));
        bar.value = rows.length;
      }
      show(ranked(rows), references, pasted[0].length - inputs.length);
    } catch (error) {
      if (error.name !== "AbortError") replace(output, refusal(error));
    }
  }

  function show({ rows, agreement }, references, left) {
    const differing = rows.filter((row) => !row.same).length;
    const difference = differing === 0 ? `${counted(rows.length, "line")}, no difference`
      : `${counted(differing, "line")} of ${count(rows.length)} ${differing === 1 ? "differs" : "differ"}`;
    const body = h("tbody", {}, rows.slice(0, PAGE).map(row));
    const more = rows.length > PAGE && button(`Show ${count(rows.length - PAGE)} more`, (event) => {
      body.append(...rows.slice(PAGE).map(row));
      focusOn(body.rows[PAGE]);
      event.target.remove();
    }, { kind: "more" });
    replace(output, h("p", { class: "agreement" }, h("span", { class: "figure" }, percent(agreement)), ` agree · ${difference}`),
      left > 0 && h("p", { class: "complaint" }, `Only the first ${count(MOST_LINES)} lines were compared; ${count(left)} were left out.`),
      h("div", { class: "table-place" }, h("table", { class: "compared" },
        h("thead", {}, h("tr", {}, ["Text", ...references].map((text) => h("th", { scope: "col" }, text)))), body), more));
    say(`${percent(agreement)} agree: ${difference}`);
  }

  function draw(task) {
    const shown = described(task);
    pair = shown?.pair ?? pair;
    linesField.querySelector("small").textContent = pair ? "Two texts per line, with a tab between them." : "One text per line.";
    const versions = (task.versions ?? []).map((version) => version.version).toReversed();
    replace(list, [...Object.keys(task.aliases), ...versions.map(String)].map((value) => h("option", { value })));
    first.value ||= String(task.live?.version ?? versions[0] ?? "");
    second.value ||= String(versions.find((version) => String(version) !== first.value) ?? "");
  }

  const element = h("section", { class: "card", "aria-label": "Compare two versions" }, h("h2", {}, "Compare two versions"), list,
    h("form", { class: "stack", novalidate: true, onsubmit: compare },
      h("div", { class: "row" }, field("Version", first), field("Against", second)), linesField,
      h("div", { class: "buttons" }, run)), output);
  return { element, draw, leave: () => asking?.abort() };
}

const row = ({ text, a, b, same }) => h("tr", { class: same ? "" : "differs" },
  h("th", { scope: "row" }, text), answerCell(a, same), answerCell(b, same));

const answerCell = ({ name, score }, same) => h("td", {}, h("span", { class: same ? "" : "strong" }, name), score !== null && h("span", { class: "hint" }, ` ${percent(score)}`));

/** Request the answers of both versions to `inputs`; retry while the server is overloaded. Throws Refused. */
async function predictions(references, inputs, signal) {
  for (let tried = 1; ; tried++) {
    try {
      const tasks = [...new Set(references)];
      const { results } = await call("POST", "v1/predict", { json: { inputs, tasks }, signal });
      return references.map((reference) => {
        const result = results[reference];
        if ("error" in result) throw new Refused(result.status, result);
        return result.predictions;
      });
    } catch (error) {
      if (error.status !== 429 || tried === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.min(10, error.retryAfterS || 1) * 1000));
    }
  }
}
