// Requests to the API of the server that served this page, under the same path prefix.

import { authorization } from "./session.js";

const ROOT = new URL("../", import.meta.url);

/** The URL of an API path such as "v1/tasks". */
export const address = (path) => new URL(path, ROOT);

/** The server refused a request, or could not be reached (status 0). */
export class Refused extends Error {
  constructor(status, body, headers) {
    super(body?.error ?? `the server answered ${status} without JSON`);
    this.status = status;
    this.type = body?.error_type ?? "";
    this.reason = body?.reason ?? "";
    this.body = body;
    this.retryAfterS = Number(headers?.get("Retry-After")) || 0;
  }
}

/** Whether the server failed or could not be reached. */
export const isAway = (error) => error !== null && (error.status === 0 || error.status >= 500);

export const UNREACHABLE = "the server cannot be reached: it has stopped or the network is down";

/** Send a request and return the Response. Throws Refused. */
export async function send(method, path, { json, headers, signal } = {}) {
  const given = { ...authorization(), ...headers };
  if (json !== undefined) given["Content-Type"] = "application/json";
  const body = json === undefined ? undefined : JSON.stringify(json);
  const options = { method, headers: given, body, signal, cache: "no-store", redirect: "error" };
  const response = await arriving(fetch(address(path), options));
  if (!response.ok) throw new Refused(response.status, await parsed(response), response.headers);
  return response;
}

/** Send a request and return its JSON, or null for 204. Throws Refused. */
export async function call(method, path, options) {
  const response = await send(method, path, options);
  if (response.status === 204) return null;
  const body = await parsed(response);
  if (body === null) throw new Refused(response.status, null);
  return body;
}

const parsed = async (response) => parseJson(await arriving(response.text()));

/** Await a network operation. Throws Refused, or AbortError unchanged. */
async function arriving(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { error: UNREACHABLE });
  }
}

/** Parse JSON; null if `text` is not JSON. */
export function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The path of a task in the admin API. */
export const adminTask = (task, rest = "") => `admin/v1/tasks/${encodeURIComponent(task)}${rest}`;
