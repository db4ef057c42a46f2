// Confirmation dialogs. When an action is refused, the dialog stays open and shows the error.

import { fresh, h, replace } from "./dom.js";
import { button, lock, refusal } from "./parts.js";

/**
 * Ask for a confirmation and then run `act`; resolves to true if `act` succeeded. `content` are the nodes above the
 * buttons; `danger` puts the focus on Cancel. `act` returns "stay" to keep the dialog open.
 */
export function ask({ title, content = [], confirm, danger = false, act, cancel = "Cancel" }) {
  const opener = document.activeElement;
  const id = fresh("dialog");
  const outcome = h("div", { class: "outcome" });
  const closing = button(cancel, () => busy || dialog.close());
  if (danger) closing.setAttribute("autofocus", "");
  const acting = h("button", { type: "submit", class: danger ? "danger" : "primary" }, confirm);
  const form = h("form", { novalidate: true, onsubmit: submit },
    h("h2", { id }, title), content, outcome, h("div", { class: "buttons" }, closing, acting));
  const dialog = h("dialog", { "aria-labelledby": id }, form, h("div", { class: "said unseen", role: "status" }));
  let done = false;
  let busy = false;

  async function submit(event) {
    event.preventDefault();
    if (busy) return;
    wait(true);
    replace(outcome);
    try {
      done = (await act()) !== "stay";
      if (done) dialog.close();
    } catch (error) {
      replace(outcome, refusal(error));
    }
    wait(false);
  }

  /** While `act` runs, both buttons are locked and keep the focus. */
  function wait(now) {
    busy = now;
    for (const control of [closing, acting]) lock(control, now ? "Please wait." : "");
  }

  return new Promise((resolve) => {
    dialog.addEventListener("cancel", (event) => busy && event.preventDefault());
    // In Chromium a second Escape closes a dialog even if its cancel event is prevented.
    dialog.addEventListener("keydown", (event) => busy && event.key === "Escape" && event.preventDefault());
    dialog.addEventListener("close", () => {
      dialog.remove();
      giveBack(opener);
      resolve(done);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Show `content` in a dialog with a Close button. */
export function show({ title, content }) {
  const opener = document.activeElement;
  const id = fresh("dialog");
  const closing = button("Close", () => dialog.close());
  const dialog = h("dialog", { "aria-labelledby": id }, h("div", { class: "stack" }, h("h2", { id }, title), content, h("div", { class: "buttons" }, closing)),
    h("div", { class: "said unseen", role: "status" }));
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      giveBack(opener);
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
    closing.focus();
  });
}

function giveBack(opener) {
  if (opener?.isConnected) return opener.focus();
  const key = opener?.dataset.focus;
  const again = key && document.querySelector(`[data-focus="${CSS.escape(key)}"]`);
  (again || document.querySelector("#view h1"))?.focus();
}
