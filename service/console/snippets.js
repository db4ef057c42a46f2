// The request that the page sends, as a shell command and as a Python program to copy.

import { copyable } from "./copy.js";
import { show } from "./dialogs.js";
import { h } from "./dom.js";
import { address } from "./http.js";
import { hasKey } from "./session.js";

/** Show how to send `body` to the API path `path` with curl and with Python, without the key itself. */
export function showSnippets(path, body) {
  const url = String(address(path));
  return show({
    title: "The same request",
    content: [
      h("h3", {}, "curl"), copyable("curl", asCurl(url, body, hasKey())),
      h("h3", {}, "Python"), copyable("Python", asPython(url, body, hasKey())),
      hasKey() && h("p", { class: "hint" }, "Both read the key from the environment variable ADAKRON_KEY.")],
  });
}

/** Write a command for a POSIX shell. */
export function asCurl(url, body, keyed) {
  const lines = [`curl -s ${shell(url)}`, "-H 'Content-Type: application/json'", keyed && '-H "Authorization: Bearer $ADAKRON_KEY"', `-d ${shell(JSON.stringify(body))}`];
  return lines.filter(Boolean).join(" \\\n  ");
}

/** Write a Python program with the package requests. JSON strings and lists are valid Python. */
export function asPython(url, body, keyed) {
  const headers = keyed ? ', headers={"Authorization": f"Bearer {os.environ[\'ADAKRON_KEY\']}"}' : "";
  return [
    keyed && "import os",
    "import requests",
    "",
    `response = requests.post(${JSON.stringify(url)}, json=${JSON.stringify(body)}${headers})`,
    "response.raise_for_status()",
    "print(response.json())",
  ].filter((line) => line !== false).join("\n");
}

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
