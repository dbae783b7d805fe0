// Everything in words: times in the viewer's zone, durations, statuses, events, and what to do about a code.

import { now } from "./api.js";

const format = (options) => new Intl.DateTimeFormat(undefined, options);
const CLOCK = format({ hour: "2-digit", minute: "2-digit" });
const DAY = format({ weekday: "long", day: "numeric", month: "long" });
const SHORT = format({ day: "numeric", month: "short" });
const FULL = format({ dateStyle: "full", timeStyle: "medium" });
const SECONDS = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const clock = (time) => CLOCK.format(new Date(time));
export const seconds = (time) => SECONDS.format(new Date(time));
export const full = (time) => FULL.format(new Date(time));
const sameDay = (a, b) => new Date(a).toDateString() === new Date(b).toDateString();

export const day = (time) =>
  sameDay(time, now()) ? "Today" : sameDay(time, now() - 86_400_000) ? "Yesterday" : DAY.format(new Date(time));

/** For lists: the clock today, the day before. */
export const brief = (time) => (sameDay(time, now()) ? clock(time) : SHORT.format(new Date(time)));
const YEAR = format({ day: "numeric", month: "short", year: "numeric" });
const sameYear = (time) => new Date(time).getFullYear() === new Date(now()).getFullYear();
export const moment = (time) => (time ? `${(sameYear(time) ? SHORT : YEAR).format(new Date(time))}, ${clock(time)}` : "never");

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
export { plural };

export const capital = (text) => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
/** The host's words as a sentence, its times in the viewer's zone. */
export const sentence = (text) => `${capital(text).replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (time) => new Date(time).toLocaleString())}.`;

/** A length of time in at most two units. */
export function duration(ms) {
  const total = Math.max(0, Math.floor(ms / 1000));
  const [days, hours, minutes, secs] = [Math.floor(total / 86_400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60, total % 60];
  if (days > 2) return `${days} d ${hours} h`;
  if (total >= 3600) return `${days * 24 + hours} h ${String(minutes).padStart(2, "0")} min`;
  if (total >= 60) return `${minutes} min ${String(secs).padStart(2, "0")} s`;
  return `${secs} s`;
}

export function bytes(count) {
  if (count >= 1 << 20) return `${(count / (1 << 20)).toFixed(count >= 10 << 20 ? 0 : 1)} MB`;
  return count >= 1 << 10 ? `${Math.round(count / 1024)} kB` : `${count} bytes`;
}

export const nameOf = (contact) => contact?.display_name || contact?.username || contact?.platform_id || "Somebody";
export const channelName = (channel) => channel?.display_name || channel?.name || channel?.username || "A channel";

export const STATUS = {
  received: "Received",
  queued: "Waiting to leave",
  sending: "Leaving",
  sent: "Sent",
  delivered: "Delivered",
  read: "Read",
  failed: "Not sent",
  cancelled: "Taken back",
  uncertain: "Not certain",
};

export const ORIGIN = {
  app: "from the platform's app",
  web: "from the platform's web page",
  automation: "automatic",
  api: "through the API",
  console: "from the console",
};

export const CHANNEL_STATUS = {
  connected: ["good", "Connected"],
  degraded: ["warn", "Works in part"],
  reauthorization_required: ["bad", "Must be authorised again"],
  deleted: ["off", "Deleted"],
};

/** A content in one line. */
export function gist(content) {
  switch (content?.type) {
    case "text": return content.text;
    case "image": return content.caption || "A picture";
    case "video": return content.caption || "A video";
    case "audio": return "A voice message";
    case "file": return content.caption || "A file";
    case "sticker": return "A sticker";
    case "shared_post": return "A shared post";
    case "card": return content.title;
    case "location": return content.name || content.address || "A place";
    case "template": return `Template ${content.name}`;
    case "fallback": return content.text;
    default: return "Something else";
  }
}

/** An event's subject in one line. */
export function about({ type, data }) {
  if (type.startsWith("message.")) return gist(data.content);
  if (type.startsWith("reaction.")) return data.emoji ?? "a reaction";
  if (type.startsWith("channel.")) return channelName(data);
  if (type.startsWith("connector.")) return [data.name, data.version].filter(Boolean).join(" ");
  if (type.startsWith("endpoint.")) return data.url ?? data.id ?? "";
  if (type.startsWith("referral.")) return [data.source, data.ad_name ?? data.ref].filter(Boolean).join(": ");
  return nameOf(data.contact ?? data);
}

const REASONS = {
  type_unsupported: "the platform does not pass this kind on",
  content_withheld: "the platform withholds it",
  media_unavailable: "the file could not be fetched",
  media_expired: "the file was gone before it could be fetched",
};
export const reason = (code) => REASONS[code] ?? code.replaceAll("_", " ");

export const SOURCES = { ad: "Came by an ad", link: "Came by a link", post: "Came by a post", qr: "Came by a QR code" };

let remedies = null;
/** What to do about a code, from the host's own table. */
export async function remedy(code) {
  remedies ??= fetch("/docs/errors.md").then((answer) => answer.text()).then((text) => {
    const table = new Map();
    for (const section of text.split("\n### ").slice(1)) {
      const what = section.match(/\*What to do:\* (.+)/);
      if (what) table.set(section.split("\n", 1)[0].trim(), what[1].replaceAll("`", ""));
    }
    return table;
  }).catch(() => new Map());
  return (await remedies).get(code) ?? null;
}

const CLASSES = {
  read: "Look things up",
  "message-send": "Send a message, only with a permit of this host",
  signal: "Show typing and read marks",
  media: "Move pictures and files",
  setup: "Set the account up",
};
/** A grant in plain words: what it lets the connector do, where, and with which secret. */
export const grant = (given) => ({
  title: given.capability === "authorization" ? "Log accounts in" : given.capability === "webhook" ? "Trust webhooks" : CLASSES[given.class] ?? given.class,
  where: given.capability === "webhook" ? given.places.join(", ") : `${given.method} ${given.origin}${given.path}`,
  secrets: given.capability === "webhook" ? `Proven with ${given.secrets.map((name) => name.replaceAll("_", " ")).join(" and ")}.`
    : given.secrets.length ? `This host adds ${given.secrets.map((name) => name.replaceAll("_", " ")).join(" and ")}; the connector never sees it.` : "No secret goes with it.",
  terms: given.terms ? [
    given.terms.except.length > 0 && `Not what an earlier route takes: ${given.terms.except.join(", ")}.`,
    given.terms.scopes.length > 0 && `Permissions: ${given.terms.scopes.join(", ")}.`,
    given.terms.fixed.length > 0 && `Fixed: ${given.terms.fixed.join("; ")}.`,
    given.terms.tolerance_s !== null && `Its time may be ${given.terms.tolerance_s} s from now.`,
  ].filter(Boolean) : [],
});
