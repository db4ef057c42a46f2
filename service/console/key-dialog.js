// The dialog to enter a key, and the scopes of the current key.

import { ask } from "./dialogs.js";
import { field, h, replace, say } from "./dom.js";
import { button } from "./parts.js";
import { hasKey, isKept, setKey } from "./session.js";
import { load, store } from "./store.js";

const SCOPES = { predict: "predict and list tasks", upload: "publish, activate, roll back", admin: "delete and administer" };

/** Make `place` the button that opens the dialog; returns a function that updates its text. */
export function installKeyButton(place) {
  place.addEventListener("click", open);
  return () => {
    const unknown = hasKey() && [store.refused.upload, store.refused.predict].some((error) => error?.status === 401);
    const may = Object.keys(SCOPES).filter((scope) => store.refused[scope] === null);
    const state = !hasKey() ? "No key" : unknown ? "Key refused" : `Key: ${may.at(-1) ?? "nothing"}`;
    place.className = `key-button ${!hasKey() ? "none" : unknown ? "bad" : "good"}`;
    replace(place, h("span", { class: "dot", "aria-hidden": "true" }), state);
  };
}

async function open() {
  const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", autofocus: true, class: "mono" });
  const keep = h("input", { type: "checkbox", checked: isKept() });
  const scopes = h("ul", { class: "scopes" });
  const complaint = h("p", { class: "complaint", role: "alert" });
  showScopes(scopes);
  const forget = button("Forget the key", async () => {
    setKey("", false);
    await load();
    showScopes(scopes);
    forget.hidden = true;
    input.focus();
    say("The key is forgotten");
  }, { kind: "quiet" });
  forget.hidden = !hasKey();
  await ask({
    title: "Key",
    content: [
      h("p", { class: "hint" }, "The key is sent only to this server and kept in memory: closing or reloading the page forgets it."),
      field("Key", input, "From adakron keys create, or the first key: the file admin.key in the server's data folder."),
      complaint,
      h("label", { class: "check" }, keep, "Keep the key until this tab is closed"),
      h("h3", {}, "Allowed now"),
      scopes,
      forget,
    ],
    confirm: "Use this key",
    act: async () => {
      const text = input.value.trim();
      complaint.textContent = text === "" ? "Enter a key." : /^[\x21-\x7e]+$/.test(text) ? "" : "A key consists of ASCII characters without spaces.";
      if (complaint.textContent) return input.focus(), "stay";
      setKey(text, keep.checked);
      await load();
      const error = store.refused.upload ?? store.refused.predict;
      if (error?.status === 401 || error?.status === 0) {
        showScopes(scopes);
        throw error;
      }
      say("The key is in use");
    },
  });
}

function showScopes(place) {
  replace(place, Object.entries(SCOPES).map(([scope, what]) => {
    const error = store.refused[scope];
    return h("li", { class: error ? "no" : "yes" },
      h("span", { class: "mark", "aria-hidden": "true" }, error ? "–" : "✓"),
      h("b", {}, scope), h("span", {}, what, error && h("em", {}, error.reason === "key_missing" ? " · needs a key" : " · not with this key")));
  }));
}
