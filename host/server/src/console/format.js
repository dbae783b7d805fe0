// Values as text: times in the viewer's zone, durations, sizes, statuses, contents.

import { now } from "./api.js";

/** @import { Channel, ChannelStatus, Content, Event, MessageStatus } from "./types" */
/** @typedef {string | number | Date} Time */

/** @param {Intl.DateTimeFormatOptions} options */
const format = (options) => new Intl.DateTimeFormat(undefined, options);
const CLOCK = format({ hour: "2-digit", minute: "2-digit" });
const DAY = format({ weekday: "long", day: "numeric", month: "long" });
const SHORT = format({ day: "numeric", month: "short" });
const YEAR = format({ day: "numeric", month: "short", year: "numeric" });
const FULL = format({ dateStyle: "full", timeStyle: "medium" });
const SECONDS = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** @param {Time} time */
export const clock = (time) => CLOCK.format(new Date(time));
/** @param {Time} time */
export const seconds = (time) => SECONDS.format(new Date(time));
/** @param {Time} time */
export const full = (time) => FULL.format(new Date(time));
/** @param {Time} a @param {Time} b */
const sameDay = (a, b) => new Date(a).toDateString() === new Date(b).toDateString();

/** @param {Time} time */
export function day(time) {
  if (sameDay(time, now())) return "Today";
  return sameDay(time, now() - 86_400_000) ? "Yesterday" : DAY.format(new Date(time));
}

/** For lists: the time if today, else the day. @param {Time} time */
export const brief = (time) => (sameDay(time, now()) ? clock(time) : SHORT.format(new Date(time)));

/** @param {Time} time */
const sameYear = (time) => new Date(time).getFullYear() === new Date(now()).getFullYear();
/** Day and time. @param {Time | null | undefined} time */
export const moment = (time) =>
  time ? `${(sameYear(time) ? SHORT : YEAR).format(new Date(time))}, ${clock(time)}` : "never";

/** @param {number} count @param {string} word */
export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
/** @param {string} text */
export const capital = (text) => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
/** A name of the API as readable text. @param {string} name */
export const spaced = (name) => name.replaceAll("_", " ");
/** The times in a text of the host, in the viewer's zone. @param {string} text */
export const localTimes = (text) => text.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (time) => moment(time));
/** A text of the host as a sentence. @param {string} text */
export const sentence = (text) => localTimes(capital(text)).replace(/[^.!?]$/, "$&.");

/** A duration in at most two units. @param {number} ms */
export function duration(ms) {
  const total = Math.max(0, Math.floor(ms / 1000));
  const days = Math.floor(total / 86_400);
  const hours = Math.floor(total / 3600) % 24;
  const minutes = Math.floor(total / 60) % 60;
  if (days > 2) return `${days} d ${hours} h`;
  if (total >= 3600) return `${days * 24 + hours} h ${String(minutes).padStart(2, "0")} min`;
  if (total >= 60) return `${minutes} min ${String(total % 60).padStart(2, "0")} s`;
  return `${total} s`;
}

/** @param {number} count */
export function bytes(count) {
  if (count >= 1 << 20) return `${(count / (1 << 20)).toFixed(count >= 10 << 20 ? 0 : 1)} MB`;
  return count >= 1 << 10 ? `${Math.round(count / 1024)} kB` : `${count} bytes`;
}

/** @param {{ display_name?: string | null, username?: string | null, platform_id?: string } | null} [contact] */
export const nameOf = (contact) =>
  contact?.display_name || contact?.username || contact?.platform_id || "Unknown contact";
/** @param {Partial<Channel> | null} [channel] */
export const channelName = (channel) =>
  channel?.display_name || channel?.name || channel?.username || "Unnamed channel";

/** @type {Record<MessageStatus, string>} */
export const STATUS = {
  received: "Received",
  queued: "Queued",
  sending: "Sending",
  sent: "Sent",
  delivered: "Delivered",
  read: "Read",
  failed: "Failed",
  cancelled: "Cancelled",
  uncertain: "Unconfirmed",
};

/** @type {Record<ChannelStatus, [tone: string, text: string]>} */
export const CHANNEL_STATUS = {
  connected: ["good", "Connected"],
  degraded: ["warn", "Degraded"],
  reauthorization_required: ["bad", "Reauthorization required"],
  deleted: ["off", "Deleted"],
};

/** A content in one line. @param {Content | null} [content] */
export function gist(content) {
  switch (content?.type) {
    case "text":
    case "fallback":
      return content.text;
    case "image":
      return content.caption || "Image";
    case "video":
      return content.caption || "Video";
    case "audio":
      return "Voice message";
    case "file":
      return content.caption || "File";
    case "sticker":
      return "Sticker";
    case "shared_post":
      return "Shared post";
    case "card":
      return content.title;
    case "location":
      return content.name || content.address || "Location";
    case "template":
      return `Template ${content.name}`;
    default:
      return "Unsupported content";
  }
}

/** An event's subject in one line. @param {Event} event */
export function subject(event) {
  const { type } = event;
  const data = /** @type {any} */ (event.data);
  if (type.startsWith("message.")) return gist(data.content);
  if (type.startsWith("reaction.")) return data.emoji ?? "reaction";
  if (type.startsWith("channel.")) return channelName(data);
  if (type.startsWith("connector.")) return [data.name, data.version].filter(Boolean).join(" ");
  if (type.startsWith("media.")) return data.mime_type ?? "file";
  if (type.startsWith("endpoint.")) return data.url ?? data.id ?? "";
  if (type.startsWith("referral.")) return [data.source, data.ad_name ?? data.ref].filter(Boolean).join(": ");
  return nameOf(data.contact ?? data);
}
