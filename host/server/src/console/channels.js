// Channels: connected accounts, how they do, how people find them, and connecting one more.

import { del, get, patch, post, query } from "./api.js";
import { ask, avatar, button, copyable, empty, field, h, icon, loading, problem, replace, toast } from "./dom.js";
import { CHANNEL_STATUS, channelName, duration, moment, plural } from "./words.js";

const pill = (channel) => {
  if (channel.paused && channel.status === "connected") return h("span", { class: "pill warn" }, "Paused");
  const [tone, words] = CHANNEL_STATUS[channel.status] ?? ["", channel.status];
  return h("span", { class: `pill ${tone}` }, words);
};

export function mount(root, { id, session, go }) {
  const may = (scope) => session.scopes.includes(scope) || session.scopes.includes("admin");
  let place = null;
  let shown = id;

  function show(next) {
    shown = next;
    place = loading(() => (next ? one(next) : all()));
    replace(root, place);
    root.scrollTop = 0;
  }

  // ---- all of them ---------------------------------------------------------------------------------------------------

  async function all() {
    const [channels, apps] = await Promise.all([get("/v1/channels?limit=200"), get("/v1/apps")]);
    const queues = await Promise.all(channels.data.map((channel) => get(`/v1/channels/${channel.id}/queue`).catch(() => null)));
    const connect = may("channels:write") && apps.data.length > 0 && button([icon("plus", 16), "Connect an account"], () => begin(apps.data), { class: "primary" });
    return h("div", { class: "page" },
      h("header", null, h("div", null, h("h1", null, "Channels"), h("p", null, "Business accounts that are connected here.")), connect),
      channels.data.length ? h("div", { class: "cards" }, channels.data.map((channel, at) => card(channel, queues[at])))
        : apps.data.length ? empty("No account is connected", "Connecting takes a minute: the account's owner logs in at the platform and says yes.", connect)
          : empty("First, an app", "An app is your registration with the platform's developer portal. Install a connector and register the app, then accounts can be connected.",
            h("a", { class: "button primary", href: "/connectors" }, "Connectors and apps")));
  }

  const card = (channel, queue) => h("a", { class: "card", href: `/channels/${channel.id}` },
    h("header", null, avatar(channel.id, channelName(channel)), h("div", null, h("h2", { dir: "auto" }, channelName(channel)), h("small", null, channel.username ? `@${channel.username}` : channel.type)), pill(channel)),
    h("p", { class: "quiet" }, queue?.depth ? `${plural(queue.depth, "message")} waiting, the oldest for ${duration(queue.oldest_age_ms ?? 0)}` : "Nothing waits to leave."));

  /** Connecting: what must be true first, then the platform's own page, then this page says how it ended. */
  async function begin(apps, again = null) {
    const app = h("select", null, apps.map((one) => h("option", { value: one.name }, one.name)));
    const needs = h("div");
    const manifestOf = async () => {
      const connector = apps.find((one) => one.name === app.value).connector;
      const { active_version: version } = await get(`/v1/connectors/${connector}`);
      return version && (await get(`/v1/connectors/${connector}/versions/${version}`)).manifest;
    };
    const inputs = new Map();
    const look = async () => {
      replace(needs);
      inputs.clear();
      try {
        const manifest = await manifestOf();
        const fields = manifest?.authorization?.fields ?? [];
        for (const one of fields) inputs.set(one.name, h("input", { type: one.secret ? "password" : "text", required: one.required, autocomplete: "off" }));
        replace(needs, manifest?.prerequisites?.length > 0 && [h("h3", null, "Before you begin"), h("ol", { class: "steps" }, manifest.prerequisites.map((words) => h("li", null, words)))],
          fields.map((one) => field(one.label, inputs.get(one.name), one.help)));
      } catch (failure) {
        replace(needs, problem(failure));
      }
    };
    app.addEventListener("change", look);
    look();
    const made = await ask(again ? "Authorise the account again" : "Connect an account", {
      nodes: [apps.length > 1 && field("App", app), needs],
      value: () => again ? again() : post("/v1/connect-sessions", { app: app.value, fields: Object.fromEntries([...inputs].map(([name, input]) => [name, input.value])) }),
    }, "Continue");
    if (!made) return;
    if (made.status === "succeeded") return void (toast("Connected"), show(shown));
    await follow(made);
  }

  async function follow(made) {
    const state = h("div", { role: "status" }, h("p", { class: "quiet" }, "Waiting for the account's owner."));
    let over = false;
    const look = async () => {
      while (!over) {
        await new Promise((done) => setTimeout(done, 700));
        const now = await get(`/v1/connect-sessions/${made.id}`).catch(() => null);
        if (!now || now.status === "pending" || over) continue;
        over = true;
        if (now.status === "succeeded") {
          replace(state, h("p", { class: "good" }, icon("check"), " Connected."));
          toast("The account is connected");
        } else replace(state, problem({ title: "Not connected", message: now.problem?.detail ?? "The link was not used in time.", code: now.problem?.code }));
      }
    };
    look();
    await ask("Log in at the platform", { nodes: [
      h("p", null, "The account's owner opens this link, logs in and says yes. Open it here, or send it to them; it works once, until ", h("time", null, moment(made.expires_at)), "."),
      h("a", { class: "button primary", href: made.url, target: "_blank", rel: "noopener", id: "consent" }, "Open the platform's page", icon("out", 15)),
      copyable(made.url), state,
    ] }, "Done");
    over = true;
    show(shown);
  }

  // ---- one of them ---------------------------------------------------------------------------------------------------

  async function one(channelId) {
    const channel = await get(`/v1/channels/${channelId}`);
    const name = channelName(channel);
    document.title = `${name} · Weir`;
    const change = (body, said) => async () => {
      try {
        await patch(`/v1/channels/${channelId}`, body);
        toast(said);
        show(channelId);
      } catch (failure) {
        toast(failure.message, "bad");
      }
    };
    const gone = channel.status === "deleted";
    const acts = may("channels:write") && !gone && h("div", { class: "row" },
      button("Authorise again", async () => begin([{ name: channel.app, connector: channel.connector }], () => post(`/v1/channels/${channelId}/reauthorize`, {}))),
      button("Renew the token", async () => {
        try {
          await post(`/v1/channels/${channelId}/refresh`);
          toast("The token is renewed");
          show(channelId);
        } catch (failure) {
          toast(failure.message, "bad");
        }
      }),
      channel.paused ? button("Go on", change({ paused: false }, "The channel goes on")) : button("Pause", change({ paused: true }, "The channel is paused")),
      button("Delete", () => remove(channel), { class: "danger" }));
    return h("div", { class: "page" },
      h("header", null, h("div", { class: "row" }, h("a", { class: "ghost", href: "/channels", "aria-label": "All channels" }, icon("back")), avatar(channel.id, name, "big"),
        h("div", null, h("h1", { dir: "auto" }, name), h("p", null, [channel.username && `@${channel.username}`, channel.type, channel.country].filter(Boolean).join(" · "))), pill(channel)), acts),
      channel.status === "reauthorization_required" && problem({ title: "The authorisation has ended", message: "Messages are held until the account's owner says yes again. Nothing is lost." }),
      channel.paused && !gone && problem({ title: "Paused", message: "Nothing is sent. What people write still arrives." }),
      h("div", { class: "split" },
        h("div", { class: "stack" }, !gone && growth(channel), diagnosis(channel)),
        h("div", { class: "stack" }, facts(channel), !gone && policy(channel))));
  }

  function facts(channel) {
    const labels = Object.entries(channel.labels);
    return h("section", { class: "card", "aria-label": "Facts" }, h("h2", null, "Facts"), h("dl", null,
      [["Your name for it", channel.name], ["App", channel.app], ["Platform id", channel.platform_id], ["Connected", moment(channel.created_at)],
        ["Authorised until", channel.reauthorize_by ? moment(channel.reauthorize_by) : "the platform names no end"], ...labels,
        ["Permissions", channel.scopes.join(", ") || "none"]]
        .map(([label, value]) => [h("dt", null, label), h("dd", { dir: "auto" }, value)])),
    may("channels:write") && button("Rename", async () => {
      const input = h("input", { value: channel.name, required: true, maxlength: 200, dir: "auto" });
      if (await ask("Your name for this channel", { nodes: [field("Name", input)], value: () => patch(`/v1/channels/${channel.id}`, { name: input.value }) }, "Rename")) show(channel.id);
    }, { class: "small" }));
  }

  function growth(channel) {
    const message = h("input", { placeholder: "Hello! I saw your video about…", dir: "auto", maxlength: 500 });
    const ref = h("input", { placeholder: "shop-window", spellcheck: "false", maxlength: 200 });
    const target = h("select", { "aria-label": "What opens" }, h("option", { value: "chat" }, "The chat"), h("option", { value: "profile" }, "The profile"));
    const image = h("img", { alt: "QR code of the link", width: 168, height: 168 });
    const link = h("div");
    const downloads = h("div", { class: "row" });
    const note = h("div");
    let latest = 0;
    const draw = async () => {
      const mine = ++latest;
      const carried = { message: message.value, ref: ref.value };
      try {
        const { data } = await get(`/v1/channels/${channel.id}/entry-points${query(carried)}`);
        if (mine !== latest) return;
        const it = data.find((one) => one.kind === target.value);
        if (!it) return void replace(note, problem({ title: "No link yet", message: "The account's handle is not known, or the platform has no such link." }));
        message.disabled = !it.carries_message;
        ref.disabled = !it.carries_ref;
        const of = (kind, more = {}) => `/v1/channels/${channel.id}/qr.${kind}${query({ target: it.kind, ...(it.carries_message ? { message: message.value } : {}), ...(it.carries_ref ? { ref: ref.value } : {}), ...more })}`;
        image.src = of("svg");
        replace(link, copyable(it.url));
        replace(downloads, h("a", { class: "button small", href: of("svg"), download: `${channel.username ?? "channel"}.svg` }, "SVG"),
          h("a", { class: "button small", href: of("png", { size: 1024 }), download: `${channel.username ?? "channel"}.png` }, "PNG"));
        replace(note);
      } catch (failure) {
        if (mine === latest) replace(note, problem(failure));
      }
    };
    let soon;
    for (const input of [message, ref]) input.addEventListener("input", () => { clearTimeout(soon); soon = setTimeout(draw, 200); });
    target.addEventListener("change", draw);
    draw();
    return h("section", { class: "card", "aria-label": "Growth" }, h("h2", null, "How people find it"),
      h("div", { class: "qr" }, image, h("div", null, field("Opens", target), field("Prefilled message", message), field("Your own ref", ref, "Comes back with the referral, so that you know which sign they saw."))),
      link, downloads, note);
  }

  function diagnosis(channel) {
    const list = loading(async () => {
      const { data } = await get(`/v1/channels/${channel.id}/diagnostics`);
      const wrong = data.filter((one) => !one.ok).length;
      return [h("p", { class: wrong ? "bad" : "good" }, wrong ? `${plural(wrong, "thing")} to look at` : "All is well"),
        h("ul", { class: "checks" }, data.map((one) => h("li", { class: one.ok ? "good" : "bad" }, icon(one.ok ? "check" : "alert"),
          h("div", { class: "ink" }, h("b", null, one.subject.replaceAll("_", " ")), h("p", { class: "quiet", dir: "auto" }, timed(one.evidence)), one.remedy && h("p", null, h("b", null, "To do: "), one.remedy)))))];
    });
    return h("section", { class: "card", "aria-label": "Diagnosis" }, h("header", null, h("div", null, h("h2", null, "Diagnosis")), button("Look again", () => list.reload(), { class: "small" })), list);
  }

  const RULES = [
    ["window_ms", "Window to answer", (value) => duration(value), 3_600_000, "hours"],
    ["budget_limit", "Messages per window", String, 1, "messages"],
    ["rate_permits", "Calls per second", String, 1, "calls"],
    ["text_max_chars", "Longest text", (value) => `${value} characters`, 1, "characters"],
  ];
  function policy(channel) {
    return h("section", { class: "card", "aria-label": "Policy" }, h("h2", null, "Policy"), h("p", { class: "quiet" }, "The platform's rules, and what you tightened. Tightening works at once; loosening again needs a key with policy:loosen."),
      loading(async () => {
        const features = await get(`/v1/channels/${channel.id}/features`);
        const own = channel.policy;
        const said = { window_ms: features.window_ms, budget_limit: features.budget_limit, text_max_chars: features.contents.find((one) => one.kind === "text")?.max_chars || null, rate_permits: own.rate_permits ?? null };
        const table = h("dl", null, RULES.map(([key, label, show]) => [h("dt", null, label), h("dd", null, said[key] ? show(said[key]) : "the platform's", " ", own[key] !== undefined && h("span", { class: "pill accent" }, "tightened"))]));
        return [table, may("channels:write") && button("Tighten", async () => {
          const inputs = RULES.map(([key, label, , unit, word]) => [key, unit, h("input", { type: "number", min: 1, step: unit === 1 ? 1 : "any", value: own[key] ? own[key] / unit : "", placeholder: "as the platform says" }), label, word]);
          if (await ask("Tighten the policy", { nodes: inputs.map(([, , input, label, word]) => field(`${label} (${word})`, input)), value: () => patch(`/v1/channels/${channel.id}`, {
            policy: Object.fromEntries(inputs.filter(([, , input]) => input.value).map(([key, unit, input]) => [key, Math.round(Number(input.value) * unit)])),
          }) }, "Save")) show(channel.id);
        }, { class: "small" })];
      }));
  }

  async function remove(channel) {
    const sure = await ask(`Delete ${channelName(channel)}?`, { nodes: [
      h("p", null, "The platform stops sending here, and the token is given back."),
      h("ul", { class: "checks" }, h("li", null, icon("check"), "Conversations, messages and events stay and can be read."), h("li", null, icon("check"), "The same account can be connected again later and keeps its history."), h("li", null, icon("alert"), "What still waits to leave will not be sent.")),
    ], value: () => del(`/v1/channels/${channel.id}`) }, "Delete it", { danger: true });
    if (sure) {
      toast("The channel is deleted");
      go("/channels");
    }
  }

  show(id);
  let soon;
  return {
    visit(next) {
      show(next);
      return true;
    },
    event(event) {
      if (!event.type.startsWith("channel.") || document.querySelector("dialog[open]") || root.contains(document.activeElement?.closest?.("input"))) return;
      clearTimeout(soon);
      soon = setTimeout(() => place.reload(), 150);
    },
    leave: () => clearTimeout(soon),
  };
}

/** Times in a sentence of the host, in the viewer's zone. */
export const timed = (words) => words.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (time) => moment(time));
