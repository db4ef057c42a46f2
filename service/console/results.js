// The answers of the tasks to a text, one card each; the card of a failed task shows its error.

import { bars } from "./bars.js";
import { h } from "./dom.js";
import { counted, digest, milliseconds, number, percent } from "./format.js";
import { refusal, tag } from "./parts.js";
import { described, store } from "./store.js";

const SPOKEN = 5;

/** Show a summary line and the cards in the order of `references`. */
export function results(references, answer, roundTripMs) {
  const cards = references.map((reference) => card(reference, answer.results[reference]));
  return [h("p", { class: "summary" }, summary(references, answer, roundTripMs)), h("div", { class: "cards" }, cards)];
}

/** The announcement for screen readers: the first answers. */
export function spoken(references, answer) {
  const said = references.slice(0, SPOKEN).map((reference) => `${reference}: ${words(answer.results[reference])}`);
  const more = references.length - SPOKEN;
  return [...said, more > 0 && `and ${counted(more, "more task")}`].filter(Boolean).join("; ");
}

function words(result) {
  if ("error" in result) return result.error;
  const [prediction] = result.predictions;
  if ("value" in prediction) return number(prediction.value);
  return "labels" in prediction ? prediction.labels.join(", ") || "no label" : `${prediction.label}, ${percent(prediction.score)}`;
}

function summary(references, answer, roundTripMs) {
  const failed = references.filter((reference) => "error" in answer.results[reference]).length;
  const server = milliseconds(answer.timings_ms.total);
  return `${counted(references.length, "task")}${failed ? `, ${failed} failed` : ""} · ${server} in the server, ${milliseconds(roundTripMs)} round trip`;
}

function card(reference, result) {
  if ("error" in result) {
    const error = { message: result.error, reason: result.reason ?? "", type: result.error_type, status: result.status };
    return h("article", { class: "card result failed", "aria-label": reference }, head(reference), refusal(error, otherKind(reference, error)));
  }
  const [prediction] = result.predictions;
  const { tokenize, queue, inference } = result.timings_ms;
  return h("article", { class: "card result", "aria-label": reference },
    head(reference, tag(`version ${result.version}`), result.gate && tag(result.gate === "mean" ? "mean gate" : `gate by ${result.gate}`), prediction.truncated && tag("truncated", "warn")),
    bars(prediction),
    h("p", { class: "timings" },
      h("span", {}, counted(prediction.tokens, "token")),
      h("span", {}, `tokenize ${milliseconds(tokenize)}`),
      h("span", {}, `queue ${milliseconds(queue)}`),
      h("span", {}, `inference ${milliseconds(inference)}`),
      h("span", { class: "mono", title: `SHA-256 of the adapter: ${result.digest}` }, digest(result.digest))));
}

/** The remedy when a task takes the other kind of input. */
function otherKind(reference, error) {
  const task = described(store.tasks.get(reference.split("@")[0]) ?? {});
  if (error.type !== "validation" || !task || !/single text|takes pairs|pair/.test(error.message)) return undefined;
  return task.pair ? "This task takes two texts: choose Pair above." : "This task takes one text: choose Text above.";
}

function head(reference, ...tags) {
  const [name] = reference.split("@");
  return h("header", {}, h("h2", {}, h("a", { href: `#tasks/${encodeURIComponent(name)}` }, reference)), tags);
}
