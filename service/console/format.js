// Formats numbers, sizes and times.

const whole = new Intl.NumberFormat("en");
const when = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export const count = (n) => whole.format(n);

/** "1 task", "5 tasks". */
export const counted = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

/** Format a fraction as a percentage; only exact values are shown as 100 % or 0 %. */
export function percent(share) {
  const shown = (share * 100).toFixed(1);
  if (shown === "100.0" && share < 1) return ">99.9\u00a0%";
  if (shown === "0.0" && share > 0) return "<0.1\u00a0%";
  return `${shown}\u00a0%`;
}

/** Format with about three significant digits. */
export function number(value) {
  if (value === null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 100) return count(Math.round(value));
  if (size >= 10) return value.toFixed(1);
  return size >= 1 || size === 0 ? value.toFixed(2) : value.toPrecision(3).replace(/(\.\d*?)0+$/, "$1");
}

export function milliseconds(ms) {
  if (ms === null || !Number.isFinite(ms)) return "–";
  if (ms >= 10000) return `${(ms / 1000).toFixed(1)}\u00a0s`;
  return ms >= 100 ? `${Math.round(ms)}\u00a0ms` : `${ms.toFixed(ms >= 10 ? 1 : 2)}\u00a0ms`;
}

export function bytes(size) {
  if (size < 1000) return `${size} B`;
  return size < 1e6 ? `${(size / 1e3).toFixed(0)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

export const time = (text) => when.format(new Date(text));

export const digest = (text) => text.slice(0, 12);

/** "single label", "multi-label", "regression". */
export const kind = (type) => ({ single_label: "single label", multi_label: "multi-label" })[type] ?? type;
