// Creates elements. Text from the server or the user only becomes text nodes or properties, never markup,
// so a label that looks like HTML is shown literally.

const SVG = "http://www.w3.org/2000/svg";

/** Create an element: h("p", { class: "hint", onclick: f }, "text", other, [more]). null, undefined and false are skipped. */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** Create an SVG element. */
export function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Replace the children of `parent`. The focus moves to the new element with the same data-focus, if there is one. */
export function replace(parent, ...children) {
  const key = parent.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  parent.replaceChildren(...nodes(children));
  if (key !== undefined) parent.querySelector(`[data-focus="${CSS.escape(key)}"]`)?.focus();
  return parent;
}

/** Move the focus to the first control in a new element, or to the element itself. */
export function focusOn(element) {
  const control = element.querySelector("a, button, input");
  if (!control) element.tabIndex = -1;
  (control ?? element).focus();
}

let numbered = 0;

/** Create a unique id. */
export function fresh(stem) {
  return `${stem}-${++numbered}`;
}

/** Create a control with its label and a hint. */
export function field(caption, control, hint) {
  control.id ||= fresh("field");
  const note = hint && h("small", { id: fresh("hint"), class: "hint" }, hint);
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, caption), control, note);
}

/** Mark a control as invalid and show `text` below it; "" or typing removes the mark. */
export function complain(control, text) {
  control.parentElement?.querySelector(":scope > .complaint")?.remove();
  control.toggleAttribute("aria-invalid", text !== "");
  if (text === "") return;
  control.after(h("p", { class: "complaint", role: "alert" }, text));
  control.addEventListener("input", () => complain(control, ""), { once: true });
}

/** Announce `text` to screen readers. The delay lets a closing dialog disappear first. */
export function say(text) {
  for (const place of document.querySelectorAll(".said")) place.textContent = "";
  setTimeout(() => {
    const place = document.querySelector("dialog[open] .said") ?? document.getElementById("said");
    place.textContent = text;
  }, 50);
}
