// Elements are made by h() alone. What comes from a server or a user only ever becomes a text node or a property,
// so a label that looks like markup is shown as it is.

const SVG = "http://www.w3.org/2000/svg";

/** An element: h("p", { class: "hint", onclick: f }, "text", other, [more]). null, undefined and false add nothing. */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** The same in SVG. */
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

/** Put `children` in place of what `parent` holds. The element with the focus keeps it if its data-focus is still there. */
export function replace(parent, ...children) {
  const key = parent.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  parent.replaceChildren(...nodes(children));
  if (key !== undefined) parent.querySelector(`[data-focus="${CSS.escape(key)}"]`)?.focus();
  return parent;
}

/** Move the focus to what has just been added: to its first control, or to itself. */
export function focusOn(element) {
  const control = element.querySelector("a, button, input");
  if (!control) element.tabIndex = -1;
  (control ?? element).focus();
}

let numbered = 0;

/** An id that no other element has. */
export function fresh(stem) {
  return `${stem}-${++numbered}`;
}

/** A caption above a control, tied to it. */
export function field(caption, control, hint) {
  control.id ||= fresh("field");
  const note = hint && h("small", { id: fresh("hint"), class: "hint" }, hint);
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, caption), control, note);
}

/** Mark the control of a field as wrong, and say why beneath it; "" removes the mark, and so does typing. */
export function complain(control, text) {
  control.parentElement?.querySelector(":scope > .complaint")?.remove();
  control.toggleAttribute("aria-invalid", text !== "");
  if (text === "") return;
  control.after(h("p", { class: "complaint", role: "alert" }, text));
  control.addEventListener("input", () => complain(control, ""), { once: true });
}

/** Have a screen reader say `text`, whatever has the focus; a dialog that is about to close does not take it with it. */
export function say(text) {
  for (const place of document.querySelectorAll(".said")) place.textContent = "";
  setTimeout(() => {
    const place = document.querySelector("dialog[open] .said") ?? document.getElementById("said");
    place.textContent = text;
  }, 50);
}
