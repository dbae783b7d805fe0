// A conversation's messages as the phone shows them.

import { post } from "./api.js";
import { h, icon, replace } from "./dom.js";
import { day, gist, spaced } from "./format.js";
import { content, referral, standing, trouble } from "./message.js";

/** @import { Event, Message } from "./types" */

/** Messages of one side within this time are grouped. */
const GAP_MS = 5 * 60_000;
/** @type {Record<string, string>} */
const WARNINGS = { links_not_clickable: "The platform shows links as plain text." };
/** Where a message of ours came from, if not from here. @type {Record<string, string>} */
const ORIGINS = { app: "via the platform's app", web: "via the platform's website", automation: "automated" };

/** @param {Message} message */
const isWaiting = (message) => ["queued", "sending", "uncertain"].includes(message.status);

/** What waits to leave last, else by the platform's time, then by arrival. @param {Message} a @param {Message} b */
export const inOrder = (a, b) =>
  Number(isWaiting(a)) - Number(isWaiting(b)) ||
  Date.parse(a.sent_at) - Date.parse(b.sent_at) ||
  a.sequence - b.sequence;

/** Sends a signal to the platform. @param {string} id @param {"typing" | "read"} type */
export const signal = (id, type) => post("/v1/conversations/{id}/activity", { id }, { type });

export class Thread {
  list = h("ol", { class: "thread", "aria-label": "Messages" });
  /** @type {Map<string, Message>} */
  #messages = new Map();
  /** Emoji by message and by who reacted. @type {Map<string, Map<string, string>>} */
  #reactions = new Map();
  /** @type {string | null} */
  #found = null;
  #contact;
  #onReply;

  /** @param {() => string} contact gives the contact's name @param {(message: Message) => void} onReply */
  constructor(contact, onReply) {
    this.#contact = contact;
    this.#onReply = onReply;
  }

  /** A message as an event has it: it replaces what was known. @param {Message} message */
  put(message) {
    this.#messages.set(message.id, message);
    this.#draw();
  }

  /** Messages as a response has them: an event that came before it knows better. @param {Message[]} messages */
  add(...messages) {
    for (const message of messages) if (!this.#messages.has(message.id)) this.#messages.set(message.id, message);
    this.#draw();
  }

  /** Scrolls to a message and marks it; whether it is loaded. @param {string} id */
  show(id) {
    if (!this.#messages.has(id)) return false;
    this.#found = id;
    this.#draw();
    const row = /** @type {HTMLElement | null} */ (this.list.querySelector(".found"));
    row?.scrollIntoView({ block: "center" });
    row?.focus({ preventScroll: true });
    return true;
  }

  /** @param {Extract<Event, { type: "reaction.added" | "reaction.removed" }>} event */
  react({ type, data }) {
    if (!data.message_id) return;
    const given = this.#reactions.get(data.message_id) ?? new Map();
    const key = `${data.direction}/${data.contact?.platform_id}/${data.emoji}`;
    if (type === "reaction.added") given.set(key, data.emoji ?? "·");
    else given.delete(key);
    this.#reactions.set(data.message_id, given);
    this.#draw();
  }

  #draw() {
    const rows = [];
    /** @type {Message | null} */
    let before = null;
    for (const message of [...this.#messages.values()].sort(inOrder)) {
      if (!before || day(before.sent_at) !== day(message.sent_at)) {
        rows.push(h("li", { class: "day" }, day(message.sent_at)));
        before = null;
      }
      rows.push(this.#row(message, before));
      before = message;
    }
    replace(this.list, rows);
  }

  /** @param {Message} message @param {Message | null} before */
  #row(message, before) {
    const own = message.direction === "outbound";
    const close =
      before?.direction === message.direction &&
      Date.parse(message.sent_at) - Date.parse(before.sent_at) < GAP_MS &&
      !message.referral;
    const reactions = [...(this.#reactions.get(message.id)?.values() ?? [])].map((emoji) => h("span", null, emoji));
    const style = `${own ? "own" : ""} ${close ? "close" : ""} ${message.id === this.#found ? "found" : ""}`;
    return h(
      "li",
      { class: `message ${style}`, "data-id": message.id, tabindex: "-1" },
      message.referral && referral(message.referral),
      message.reply_to && this.#quote(message.reply_to),
      this.#bubble(message, own),
      reactions.length > 0 && h("div", { class: "reactions", "aria-label": "Reactions" }, reactions),
      message.warnings.map((code) => h("small", { class: "why" }, WARNINGS[code] ?? spaced(code))),
      h("div", { class: "under" }, standing(message), own && h("small", null, ORIGINS[message.origin])),
      trouble(message),
    );
  }

  /** @param {Message} message @param {boolean} own */
  #bubble(message, own) {
    const { type } = message.content;
    const style = type === "sticker" ? "bare" : type === "image" || type === "shared_post" ? "full" : "";
    const reply = {
      type: "button",
      class: "ghost tool",
      "aria-label": "Reply to this message",
      title: "Reply",
      onclick: () => this.#onReply(message),
    };
    return h(
      "div",
      { class: "line" },
      h(
        "div",
        { class: `bubble ${style}` },
        h("span", { class: "sr" }, own ? "You: " : `${this.#contact()}: `),
        content(message.content),
      ),
      message.platform_id && h("button", reply, icon("reply", 16)),
    );
  }

  /** @param {string} id */
  #quote(id) {
    const quoted = this.#messages.get(id);
    const text = quoted ? gist(quoted.content) : "Earlier message";
    return h("button", { type: "button", class: "quoted", dir: "auto", onclick: () => this.show(id) }, text);
  }
}
