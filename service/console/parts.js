// Small pieces that several views are made of.

import { fresh, h } from "./dom.js";
import { hintFor } from "./hints.js";

export const tag = (text, kind = "") => h("span", { class: `tag ${kind}` }, text);

export const alias = (name) => tag(name, name === "live" ? "live" : "alias");

/** A refusal: what is wrong, what to do, and its code. */
export function refusal(error, hint = hintFor(error)) {
  const code = error.reason || error.type;
  return h("div", { class: "notice bad", role: "alert" },
    h("p", {}, h("strong", {}, sentence(error.message))),
    hint && h("p", { class: "todo" }, hint),
    code && h("p", { class: "code" }, error.status ? `${error.status} ` : "", h("code", {}, code)),
  );
}

/** What is not allowed, and what is missing for it. */
export const notAllowed = (why, what) =>
  h("p", { class: "notice locked" }, h("strong", {}, `${what} `), why, " ", keyLink());

const keyLink = () =>
  h("button", { type: "button", class: "link", onclick: () => document.getElementById("key-button").click() }, "Enter a key");

/** A button; where `why` says that it is not allowed, it does nothing and tells why. */
export function button(text, act, { kind = "", why = "", focus, label } = {}) {
  const made = h("button", { type: "button", class: kind, "data-focus": focus, "aria-label": label, onclick: why ? null : act }, text);
  lock(made, why);
  return made;
}

/** Mark a button as locked, and say why; "" unlocks it. It can be reached, unlike a disabled one, so that the reason is heard. */
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

/** Pairs of a word and its value. */
export const facts = (pairs, kind = "") =>
  h("dl", { class: `facts ${kind}` }, pairs.map(([word, value]) => h("div", {}, h("dt", {}, word), h("dd", {}, value))));

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** The head of a view; it takes the focus when the view is opened. */
export const heading = (text, ...beside) =>
  h("div", { class: "heading" }, h("h1", { tabindex: "-1" }, text), beside);
