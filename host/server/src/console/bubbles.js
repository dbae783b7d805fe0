// A thread as the phone shows it. All that people wrote is text; `dir=auto` lets each text run in its own direction.

import { del, get, local, once, post } from "./api.js";
import { ask, button, h, icon, replace, safeUrl, toast } from "./dom.js";
import { ORIGIN, STATUS, SOURCES, bytes, clock, day, full, gist, reason, remedy } from "./words.js";

const GAP = 5 * 60_000;
const words = (text, props = {}) => h("p", { dir: "auto", class: "words", ...props }, text);
const outside = (url, text) =>
  safeUrl(url) && h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, text, icon("out", 14));

function picture(media, name) {
  const source = media?.url && media.status === "stored" ? local(media.url) : null;
  if (source) {
    return h("a", { href: source, download: true, class: "picture", "aria-label": `${name}, download` },
      h("img", { src: source, alt: name, loading: "lazy" }));
  }
  const state = media?.status === "failed" ? "The file could not be fetched" : "The file is being fetched";
  return h("span", { class: "picture none" }, icon("image", 24), h("small", null, state));
}

function video(media, name) {
  const source = media?.url && media.status === "stored" ? local(media.url) : null;
  if (!source) return picture(media, name);
  return h("video", { src: source, controls: true, preload: "metadata", playsinline: true, class: "picture", "aria-label": name });
}

/** Bytes behind something that is shown otherwise, by what they are. */
function behind(media, name) {
  const [kind] = (media.mime_type ?? "").split("/");
  if (kind === "video") return video(media, name);
  return kind === "image" || media.status !== "stored" ? picture(media, name) : file(media, name);
}

function file(media, name) {
  const source = media?.url && media.status === "stored" ? local(media.url) : null;
  const size = media?.size ? `, ${bytes(media.size)}` : "";
  const label = `${name}${media?.mime_type ? ` (${media.mime_type}${size})` : ""}`;
  return source ? h("a", { href: source, download: true, class: "file" }, icon("post"), label) : h("span", { class: "file" }, icon("post"), label);
}

/** What a message carries. */
function content(it) {
  switch (it.type) {
    case "text": return words(it.text);
    case "image": return [picture(it.media, "A picture"), it.caption && words(it.caption)];
    case "sticker": return picture(it.media, "A sticker");
    case "video": return [video(it.media, "A video"), it.caption && words(it.caption)];
    case "audio": return file(it.media, "A voice message");
    case "file": return [file(it.media, "A file"), it.caption && words(it.caption)];
    case "shared_post": return h("div", { class: "post" }, h("span", { class: "cover" }, icon("post", 30)),
      h("p", null, h("b", null, "A shared post"), it.url ? outside(it.url, "Look at it") : h("small", null, it.post_id ?? "")));
    case "card": return h("div", { class: "card-in" }, h("b", { dir: "auto" }, it.title), it.body && words(it.body),
      h("ul", null, it.buttons.map((one) => h("li", { dir: "auto" }, one.title))));
    case "location": return h("div", null, h("b", { dir: "auto" }, it.name ?? "A place"), it.address && words(it.address),
      h("small", null, `${it.latitude}, ${it.longitude}`));
    case "template": return h("p", { class: "odd" }, `Template ${it.name}`);
    case "fallback": return [it.media && behind(it.media, it.original_type), h("p", { class: "odd", dir: "auto" }, it.text),
      h("small", { class: "why", title: it.reason }, `${it.original_type}: ${reason(it.reason)}`), it.url && h("small", null, outside(it.url, "Open it at the platform"))];
    default: return h("p", { class: "odd" }, gist(it));
  }
}

function referral(it) {
  const facts = [
    ["Ad", it.ad_name ?? it.ad_id], ["Your ref", it.ref], ["Prefilled", it.prefilled_text], ["Advertiser", it.advertiser_id], ["Creative", it.creative_id],
  ].filter(([, value]) => value);
  return h("div", { class: "referral" }, h("b", null, SOURCES[it.source] ?? `Came by ${it.source}`),
    h("dl", null, facts.map(([name, value]) => [h("dt", null, name), h("dd", { dir: "auto" }, value)])),
    it.url && outside(it.url, "Where it leads"));
}

const SIGNS = { queued: "clock", sending: "clock", sent: "check", delivered: "checks", read: "checks", uncertain: "unsure", failed: "alert", cancelled: "close" };

function standing(message) {
  if (message.direction === "inbound") return h("time", { datetime: message.sent_at, title: full(message.sent_at) }, clock(message.sent_at));
  return h("span", { class: `standing ${message.status}` },
    h("time", { datetime: message.sent_at, title: full(message.sent_at) }, clock(message.sent_at)),
    icon(SIGNS[message.status] ?? "clock", 14), h("span", null, STATUS[message.status] ?? message.status));
}

async function attempts(message) {
  const { data } = await get(`/v1/messages/${message.id}/attempts`);
  const one = (request) => h("li", null, h("code", null, `${request.method} ${request.url}`), " ",
    h("small", null, `${request.status ?? request.error ?? "no answer"} · ${request.elapsed_ms} ms`));
  await ask("What left for this message", { nodes: [
    data.length ? h("ol", { class: "attempts" }, data.map((attempt) => h("li", null,
      h("b", null, `Try ${attempt.number}: ${attempt.outcome}`), " ", h("small", null, full(attempt.started_at)),
      attempt.error && h("p", { class: "quiet" }, attempt.error.detail),
      attempt.requests.length ? h("ul", null, attempt.requests.map(one)) : h("p", { class: "quiet" }, "No request left."))))
      : h("p", { class: "quiet" }, "Nothing has been tried yet."),
  ] }, "Close");
}

/** Why it stands where it stands, and what can be done. */
function trouble(message) {
  const act = (path, call, said) => async () => {
    try {
      // What follows comes as an event.
      await call(path);
      toast(said);
    } catch (failure) {
      toast(failure.message, "bad");
    }
  };
  const again = button("Try again", act(`/v1/messages/${message.id}/retry`, once, "It waits to leave again"), { class: "small" });
  const look = button("What left", () => attempts(message), { class: "small" });
  if (message.status === "queued") {
    return h("div", { class: "trouble quiet" }, button("Take it back", act(`/v1/messages/${message.id}`, del, "It was taken back"), { class: "small" }));
  }
  if (message.status === "uncertain") {
    return h("div", { class: "trouble warn" }, h("p", null, h("b", null, "It may or may not have arrived. "),
      "The platform's answer never came. It is not sent again by itself, so that nobody gets it twice: the platform's own word settles it. If the phone does not show it, send it again."),
    h("p", { class: "row" }, again, look));
  }
  if (message.status !== "failed" || !message.error) return null;
  const { code, detail, platform } = message.error;
  const advice = h("p");
  remedy(code).then((what) => what && advice.append(h("b", null, "What to do: "), what));
  const theirs = [platform?.message, platform?.code && `code ${platform.code}`, platform?.request_id && `request ${platform.request_id}`].filter(Boolean);
  return h("div", { class: "trouble bad" }, h("p", { dir: "auto" }, detail), advice,
    theirs.length > 0 && h("p", { class: "quiet" }, "The platform says: ", h("q", { dir: "auto" }, theirs.join(", "))),
    h("p", { class: "row" }, again, look, h("a", { href: `/docs/errors#${encodeURIComponent(code)}`, target: "_blank" }, h("code", null, code))));
}

const WARNINGS = { links_not_clickable: "The platform shows links as plain text." };

/** By the platform's time, and by arrival where two are of the same moment. */
export const inOrder = (a, b) => Date.parse(a.sent_at) - Date.parse(b.sent_at) || a.sequence - b.sequence;

/** A thread's messages, in order; each can be put again when it changes, without moving the others. */
export function thread({ reply, who }) {
  const messages = new Map();
  const reactions = new Map();
  let found = null;
  const list = h("ol", { class: "thread", "aria-label": "Messages" });
  const ordered = () => [...messages.values()].sort(inOrder);

  function quote(id) {
    const quoted = messages.get(id);
    return h("button", { type: "button", class: "quoted", dir: "auto", onclick: () => it.show(id) }, quoted ? gist(quoted.content) : "An earlier message");
  }

  function row(message, before) {
    const own = message.direction === "outbound";
    const close = before && before.direction === message.direction && Date.parse(message.sent_at) - Date.parse(before.sent_at) < GAP && !message.referral;
    const bare = ["sticker"].includes(message.content.type);
    const full = ["image", "shared_post"].includes(message.content.type);
    const given = [...(reactions.get(message.id)?.values() ?? [])];
    const warned = (message.warnings ?? []).map((code) => h("small", { class: "why" }, WARNINGS[code] ?? code.replaceAll("_", " ")));
    return h("li", { class: `message ${own ? "own" : ""} ${close ? "close" : ""} ${message.id === found ? "found" : ""}`, "data-id": message.id, tabindex: "-1" },
      message.referral && referral(message.referral),
      message.reply_to && quote(message.reply_to),
      h("div", { class: "line" },
        h("div", { class: `bubble ${bare ? "bare" : ""} ${full ? "full" : ""}` },
          h("span", { class: "sr" }, own ? "You: " : `${who()}: `), content(message.content)),
        message.platform_id && h("button", { type: "button", class: "ghost tool", "aria-label": "Reply to this message", title: "Reply", onclick: () => reply(message) }, icon("reply", 16))),
      given.length > 0 && h("div", { class: "reactions", "aria-label": "Reactions" }, given.map((emoji) => h("span", null, emoji))),
      warned,
      h("div", { class: "under" }, standing(message), own && !["api", "console"].includes(message.origin) && h("small", null, ORIGIN[message.origin])),
      trouble(message));
  }

  function draw() {
    const rows = [];
    let before = null;
    for (const message of ordered()) {
      if (!before || day(before.sent_at) !== day(message.sent_at)) {
        rows.push(h("li", { class: "day" }, day(message.sent_at)));
        before = null;
      }
      rows.push(row(message, before));
      before = message;
    }
    replace(list, rows);
  }

  const it = {
    list,
    get: (id) => messages.get(id),
    size: () => messages.size,
    /** What an event tells of a message: it stands in the place of what was known. */
    put(message) {
      messages.set(message.id, message);
      draw();
    },
    /** What an answer tells: an event that came before it knows better. */
    add(...more) {
      for (const message of more) if (!messages.has(message.id)) messages.set(message.id, message);
      draw();
    },
    /** Brings a message into view and marks it; whether it is here. */
    show(id) {
      if (!messages.has(id)) return false;
      found = id;
      draw();
      const there = list.querySelector(".found");
      there.scrollIntoView({ block: "center" });
      there.focus({ preventScroll: true });
      return true;
    },
    react({ type, data }) {
      if (!data.message_id) return;
      const of = reactions.get(data.message_id) ?? new Map();
      const key = `${data.direction}/${data.contact?.platform_id}/${data.emoji}`;
      if (type === "reaction.added") of.set(key, data.emoji ?? "·");
      else of.delete(key);
      reactions.set(data.message_id, of);
      draw();
    },
  };
  return it;
}

/** Tells the platform something besides messages. Not worth a person's attention when it fails. */
export const signal = (conversation, type) => post(`/v1/conversations/${conversation}/activity`, { type });

