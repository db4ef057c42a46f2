// Every change of a task, after a confirmation. An alias moves only if it still points to the version that the page shows.

import { ask } from "./dialogs.js";
import { breaks, differenceList } from "./differences.js";
import { field, h, say } from "./dom.js";
import { adminTask, call } from "./http.js";
import { load, put, reload } from "./store.js";

const quoted = (version) => `"${version}"`;

/** The precondition that an alias points to `version`, or that it does not exist. */
export const onlyFrom = (version) => (version === undefined ? { "If-None-Match": "*" } : { "If-Match": quoted(version) });

async function changing(task, method, path, options) {
  try {
    const answer = await call(method, adminTask(task.name, path), options);
    if (answer) put(answer);
    else await reload(task.name);
  } catch (error) {
    if ([404, 409, 412].includes(error.status)) await reload(task.name).catch(() => {}); // show the current state
    if (error.status === 401) await load(); // the key has been revoked
    throw error;
  }
}

async function moveAlias(task, alias, version, query = "") {
  const headers = onlyFrom(task.aliases[alias]);
  await changing(task, "PUT", `/aliases/${encodeURIComponent(alias)}${query}`, { json: { version }, headers });
  say(`${alias} of ${task.name} now points to version ${version}`);
}

/** Ask to make `version` live. Lists what changes for clients; a breaking change needs a checkbox. */
function askLive(task, version, { title, text, confirm, act }) {
  const changes = task.versions.find((known) => known.version === version)?.changes;
  const allow = h("input", { type: "checkbox" });
  const complaint = h("p", { class: "complaint", role: "alert" });
  return ask({
    title,
    content: [h("p", {}, text), differenceList(changes),
      breaks(changes) && h("label", { class: "check" }, allow, `Make version ${version} live although it breaks clients`), complaint],
    confirm,
    danger: breaks(changes),
    act: () => {
      complaint.textContent = breaks(changes) && !allow.checked ? "Check the box to allow it, or change the clients first." : "";
      if (complaint.textContent) return allow.focus(), "stay";
      return act(allow.checked ? "?allow_incompatible=true" : "");
    },
  });
}

export function askActivate(task, version) {
  const now = task.aliases.live;
  return askLive(task, version, {
    title: `Make ${task.name}@${version} live?`,
    text: now === undefined ? `No version is live now. Clients of ${task.name} will get version ${version}.`
      : `Clients of ${task.name} will get version ${version} instead of version ${now}. Running requests finish with version ${now}.`,
    confirm: `Activate version ${version}`,
    act: (query) => moveAlias(task, "live", version, query),
  });
}

export function askRollback(task) {
  return askLive(task, task.rollbackTo, {
    title: `Roll ${task.name} back to version ${task.rollbackTo}?`,
    text: `live will point to version ${task.rollbackTo} again instead of version ${task.aliases.live}.`,
    confirm: "Roll back",
    act: async (query) => {
      await changing(task, "POST", `/rollback${query}`, { headers: { "If-Match": quoted(task.aliases.live) } });
      say(`${task.name} is rolled back`);
    },
  });
}

export function askAlias(task, version) {
  const name = h("input", { autocomplete: "off", spellcheck: "false", autofocus: true, placeholder: "canary" });
  const complaint = h("p", { class: "complaint", role: "alert" });
  return ask({
    title: `Alias for ${task.name}@${version}`,
    content: [
      h("p", { class: "hint" }, `Clients request ${task.name}@NAME. An existing alias of this name moves to this version.`),
      field("Name", name, "Lower-case letters, digits and hyphens; not a number."), complaint],
    confirm: "Set the alias",
    act: async () => {
      const alias = name.value.trim();
      const good = /^[a-z0-9][a-z0-9-]{0,62}$/.test(alias) && !/^[0-9]+$/.test(alias);
      complaint.textContent = good ? "" : "This is not a valid alias name.";
      if (!good) return name.focus(), "stay";
      await moveAlias(task, alias, version);
    },
  });
}

export function askDeleteAlias(task, alias) {
  return ask({
    title: `Remove the alias ${alias} of ${task.name}?`,
    content: [h("p", {}, alias === "live" ? `Requests for ${task.name} without a version or another alias will be refused.`
      : `Requests for ${task.name}@${alias} will be refused. Version ${task.aliases[alias]} is kept.`)],
    confirm: `Remove ${alias}`,
    danger: true,
    act: async () => {
      await changing(task, "DELETE", `/aliases/${encodeURIComponent(alias)}`);
      say(`The alias ${alias} is removed`);
    },
  });
}

export function askDeleteVersion(task, version) {
  return ask({
    title: `Delete ${task.name}@${version}?`,
    content: [h("p", {}, "The version and its file are deleted permanently. The version number is never used again.")],
    confirm: `Delete version ${version}`,
    danger: true,
    act: async () => {
      await changing(task, "DELETE", `/versions/${version}`);
      say(`Version ${version} is deleted`);
    },
  });
}
