// Downloads the file of a version, exactly as it was uploaded.

import { ask } from "./dialogs.js";
import { h, say } from "./dom.js";
import { adminTask, send } from "./http.js";
import { refusal } from "./parts.js";

/** Fetch the file with the key, which a plain link cannot send. */
export async function save(task, version) {
  const get = async () => {
    const response = await send("GET", adminTask(task, `/versions/${version}/adapter`));
    const link = h("a", { href: URL.createObjectURL(await response.blob()), download: `${task}-${version}.safetensors` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    say("The download has started");
  };
  try {
    await get();
  } catch (error) {
    const why = refusal(error);
    const again = () => (why.remove(), get());
    await ask({ title: `Download ${task}@${version}`, content: [why], confirm: "Try again", act: again });
  }
}
