// Elements that several views share.

import { fresh, h } from "./dom.js";
import { hintFor } from "./hints.js";

export const tag = (text, kind = "") => h("span", { class: `tag ${kind}` }, text);

export const alias = (name) => tag(name, name === "live" ? "live" : "alias");

/** Show an error: the message, the remedy and the code. */
export function refusal(error, hint = hintFor(error)) {
  const code = error.reason || error.type;
  return h("div", { class: "notice bad", role: "alert" },
    h("p", {}, h("strong", {}, sentence(error.message))),
    hint && h("p", { class: "todo" }, hint),
    code && h("p", { class: "code" }, error.status ? `${error.status} ` : "", h("code", {}, code)),
  );
}

/** Show what is not allowed, and what is missing. */
export const notAllowed = (why, what) =>
  h("p", { class: "notice locked" }, h("strong", {}, `${what} `), why, " ", keyLink());

const keyLink = () =>
  h("button", { type: "button", class: "link", onclick: () => document.getElementById("key-button").click() }, "Enter a key");

/** Create a button. With `why`, the reason why the action is not allowed, the button is locked. */
export function button(text, act, { kind = "", why = "", focus, label } = {}) {
  const made = h("button", { type: "button", class: kind, "data-focus": focus, "aria-label": label, onclick: why ? null : act }, text);
  lock(made, why);
  return made;
}

/** Lock a button and give the reason; "" unlocks it. Unlike a disabled button, it stays focusable so that screen readers announce the reason. */
export function lock(element, why) {
  element.querySelector(".why")?.remove();
  if (!why) return ["aria-disabled", "aria-describedby", "title"].forEach((name) => element.removeAttribute(name));
  const note = h("span", { id: fresh("why"), class: "why", hidden: true }, why);
  element.append(note);
  element.setAttribute("aria-disabled", "true");
  element.setAttribute("aria-describedby", note.id);
  element.title = why;
}

export const isLocked = (element) => element.ariaDisabled === "true";

/** Show pairs of a name and a value. */
export const facts = (pairs, kind = "") =>
  h("dl", { class: `facts ${kind}` }, pairs.map(([word, value]) => h("div", {}, h("dt", {}, word), h("dd", {}, value))));

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** The heading of a view; it receives the focus when the view opens. */
export const heading = (text, ...beside) =>
  h("div", { class: "heading" }, h("h1", { tabindex: "-1" }, text), beside);
