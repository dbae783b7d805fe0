// The overview: items that need attention, then current activity.

import { get } from "./api.js";
import { chart, h, icon, loading, pageHeader, problem, replace } from "./dom.js";
import { CHANNEL_STATUS, channelName, duration, moment, plural, spaced } from "./format.js";
import { byLabel, latency, perMinute, quantile, sample, samples } from "./metrics.js";

/** @import { App, Channel, Child, Connector, Endpoint, Page } from "./types" */
/** @typedef {{ tone: string, title: string, text: string, href: string, action: string }} Task */

const EVERY_MS = 5000;
const SETTLE_MS = 200;
/** Rates are averaged over the last minute of samples. */
const RECENT = 12;

/** @param {HTMLElement} root @returns {Page} */
export function mount(root) {
  const attention = loading(needsAttention);
  const figures = h("div", { class: "stack" });
  const header = pageHeader("Overview", "What needs attention, and current activity.");
  root.append(h("div", { class: "page" }, header, attention, figures));
  const step = () =>
    sample()
      .then(() => draw(figures))
      .catch(({ message }) => replace(figures, problem({ title: "No metrics", message }, step)));
  step();
  draw(figures);
  const timer = setInterval(() => !document.hidden && step(), EVERY_MS);
  /** @type {number | undefined} */
  let soon;
  return {
    event({ type }) {
      if (!/^(channel|endpoint|connector)\./.test(type)) return;
      clearTimeout(soon);
      soon = setTimeout(() => attention.reload(), SETTLE_MS);
    },
    leave() {
      clearInterval(timer);
      clearTimeout(soon);
    },
  };
}

// ---- items that need attention --------------------------------------------------------------------------------------

async function needsAttention() {
  const [channels, endpoints, connectors, apps, dead] = await Promise.all([
    get("/v1/channels", { limit: 200 }),
    get("/v1/endpoints", { limit: 200 }),
    get("/v1/connectors"),
    get("/v1/apps"),
    get("/v1/dead-letters", { limit: 50 }),
  ]);
  const tasks = [
    ...channels.data.map(channelTask),
    ...endpoints.data.map(endpointTask),
    ...apps.data.map(appTask),
    dead.data.length > 0 && {
      tone: "warn",
      title: plural(dead.data.length, "dead letter") + (dead.has_more ? " and more" : ""),
      text: "Webhooks that a connector could not process.",
      href: "/events?show=dead",
      action: "Review",
    },
    ...connectors.data.map(connectorTask),
    setupTask(connectors.data, apps.data, channels.data),
  ].filter((task) => task !== null && task !== false);
  const healthy = {
    tone: "good",
    title: "All healthy",
    text: `${plural(channels.data.length, "channel")}, ${plural(endpoints.data.length, "endpoint")}.`,
    href: "/inbox",
    action: "Inbox",
  };
  const rows = (tasks.length ? tasks : [healthy]).map(taskRow);
  return h("section", { "aria-label": "Needs attention" }, h("ul", { class: "attention" }, rows));
}

/** @param {Task} task */
const taskRow = ({ tone, title, text, href, action }) =>
  h(
    "li",
    { class: tone },
    icon(tone === "good" ? "check" : "alert"),
    h("div", null, h("b", { dir: "auto" }, title), h("p", { class: "quiet" }, text)),
    h("a", { class: "button small", href }, action),
  );

/** @param {Channel} one @returns {Task | null} */
function channelTask(one) {
  if (one.status === "connected" && !one.paused) return null;
  const [tone, text] = one.paused ? ["warn", "Paused: no messages are sent"] : CHANNEL_STATUS[one.status];
  return { tone, title: channelName(one), text: `${text}.`, href: `/channels/${one.id}`, action: "Diagnose" };
}

/** @param {Endpoint} one @returns {Task | null} */
function endpointTask(one) {
  const task = { title: one.description || one.url, href: `/endpoints/${one.id}` };
  if (!one.enabled && one.disabled_reason) {
    return { ...task, tone: "bad", text: `Disabled: ${one.disabled_reason}`, action: "Fix" };
  }
  if (!one.failing_since) return null;
  return { ...task, tone: "warn", text: `Deliveries fail since ${moment(one.failing_since)}.`, action: "Diagnose" };
}

/** @param {App} app @returns {Task | null} */
function appTask({ name, refused_webhooks: refused }) {
  if (!refused || refused.accepted_since) return null;
  const text =
    `${plural(refused.count, "webhook")}, the last ${moment(refused.last_at)}: ${refused.reason}. ` +
    "Compare the app's secret with the platform's.";
  return { tone: "warn", title: `${name}: webhooks are rejected`, text, href: "/connectors", action: "Fix" };
}

/** @param {Connector} one @returns {Task | null} */
function connectorTask({ name, active_version: version }) {
  if (version) return null;
  const href = `/connectors/${name}`;
  return { tone: "warn", title: `Connector ${name}`, text: "No active version.", href, action: "View" };
}

/** The next step of a new host. @param {Connector[]} connectors @param {App[]} apps @param {Channel[]} channels */
function setupTask(connectors, apps, channels) {
  const tone = "warn";
  const href = "/connectors";
  if (!connectors.length) {
    return { tone, title: "No connectors", text: "Install the connector for your platform.", href, action: "Install" };
  }
  if (!apps.length) {
    const text = "Register the app that you have in the platform's developer portal.";
    return { tone, title: "No apps", text, href, action: "Register" };
  }
  if (channels.length) return null;
  const text = "Connect a business account to receive messages.";
  return { tone, title: "No accounts connected", text, href: "/channels", action: "Connect" };
}

// ---- activity -------------------------------------------------------------------------------------------------------

/** @param {HTMLElement} place */
function draw(place) {
  const last = samples.at(-1);
  if (!last) return;
  const { rows } = last;
  const since = samples.length > 1 ? `over ${duration(last.at - samples[0].at)}` : "since startup";
  const rate = (/** @type {number[]} */ values) => {
    const recent = values.slice(-RECENT);
    const mean = recent.reduce((total, value) => total + value, 0) / Math.max(1, recent.length);
    return `${mean.toFixed(1)} per minute, ${since}`;
  };
  const [received, sent] = [perMinute("received"), perMinute("sent")];
  const mean = last.calls ? `${((last.seconds / last.calls) * 1000).toFixed(1)} ms` : "–";
  const queued = samples.map((one) => one.queued);
  const all = h("a", { href: "/refusals" }, "View all");
  replace(
    place,
    h(
      "div",
      { class: "figures" },
      figure("Received", last.received, received, rate(received)),
      figure("Sent", last.sent, sent, rate(sent)),
      figure("Queued", last.queued, queued, "messages, deliveries and files"),
      figure("Connector latency", mean, latency(), "mean, with the platform's response time"),
      figure("Refused", last.refused, perMinute("refused"), "requests that a rule refused"),
      figure("Connector errors", last.failed, perMinute("failed"), "failed calls"),
    ),
    h(
      "div",
      { class: "cards" },
      bars("Refusals by rule", byLabel(rows, "weir_refusals_total", "rule"), "No refusals.", all),
      bars("p95 latency", p95(rows), "No calls yet."),
      bars("Queues", queues(rows), "All queues are empty."),
    ),
  );
}

/** @param {import("./metrics.js").Row[]} rows @returns {Bar[]} */
const p95 = (rows) =>
  byLabel(rows, "weir_connector_call_seconds_count", "call")
    .filter(([, count]) => count > 0)
    .map(([call]) => {
      const ms = quantile(rows, call, 0.95) * 1000;
      return [call, ms, Number.isFinite(ms) ? `${ms} ms` : "off the scale"];
    });

/** Each queue's depth, and the age of its oldest item. @param {import("./metrics.js").Row[]} rows @returns {Bar[]} */
function queues(rows) {
  const depths = byLabel(rows, "weir_queue_depth", "queue");
  const ages = byLabel(rows, "weir_queue_oldest_seconds", "queue").map(
    ([queue, age]) => /** @type {Bar} */ ([`oldest in ${queue}`, age, duration(age * 1000)]),
  );
  return [...depths, ...ages].filter(([, value]) => value > 0);
}

/** @param {string} title @param {string | number} value @param {number[]} values @param {string} text */
const figure = (title, value, values, text) =>
  h(
    "section",
    { class: "card figure" },
    h("h2", { class: "quiet" }, title),
    h("b", null, value),
    chart([values.length ? values : [0]], `${title}: ${text}`),
    h("small", null, text),
  );

/** @typedef {[name: string, value: number, shown?: string]} Bar */
/** @param {string} title @param {Bar[]} table @param {string} none @param {Child} [more] */
function bars(title, table, none, more) {
  const largest = [...table].sort((a, b) => b[1] - a[1]).slice(0, 8);
  const max = largest[0]?.[1] ?? 1;
  const rows = largest.map(([name, value, shown]) =>
    h(
      "li",
      null,
      h("span", null, spaced(name)),
      h("span", { class: "num" }, shown ?? value),
      h("meter", { min: 0, max, value, "aria-label": name }),
    ),
  );
  const list = rows.length ? h("ul", { class: "bars" }, rows) : h("p", { class: "quiet" }, none);
  return h("section", { class: "card" }, h("h2", null, title), list, rows.length > 0 && more);
}
