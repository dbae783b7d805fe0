// One channel: its status, links that lead people to it, diagnostics and policy.

import { del, get, may, patch, post, url } from "./api.js";
import {
  ask,
  attempt,
  avatar,
  button,
  copyable,
  definitions,
  field,
  h,
  icon,
  loading,
  problem,
  replace,
  toast,
} from "./dom.js";
import { reauthorize } from "./connect.js";
import { CHANNEL_STATUS, channelName, duration, localTimes, moment, plural, spaced } from "./format.js";

/** @import { Channel, Context } from "./types" */

/** @param {Channel} channel */
export function channelPill(channel) {
  if (channel.paused && channel.status === "connected") return h("span", { class: "pill warn" }, "Paused");
  const [tone, text] = CHANNEL_STATUS[channel.status] ?? ["", channel.status];
  return h("span", { class: `pill ${tone}` }, text);
}

/** @param {string} id @param {() => unknown} refresh @param {Context["go"]} go */
export async function channelPage(id, refresh, go) {
  const channel = await get("/v1/channels/{id}", { id });
  const deleted = channel.status === "deleted";
  document.title = `${channelName(channel)} · Weir`;
  return h(
    "div",
    { class: "page" },
    h("header", null, title(channel), may("channels:write") && !deleted && actions(channel, refresh, go)),
    channel.status === "reauthorization_required" &&
      problem({
        title: "Reauthorization required",
        message: "Messages are queued until the account's owner grants access again. Nothing is lost.",
      }),
    channel.paused &&
      !deleted &&
      problem({ title: "Paused", message: "No messages are sent. Incoming messages still arrive." }),
    h(
      "div",
      { class: "split" },
      h("div", { class: "stack" }, !deleted && links(channel), diagnostics(channel)),
      h("div", { class: "stack" }, details(channel, refresh), !deleted && policy(channel, refresh)),
    ),
  );
}

/** @param {Channel} channel */
function title(channel) {
  const name = channelName(channel);
  const { username, type, country } = channel;
  const about = [username && `@${username}`, type, country].filter(Boolean).join(" · ");
  return h(
    "div",
    { class: "row" },
    h("a", { class: "ghost", href: "/channels", "aria-label": "All channels" }, icon("back")),
    avatar(channel.id, name, "big"),
    h("div", null, h("h1", { dir: "auto" }, name), h("p", null, about)),
    channelPill(channel),
  );
}

/** @param {Channel} channel @param {() => unknown} refresh @param {Context["go"]} go */
function actions(channel, refresh, go) {
  const { id } = channel;
  const pause = (/** @type {boolean} */ paused) =>
    attempt(
      () => patch("/v1/channels/{id}", { id }, { paused }),
      paused ? "Channel paused" : "Channel resumed",
      refresh,
    );
  const renew = () => attempt(() => post("/v1/channels/{id}/refresh", { id }), "Token refreshed", refresh);
  return h(
    "div",
    { class: "row" },
    button("Reauthorize", () => reauthorize(channel, refresh)),
    button("Refresh token", renew),
    button(channel.paused ? "Resume" : "Pause", () => pause(!channel.paused)),
    button("Delete", () => remove(channel, go), { class: "danger" }),
  );
}

/** @param {Channel} channel @param {Context["go"]} go */
async function remove(channel, go) {
  const { id } = channel;
  const nodes = [
    h("p", null, "The platform stops sending webhooks for this account, and its token is revoked."),
    h(
      "ul",
      { class: "checks" },
      h("li", null, icon("check"), "Conversations, messages and events are kept."),
      h("li", null, icon("check"), "The account keeps its history when it is connected again."),
      h("li", null, icon("alert"), "Queued messages are not sent."),
    ),
  ];
  const value = () => del("/v1/channels/{id}", { id });
  if (!(await ask(`Delete ${channelName(channel)}?`, { nodes, value }, "Delete", { danger: true }))) return;
  toast("Channel deleted");
  go("/channels");
}

/** @param {Channel} channel @param {() => unknown} refresh */
function details(channel, refresh) {
  const { id } = channel;
  const rename = async () => {
    const input = h("input", { value: channel.name, required: true, maxlength: 200, dir: "auto" });
    const value = () => patch("/v1/channels/{id}", { id }, { name: input.value });
    if (await ask("Rename the channel", { nodes: [field("Name", input)], value }, "Rename")) refresh();
  };
  return h(
    "section",
    { class: "card", "aria-label": "Details" },
    h("h2", null, "Details"),
    definitions([
      ["Name", channel.name],
      ["App", channel.app],
      ["Platform ID", channel.platform_id],
      ["Connected", moment(channel.created_at)],
      ["Authorized until", channel.reauthorize_by ? moment(channel.reauthorize_by) : "No expiry reported"],
      ...Object.entries(channel.labels),
      ["Permissions", channel.scopes.join(", ") || "None"],
    ]),
    may("channels:write") && button("Rename", rename, { class: "small" }),
  );
}

// ---- links and QR codes ---------------------------------------------------------------------------------------------

const TYPING_MS = 200;

/** Links and QR codes that open the chat, with a message and a ref of the operator's. @param {Channel} channel */
function links({ id, username }) {
  const message = h("input", { placeholder: "Hello! I saw your video about…", dir: "auto", maxlength: 500 });
  const ref = h("input", { placeholder: "shop-window", spellcheck: "false", maxlength: 200 });
  const target = h(
    "select",
    null,
    h("option", { value: "chat" }, "Chat"),
    h("option", { value: "profile" }, "Profile"),
  );
  const image = h("img", { alt: "QR code of the link", width: 168, height: 168 });
  const link = h("div");
  const downloads = h("div", { class: "row" });
  const note = h("div");
  let latest = 0;
  const draw = async () => {
    const mine = ++latest;
    try {
      const carried = { message: message.value, ref: ref.value };
      const { data } = await get("/v1/channels/{id}/entry-points", { id, ...carried });
      if (mine !== latest) return;
      const it = data.find((one) => one.kind === target.value);
      const text = "The account's username is not known, or the platform does not support this link.";
      if (!it) return void replace(note, problem({ title: "No link available", message: text }));
      message.disabled = !it.carries_message;
      ref.disabled = !it.carries_ref;
      const parameters = {
        id,
        target: it.kind,
        message: it.carries_message ? message.value : null,
        ref: it.carries_ref ? ref.value : null,
      };
      const name = username ?? "channel";
      const svg = url("/v1/channels/{id}/qr.svg", parameters);
      const png = url("/v1/channels/{id}/qr.png", { ...parameters, size: 1024 });
      image.src = svg;
      replace(link, copyable(it.url));
      replace(
        downloads,
        h("a", { class: "button small", href: svg, download: `${name}.svg` }, "SVG"),
        h("a", { class: "button small", href: png, download: `${name}.png` }, "PNG"),
      );
      replace(note);
    } catch (failure) {
      if (mine === latest) replace(note, problem(failure));
    }
  };
  /** @type {number | undefined} */
  let typing;
  for (const input of [message, ref]) {
    input.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(draw, TYPING_MS);
    });
  }
  target.addEventListener("change", draw);
  draw();
  const fields = [
    field("Opens", target),
    field("Prefilled message", message),
    field("Ref", ref, "Returned with the referral, so you know which link was used."),
  ];
  return h(
    "section",
    { class: "card", "aria-label": "Links and QR codes" },
    h("h2", null, "Links and QR codes"),
    h("div", { class: "qr" }, image, h("div", null, fields)),
    link,
    downloads,
    note,
  );
}

// ---- diagnostics ----------------------------------------------------------------------------------------------------

/** @param {Channel} channel */
function diagnostics({ id }) {
  const list = loading(async () => {
    const { data } = await get("/v1/channels/{id}/diagnostics", { id });
    const failed = data.filter((one) => !one.ok).length;
    const checks = data.map((one) =>
      h(
        "li",
        { class: one.ok ? "good" : "bad" },
        icon(one.ok ? "check" : "alert"),
        h(
          "div",
          { class: "ink" },
          h("b", null, spaced(one.subject)),
          h("p", { class: "quiet", dir: "auto" }, localTimes(one.evidence)),
          one.remedy && h("p", null, h("b", null, "Fix: "), one.remedy),
        ),
      ),
    );
    return [
      h("p", { class: failed ? "bad" : "good" }, failed ? `${plural(failed, "check")} failed` : "All checks passed"),
      h("ul", { class: "checks" }, checks),
    ];
  });
  return h(
    "section",
    { class: "card", "aria-label": "Diagnostics" },
    h(
      "header",
      null,
      h("div", null, h("h2", null, "Diagnostics")),
      button("Run again", () => list.reload(), { class: "small" }),
    ),
    list,
  );
}

// ---- policy ---------------------------------------------------------------------------------------------------------

/** @typedef {"window_ms" | "budget_limit" | "rate_permits" | "text_max_chars"} Rule */
/** Each rule's label, its value as text, and the unit that a person enters. */
/** @type {[rule: Rule, label: string, text: (value: number) => string, unit: number, unitName: string][]} */
const RULES = [
  ["window_ms", "Messaging window", duration, 3_600_000, "hours"],
  ["budget_limit", "Messages per window", String, 1, ""],
  ["rate_permits", "Calls per second", String, 1, ""],
  ["text_max_chars", "Maximum text length", (value) => `${value} characters`, 1, "characters"],
];

/** @param {Channel} channel @param {() => unknown} refresh */
function policy(channel, refresh) {
  const rows = loading(async () => {
    const { id } = channel;
    const features = await get("/v1/channels/{id}/features", { id });
    const own = channel.policy;
    const values = {
      window_ms: features.window_ms,
      budget_limit: features.budget_limit,
      text_max_chars: features.contents.find((one) => one.kind === "text")?.max_chars,
      rate_permits: own.rate_permits,
    };
    const table = RULES.map(([rule, label, text]) => {
      const value = values[rule];
      const tightened = (own[rule] ?? null) !== null && h("span", { class: "pill accent" }, "Tightened");
      return /** @type {[string, import("./types").Child]} */ ([
        label,
        [value ? text(value) : "Platform default", " ", tightened],
      ]);
    });
    return [
      definitions(table),
      may("channels:write") && button("Tighten", () => tighten(channel, refresh), { class: "small" }),
    ];
  });
  const text =
    "The platform's limits, and yours where they are tighter. Tightening takes effect immediately; loosening needs a " +
    "key with the scope policy:loosen.";
  return h(
    "section",
    { class: "card", "aria-label": "Policy" },
    h("h2", null, "Policy"),
    h("p", { class: "quiet" }, text),
    rows,
  );
}

/** @param {Channel} channel @param {() => unknown} refresh */
async function tighten({ id, policy: own }, refresh) {
  const inputs = RULES.map(([rule, , , unit]) => {
    const set = own[rule];
    const value = set ? set / unit : "";
    const step = unit === 1 ? 1 : "any";
    return h("input", { type: "number", min: 1, step, value, placeholder: "Platform default" });
  });
  const entered = () =>
    Object.fromEntries(
      RULES.map(([rule, , , unit], at) => [rule, Math.round(Number(inputs[at].value) * unit)]).filter(([, to]) => to),
    );
  const nodes = RULES.map(([, label, , , unit], at) => field(unit ? `${label} (${unit})` : label, inputs[at]));
  const value = () => patch("/v1/channels/{id}", { id }, { policy: entered() });
  if (await ask("Tighten the policy", { nodes, value }, "Save")) refresh();
}
