// Computes rates, means and percentiles between two samples of /metrics from one run of the server (`began`).
// If the start time is not available, a task whose counter decreased is left out.

export const WANTED = new Set([
  "adakron_requests_total", "adakron_request_duration_seconds_bucket", "adakron_batch_size_sum", "adakron_batch_size_count",
  "adakron_tokenize_duration_seconds_sum", "adakron_tokenize_duration_seconds_count", "adakron_queue_duration_seconds_sum", "adakron_queue_duration_seconds_count",
  "adakron_inference_duration_seconds_sum", "adakron_inference_duration_seconds_count", "adakron_queue_depth", "adakron_resident_adapters",
  "process_start_time_seconds",
]);

const FAILED = 500; // statuses from here on are failures of the server
const REFUSED = 429; // the server is overloaded

const nothing = () => ({ requests: 0, failures: 0, refused: 0, buckets: new Map() });

/** Aggregate one sample for the charts; `tasks` has requests, failures, refusals and buckets by task. */
export function sample(series, atMs) {
  const total = (name) => series.get(name).reduce((sum, [, value]) => sum + value, 0);
  const tasks = new Map();
  const of = (name) => tasks.get(name) ?? tasks.set(name, nothing()).get(name);
  for (const [{ task, code }, value] of series.get("adakron_requests_total")) {
    of(task).requests += value;
    if (Number(code) >= FAILED) of(task).failures += value;
    if (Number(code) === REFUSED) of(task).refused += value;
  }
  for (const [{ task, le }, value] of series.get("adakron_request_duration_seconds_bucket")) of(task).buckets.set(Number(le.replace("+Inf", "Infinity")), value);
  const pairs = ["batch_size", "tokenize_duration_seconds", "queue_duration_seconds", "inference_duration_seconds"];
  const sums = Object.fromEntries(pairs.map((name) => [name, [total(`adakron_${name}_sum`), total(`adakron_${name}_count`)]]));
  return {
    atMs, tasks, sums, began: total("process_start_time_seconds"),
    queueDepth: total("adakron_queue_depth"), resident: total("adakron_resident_adapters"),
  };
}

/** Compute the rates between two samples; a value is null if there were no observations. */
export function between(older, newer) {
  const seconds = (newer.atMs - older.atMs) / 1000;
  const tasks = [...newer.tasks].map(([name, now]) => taskBetween(name, older.tasks.get(name), now, seconds)).filter((task) => task !== null && task.rate > 0);
  const whole = nothing();
  for (const { counted } of tasks) {
    whole.requests += counted.requests;
    whole.failures += counted.failures;
    whole.refused += counted.refused;
    for (const [le, n] of counted.buckets) whole.buckets.set(le, (whole.buckets.get(le) ?? 0) + n);
  }
  const mean = (name, factor) => {
    const [sum, count] = [0, 1].map((i) => newer.sums[name][i] - older.sums[name][i]);
    return count > 0 ? (sum / count) * factor : null;
  };
  return {
    rate: whole.requests / seconds,
    failures: whole.failures / seconds,
    refused: whole.refused / seconds,
    p50: quantile(0.5, whole.buckets),
    p95: quantile(0.95, whole.buckets),
    batchSize: mean("batch_size", 1),
    tokenize: mean("tokenize_duration_seconds", 1000),
    queue: mean("queue_duration_seconds", 1000),
    inference: mean("inference_duration_seconds", 1000),
    tasks,
  };
}

function taskBetween(name, before, now, seconds) {
  const zero = before ?? nothing();
  const requests = now.requests - zero.requests;
  if (requests < 0) return null;
  const buckets = new Map([...now.buckets].map(([le, n]) => [le, n - (zero.buckets.get(le) ?? 0)]));
  const counted = { requests, failures: now.failures - zero.failures, refused: now.refused - zero.refused, buckets };
  return { name, rate: requests / seconds, failures: counted.failures / seconds, refused: counted.refused / seconds, p50: quantile(0.5, buckets), p95: quantile(0.95, buckets), counted };
}

/** The quantile in milliseconds, computed like Prometheus' histogram_quantile; null without observations. */
export function quantile(share, buckets) {
  const bounds = [...buckets.keys()].sort((one, other) => one - other);
  const all = buckets.get(Infinity) ?? 0;
  if (all <= 0) return null;
  const rank = share * all;
  let [below, lower] = [0, 0];
  for (const bound of bounds) {
    const n = buckets.get(bound);
    if (n >= rank) return 1000 * (bound === Infinity ? lower : lower + (bound - lower) * ((rank - below) / (n - below)));
    [below, lower] = [n, bound];
  }
  return 1000 * lower;
}
