// Calls of the API that this page came from, under whatever prefix it came.

import { authorization } from "./session.js";

const ROOT = new URL("../", import.meta.url);

/** The address of an API path such as "v1/tasks". */
export const address = (path) => new URL(path, ROOT);

/** What the server refuses, or why it cannot be reached (status 0). */
export class Refused extends Error {
  constructor(status, body, headers) {
    super(body?.error ?? `the server answered ${status}, and no JSON`);
    this.status = status;
    this.type = body?.error_type ?? "";
    this.reason = body?.reason ?? "";
    this.body = body;
    this.retryAfterS = Number(headers?.get("Retry-After")) || 0;
  }
}

/** Whether the server is to blame, or away, rather than what was asked of it. */
export const isAway = (error) => error !== null && (error.status === 0 || error.status >= 500);

export const UNREACHABLE = "the server cannot be reached: it may be stopped, or the network is down";

/** The answer to a request, whatever its media type. Throws Refused. */
export async function send(method, path, { json, headers, signal } = {}) {
  const given = { ...authorization(), ...headers };
  if (json !== undefined) given["Content-Type"] = "application/json";
  const body = json === undefined ? undefined : JSON.stringify(json);
  const options = { method, headers: given, body, signal, cache: "no-store", redirect: "error" };
  const response = await arriving(fetch(address(path), options));
  if (!response.ok) throw new Refused(response.status, await parsed(response), response.headers);
  return response;
}

/** The JSON of the answer; null where it has no body. Throws Refused. */
export async function call(method, path, options) {
  const response = await send(method, path, options);
  if (response.status === 204) return null;
  const body = await parsed(response);
  if (body === null) throw new Refused(response.status, null);
  return body;
}

const parsed = async (response) => parseJson(await arriving(response.text()));

/** What comes from the network. Throws Refused, or AbortError as it is. */
async function arriving(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { error: UNREACHABLE });
  }
}

/** The value that a text stands for; null where it is no JSON. */
export function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** One task's path in the admin API. */
export const adminTask = (task, rest = "") => `admin/v1/tasks/${encodeURIComponent(task)}${rest}`;
