// The console's frame: signing in, navigation, and the page that is shown.

import { connect, listen, resume, signIn, signOut, whenSignedOut, whose } from "./api.js";
import { button, h, icon, problem, replace } from "./dom.js";

/** @import { Child, Context, Page, Session } from "./types" */
/**
 * @typedef {"overview" | "inbox" | "channels" | "events" | "refusals" | "endpoints" | "connectors" | "settings"} Name
 * @typedef {Map<Name, HTMLElement>} Links
 * @typedef {{ name: Name | null, main: HTMLElement, links: Links, page: Page, session: Session }} Frame
 */

/** @type {[name: Name, title: string, path: string][]} */
const PAGES = [
  ["overview", "Overview", "/"],
  ["inbox", "Inbox", "/inbox"],
  ["channels", "Channels", "/channels"],
  ["events", "Events", "/events"],
  ["refusals", "Refusals", "/refusals"],
  ["endpoints", "Endpoints", "/endpoints"],
  ["connectors", "Connectors", "/connectors"],
  ["settings", "Settings", "/settings"],
];

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
/** @type {Frame | null} */
let frame = null;
let leave = () => {};
let visits = 0;

/** Navigates to a path of the console without reloading the page. @param {string} path */
function go(path) {
  history.pushState(null, "", path);
  return show();
}

/** The page of a path, and the item in it. @param {string} path */
function route(path) {
  const [, first = "", id] = path.split("/");
  return { page: PAGES.find(([, , at]) => at === `/${first}`), id: id ? decodeURIComponent(id) : null };
}

async function show() {
  if (!frame) return;
  const visit = ++visits;
  const { page = PAGES[0], id } = route(location.pathname);
  const [name, title] = page;
  for (const [other, link] of frame.links) {
    if (other === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${title} · Weir`;
  try {
    // Each page is fetched when it is first visited.
    const module = await import(`./${name}.js`);
    if (visit !== visits) return;
    if (frame.name === name && frame.page.visit?.(id)) return;
    leave();
    leave = enter(frame, name, module.mount, id);
    frame.main.focus({ preventScroll: true });
  } catch (failure) {
    if (visit === visits) replace(frame.main, problem(failure, show));
  }
}

/**
 * Shows a page; returns the function that leaves it.
 * @param {Frame} frame @param {Name} name @param {(root: HTMLElement, context: Context) => Page} mount
 * @param {string | null} id
 */
function enter(frame, name, mount, id) {
  replace(frame.main);
  frame.main.className = `main ${name}`;
  const page = mount(frame.main, { page: name, id, session: frame.session, go });
  Object.assign(frame, { name, page });
  const unlisten = listen((event) => page.event?.(event));
  return () => {
    unlisten();
    page.leave?.();
  };
}

/** @param {Session} session */
function open(session) {
  const links = new Map(
    PAGES.map(([name, title, path]) => [
      name,
      h("a", { href: path, class: "place" }, icon(name, 20), h("span", null, title)),
    ]),
  );
  const logo = h("img", { src: "/console/icon.svg", alt: "", width: 26, height: 26 });
  const label = h("span", null, "Connecting");
  const live = h("span", { class: "live", role: "status" }, h("i"), label);
  const nav = h(
    "nav",
    { class: "rail", "aria-label": "Pages" },
    h("a", { class: "brand", href: "/", "aria-label": "Weir, overview" }, logo, h("b", null, "Weir")),
    [...links.values()],
    h("span", { class: "grow" }),
    live,
    button("Sign out", () => signOut(), { class: "place out" }),
  );
  const main = h("main", { class: "main", id: "main", tabindex: "-1" });
  const skip = (/** @type {MouseEvent} */ event) => {
    event.preventDefault();
    main.focus();
  };
  frame = { name: null, main, links, page: {}, session };
  replace(
    app,
    h("a", { class: "skip", href: "#main", onclick: skip }, "Skip to content"),
    h("div", { class: "frame" }, nav, main),
  );
  connect((connected) => {
    live.className = `live ${connected ? "on" : "off"}`;
    label.textContent = connected ? "Live" : "Reconnecting";
  });
  return show();
}

// ---- signing in -----------------------------------------------------------------------------------------------------

/**
 * The form that signs in with the key that `key` returns; `focus` is the initially focused element.
 * @param {() => string} key @param {Child[]} before @param {Child} after
 */
function signInForm(key, before, after, note = h("div", { class: "note" })) {
  const submit = h("button", { class: "primary" }, "Sign in");
  const onsubmit = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      await open(await signIn(key()));
    } catch (failure) {
      replace(note, problem(inPlainWords(failure)));
      submit.disabled = false;
    }
  };
  const logo = h("img", { src: "/console/icon.svg", alt: "", width: 44, height: 44 });
  const form = h("form", { class: "signin", method: "post", onsubmit }, logo, before, submit, after, note);
  document.title = "Sign in · Weir";
  replace(app, h("main", { class: "center" }, form));
  return submit;
}

/** The API explains headers to programs; a person entered a key. @param {any} failure */
const inPlainWords = (failure) =>
  ["key_unknown", "key_ended"].includes(failure.code)
    ? { title: "Wrong key", message: "This API key does not exist, has expired or was revoked.", code: failure.code }
    : failure;

function signedOut(text = "") {
  leave();
  leave = () => {};
  frame = null;
  const key = h("input", {
    type: "password",
    name: "key",
    autocomplete: "current-password",
    required: true,
    placeholder: "weir_…",
    spellcheck: "false",
  });
  const help = h(
    "small",
    null,
    "The first key is in ",
    h("code", null, "weir-data/admin.key"),
    " on the machine that runs Weir. Create more with ",
    h("code", null, "weir key create"),
    ".",
  );
  const note = h("div", { class: "note" }, text && h("p", { class: "quiet" }, text));
  const label = h("label", { class: "field" }, h("span", null, "API key"), key, help);
  signInForm(() => key.value, [h("h1", null, "Weir"), label], null, note);
  key.focus();
  return note;
}

/**
 * Confirms before a link signs this browser in: the link's author chose the key, and could read what is done in their
 * workspace.
 * @param {string} key
 */
async function confirmLink(key) {
  const { key_name: name, workspace_id: workspace } = await whose(key);
  const text = [
    h("h1", null, "Sign in with this link?"),
    h(
      "p",
      null,
      "It uses the API key ",
      h("b", { dir: "auto" }, name),
      " of the workspace ",
      h("b", null, workspace),
      ".",
    ),
    h(
      "p",
      { class: "quiet" },
      "Everything you do here happens in that workspace. If another person sent you the link, use your own key.",
    ),
  ];
  signInForm(
    () => key,
    text,
    button("Use another key", () => signedOut()),
  ).focus();
}

/** The key after `#key=`. Browsers never send that part to a host; it is removed from the address first. */
function keyInAddress() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key) history.replaceState(null, "", location.pathname);
  return key;
}

// ---- links and keys -------------------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const link = /** @type {Element} */ (event.target).closest?.("a");
  const modified = event.button || event.metaKey || event.ctrlKey || event.shiftKey;
  if (!link?.href || event.defaultPrevented || modified || link.target || link.hasAttribute("download")) return;
  const { origin, pathname, search } = new URL(link.href);
  if (origin !== location.origin || !route(pathname).page) return;
  event.preventDefault();
  if (pathname + search !== location.pathname + location.search) go(pathname + search);
});
addEventListener("popstate", show);

/** Shortcuts of one key, which work outside of fields. */
document.addEventListener("keydown", (event) => {
  const target = /** @type {Element} */ (event.target);
  if (!frame || event.metaKey || event.ctrlKey || event.altKey) return;
  if (target.closest("input, textarea, select, dialog, [contenteditable]")) return;
  const page = event.key.length === 1 && PAGES[Number(event.key) - 1];
  if (page) go(page[2]);
  else if (frame.page.key?.(event)) event.preventDefault();
});

async function begin() {
  whenSignedOut(() => signedOut("You have been signed out."));
  const key = keyInAddress();
  try {
    const session = await resume();
    if (session) await open(session);
    else if (key) await confirmLink(key);
    else signedOut();
  } catch (failure) {
    signedOut().append(problem(failure, begin));
  }
}
begin();
