// A text in a box, with a button that copies it if the browser allows it.

import { h, say } from "./dom.js";
import { button } from "./parts.js";

/** Show `text` in a box with the name `name` and a copy button below. */
export function copyable(name, text) {
  const box = h("pre", { class: "copyable", tabindex: 0, role: "textbox", "aria-readonly": true, "aria-multiline": true, "aria-label": name }, text);
  const done = h("span", { class: "hint", role: "status" });

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      done.textContent = "Copied";
      say("Copied");
    } catch { // a page from another machine over plain HTTP has no clipboard
      getSelection().selectAllChildren(box);
      box.focus();
      done.textContent = "Selected: press Ctrl + C to copy";
    }
  }

  return h("div", { class: "stack" }, box, h("div", { class: "buttons" }, done, h("span", { class: "spring" }), button("Copy", copy, { focus: `copy ${name}` })));
}
