// The upload, as an XMLHttpRequest because fetch() does not report progress.

import { address, adminTask, parseJson, Refused, UNREACHABLE } from "./http.js";
import { authorization } from "./session.js";

/**
 * Publish `file` as the next version of `task`. `activate` makes it live, `allow` even if that breaks clients.
 * `progress` is called with the fraction that was sent. Throws Refused.
 */
export function upload(task, file, { activate, allow }, progress) {
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    request.open("POST", address(`${adminTask(task, "/versions")}?activate=${activate}&allow_incompatible=${allow}`));
    const headers = { "Content-Type": "application/octet-stream", ...authorization() };
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => event.lengthComputable && progress(event.loaded / event.total));
    request.addEventListener("load", () => {
      const body = parseJson(request.responseText);
      if (request.status < 300 && body) resolve({ ...body, created: request.status === 201 });
      else reject(new Refused(request.status, body));
    });
    // A server that refuses an unread body may close the connection before the browser has read the response.
    request.addEventListener("error", () => reject(new Refused(0, { error: `the upload was interrupted: ${UNREACHABLE}, or the file is larger than ADAKRON_MAX_UPLOAD_BYTES` })));
    request.send(file);
  });
}
