// Publish an adapter: drop a file or choose it, look at what it is, send it, see why it is refused.

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
  const activate = h("input", { type: "checkbox", checked: true });
  const send = h("button", { type: "submit", class: "primary" }, "Publish");
  const about = h("div", {});
  const locked = h("div", {});
  const outcome = h("div", { class: "outcome" });
  const form = h("form", { class: "stack", novalidate: true, onsubmit: publish }, zone, about,
    !task && field("Task", name, "Lower-case letters, digits, hyphens. A task that is there gets its next version."),
    h("label", { class: "check" }, activate, "Make it live at once"), h("div", { class: "buttons" }, send), outcome);

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
    arrange();
    const description = await describe(taken);
    if (file !== taken) return;
    replace(about, preview(description));
    say(`${taken.name} is chosen`);
  }

  function arrange() {
    const why = missing("upload");
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
      const version = await upload(target, file, activate.checked, (share) => {
        if (share < 1) return (bar.value = share);
        bar.removeAttribute("value"); // it is checked now, which takes as long as it takes
        state.textContent = "Checking on the backbone…";
      });
      await reload(target).catch(() => {});
      file = null;
      replace(about);
      replace(outcome, published(version));
      say(`Version ${version.version} of ${version.task} is published`);
    } catch (error) {
      replace(outcome, refusal(error));
    }
    busy = false;
    arrange();
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

function published(version) {
  const link = h("a", { href: `#tasks/${encodeURIComponent(version.task)}` }, `${version.task}@${version.version}`);
  return h("div", { class: "notice good" },
    h("p", {}, h("strong", {}, version.created ? "Published as " : "These bytes are a version already: ", link)),
    h("p", {}, version.live ? "It is live: the next request gets it." : "live stays where it is; activate it when you are ready."));
}
