// The server's metrics over the last five minutes, from GET /metrics. The server is asked only while a view shows them.

import { parse } from "./exposition.js";
import { send } from "./http.js";
import { between, sample, WANTED } from "./rates.js";

const EVERY_MS = 2000;
const LONGEST_MS = 20_000; // between two samples of a server that answers slowly
export const GAP_MS = 30_000; // samples that are further apart are not compared, and no line joins them
const SPAN_MS = 300_000;
const LEAST_SPAN_MS = 60_000; // before five minutes have been sampled
const WINDOW = 5; // samples that a rate looks back, 10 s: percentiles of two seconds jump about

const samples = []; // these stay when the user comes back to a view
export const points = []; // { at, and what `between` of rates.js gives }, oldest first

/** Adapters in the server's memory; null before the first sample. */
export const resident = () => samples.at(-1)?.resident ?? null;

/** Sample the metrics, and call `told(error)` after each sample; error is null, or why there is none. Returns what ends it. */
export function monitor(told) {
  let timer = 0;
  let over = false;

  async function look() {
    let waitMs = EVERY_MS;
    if (!document.hidden) {
      const started = performance.now();
      let failed = null;
      try {
        take(parse(await (await send("GET", "metrics")).text(), WANTED), started);
      } catch (error) {
        failed = error;
      }
      waitMs = Math.min(LONGEST_MS, Math.max(EVERY_MS, 20 * (performance.now() - started))); // 5 % of the server's time
      if (!over) told(failed);
    }
    if (!over) timer = setTimeout(look, waitMs);
  }

  look();
  return () => { over = true; clearTimeout(timer); };
}

/** The time that charts show: whole minutes, five at most. */
export function shownSpanMs() {
  const minutes = points.length ? Math.ceil((points.at(-1).at - points[0].at) / LEAST_SPAN_MS) : 1;
  return Math.min(SPAN_MS, Math.max(1, minutes) * LEAST_SPAN_MS);
}

function take(series, nowMs) {
  const newest = sample(series, nowMs);
  if (samples.at(-1)?.began !== newest.began) samples.length = 0; // the server has been restarted
  samples.push(newest);
  while (samples.length > WINDOW + 1) samples.shift();
  const older = samples.find((old) => newest.atMs - old.atMs <= GAP_MS && old !== newest);
  if (older) points.push({ at: nowMs, queueDepth: newest.queueDepth, ...between(older, newest) });
  while (points.length && nowMs - points[0].at > SPAN_MS) points.shift();
}
