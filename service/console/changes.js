// Everything that changes a task, each behind a question. An alias only moves from where the page has shown it to be.

import { ask } from "./dialogs.js";
import { field, h, say } from "./dom.js";
import { adminTask, call } from "./http.js";
import { load, put, reload } from "./store.js";

const quoted = (version) => `"${version}"`;

/** If-Match with the version that an alias is believed to point to; or that there is no such alias. */
export const onlyFrom = (version) => (version === undefined ? { "If-None-Match": "*" } : { "If-Match": quoted(version) });

async function changing(task, method, path, options) {
  try {
    const answer = await call(method, adminTask(task.name, path), options);
    if (answer) put(answer);
    else await reload(task.name);
  } catch (error) {
    if ([404, 409, 412].includes(error.status)) await reload(task.name).catch(() => {}); // show how things stand
    if (error.status === 401) await load(); // the key has been revoked meanwhile
    throw error;
  }
}

async function moveAlias(task, alias, version) {
  const headers = onlyFrom(task.aliases[alias]);
  await changing(task, "PUT", `/aliases/${encodeURIComponent(alias)}`, { json: { version }, headers });
  say(`${alias} of ${task.name} now points to version ${version}`);
}

export function askActivate(task, version) {
  const now = task.aliases.live;
  return ask({
    title: `Make ${task.name}@${version} live?`,
    content: [h("p", {}, now === undefined ? `Nothing is live now. Clients of ${task.name} will get version ${version}.`
      : `Clients of ${task.name} get version ${now} now, and version ${version} from then on. Requests under way keep theirs.`)],
    confirm: `Activate version ${version}`,
    act: () => moveAlias(task, "live", version),
  });
}

export function askRollback(task) {
  return ask({
    title: `Roll ${task.name} back?`,
    content: [h("p", {}, `live points to version ${task.aliases.live}, and goes back to the version that it pointed to before.`)],
    confirm: "Roll back",
    act: async () => {
      await changing(task, "POST", "/rollback", { headers: { "If-Match": quoted(task.aliases.live) } });
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
      h("p", { class: "hint" }, `Clients ask for ${task.name}@NAME. An alias that is there already moves here.`),
      field("Name", name, "Lower-case letters, digits and hyphens; not a number."), complaint],
    confirm: "Set the alias",
    act: async () => {
      const alias = name.value.trim();
      const good = /^[a-z0-9][a-z0-9-]{0,62}$/.test(alias) && !/^[0-9]+$/.test(alias);
      complaint.textContent = good ? "" : "This is no name of an alias.";
      if (!good) return name.focus(), "stay";
      await moveAlias(task, alias, version);
    },
  });
}

export function askDeleteAlias(task, alias) {
  return ask({
    title: `Remove the alias ${alias} of ${task.name}?`,
    content: [h("p", {}, alias === "live" ? `Then ${task.name} is not answered any more, but by version number or another alias.`
      : `Clients that ask for ${task.name}@${alias} are then refused. Version ${task.aliases[alias]} itself stays.`)],
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
    content: [h("p", {}, "The version and its file are removed for good, and its number is never used again.")],
    confirm: `Delete version ${version}`,
    danger: true,
    act: async () => {
      await changing(task, "DELETE", `/versions/${version}`);
      say(`Version ${version} is deleted`);
    },
  });
}
