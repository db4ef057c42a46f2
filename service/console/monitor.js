// Polls GET /metrics while a view shows the metrics, and keeps the last five minutes.

import { parse } from "./exposition.js";
import { send } from "./http.js";
import { between, sample, WANTED } from "./rates.js";

const EVERY_MS = 2000;
const LONGEST_MS = 20_000; // longest interval between samples, for a slow server
export const GAP_MS = 30_000; // samples further apart are not compared and not connected
const SPAN_MS = 300_000;
const LEAST_SPAN_MS = 60_000; // shown before five minutes have been sampled
const WINDOW = 5; // rates cover 5 samples (10 s), because percentiles over 2 s fluctuate

const samples = []; // kept while the user visits other views
export const points = []; // { at, ...result of `between` in rates.js }, oldest first

/** The number of adapters in the server's memory; null before the first sample. */
export const resident = () => samples.at(-1)?.resident ?? null;

/** Poll the metrics and call `told(error)` after each poll, with null on success. Returns a function that stops polling. */
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
      waitMs = Math.min(LONGEST_MS, Math.max(EVERY_MS, 20 * (performance.now() - started))); // at most 5 % of the server's time
      if (!over) told(failed);
    }
    if (!over) timer = setTimeout(look, waitMs);
  }

  look();
  return () => { over = true; clearTimeout(timer); };
}

/** The period that charts show: whole minutes, at most five. */
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
