// Lists, creates and revokes keys, for administrators of every task.

import { copyable } from "./copy.js";
import { ask, show } from "./dialogs.js";
import { field, h, replace, say } from "./dom.js";
import { counted, time } from "./format.js";
import { call } from "./http.js";
import { button, heading, notAllowed, refusal, tag } from "./parts.js";
import { administers, onChange, store } from "./store.js";

const SCOPES = {
  predict: "predict and list tasks, if the server requires a key for that",
  upload: "publish, list and download versions, activate, roll back",
  admin: "all of the above and delete; if for every task, also keys and the audit log",
};
const NAME = /^[A-Za-z0-9._@:+-]([A-Za-z0-9._@:+ -]{0,61}[A-Za-z0-9._@:+-])?$/;
const TASK = /^[a-z0-9][a-z0-9-]{0,62}$/;

export function keysView() {
  const counter = h("p", { class: "hint", role: "status" });
  const place = h("div", {});
  const actions = h("div", { class: "buttons" });
  let left = false;

  async function draw() {
    const why = administers();
    replace(actions, button("Create a key…", create, { kind: "primary", focus: "create", why }));
    if (!store.loaded) return;
    if (why) {
      counter.textContent = "";
      return replace(place, notAllowed(why, "Keys cannot be shown."));
    }
    try {
      const { keys } = await call("GET", "admin/v1/keys");
      if (left || administers()) return;
      counter.textContent = `${counted(keys.filter((key) => key.revoked_at === null).length, "key")} in use`;
      replace(place, keys.length ? card(keys) : h("p", { class: "empty" }, "No keys yet. The first key of the server is not listed."));
    } catch (error) {
      if (!left) replace(place, refusal(error));
    }
  }

  async function create() {
    const made = await askCreate();
    await draw();
    if (made) await show({ title: `The key ${made.name}`, content: [h("p", {}, "Copy the key now: it is never shown again."), copyable("Key", made.key)] });
  }

  const card = (keys) => h("section", { class: "card", "aria-label": "Keys" }, h("div", { class: "table-place" }, table(keys, draw)));

  draw();
  const stop = onChange(draw);
  return { element: h("div", {}, heading("Keys", counter, h("span", { class: "spring" }), actions), place), title: "Keys", leave: () => { left = true; stop(); } };
}

function table(keys, changed) {
  const heads = ["Name", "Id", "Scopes", "Tasks", "Created", "State"].map((text) => h("th", { scope: "col" }, text));
  return h("table", { class: "keys" }, h("thead", {}, h("tr", {}, heads, h("th", { scope: "col" }, h("span", { class: "unseen" }, "Actions")))),
    h("tbody", {}, keys.toReversed().map((key) => row(key, changed))));
}

function row(key, changed) {
  const cell = (name, ...content) => h("td", { "data-name": name }, content);
  const revoked = key.revoked_at !== null;
  return h("tr", {}, h("th", { scope: "row" }, key.name), cell("Id", h("span", { class: "mono" }, key.id)),
    cell("Scopes", key.scopes.map((scope) => tag(scope, scope === "admin" ? "warn" : ""))), cell("Tasks", key.tasks.join(", ") || "every task"),
    cell("Created", h("time", { datetime: key.created_at }, time(key.created_at))),
    cell("State", revoked ? tag(`revoked ${time(key.revoked_at)}`, "bad") : tag("in use", "live")),
    h("td", { class: "actions" }, !revoked && button("Revoke…", async () => { if (await askRevoke(key)) await changed(); },
      { kind: "quiet", focus: `revoke ${key.id}`, label: `Revoke the key ${key.name}` })));
}

/** Ask for the properties of a key and create it; returns the key with its text, or null. */
async function askCreate() {
  const name = h("input", { autocomplete: "off", spellcheck: "false", autofocus: true, placeholder: "nightly training" });
  const boxes = Object.entries(SCOPES).map(([scope, what]) => [scope, h("input", { type: "checkbox", value: scope }), what]);
  const tasks = h("input", { autocomplete: "off", spellcheck: "false", placeholder: "every task" });
  const complaint = h("p", { class: "complaint", role: "alert" });
  let made = null;

  function wrong(text, control) {
    complaint.textContent = text;
    control.focus();
    return "stay";
  }

  await ask({
    title: "Create a key",
    content: [
      field("Name", name, "The person or program that uses the key; shown in the audit log."),
      h("fieldset", { class: "choices" }, h("legend", {}, "Scopes"), boxes.map(([scope, box, what]) => h("label", { class: "check" }, box, h("span", {}, h("b", {}, scope), ` ${what}`)))),
      field("Only for these tasks", tasks, "Task names separated by commas; empty for every task."),
      complaint],
    confirm: "Create",
    act: async () => {
      const scopes = boxes.filter(([, box]) => box.checked).map(([scope]) => scope);
      const names = tasks.value.split(/[\s,]+/).filter(Boolean);
      const bad = names.find((task) => !TASK.test(task));
      if (!NAME.test(name.value.trim())) return wrong("A name has 1 to 63 letters, digits, spaces and . _ @ : + -.", name);
      if (scopes.length === 0) return wrong("Choose at least one scope.", boxes[0][1]);
      if (bad !== undefined) return wrong(`${bad} is not a valid task name.`, tasks);
      complaint.textContent = "";
      made = await call("POST", "admin/v1/keys", { json: { name: name.value.trim(), scopes, tasks: names } });
      say(`The key ${made.name} is created`);
    },
  });
  return made;
}

function askRevoke(key) {
  return ask({
    title: `Revoke the key ${key.name}?`,
    content: [h("p", {}, "All requests with this key will be refused. A revoked key cannot be restored; create a new key instead.")],
    confirm: `Revoke ${key.name}`,
    danger: true,
    act: async () => {
      await call("DELETE", `admin/v1/keys/${encodeURIComponent(key.id)}`);
      say(`The key ${key.name} is revoked`);
    },
  });
}
