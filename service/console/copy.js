// Text to take along: shown in a box, with a button that copies it where the browser allows that.

import { h, say } from "./dom.js";
import { button } from "./parts.js";

/** `text` in a box called `name`, with a button beneath it. */
export function copyable(name, text) {
  const box = h("pre", { class: "copyable", tabindex: 0, role: "textbox", "aria-readonly": true, "aria-multiline": true, "aria-label": name }, text);
  const done = h("span", { class: "hint", role: "status" });

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      done.textContent = "Copied";
      say("Copied");
    } catch { // a page that came over plain HTTP from another machine has no clipboard
      getSelection().selectAllChildren(box);
      box.focus();
      done.textContent = "Selected: copy it with Ctrl + C";
    }
  }

  return h("div", { class: "stack" }, box, h("div", { class: "buttons" }, done, h("span", { class: "spring" }), button("Copy", copy, { focus: `copy ${name}` })));
}
