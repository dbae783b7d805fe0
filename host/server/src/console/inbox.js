// The inbox: conversations by channel, and one of them open.

import { get, query } from "./api.js";
import { avatar, button, empty, h, icon, problem, replace, toast } from "./dom.js";
import { inOrder, signal, thread } from "./bubbles.js";
import { composer } from "./composer.js";
import { brief, channelName, gist, nameOf } from "./words.js";

const may = (session, scope) => session.scopes.includes(scope) || session.scopes.includes("admin");
const PAGE = 50;
/** Pages of a thread that are fetched for a message that was looked for. */
const LOOK_BACK = 20;

export function mount(root, { id, session, go }) {
  let channel = "";
  let name = "";
  let cursor = null;
  let open = null;
  let wanted = 0;
  const channels = new Map();
  const rows = new Map();

  // ---- the list ------------------------------------------------------------------------------------------------------

  const list = h("ul", { class: "rows", "aria-label": "Conversations" });
  const more = button("Show more", () => fetchPage(true), { class: "more", hidden: true });
  const status = h("div");
  const search = h("input", { type: "search", placeholder: "Search names and texts", "aria-label": "Search names and texts", spellcheck: "false" });
  const which = h("select", { "aria-label": "Channel" }, h("option", { value: "" }, "All channels"));
  const texts = h("div", { class: "texts" });
  const side = h("section", { class: "side", "aria-label": "Conversations" },
    h("header", null, h("h1", null, "Inbox"), which, h("div", { class: "search" }, icon("search", 16), search)), h("div", { class: "scroll" }, list, status, more, texts));
  const pane = h("section", { class: "pane", "aria-label": "Conversation" });
  root.append(side, pane);

  const byTime = (a, b) => Date.parse(b.last_message_at ?? b.created_at) - Date.parse(a.last_message_at ?? a.created_at);

  function row(it) {
    const last = it.last_message;
    const who = nameOf(it.contact);
    return h("li", null, h("a", { href: `/inbox/${it.id}`, class: `row-link ${it.unread ? "unread" : ""}`, "aria-current": it.id === open?.id ? "true" : null },
      avatar(it.contact.id, who),
      h("span", { class: "what" }, h("b", { dir: "auto" }, who), h("span", { class: "gist" }, last ? [last.direction === "outbound" && "You: ", h("bdi", null, gist(last.content))] : "No messages yet")),
      h("span", { class: "side-facts" }, it.last_message_at && h("time", { datetime: it.last_message_at }, brief(it.last_message_at)),
        it.unread ? h("span", { class: "badge", "aria-label": `${it.unread} unread` }, it.unread > 99 ? "99+" : it.unread)
          : !it.can_reply && h("span", { class: "dot closed", title: it.refusal?.detail ?? "Nothing can be sent now" })),
      channels.size > 1 && h("small", { class: "via" }, channelName(channels.get(it.channel_id)))));
  }

  function draw() {
    const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    replace(list, [...rows.values()].sort(byTime).map(row));
    if (focused) list.querySelector(`[href="${focused}"]`)?.focus({ preventScroll: true });
    const unread = [...rows.values()].filter((it) => it.unread).length;
    document.title = `${unread ? `(${unread}) ` : ""}Inbox · Weir`;
    replace(status, rows.size === 0 && (name || channel
      ? empty("Nobody of that name", "Names and handles are searched. Try fewer letters, or all channels.")
      : channels.size === 0
        ? empty("No channel yet", "Connect a business account first; conversations appear here when people write to it.", h("a", { class: "button primary", href: "/channels" }, "Connect an account"))
        : empty("Nobody has written yet", "A business cannot write first. Share the account's chat link, or its QR code.", h("a", { class: "button", href: "/channels" }, "Links and QR codes"))));
  }

  async function fetchPage(further) {
    const mine = ++wanted;
    try {
      const page = await get(`/v1/conversations${query({ limit: PAGE, channel_id: channel, name, cursor: further ? cursor : null })}`);
      if (mine !== wanted) return;
      if (!further) rows.clear();
      for (const it of page.data) rows.set(it.id, it);
      cursor = page.next_cursor;
      more.hidden = !page.has_more;
      draw();
    } catch (failure) {
      if (mine === wanted) replace(status, problem(failure, () => fetchPage(further)));
    }
  }

  /** What was written, beside the names. */
  async function fetchTexts(words, cursor = null) {
    const mine = wanted;
    if (!cursor) replace(texts);
    if (words.length < 2) return;
    try {
      const page = await get(`/v1/messages${query({ search: words, limit: PAGE, cursor })}`);
      if (mine !== wanted) return;
      const hits = page.data.map((message) => h("li", null, h("a", { href: `/inbox/${message.conversation_id}?message=${message.id}`, class: "row-link" }, h("span", { class: "what" }, h("span", { class: "gist" }, message.direction === "outbound" && "You: ", h("bdi", null, gist(message.content)))), h("span", { class: "side-facts" }, h("time", { datetime: message.sent_at }, brief(message.sent_at))))));
      texts.querySelector(".more")?.remove();
      if (!texts.firstChild) replace(texts, h("h2", null, "In what was written"), h("ul", { class: "rows", "aria-label": "In what was written" }), !hits.length && !page.has_more && h("p", { class: "quiet" }, "Nothing holds these words."));
      texts.querySelector("ul").append(...hits);
      if (page.has_more) texts.append(button("Look further back", () => fetchTexts(words, page.next_cursor), { class: "more" }));
    } catch (failure) {
      if (mine === wanted) replace(texts, problem(failure, () => fetchTexts(words)));
    }
  }

  /** One row anew, after something happened in it. */
  async function refresh(conversation) {
    try {
      const fresh = await get(`/v1/conversations/${conversation}`);
      const known = rows.get(conversation);
      if (!known && (name || (channel && channel !== fresh.channel_id))) return;
      rows.set(conversation, { ...known, ...fresh, last_message: known?.last_message ?? fresh.last_message ?? null });
      draw();
      if (open?.id === conversation) open.changed(rows.get(conversation));
    } catch (failure) {
      if (failure.code === "not_found" && rows.delete(conversation)) draw();
    }
  }

  let typing;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      name = search.value.trim();
      fetchPage(false);
      fetchTexts(name);
    }, 200);
  });
  which.addEventListener("change", () => {
    channel = which.value;
    fetchPage(false);
  });

  // ---- one conversation ----------------------------------------------------------------------------------------------

  async function show(conversation) {
    open?.leave();
    open = null;
    root.classList.toggle("opened", Boolean(conversation));
    for (const link of list.querySelectorAll("a")) {
      if (link.getAttribute("href") === `/inbox/${conversation}`) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (!conversation) {
      replace(pane, empty("Choose a conversation", "With the keyboard: j and k go through the list, / searches, Enter opens."));
      return;
    }
    try {
      const it = rows.get(conversation) ?? (await get(`/v1/conversations/${conversation}`));
      open = conversationPane(it);
      await open.ready;
      const message = new URLSearchParams(location.search).get("message");
      if (message) await open.lookUp(message);
    } catch (failure) {
      replace(pane, problem(failure, () => show(conversation)));
    }
  }

  function conversationPane(it) {
    let gone = false;
    let before = null;
    const who = () => nameOf(it.contact);
    const writes = composer({ id: it.id, may: may(session, "messages:write"), sent: (message) => {
      bubbles.add(message);
      toEnd();
      seen(message);
    }, stale: () => {
      fetchFeatures();
      refresh(it.id);
    } });
    const bubbles = thread({ who, reply: (message) => writes.quote(message) });
    const earlier = button("Show earlier messages", () => fetchMessages(true), { class: "more", hidden: true });
    const scroll = h("div", { class: "scroll talk", tabindex: "0", role: "log", "aria-label": "Messages", "aria-live": "polite" }, earlier, bubbles.list);
    const head = h("header");
    const markRead = button("Mark as read", async () => {
      try {
        await signal(it.id, "read");
        toast("Marked as read");
      } catch (failure) {
        toast(failure.message, "bad");
      }
      refresh(it.id);
    }, { class: "small", hidden: true });
    const facts = h("details", { class: "carries" }, h("summary", null, "What this chat can carry"), h("div"));
    replace(pane, head, scroll, writes.form);
    writes.catches(pane);

    const toEnd = () => {
      scroll.scrollTop = scroll.scrollHeight;
    };
    const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;

    function drawHead() {
      replace(head, h("a", { class: "ghost back", href: "/inbox", "aria-label": "Back to the list" }, icon("back")), avatar(it.contact.id, who()),
        h("div", { class: "who" }, h("h2", { dir: "auto" }, who()), h("small", null, [it.contact.username && `@${it.contact.username}`, channelName(channels.get(it.channel_id))].filter(Boolean).join(" · "))),
        markRead, facts);
      markRead.hidden = !it.unread || !may(session, "messages:write");
    }

    async function fetchMessages(further) {
      const page = await get(`/v1/conversations/${it.id}/messages${query({ limit: PAGE, cursor: further ? before : null })}`);
      if (gone) return;
      const height = scroll.scrollHeight;
      bubbles.add(...page.data);
      before = page.next_cursor;
      earlier.hidden = !page.has_more;
      // What stands there stays where it is when older ones come above it.
      if (further) scroll.scrollTop += scroll.scrollHeight - height;
      else toEnd();
    }

    async function fetchFeatures() {
      try {
        const features = await get(`/v1/conversations/${it.id}/features`);
        if (gone) return;
        const held = atEnd();
        await writes.show(features);
        if (held) toEnd();
        replace(facts.lastChild, h("table", null, h("tbody", null, features.contents.filter((one) => one.outbound !== "none" || one.inbound !== "none").map((one) => h("tr", null,
          h("th", { scope: "row" }, one.kind.replaceAll("_", " ")), h("td", { class: one.allowed ? "good" : "off" }, one.allowed ? "can be sent" : one.reason ?? "cannot be sent"))))));
      } catch (failure) {
        if (!gone) writes.show({ can_reply: false, refusal: { code: failure.code, detail: failure.message.replace(/\.$/, "") }, contents: [], signals: [], window: null, budget: null });
      }
    }

    async function fetchReactions() {
      const page = await get(`/v1/events${query({ types: "reaction.added,reaction.removed", conversation_id: it.id, limit: 200 })}`);
      if (!gone) for (const event of page.data) bubbles.react(event);
    }

    /** Shows a message that was looked for; older ones are fetched until it is there. */
    async function lookUp(message) {
      for (let page = 0; !gone && !bubbles.show(message); page += 1) {
        if (earlier.hidden || page === LOOK_BACK) return toast("That message lies further back; show earlier ones");
        await fetchMessages(true);
      }
    }

    drawHead();
    let soon;
    return {
      id: it.id,
      ready: Promise.all([fetchMessages(false), fetchFeatures()]).then(() => fetchReactions().catch(() => {})).then(() => writes.focus()),
      changed(fresh) {
        it = fresh;
        drawHead();
      },
      event(event) {
        const held = atEnd();
        if (event.type.startsWith("message.")) bubbles.put(event.data);
        if (event.type.startsWith("reaction.")) bubbles.react(event);
        if (held) toEnd();
        clearTimeout(soon);
        soon = setTimeout(fetchFeatures, 60);
      },
      lookUp,
      focus: () => writes.focus(),
      leave() {
        gone = true;
        clearTimeout(soon);
        writes.leave();
      },
    };
  }

  // ---- what happens --------------------------------------------------------------------------------------------------

  /** The newest message of a row, without asking. */
  function seen(message) {
    const known = rows.get(message.conversation_id);
    if (!known) return;
    if (!known.last_message || inOrder(known.last_message, message) <= 0) {
      known.last_message = message;
      known.last_message_at = message.sent_at;
    }
    draw();
  }

  const queue = new Set();
  let soon = null;
  function event(it) {
    const conversation = it.conversation_id ?? it.data?.conversation_id ?? (it.type.startsWith("window.") || it.type.startsWith("conversation.") ? it.data.id : null);
    if (it.type.startsWith("channel.")) fetchChannels();
    if (it.type === "contact.erased") return void fetchPage(false);
    if (!conversation) return;
    if (it.type.startsWith("message.")) seen(it.data);
    if (open?.id === conversation) open.event(it);
    // Many events of one conversation come at once: it is asked for once.
    queue.add(conversation);
    soon ??= setTimeout(() => {
      soon = null;
      for (const one of queue) refresh(one);
      queue.clear();
    }, 80);
  }

  async function fetchChannels() {
    const page = await get("/v1/channels?limit=200");
    channels.clear();
    for (const one of page.data) channels.set(one.id, one);
    which.hidden = channels.size < 2;
    replace(which, h("option", { value: "" }, "All channels"), page.data.map((one) => h("option", { value: one.id }, channelName(one))));
    which.value = channel;
  }

  const begun = fetchChannels().catch(() => {}).then(() => fetchPage(false)).then(() => id || show(null));
  if (id) begun.then(() => show(id));

  return {
    event,
    visit(next) {
      show(next);
      return true;
    },
    key({ key }) {
      const links = [...list.querySelectorAll("a")];
      const at = links.findIndex((link) => link === document.activeElement || (!list.contains(document.activeElement) && link.getAttribute("aria-current")));
      if (key === "j" || key === "k") {
        links[Math.min(Math.max(at + (key === "j" ? 1 : -1), 0), links.length - 1)]?.focus();
        return true;
      }
      if (key === "/") {
        search.focus();
        return true;
      }
      if (key === "r" && open) {
        open.focus();
        return true;
      }
      if (key === "Escape" && open) {
        go("/inbox");
        return true;
      }
      return false;
    },
    leave() {
      open?.leave();
      clearTimeout(soon);
      clearTimeout(typing);
    },
  };
}

