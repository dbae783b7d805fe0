// The inbox: conversations of all channels, search, and the one that is open.

import { get } from "./api.js";
import { avatar, button, empty, h, icon, problem, replace } from "./dom.js";
import { Conversation } from "./conversation.js";
import { brief, channelName, gist, nameOf } from "./format.js";
import { inOrder } from "./thread.js";

/** @import { Channel, Context, Conversation as Data, Event, Message, Page } from "./types" */

const PAGE = 50;
const TYPING_MS = 200;
/** Events of one conversation come several at once: it is read once for all of them. */
const SETTLE_MS = 80;

/** @param {HTMLElement} root @param {Context} context */
export const mount = (root, { id, go }) => new Inbox(root, id, go);

/** @param {Data} a @param {Data} b */
const newestFirst = (a, b) =>
  Date.parse(b.last_message_at ?? b.created_at) - Date.parse(a.last_message_at ?? a.created_at);

/** Which conversation an event is about, if any. @param {Event} event @returns {string | null} */
function conversationOf(event) {
  const data = /** @type {any} */ (event.data);
  if (event.conversation_id ?? data?.conversation_id) return event.conversation_id ?? data.conversation_id;
  return /^(window|conversation)\./.test(event.type) ? data.id : null;
}

/** @implements {Page} */
class Inbox {
  #root;
  #go;
  #channel = "";
  #words = "";
  /** @type {string | null | undefined} */
  #cursor = null;
  /** @type {Conversation | null} */
  #open = null;
  /** Counts the searches, so that a late response of an earlier one is dropped. */
  #search = 0;
  /** @type {Map<string, Channel>} */
  #channels = new Map();
  /** @type {Map<string, Data>} */
  #conversations = new Map();
  /** Conversations to read again. @type {Set<string>} */
  #changed = new Set();
  /** @type {number | null} */
  #soon = null;
  /** @type {number | undefined} */
  #typing;

  #list = h("ul", { class: "rows", "aria-label": "Conversations" });
  #more = button("Load more", () => this.#load(true), { class: "more", hidden: true });
  #status = h("div");
  #texts = h("div", { class: "texts" });
  #input = h("input", {
    type: "search",
    placeholder: "Search names and messages",
    "aria-label": "Search names and messages",
    spellcheck: "false",
    oninput: () => this.#typed(),
  });
  #select = h("select", { "aria-label": "Channel", onchange: () => this.#chose() });
  #pane = h("section", { class: "pane", "aria-label": "Conversation" });

  /** @param {HTMLElement} root @param {string | null} id @param {Context["go"]} go */
  constructor(root, id, go) {
    this.#root = root;
    this.#go = go;
    const search = h("div", { class: "search" }, icon("search", 16), this.#input);
    const header = h("header", null, h("h1", null, "Inbox"), this.#select, search);
    const scroll = h("div", { class: "scroll" }, this.#list, this.#status, this.#more, this.#texts);
    root.append(h("section", { class: "side", "aria-label": "Conversations" }, header, scroll), this.#pane);
    this.#begin(id);
  }

  /** @param {string | null} id */
  async #begin(id) {
    await this.#loadChannels().catch(() => {});
    await this.#load(false);
    this.#show(id);
  }

  /** @param {string | null} id */
  visit(id) {
    this.#show(id);
    return true;
  }

  leave() {
    this.#open?.leave();
    if (this.#soon) clearTimeout(this.#soon);
    clearTimeout(this.#typing);
  }

  // ---- the list -----------------------------------------------------------------------------------------------------

  async #loadChannels() {
    const { data } = await get("/v1/channels", { limit: 200 });
    this.#channels = new Map(data.map((one) => [one.id, one]));
    this.#select.hidden = data.length < 2;
    const all = h("option", { value: "" }, "All channels");
    replace(
      this.#select,
      all,
      data.map((one) => h("option", { value: one.id }, channelName(one))),
    );
    this.#select.value = this.#channel;
  }

  /** @param {boolean} further */
  async #load(further) {
    const search = ++this.#search;
    const cursor = further ? this.#cursor : null;
    const filter = { channel_id: this.#channel, name: this.#words };
    try {
      const page = await get("/v1/conversations", { limit: PAGE, ...filter, cursor });
      if (search !== this.#search) return;
      if (!further) this.#conversations.clear();
      for (const one of page.data) this.#conversations.set(one.id, one);
      this.#cursor = page.next_cursor;
      this.#more.hidden = !page.has_more;
      this.#draw();
    } catch (failure) {
      if (search === this.#search)
        replace(
          this.#status,
          problem(failure, () => this.#load(further)),
        );
    }
  }

  #draw() {
    const focused = this.#list.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : null;
    const conversations = [...this.#conversations.values()];
    replace(
      this.#list,
      conversations.sort(newestFirst).map((one) => this.#row(one)),
    );
    if (focused)
      this.#links()
        .find((link) => link.getAttribute("href") === focused)
        ?.focus({ preventScroll: true });
    const unread = conversations.filter((one) => one.unread).length;
    document.title = `${unread ? `(${unread}) ` : ""}Inbox · Weir`;
    replace(this.#status, conversations.length === 0 && this.#empty());
  }

  /** @param {Data} one */
  #row(one) {
    const name = nameOf(one.contact);
    const last = one.last_message;
    const text = last
      ? [last.direction === "outbound" && "You: ", h("bdi", null, gist(last.content))]
      : "No messages yet";
    const time = one.last_message_at && h("time", { datetime: one.last_message_at }, brief(one.last_message_at));
    const closed =
      !one.can_reply && h("span", { class: "dot closed", title: one.refusal?.detail ?? "Messages cannot be sent" });
    const count = one.unread ?? 0;
    const badge = h("span", { class: "badge", "aria-label": `${count} unread` }, count > 99 ? "99+" : count);
    return h(
      "li",
      null,
      h(
        "a",
        {
          href: `/inbox/${one.id}`,
          class: `row-link ${count ? "unread" : ""}`,
          "aria-current": one.id === this.#open?.id ? "true" : null,
        },
        avatar(one.contact.id, name),
        h("span", { class: "what" }, h("b", { dir: "auto" }, name), h("span", { class: "gist" }, text)),
        h("span", { class: "side-facts" }, time, count ? badge : closed),
        this.#channels.size > 1 && h("small", { class: "via" }, channelName(this.#channels.get(one.channel_id))),
      ),
    );
  }

  #empty() {
    if (this.#words || this.#channel) {
      return empty("No matching contacts", "Search uses names and handles. Try fewer letters, or all channels.");
    }
    if (this.#channels.size === 0) {
      const connect = h("a", { class: "button primary", href: "/channels" }, "Connect account");
      return empty(
        "No channels yet",
        "Connect a business account: conversations appear here when people write.",
        connect,
      );
    }
    const links = h("a", { class: "button", href: "/channels" }, "Links and QR codes");
    return empty("No conversations yet", "Contacts must write first. Share the account's chat link or QR code.", links);
  }

  /** Reads one conversation again, after something happened in it. @param {string} id */
  async #refresh(id) {
    try {
      const fresh = /** @type {Data} */ (await get("/v1/conversations/{id}", { id }));
      const known = this.#conversations.get(id);
      if (!known && (this.#words || (this.#channel && this.#channel !== fresh.channel_id))) return;
      const merged = { ...known, ...fresh, last_message: known?.last_message ?? fresh.last_message };
      this.#conversations.set(id, merged);
      this.#draw();
      if (this.#open?.id === id) this.#open.changed(merged);
    } catch (failure) {
      const { code } = /** @type {import("./api.js").Problem} */ (failure);
      if (code === "not_found" && this.#conversations.delete(id)) this.#draw();
    }
  }

  /** Shows a newest message in its row without reading the conversation. @param {Message} message */
  #seen(message) {
    const known = this.#conversations.get(message.conversation_id);
    if (!known) return;
    if (!known.last_message || inOrder(known.last_message, message) <= 0) {
      known.last_message = message;
      known.last_message_at = message.sent_at;
    }
    this.#draw();
  }

  // ---- search -------------------------------------------------------------------------------------------------------

  #typed() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => {
      this.#words = this.#input.value.trim();
      this.#load(false);
      this.#searchMessages(null);
    }, TYPING_MS);
  }

  #chose() {
    this.#channel = this.#select.value;
    this.#load(false);
  }

  /** Searches messages as well as names, from `cursor` on. @param {string | null | undefined} cursor */
  async #searchMessages(cursor) {
    const search = this.#search;
    const words = this.#words;
    if (!cursor) replace(this.#texts);
    if (words.length < 2) return;
    try {
      const page = await get("/v1/messages", { search: words, limit: PAGE, cursor });
      if (search !== this.#search) return;
      this.#texts.querySelector(".more")?.remove();
      if (!this.#texts.firstChild) this.#texts.append(...this.#resultHead(page.data.length > 0 || page.has_more));
      this.#texts.querySelector("ul")?.append(...page.data.map((message) => this.#result(message)));
      const older = () => this.#searchMessages(page.next_cursor);
      if (page.has_more) this.#texts.append(button("Search older messages", older, { class: "more" }));
    } catch (failure) {
      if (search === this.#search)
        replace(
          this.#texts,
          problem(failure, () => this.#searchMessages(null)),
        );
    }
  }

  /** @param {boolean} any */
  #resultHead(any) {
    const list = h("ul", { class: "rows", "aria-label": "Messages" });
    return [h("h2", null, "Messages"), list, any ? "" : h("p", { class: "quiet" }, "No matching messages.")];
  }

  /** @param {Message} message */
  #result(message) {
    const text = h(
      "span",
      { class: "gist" },
      message.direction === "outbound" && "You: ",
      h("bdi", null, gist(message.content)),
    );
    const time = h("time", { datetime: message.sent_at }, brief(message.sent_at));
    const href = `/inbox/${message.conversation_id}?message=${message.id}`;
    const link = h(
      "a",
      { href, class: "row-link" },
      h("span", { class: "what" }, text),
      h("span", { class: "side-facts" }, time),
    );
    return h("li", null, link);
  }

  // ---- the open conversation ----------------------------------------------------------------------------------------

  /** @param {string | null} id */
  async #show(id) {
    this.#open?.leave();
    this.#open = null;
    this.#root.classList.toggle("opened", Boolean(id));
    for (const link of this.#links()) {
      if (link.getAttribute("href") === `/inbox/${id}`) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (!id) {
      const keys = "Keyboard: j and k move through the list, Enter opens, / searches.";
      return void replace(this.#pane, empty("Select a conversation", keys));
    }
    try {
      const data = this.#conversations.get(id) ?? (await get("/v1/conversations/{id}", { id }));
      const channel = () => this.#channels.get(data.channel_id);
      const open = new Conversation(this.#pane, data, channel, (sent) => (sent ? this.#seen(sent) : this.#refresh(id)));
      this.#open = open;
      await open.load();
      const message = new URLSearchParams(location.search).get("message");
      if (message) await open.find(message);
    } catch (failure) {
      replace(
        this.#pane,
        problem(failure, () => this.#show(id)),
      );
    }
  }

  /** @param {Event} event */
  event(event) {
    if (event.type.startsWith("channel.")) this.#loadChannels();
    if (event.type === "contact.erased") return void this.#load(false);
    const id = conversationOf(event);
    if (!id) return;
    if (event.type.startsWith("message.")) this.#seen(/** @type {Message} */ (event.data));
    if (this.#open?.id === id) this.#open.event(event);
    this.#changed.add(id);
    this.#soon ??= setTimeout(() => {
      this.#soon = null;
      for (const one of this.#changed) this.#refresh(one);
      this.#changed.clear();
    }, SETTLE_MS);
  }

  // ---- the keyboard -------------------------------------------------------------------------------------------------

  #links() {
    return [...this.#list.querySelectorAll("a")];
  }

  /** @param {KeyboardEvent} event */
  key({ key }) {
    if (key === "j") this.#move(1);
    else if (key === "k") this.#move(-1);
    else if (key === "/") this.#input.focus();
    else if (key === "r" && this.#open) this.#open.focus();
    else if (key === "Escape" && this.#open) this.#go("/inbox");
    else return false;
    return true;
  }

  /** Moves the focus through the list, from the focused row or the open one. @param {number} by */
  #move(by) {
    const links = this.#links();
    const inside = this.#list.contains(document.activeElement);
    const at = links.findIndex((link) =>
      inside ? link === document.activeElement : link.hasAttribute("aria-current"),
    );
    links[Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
  }
}
