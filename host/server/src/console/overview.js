// The overview: what needs a person first, then how it runs.

import { get } from "./api.js";
import { chart, h, icon, loading, problem, replace } from "./dom.js";
import { CHANNEL_STATUS, channelName, duration, moment, plural } from "./words.js";

const EVERY = 5000;
/** An hour of looks, kept while the page is open wherever one goes. */
const LOOKS = 720;
const looks = [];

/** The lines of /metrics as `[name, labels, value]`. */
function parse(text) {
  const rows = [];
  for (const line of text.split("\n")) {
    const found = line.match(/^(\w+)(?:\{(.*)\})? ([-+.\deInf]+)$/);
    if (!found) continue;
    const labels = Object.fromEntries([...(found[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]));
    rows.push([found[1], labels, Number(found[3])]);
  }
  return rows;
}

const sum = (rows, name, fits = () => true) => rows.filter(([is, labels]) => is === name && fits(labels)).reduce((total, [, , value]) => total + value, 0);

async function look() {
  const answer = await fetch("/metrics");
  if (!answer.ok) throw new Error("The host's figures cannot be read.");
  const rows = parse(await answer.text());
  looks.push({
    at: Date.now(), rows,
    in: sum(rows, "weir_inbound_events_total", (labels) => labels.outcome === "stored"),
    out: sum(rows, "weir_sends_total", (labels) => labels.next === "sent"),
    refused: sum(rows, "weir_refusals_total"),
    failed: sum(rows, "weir_connector_calls_total", (labels) => labels.outcome !== "ok"),
    seconds: sum(rows, "weir_connector_call_seconds_sum"),
    calls: sum(rows, "weir_connector_call_seconds_count"),
    waiting: sum(rows, "weir_queue_depth", (labels) => ["outbox", "deliveries", "media"].includes(labels.queue)),
  });
  if (looks.length > LOOKS) looks.shift();
}

/** How a counter grew between looks, for each minute. */
const perMinute = (key) => looks.slice(1).map((here, at) => Math.max(0, here[key] - looks[at][key]) * 60_000 / Math.max(1, here.at - looks[at].at));
const mean = () => looks.slice(1).map((here, at) => (here.calls > looks[at].calls ? (here.seconds - looks[at].seconds) / (here.calls - looks[at].calls) * 1000 : 0));

const figure = (title, value, values, words) => h("section", { class: "card figure" }, h("h2", { class: "quiet" }, title), h("b", null, value), chart([values.length ? values : [0]], `${title}: ${words}`), h("small", null, words));

function bars(title, table, none, more) {
  const rows = [...table].sort((a, b) => b[1] - a[1]).slice(0, 8);
  const top = rows[0]?.[1] ?? 1;
  return h("section", { class: "card" }, h("h2", null, title), rows.length
    ? h("ul", { class: "bars" }, rows.map(([name, value, shown]) => h("li", null, h("span", null, name.replaceAll("_", " ")), h("span", { class: "num" }, shown ?? value), h("meter", { min: 0, max: top, value, "aria-label": name }))))
    : h("p", { class: "quiet" }, none), rows.length > 0 && more);
}

/** The time under which so large a part of the calls stayed, from a histogram's buckets. */
function quantile(rows, call, part) {
  const buckets = rows.filter(([name, labels]) => name === "weir_connector_call_seconds_bucket" && labels.call === call).map(([, labels, count]) => [labels.le === "+Inf" ? Infinity : Number(labels.le), count]).sort((a, b) => a[0] - b[0]);
  const all = buckets.at(-1)?.[1] ?? 0;
  return buckets.find(([, count]) => count >= all * part)?.[0] ?? 0;
}

export function mount(root) {
  const figures = h("div", { class: "stack" });
  const attention = loading(needs);
  root.append(h("div", { class: "page" }, h("header", null, h("div", null, h("h1", null, "Overview"), h("p", null, "What needs you, and how it runs."))), attention, figures));

  async function needs() {
    const [channels, endpoints, connectors, apps, dead] = await Promise.all([
      get("/v1/channels?limit=200"), get("/v1/endpoints?limit=200"), get("/v1/connectors"), get("/v1/apps"), get("/v1/dead-letters?limit=50"),
    ]);
    const todo = [];
    const add = (tone, words, more, href, act) => todo.push(h("li", { class: tone }, icon(tone === "good" ? "check" : "alert"), h("div", null, h("b", { dir: "auto" }, words), h("p", { class: "quiet" }, more)), h("a", { class: "button small", href }, act)));
    for (const one of channels.data) {
      if (one.status === "connected" && !one.paused) continue;
      add(one.paused ? "warn" : CHANNEL_STATUS[one.status]?.[0] ?? "warn", channelName(one), one.paused ? "Paused: nothing is sent." : `${CHANNEL_STATUS[one.status]?.[1] ?? one.status}.`, `/channels/${one.id}`, "Look");
    }
    for (const one of endpoints.data) {
      if (!one.enabled && one.disabled_reason) add("bad", one.description || one.url, `Switched off: ${one.disabled_reason}`, `/endpoints/${one.id}`, "Mend");
      else if (one.failing_since) add("warn", one.description || one.url, `Does not take its events since ${moment(one.failing_since)}.`, `/endpoints/${one.id}`, "Look");
    }
    for (const { name, refused_webhooks: refused } of apps.data) {
      if (refused && !refused.accepted_since) add("warn", `${name}: webhooks are refused`, `${plural(refused.count, "webhook")}, the last ${moment(refused.last_at)}: ${refused.reason}. Compare the app's secret with the platform's.`, "/connectors", "Look");
    }
    if (dead.data.length) add("warn", plural(dead.data.length, "dead letter") + (dead.has_more ? " and more" : ""), "Webhooks that a connector could not understand.", "/events?show=dead", "Replay");
    for (const one of connectors.data) if (!one.active_version) add("warn", `Connector ${one.name}`, "It is installed and does not serve yet.", `/connectors/${one.name}`, "Look");
    if (!connectors.data.length) add("warn", "No connector", "Install one: it speaks a platform's protocol.", "/connectors", "Install");
    else if (!apps.data.length) add("warn", "No app", "Register the app that you have at the platform's developer portal.", "/connectors", "Register");
    else if (!channels.data.length) add("warn", "No account is connected", "Connect a business account, and conversations appear in the inbox.", "/channels", "Connect");
    return h("section", { "aria-label": "Needs attention" }, h("ul", { class: "attention" }, todo.length ? todo : h("li", { class: "good" }, icon("check"), h("div", null, h("b", null, "All is well"), h("p", { class: "quiet" }, `${plural(channels.data.length, "channel")}, ${plural(endpoints.data.length, "endpoint")}; nothing waits for a person.`)), h("a", { class: "button small", href: "/inbox" }, "Inbox"))));
  }

  function draw() {
    const last = looks.at(-1);
    if (!last) return;
    const since = looks.length > 1 ? `over ${duration(last.at - looks[0].at)}` : "since the host started";
    const refusals = new Map();
    const outcomes = new Map();
    const times = [];
    for (const [name, labels, value] of last.rows) {
      if (name === "weir_refusals_total") refusals.set(labels.rule, (refusals.get(labels.rule) ?? 0) + value);
      if (name === "weir_connector_calls_total") outcomes.set(labels.outcome, (outcomes.get(labels.outcome) ?? 0) + value);
      if (name === "weir_connector_call_seconds_count" && value) times.push([labels.call, quantile(last.rows, labels.call, 0.95) * 1000]);
    }
    const queues = last.rows.filter(([name]) => name === "weir_queue_depth").map(([, labels, value]) => [labels.queue, value]);
    const ages = last.rows.filter(([name, , value]) => name === "weir_queue_oldest_seconds" && value > 0).map(([, labels, value]) => [`oldest in ${labels.queue}`, value, duration(value * 1000)]);
    const rate = (key) => perMinute(key).slice(-12);
    const now = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : 0);
    replace(figures, h("div", { class: "figures" },
      figure("Came in", String(last.in), perMinute("in"), `${now(rate("in")).toFixed(1)} a minute, ${since}`),
      figure("Sent", String(last.out), perMinute("out"), `${now(rate("out")).toFixed(1)} a minute, ${since}`),
      figure("Waiting", String(last.waiting), looks.map((one) => one.waiting), "messages, hand-overs and files in the queues"),
      figure("A connector's call", last.calls ? `${(last.seconds / last.calls * 1000).toFixed(1)} ms` : "–", mean(), "on average, the platform's answer with it"),
      figure("Refused", String(last.refused), perMinute("refused"), "messages that a rule stopped"),
      figure("Failed calls", String(last.failed), perMinute("failed"), "of connectors")),
    h("div", { class: "cards" }, bars("Refusals by rule", refusals, "No rule said no.", h("a", { href: "/refusals" }, "All of them")), bars("95 of 100 calls stay under", times.map(([call, ms]) => [call, ms, Number.isFinite(ms) ? `${ms} ms` : "longer"]), "No calls yet."),
      bars("Queues", [...queues, ...ages].filter(([, value]) => value > 0), "All queues are empty.")));
  }

  const step = () => look().then(draw).catch((failure) => replace(figures, problem({ title: "No figures", message: failure.message }, step)));
  step();
  draw();
  const timer = setInterval(() => !document.hidden && step(), EVERY);
  let soon;
  return {
    visit: () => false,
    event(event) {
      if (!/^(channel|endpoint|connector)\./.test(event.type)) return;
      clearTimeout(soon);
      soon = setTimeout(() => attention.reload(), 200);
    },
    leave() {
      clearInterval(timer);
      clearTimeout(soon);
    },
  };
}
