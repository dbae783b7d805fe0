// The host's metrics, as samples over time.

/** @typedef {[name: string, labels: Record<string, string>, value: number]} Row */
/** @typedef {"received" | "sent" | "refused" | "failed" | "seconds" | "calls" | "queued"} Total */
/** @typedef {{ at: number, rows: Row[] } & Record<Total, number>} Sample */

/** An hour of samples, kept while the console is open wherever one goes. */
const MAX_SAMPLES = 720;
/** @type {Sample[]} */
export const samples = [];

/** The lines of /metrics. @param {string} text */
function parse(text) {
  /** @type {Row[]} */
  const rows = [];
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = line.match(/^(\w+)(?:\{(.*)\})? ([-+.\deInf]+)$/) ?? [];
    if (!name) continue;
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, is]) => [label, is]);
    rows.push([name, Object.fromEntries(pairs), Number(value)]);
  }
  return rows;
}

/** @param {Row[]} rows @param {string} name @param {(labels: Record<string, string>) => boolean} matches */
const sum = (rows, name, matches = () => true) =>
  rows.reduce((total, [is, labels, value]) => (is === name && matches(labels) ? total + value : total), 0);

/** Reads the metrics once. */
export async function sample() {
  const response = await fetch("/metrics");
  if (!response.ok) throw new Error("The host's metrics cannot be read.");
  const rows = parse(await response.text());
  samples.push({
    at: Date.now(),
    rows,
    received: sum(rows, "weir_inbound_events_total", (labels) => labels.outcome === "stored"),
    sent: sum(rows, "weir_sends_total", (labels) => labels.next === "sent"),
    refused: sum(rows, "weir_refusals_total"),
    failed: sum(rows, "weir_connector_calls_total", (labels) => labels.outcome !== "ok"),
    seconds: sum(rows, "weir_connector_call_seconds_sum"),
    calls: sum(rows, "weir_connector_call_seconds_count"),
    queued: sum(rows, "weir_queue_depth", ({ queue }) => ["outbox", "deliveries", "media"].includes(queue)),
  });
  if (samples.length > MAX_SAMPLES) samples.shift();
}

/** How a total grew between samples, per minute. @param {Total} total */
export const perMinute = (total) =>
  samples.slice(1).map((here, at) => {
    const before = samples[at];
    return (Math.max(0, here[total] - before[total]) * 60_000) / Math.max(1, here.at - before.at);
  });

/** The connectors' mean latency between samples, in milliseconds. */
export const latency = () =>
  samples.slice(1).map((here, at) => {
    const { seconds, calls } = samples[at];
    return here.calls > calls ? ((here.seconds - seconds) / (here.calls - calls)) * 1000 : 0;
  });

/** The values of a metric by one of its labels. @param {Row[]} rows @param {string} name @param {string} label */
export function byLabel(rows, name, label) {
  /** @type {Map<string, number>} */
  const values = new Map();
  for (const [is, labels, value] of rows) {
    if (is === name) values.set(labels[label], (values.get(labels[label]) ?? 0) + value);
  }
  return [...values];
}

/** A quantile of a function's latency, in seconds. @param {Row[]} rows @param {string} call @param {number} part */
export function quantile(rows, call, part) {
  const buckets = rows
    .filter(([name, labels]) => name === "weir_connector_call_seconds_bucket" && labels.call === call)
    .map(([, { le }, count]) => ({ bound: le === "+Inf" ? Infinity : Number(le), count }))
    .sort((a, b) => a.bound - b.bound);
  const all = buckets.at(-1)?.count ?? 0;
  return buckets.find(({ count }) => count >= all * part)?.bound ?? 0;
}
