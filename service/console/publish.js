// The panel that publishes an adapter file: choose, preview, upload, and show the result.

import { breaks, compared, differenceList } from "./differences.js";
import { field, h, replace, say } from "./dom.js";
import { bytes, count, kind, number } from "./format.js";
import { facts, isLocked, lock, notAllowed, refusal } from "./parts.js";
import { describe, taskOf } from "./preview.js";
import { mainMetric, missing, onChange, reload, store } from "./store.js";
import { upload } from "./upload.js";

const NAME = "[a-z0-9][a-z0-9\\-]{0,62}";

/** Publish the next version of `task`, or without `task` of a task that the user names. */
export function publishPanel(task) {
  let file = null;
  let busy = false;
  const input = h("input", { type: "file", accept: ".safetensors", class: "unseen", onchange: () => take(input.files) });
  const words = h("span", {});
  const zone = h("label", { class: "drop", ondragover: over, ondragenter: over, ondragleave: out, ondrop: dropped }, input,
    h("span", { class: "arrow", "aria-hidden": "true" }, "↑"), words);
  const name = h("input", { pattern: NAME, required: true, maxlength: 63, autocomplete: "off", spellcheck: "false", placeholder: "tickets", oninput: arrange });
  const activate = h("input", { type: "checkbox", checked: true, onchange: arrange });
  const allow = h("input", { type: "checkbox", onchange: arrange });
  const allowing = h("label", { class: "check" }, allow, "Publish live although it breaks clients");
  const against = h("div", {});
  let described = null; // metadata of the file
  const send = h("button", { type: "submit", class: "primary" }, "Publish");
  const about = h("div", {});
  const locked = h("div", {});
  const outcome = h("div", { class: "outcome" });
  const form = h("form", { class: "stack", novalidate: true, onsubmit: publish }, zone, about,
    !task && field("Task", name, "Lower-case letters, digits and hyphens. An existing task gets its next version."),
    against, h("label", { class: "check" }, activate, "Make it live immediately"), allowing, h("div", { class: "buttons" }, send), outcome);

  function over(event) {
    event.preventDefault();
    zone.classList.add("over");
  }

  function out() {
    zone.classList.remove("over");
  }

  function dropped(event) {
    event.preventDefault();
    out();
    if (!missing("upload")) take(event.dataTransfer.files);
  }

  async function take(files) {
    if (busy || files.length === 0) return;
    const others = files.length > 1 ? `Only one file at a time: ${files.length - 1} ignored.` : "";
    const taken = (file = files[0]);
    input.value = ""; // else choosing the same file again fires no event
    if (!task && !name.value) name.value = taskOf(file.name);
    replace(outcome, others && h("p", { class: "complaint", role: "alert" }, others));
    replace(about);
    described = null;
    allow.checked = false;
    arrange();
    const description = await describe(taken);
    if (file !== taken) return;
    described = description;
    replace(about, preview(description));
    arrange();
    say(`${taken.name} is chosen`);
  }

  /** What changes for clients of the task; null if that is unknown or no version is live. */
  function changes() {
    const live = store.tasks.get(task ?? name.value)?.live;
    try {
      return live && described ? compared(live, { ...described.task, context: described.gates?.field }) : null;
    } catch {
      return null; // the metadata may have any form; the server checks them
    }
  }

  function arrange() {
    const why = missing("upload");
    const found = changes();
    replace(against, differenceList(found));
    allowing.hidden = !(breaks(found) && activate.checked);
    words.textContent = file ? `${file.name} · ${bytes(file.size)}` : "Drop an adapter file, or choose one";
    input.disabled = why !== "" || busy;
    zone.classList.toggle("off", why !== "");
    zone.classList.toggle("chosen", file !== null);
    lock(send, why || lacking());
    replace(locked, store.loaded && why && notAllowed(why, "You cannot publish."));
  }

  function lacking() {
    if (busy) return "The file is being uploaded.";
    if (file === null) return "Choose a file first.";
    if (!allowing.hidden && !allow.checked) return "This version breaks clients: allow that, or do not make it live immediately.";
    return !task && !name.checkValidity() ? "Name the task first." : "";
  }

  async function publish(event) {
    event.preventDefault();
    if (isLocked(send)) return;
    const target = task ?? name.value;
    const bar = h("progress", { max: 1, value: 0, "aria-label": "Sent" });
    const state = h("span", { class: "hint" }, "Sending…");
    busy = true;
    arrange();
    replace(outcome, h("div", { class: "sending" }, bar, state));
    try {
      const version = await upload(target, file, { activate: activate.checked, allow: allow.checked && !allowing.hidden }, (share) => {
        if (share < 1) return (bar.value = share);
        bar.removeAttribute("value"); // the duration of the check is unknown
        state.textContent = "Checking on the server…";
      });
      await finished(target, published(version));
      say(`Version ${version.version} of ${version.task} is published`);
    } catch (error) {
      if (error.reason === "incompatible" && error.body.version) await finished(target, [waiting(target, error), refusal(error)]);
      else replace(outcome, refusal(error));
    }
    busy = false;
    arrange();
  }

  /** Show the result of an upload and clear the form. */
  async function finished(target, what) {
    await reload(target).catch(() => {});
    file = described = null;
    replace(about);
    replace(outcome, what);
  }

  arrange();
  const stop = onChange(() => (panel.isConnected ? arrange() : stop()));
  const panel = h("aside", { class: "card publish", "aria-label": "Publish an adapter" }, h("h2", {}, task ? "Publish a version" : "Publish an adapter"), locked, form);
  return panel;
}

/** Show the metadata of a file, which may have any form. */
function preview(description) {
  try {
    return facts(claims(description), "small");
  } catch {
    return h("p", { class: "complaint" }, "This does not look like an adapter file. The server will report the reason.");
  }
}

function claims({ task: { type, pair, labels }, gates, metrics, backbone }) {
  const metric = mainMetric(metrics ?? {});
  return [
    ["Kind", `${kind(type)}${pair ? ", pair" : ""}`],
    ["Labels", labels?.length ? `${count(labels.length)}: ${labels.slice(0, 4).join(", ")}${labels.length > 4 ? "…" : ""}` : "none"],
    gates && ["Context", String(gates.field)],
    ["Score", metric ? `${number(metric[1])} ${metric[0]}` : "–"],
    ["Backbone", String(backbone?.name ?? "–")],
  ].filter(Boolean);
}

const linkTo = (task, version) => h("a", { href: `#tasks/${encodeURIComponent(task)}` }, `${task}@${version}`);

/** The file was published but not made live, because the live version changed after the preview. */
const waiting = (task, { body }) => h("div", { class: "notice" }, h("p", {}, h("strong", {}, "Published but not live: ", linkTo(task, body.version))));

function published(version) {
  const link = linkTo(version.task, version.version);
  return h("div", { class: "notice good" },
    h("p", {}, h("strong", {}, version.created ? "Published as " : "This file is already a version: ", link)),
    h("p", {}, version.live ? "This version is live: the next request uses it." : "The live version is unchanged. Activate this version when you are ready."));
}
