// Publish an adapter: drop a file or choose it, look at what it is, send it, see why it is refused.

import { breaks, compared, differenceList } from "./differences.js";
import { field, h, replace, say } from "./dom.js";
import { bytes, count, kind, number } from "./format.js";
import { facts, isLocked, lock, notAllowed, refusal } from "./parts.js";
import { describe, taskOf } from "./preview.js";
import { mainMetric, missing, onChange, reload, store } from "./store.js";
import { upload } from "./upload.js";

const NAME = "[a-z0-9][a-z0-9\\-]{0,62}";

/** For the next version of `task`, or for a task to be named. */
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
  const allowing = h("label", { class: "check" }, allow, "Although clients break");
  const against = h("div", {});
  let described = null; // what the file says of itself
  const send = h("button", { type: "submit", class: "primary" }, "Publish");
  const about = h("div", {});
  const locked = h("div", {});
  const outcome = h("div", { class: "outcome" });
  const form = h("form", { class: "stack", novalidate: true, onsubmit: publish }, zone, about,
    !task && field("Task", name, "Lower-case letters, digits, hyphens. A task that is there gets its next version."),
    against, h("label", { class: "check" }, activate, "Make it live at once"), allowing, h("div", { class: "buttons" }, send), outcome);

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
    const others = files.length > 1 ? `Only one file at a time: ${files.length - 1} left out.` : "";
    const taken = (file = files[0]);
    input.value = ""; // else the browser would not tell when the same file is chosen again
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

  /** What clients of the task would meet; null where the file does not tell, or nothing is live. */
  function changes() {
    const live = store.tasks.get(task ?? name.value)?.live;
    try {
      return live && described ? compared(live, described.task) : null;
    } catch {
      return null; // a file may say anything of itself; the server checks it
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
    replace(locked, store.loaded && why && notAllowed(why, "Publishing is locked."));
  }

  function lacking() {
    if (busy) return "It is being sent.";
    if (file === null) return "Choose a file first.";
    if (!allowing.hidden && !allow.checked) return "Clients would break: allow it, or do not make it live at once.";
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
        bar.removeAttribute("value"); // it is checked now, which takes as long as it takes
        state.textContent = "Checking on the backbone…";
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

  /** The file is a version now: say what became of it, and make room for the next one. */
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

/** What a file says of itself, which may be anything. */
function preview(description) {
  try {
    return facts(claims(description), "small");
  } catch {
    return h("p", { class: "complaint" }, "This does not look like an adapter file. The server will say what is wrong with it.");
  }
}

function claims({ task: { type, pair, labels }, metrics, backbone }) {
  const metric = mainMetric(metrics ?? {});
  return [
    ["Kind", `${kind(type)}${pair ? ", pair" : ""}`],
    ["Labels", labels?.length ? `${count(labels.length)}: ${labels.slice(0, 4).join(", ")}${labels.length > 4 ? "…" : ""}` : "none"],
    ["Score", metric ? `${number(metric[1])} ${metric[0]}` : "–"],
    ["Backbone", String(backbone?.name ?? "–")],
  ];
}

const linkTo = (task, version) => h("a", { href: `#tasks/${encodeURIComponent(task)}` }, `${task}@${version}`);

/** The live version was changed between the preview and the upload, so that only the server has seen the difference. */
const waiting = (task, { body }) => h("div", { class: "notice" }, h("p", {}, h("strong", {}, "Published, and not live: ", linkTo(task, body.version))));

function published(version) {
  const link = linkTo(version.task, version.version);
  return h("div", { class: "notice good" },
    h("p", {}, h("strong", {}, version.created ? "Published as " : "These bytes are a version already: ", link)),
    h("p", {}, version.live ? "It is live: the next request gets it." : "live stays where it is; activate it when you are ready."));
}
