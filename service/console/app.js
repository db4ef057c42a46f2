// The entry point: connects the frame of the page with the views and loads the data.

import { auditView } from "./audit-view.js";
import { installKeyButton } from "./key-dialog.js";
import { keysView } from "./keys-view.js";
import { liveView } from "./live-view.js";
import { route } from "./router.js";
import { watchServer } from "./server-state.js";
import { load, onChange } from "./store.js";
import { taskView } from "./task-view.js";
import { tasksView } from "./tasks-view.js";
import { tryView } from "./try-view.js";

const place = document.getElementById("view");
const drawKey = installKeyButton(document.getElementById("key-button"));

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the router owns the part of the address behind #
  (place.querySelector("h1") ?? place).focus();
});
for (const event of ["dragover", "drop"]) {
  window.addEventListener(event, (dragged) => dragged.preventDefault()); // a file dropped outside the drop zone would replace the page
}
onChange(drawKey);
drawKey();
route(place, { try: tryView, tasks: (name) => (name ? taskView(name) : tasksView()), live: liveView, keys: keysView, audit: auditView }, "try");
load();
watchServer(document.getElementById("server"));
