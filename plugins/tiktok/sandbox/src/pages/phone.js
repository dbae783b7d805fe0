// The phone: shows one chat as the person sees it, with the person's actions. External input becomes text by
// textContent; no markup is ever built from it.

const $ = (id) => document.getElementById(id);
const el = (tag, cls, text) => {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
};
const SHOWN = 200; // the newest of a chat; more would only slow the page
const LINES = 80; // of the traffic list
const FAR = Number.MAX_SAFE_INTEGER; // past the end of a log: asks for its last number only

let account = "acme_store";
let person = "jane_doe";
let skew = 0; // virtual minus system time
let chat = null;
let chatText = "";
let quoting = null;
let open = null; // the message whose menu is open
let calls = null; // the last line seen of each log
let hooks = null;
let lines = [];

async function ask(path, body, method) {
  const answer = await fetch(`/control/${path}`, body === undefined ? { method: method ?? "GET" } : {
    method: method ?? "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const data = await answer.json();
  if (!answer.ok) throw new Error(data.error ?? answer.statusText);
  return data;
}

let toastEnds = 0;
function say(text) {
  const toast = $("toast");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(toastEnds);
  toastEnds = setTimeout(() => { toast.hidden = true; }, 4200);
}

const attempt = async (work) => {
  try { return await work(); } catch (error) { say(error.message); return null; }
};
const path = () => `chats/${encodeURIComponent(account)}/${encodeURIComponent(person)}`;
const act = (name, body = {}) => attempt(async () => {
  const done = await ask(`${path()}/${name}`, body);
  await refresh();
  return done;
});
const write = (what) => {
  const message = quoting ? { ...what, references: quoting.id } : what;
  quote(null);
  return act("write", message);
};

// --- time ---

const two = (number) => String(number).padStart(2, "0");
const now = () => Date.now() + skew;
const hm = (ms) => { const at = new Date(ms); return `${two(at.getHours())}:${two(at.getMinutes())}`; };
const hms = (ms) => `${hm(ms)}:${two(new Date(ms).getSeconds())}`;
const day = (ms) => new Date(ms).toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" });

function tick() {
  $("clock").textContent = `${day(now())} ${hms(now())}`;
  $("short").textContent = hm(now());
  if (chat) facts();
  if (chat?.typing) refresh();
}

// --- the chat ---

function preview(message) {
  if (!message) return "a message";
  if (message.text) return message.text;
  if (message.template) return message.template.title;
  return { image: "Photo", video: "Video", sticker: "Sticker", emoji: "Emoji", share_post: "Post" }[message.type] ?? "Message";
}

function content(message) {
  const image = (cls) => {
    const bubble = el("button", `bubble ${cls}`);
    const img = el("img");
    img.src = message.media_url;
    img.alt = preview(message);
    img.onload = () => { if (pinned) toEnd(); };
    bubble.append(img);
    return bubble;
  };
  switch (message.type) {
    case "image": return image("picture");
    case "sticker": case "emoji": return image("bare");
    case "video": {
      const bubble = el("button", "bubble film");
      bubble.append(el("i"), el("small", "", "Video"));
      return bubble;
    }
    case "share_post": {
      const bubble = el("button", "bubble post");
      const about = el("p");
      about.append(el("b", "", "TikTok post"), document.createTextNode(message.video_id));
      bubble.append(el("div", "cover"), about);
      return bubble;
    }
    case "template": {
      const card = el("div", `bubble cardmsg ${message.template.type === "QA_LINK_CARD" ? "link" : ""}`);
      card.append(el("p", "", message.template.title));
      const tapped = chat.messages.filter((other) => other.tapped?.message_id === message.id).map((other) => other.tapped.button_id);
      for (const button of message.template.buttons) {
        const tap = el("button", tapped.includes(button.id) ? "tapped" : "", button.title);
        tap.onclick = () => act("write", { type: "tap", message_id: message.id, button_id: button.id });
        card.append(tap);
      }
      return card;
    }
    case "text": return el("button", "bubble", message.text);
    default: return el("button", "bubble odd", `${message.original_type ?? "message"} (no form in the API)`);
  }
}

function menu(message) {
  const bar = el("div", "menu");
  const mine = (message.reactions ?? []).filter((reaction) => reaction.from === "person").map((reaction) => reaction.emoji ?? "ai");
  for (const emoji of ["❤️", "👍", "😂", "😮", "ai"]) {
    const button = el("button", emoji === "ai" ? "word" : "", emoji === "ai" ? "AI emoji" : emoji);
    button.onclick = () => { open = null; act("write", { type: "reaction", message_id: message.id, emoji, operation: mine.includes(emoji) ? "REMOVE" : "ADD" }); };
    bar.append(button);
  }
  const reply = el("button", "word", "Reply");
  reply.onclick = () => { open = null; quote(message); render(true); $("text").focus(); };
  bar.append(reply);
  return bar;
}

function quote(message) {
  quoting = message;
  $("quote").hidden = !message;
  if (message) $("quote").firstElementChild.textContent = preview(message);
}

function banner(referral) {
  const box = el("div", "banner");
  if (referral.source === "ad") {
    box.append(el("b", "", "Came from an ad"), document.createTextNode(referral.ad.ad_name));
  } else {
    const link = referral.short_link;
    const passed = link.prefilled_message_audit_status === "PASS";
    box.append(el("b", "", link.ref ? `Opened the link “${link.ref}”` : "Opened the link"));
    box.append(document.createTextNode(passed ? `Prefilled: ${link.prefilled_message}` : "The prefilled text did not pass the audit"));
  }
  return box;
}

// Whether the newest message is in view: pictures that load later must not push it away.
let pinned = true;
const toEnd = () => { $("scroll").scrollTop = $("scroll").scrollHeight; };

function render(keep) {
  const list = $("chat");
  const scroll = $("scroll");
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  const items = [
    ...chat.messages.map((message) => ({ at: message.time_ms, message })),
    ...chat.referrals.map((referral) => ({ at: referral.time_ms, referral })),
  ].sort((a, b) => a.at - b.at);
  const nodes = [];
  if (!items.length) {
    const empty = el("div", "empty");
    const img = el("img");
    img.src = "/cdn/sticker-wave";
    img.alt = "";
    empty.append(img, document.createTextNode(`Say hello to ${chat.account.display_name}. There are no messages yet, and a business cannot send the first one.`));
    nodes.push(empty);
  }
  let before = null;
  const lastSeen = chat.messages.filter((message) => message.direction === "inbound" && message.status === "seen").at(-1);
  items.forEach((item, index) => {
    if (!before || item.at - before.at > 3600000) nodes.push(el("div", "day", `${day(item.at)} ${hm(item.at)}`));
    before = item;
    if (item.referral) { nodes.push(banner(item.referral)); return; }
    const message = item.message;
    const own = message.direction === "inbound";
    const next = items[index + 1]?.message;
    const row = el("div", `msg${own ? " own" : ""}${next?.direction === message.direction ? "" : " last"}`);
    if (!own) {
      const mini = el("img", "mini");
      mini.src = chat.account.avatar;
      mini.alt = "";
      row.append(mini);
    }
    const stack = el("div", "stack");
    if (message.quotes) stack.append(el("div", "ref", preview(chat.messages.find((other) => other.id === message.quotes))));
    const bubble = content(message);
    bubble.title = `${day(message.time_ms)} ${hms(message.time_ms)} · ${message.source} · ${message.id}`;
    if (message.type !== "template") bubble.onclick = () => { open = open === message.id ? null : message.id; render(true); };
    stack.append(bubble);
    if (message.reactions) {
      const row = el("div", "reacts");
      for (const reaction of message.reactions) {
        const chip = el("span", "", reaction.emoji);
        if (reaction.picture) { const img = el("img"); img.src = reaction.picture; img.alt = "AI emoji"; chip.replaceChildren(img); }
        row.append(chip);
      }
      stack.append(row);
    }
    if (open === message.id) stack.append(menu(message));
    row.append(stack);
    nodes.push(row);
    if (message.auto_message_type) nodes.push(el("div", "note left", "Automatic message"));
    else if (!own && message.source !== "API") nodes.push(el("div", "note left", `Typed in TikTok ${message.source === "WEB" ? "Web" : "app"}`));
    if (message === lastSeen) nodes.push(el("div", "note right", "Seen"));
  });
  if (chat.typing) {
    const row = el("div", "msg typing last");
    const bubble = el("div", "bubble");
    bubble.append(el("i"), el("i"), el("i"));
    bubble.setAttribute("aria-label", "typing");
    const mini = el("img", "mini");
    mini.src = chat.account.avatar;
    mini.alt = "";
    row.append(mini, bubble);
    nodes.push(row);
  }
  list.replaceChildren(...nodes);
  pinned = !keep || atEnd;
  if (pinned) toEnd();

  $("name").textContent = chat.account.display_name;
  $("handle").textContent = `@${chat.account.username}`;
  $("face").src = chat.account.avatar;
  $("badge").textContent = chat.account.business ? "Business" : "Personal";
  const unread = chat.messages.filter((message) => message.direction === "outbound" && message.status === "unseen").length;
  $("unread").hidden = unread === 0;
  $("unread").textContent = unread === 1 ? "1 new message · mark read" : `${unread} new messages · mark read`;
  $("offers").replaceChildren(
    ...chat.suggested_questions.map((offer) => chip(offer.question, { type: "suggested_question", auto_message_id: offer.auto_message_id })),
    ...chat.chat_prompts.map((offer) => chip(offer.title, { type: "chat_prompt", auto_message_id: offer.auto_message_id })),
  );
  facts();
}

function chip(label, what) {
  const button = el("button", "", label);
  button.onclick = () => act("write", what);
  return button;
}

function facts() {
  const rows = [["Conversation", chat.conversation_type ?? "none yet"]];
  if (chat.window) {
    const left = (chat.window.closes_ms ?? 0) - now();
    const shown = chat.window.closes_ms === null ? "never opened" : left <= 0 ? "closed" : `${Math.floor(left / 3600000)} h ${Math.floor(left / 60000) % 60} min left`;
    rows.push(["Window", shown, chat.window.open ? "good" : "bad"], ["Business wrote in it", String(chat.window.sent)]);
  }
  rows.push(["Person in", chat.person.country], ["Account in", chat.account.country]);
  if (chat.conversation_id) rows.push(["Id", chat.conversation_id]);
  $("facts").replaceChildren(...rows.flatMap(([term, value, cls]) => [el("dt", "", term), el("dd", cls, value)]));
}

// --- traffic ---

async function traffic() {
  if (calls === null) {
    const [made, sent] = await Promise.all([ask(`calls?after=${FAR}`), ask(`webhooks?after=${FAR}`)]);
    calls = Math.max(0, made.last - LINES);
    hooks = Math.max(0, sent.last - LINES);
  }
  const [made, sent] = await Promise.all([ask(`calls?after=${calls}`), ask(`webhooks?after=${hooks}`)]);
  calls = made.calls.at(-1)?.sequence ?? calls;
  hooks = sent.webhooks.at(-1)?.sequence ?? hooks;
  const fresh = [
    ...made.calls.map((call) => ({
      at: call.time_ms, arrow: "←", what: call.api,
      more: [call.message_type, call.code ? `code ${call.code}` : null, call.fault ? `fault: ${call.fault}` : null, call.code === null && call.status ? `HTTP ${call.status}` : null],
      state: call.status === null || call.code || call.status !== 200 ? "bad" : "",
    })),
    ...sent.webhooks.map((hook) => ({
      at: hook.time_ms, arrow: "→", what: hook.event,
      more: [hook.outcome, hook.status ? `HTTP ${hook.status}` : hook.outcome === "retrying" ? "no answer" : null, hook.attempt > 1 ? `try ${hook.attempt}` : null],
      state: hook.outcome === "delivered" ? "" : hook.outcome === "retrying" ? "wait" : "bad",
    })),
  ];
  if (!fresh.length && lines.length) return;
  lines = [...lines, ...fresh].sort((a, b) => a.at - b.at).slice(-LINES);
  const nodes = lines.toReversed().map((line) => {
    const row = el("li", line.state);
    const what = el("span", "what", line.what);
    const more = line.more.filter(Boolean).join(" · ");
    if (more) what.append(el("small", "", more));
    row.append(el("i"), el("span", "arrow", line.arrow), what, el("span", "when", hms(line.at)));
    return row;
  });
  if (!nodes.length) nodes.push(el("li", "", ""), el("div", "nothing", "API calls (←) and webhooks (→) show here."));
  $("traffic").replaceChildren(...nodes.filter((node) => node.childNodes.length));
}

// --- keeping up ---

let busy = false;
let again = false;
async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  await attempt(async () => {
    do {
      again = false;
      const [fresh] = await Promise.all([ask(`${path()}?newest=${SHOWN}`), traffic()]);
      skew = fresh.now_ms - Date.now();
      const { now_ms: _, ...rest } = fresh;
      const text = JSON.stringify(rest);
      if (text !== chatText) {
        const moved = chat?.messages.at(-1)?.id !== fresh.messages.at(-1)?.id || chat?.referrals.length !== fresh.referrals.length;
        chatText = text;
        chat = fresh;
        render(!moved);
      }
    } while (again);
  });
  busy = false;
}

async function people() {
  const world = await ask("world");
  skew = world.now_ms - Date.now();
  const fill = (select, items, chosen) => select.replaceChildren(...items.map((item) => {
    const option = el("option", "", `${item.display_name} (${item.country}${item.business === false ? ", personal" : ""})`);
    option.value = item.username;
    option.selected = item.username === chosen;
    return option;
  }));
  if (!world.accounts.some((item) => item.username === account)) account = world.accounts[0].username;
  if (!world.people.some((item) => item.username === person)) person = world.people[0].username;
  fill($("account"), world.accounts, account);
  fill($("person"), world.people, person);
}

function choose() {
  account = $("account").value;
  person = $("person").value;
  history.replaceState(null, "", `#${encodeURIComponent(account)}/${encodeURIComponent(person)}`);
  chatText = "";
  chat = null;
  open = null;
  quote(null);
  refresh();
}

$("scroll").onscroll = () => {
  const scroll = $("scroll");
  pinned = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
};
$("account").onchange = choose;
$("person").onchange = choose;
// The lists grow when a test creates people; refreshing them when they are opened is enough.
$("person").onfocus = () => attempt(people);
$("composer").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (!text) return;
  $("text").value = "";
  write({ type: "text", text });
};
const tray = (shown) => {
  const stay = pinned;
  $("tray").hidden = !shown;
  $("more").setAttribute("aria-expanded", String(shown));
  if (stay) toEnd();
};
$("more").onclick = () => tray($("tray").hidden);
for (const button of document.querySelectorAll("[data-write]")) {
  button.onclick = () => { tray(false); write(JSON.parse(button.dataset.write)); };
}
$("own").onclick = () => $("file").click();
$("file").onchange = () => attempt(async () => {
  const file = $("file").files[0];
  if (!file) return;
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  $("file").value = "";
  tray(false);
  await write({ type: "image", base64: btoa(text) });
});
$("quote").querySelector("button").onclick = () => quote(null);
$("unread").onclick = () => act("read");
$("ad").onclick = () => act("ad-click", { campaign: $("campaign").value });
$("link").onclick = async () => {
  const audit = $("audit").value;
  const done = await act("link-open", { ref: $("ref").value, message: $("prefill").value, audit });
  if (done && audit === "PASS") $("text").value = $("prefill").value;
};
$("commenting").onclick = async () => {
  const done = await act("comment", { text: $("comment").value });
  if (done) say(done.webhook ? "Commented; the webhook is on its way." : "Commented; no webhook, since Comment-to-Message is off or no app is subscribed.");
};
$("staffing").onclick = () => {
  const text = $("staff").value;
  if (!text) return;
  $("staff").value = "";
  act("app-reply", { type: "text", text, source: $("source").value });
};
$("accept").onclick = () => act("accept");
$("revoke").onclick = () => attempt(async () => {
  const done = await ask("revoke", { account });
  say(`Revoked the access of ${done.revoked.length === 1 ? "one app" : `${done.revoked.length} apps`}.`);
});
for (const button of document.querySelectorAll("[data-advance]")) {
  button.onclick = () => attempt(async () => {
    const done = await ask("clock/advance", { ms: Number(button.dataset.advance) });
    skew = done.now_ms - Date.now();
    tick();
    await refresh();
  });
}

const [, wantedAccount, wantedPerson] = /^#([^/]+)\/(.+)$/.exec(location.hash) ?? [];
if (wantedAccount) { account = decodeURIComponent(wantedAccount); person = decodeURIComponent(wantedPerson); }
await attempt(people);
await refresh();
tick();
setInterval(tick, 1000);
new EventSource("/control/stream").addEventListener("change", refresh);
