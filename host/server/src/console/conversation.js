// One open conversation: its messages, what it can carry, and the composer.

import { get, may } from "./api.js";
import { attempt, avatar, button, h, icon, replace, toast } from "./dom.js";
import { channelName, nameOf, spaced } from "./format.js";
import { Composer } from "./composer.js";
import { Thread, signal } from "./thread.js";

/** @import { Channel, Conversation as Data, Event, Features, Message } from "./types" */

const PAGE = 50;
/** Pages of older messages that are loaded to reach a message that was searched for. */
const MAX_PAGES_BACK = 20;
/** An event is often followed by others: features are read once for all of them. */
const SETTLE_MS = 60;
/** So near to its end, a list keeps showing its end when it grows, in pixels. */
const NEAR_END = 80;

export class Conversation {
  id;
  #data;
  #channel;
  #onChange;
  #closed = false;
  /** The cursor for older messages. @type {string | null | undefined} */
  #cursor = null;
  /** @type {number | undefined} */
  #soon;

  #thread = new Thread(
    () => nameOf(this.#data.contact),
    (message) => this.#composer.quote(message),
  );
  #header = h("header");
  #features = h("div");
  #featuresButton = h("details", { class: "carries" }, h("summary", null, "Supported content"), this.#features);
  #earlier = button("Load earlier messages", () => this.#loadMessages(true), { class: "more", hidden: true });
  #markRead = button("Mark as read", () => this.#read(), { class: "small", hidden: true });
  #scroll = h(
    "div",
    { class: "scroll talk", tabindex: "0", role: "log", "aria-label": "Messages", "aria-live": "polite" },
    this.#earlier,
    this.#thread.list,
  );
  #composer;

  /**
   * `onChange` is called with a message that was sent from here, or without one when the conversation must be read
   * again.
   * @param {HTMLElement} root @param {Data} data @param {() => Channel | undefined} channel
   * @param {(message?: Message) => void} onChange
   */
  constructor(root, data, channel, onChange) {
    this.id = data.id;
    this.#data = data;
    this.#channel = channel;
    this.#onChange = onChange;
    this.#composer = new Composer(
      data.id,
      (message) => {
        this.#thread.add(message);
        this.#toEnd();
        onChange(message);
      },
      () => {
        this.#loadFeatures();
        onChange();
      },
    );
    replace(root, this.#header, this.#scroll, this.#composer.form);
    this.#composer.acceptDropsOn(root);
    this.#drawHeader();
  }

  async load() {
    await Promise.all([this.#loadMessages(false), this.#loadFeatures()]);
    await this.#loadReactions().catch(() => {});
    this.focus();
  }

  focus() {
    this.#composer.focus();
  }

  /** @param {Data} data */
  changed(data) {
    this.#data = data;
    this.#drawHeader();
  }

  /** @param {Event} event */
  event(event) {
    const following = this.#isAtEnd();
    if (event.type.startsWith("message.")) this.#thread.put(/** @type {Message} */ (event.data));
    if (event.type === "reaction.added" || event.type === "reaction.removed") this.#thread.react(event);
    if (following) this.#toEnd();
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => this.#loadFeatures(), SETTLE_MS);
  }

  /** Shows a message; older ones are loaded until it is there. @param {string} message */
  async find(message) {
    for (let page = 0; !this.#closed && !this.#thread.show(message); page += 1) {
      if (this.#earlier.hidden || page === MAX_PAGES_BACK) {
        return toast("The message is further back. Load earlier messages to reach it.");
      }
      await this.#loadMessages(true);
    }
  }

  leave() {
    this.#closed = true;
    clearTimeout(this.#soon);
    this.#composer.leave();
  }

  #toEnd() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroll;
    return scrollHeight - scrollTop - clientHeight < NEAR_END;
  }

  #drawHeader() {
    const { contact, unread } = this.#data;
    const about = [contact.username && `@${contact.username}`, channelName(this.#channel())]
      .filter(Boolean)
      .join(" · ");
    replace(
      this.#header,
      h("a", { class: "ghost back", href: "/inbox", "aria-label": "Back to the inbox" }, icon("back")),
      avatar(contact.id, nameOf(contact)),
      h("div", { class: "who" }, h("h2", { dir: "auto" }, nameOf(contact)), h("small", null, about)),
      this.#markRead,
      this.#featuresButton,
    );
    this.#markRead.hidden = !unread || !may("messages:write");
  }

  async #read() {
    await attempt(() => signal(this.id, "read"), "Marked as read");
    this.#onChange();
  }

  /** @param {boolean} older */
  async #loadMessages(older) {
    const cursor = older ? this.#cursor : null;
    const page = await get("/v1/conversations/{id}/messages", { id: this.id, limit: PAGE, cursor });
    if (this.#closed) return;
    const height = this.#scroll.scrollHeight;
    this.#thread.add(...page.data);
    this.#cursor = page.next_cursor;
    this.#earlier.hidden = !page.has_more;
    // The scroll position is kept when older messages are added above it.
    if (older) this.#scroll.scrollTop += this.#scroll.scrollHeight - height;
    else this.#toEnd();
  }

  async #loadFeatures() {
    try {
      const features = await get("/v1/conversations/{id}/features", { id: this.id });
      if (this.#closed) return;
      const following = this.#isAtEnd();
      await this.#composer.show(features);
      if (following) this.#toEnd();
      this.#drawFeatures(features);
    } catch (failure) {
      if (this.#closed) return;
      const { code, message } = /** @type {import("./api.js").Problem} */ (failure);
      const refusal = { code: code ?? "", detail: message };
      this.#composer.show({ can_reply: false, refusal, contents: [], signals: [], window: null, budget: null });
    }
  }

  /** @param {Features} features */
  #drawFeatures({ contents }) {
    const rows = contents
      .filter((one) => one.outbound !== "rejected" || one.inbound !== "rejected")
      .map((one) => {
        const text = one.allowed ? "Supported" : (one.reason ?? "Not supported");
        const kind = h("th", { scope: "row" }, spaced(one.kind));
        return h("tr", null, kind, h("td", { class: one.allowed ? "good" : "off" }, text));
      });
    replace(this.#features, h("table", null, h("tbody", null, rows)));
  }

  async #loadReactions() {
    const types = "reaction.added,reaction.removed";
    const page = await get("/v1/events", { types, conversation_id: this.id, limit: 200 });
    if (this.#closed) return;
    for (const event of page.data) {
      if (event.type === "reaction.added" || event.type === "reaction.removed") this.#thread.react(event);
    }
  }
}
