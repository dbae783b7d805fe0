// The console's frame: signing in, the places, and what each of them hears.

import { connect, listen, resume, signIn, signOut, whenSignedOut, whose } from "./api.js";
import { button, h, icon, problem, replace } from "./dom.js";

const PLACES = [
  ["overview", "Overview", "/"],
  ["inbox", "Inbox", "/inbox"],
  ["channels", "Channels", "/channels"],
  ["events", "Events", "/events"],
  ["refusals", "Refusals", "/refusals"],
  ["endpoints", "Endpoints", "/endpoints"],
  ["connectors", "Connectors", "/connectors"],
  ["settings", "Settings", "/settings"],
];
// Endpoints and events share a module; each is fetched when it is first looked at.
const MODULES = { endpoints: "events" };

const app = document.getElementById("app");
let frame = null;
let leave = () => {};
let visit = 0;

/** Goes to a place of the console without loading the page anew. */
export function go(path, { replaces = false } = {}) {
  history[replaces ? "replaceState" : "pushState"](null, "", path);
  return show();
}

async function show() {
  if (!frame) return;
  const mine = ++visit;
  const [, first = "", id] = location.pathname.split("/");
  const place = PLACES.find(([, , path]) => path === `/${first}`) ?? PLACES[0];
  for (const [name, link] of frame.links) {
    if (name === place[0]) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${place[1]} · Weir`;
  try {
    const module = await import(`./${MODULES[place[0]] ?? place[0]}.js`);
    if (mine !== visit) return;
    // A place that is shown already may go to another of its things by itself.
    if (frame.place === place[0] && frame.shown?.visit?.(id ? decodeURIComponent(id) : null)) return;
    leave();
    replace(frame.main);
    frame.main.className = `main ${place[0]}`;
    frame.place = place[0];
    frame.shown = module.mount(frame.main, { place: place[0], id: id ? decodeURIComponent(id) : null, session: frame.session, go });
    const deaf = frame.shown?.event ? listen(frame.shown.event) : () => {};
    const shown = frame.shown;
    leave = () => {
      deaf();
      shown?.leave?.();
    };
    frame.main.focus({ preventScroll: true });
  } catch (failure) {
    if (mine === visit) replace(frame.main, problem(failure, show));
  }
}

function open(session) {
  const links = new Map();
  const nav = h("nav", { class: "rail", "aria-label": "Places" },
    h("a", { class: "brand", href: "/", "aria-label": "Weir, overview" }, h("img", { src: "/console/icon.svg", alt: "", width: 26, height: 26 }), h("b", null, "Weir")),
    PLACES.map(([name, words, path]) => {
      const link = h("a", { href: path, class: "place" }, icon(name, 20), h("span", null, words));
      links.set(name, link);
      return link;
    }),
    h("span", { class: "grow" }));
  const live = h("span", { class: "live", role: "status" }, h("i"), h("span", null, "Connecting"));
  nav.append(live, button("Sign out", () => signOut(), { class: "place out" }));
  const main = h("main", { class: "main", id: "main", tabindex: "-1" });
  frame = { links, main, session, place: null, shown: null };
  replace(app, h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); main.focus(); } }, "Skip to the page"), h("div", { class: "frame" }, nav, main));
  connect((there) => {
    live.className = `live ${there ? "on" : "off"}`;
    live.lastChild.textContent = there ? "Live" : "Reconnecting";
  });
  return show();
}

function signedOut(words = "") {
  leave();
  leave = () => {};
  frame = null;
  document.title = "Sign in · Weir";
  const key = h("input", { type: "password", name: "key", autocomplete: "current-password", required: true, placeholder: "weir_…", spellcheck: "false" });
  const note = h("div", { class: "note" }, words && h("p", { class: "quiet" }, words));
  const enter = h("button", { class: "primary" }, "Sign in");
  const form = h("form", { class: "signin", method: "post", onsubmit: async (event) => {
    event.preventDefault();
    enter.disabled = true;
    try {
      await open(await signIn(key.value));
    } catch (failure) {
      replace(note, problem(failure));
      enter.disabled = false;
      key.focus();
    }
  } },
  h("img", { src: "/console/icon.svg", alt: "", width: 44, height: 44 }),
  h("h1", null, "Weir"),
  h("label", { class: "field" }, h("span", null, "API key"), key,
    h("small", null, "The first one is in ", h("code", null, "weir-data/admin.key"), " on the machine where Weir runs; ", h("code", null, "weir key create"), " makes more.")),
  enter, note);
  replace(app, h("main", { class: "center" }, form));
  key.focus();
}

/**
 * Asks before a link signs this browser in: whoever made the link chose the key, and would read what is done here in their workspace.
 */
async function confirmLink(key) {
  const { key_name: name, workspace_id: workspace } = await whose(key);
  document.title = "Sign in · Weir";
  const note = h("div", { class: "note" });
  const enter = h("button", { class: "primary" }, "Sign in");
  const form = h("form", { class: "signin", method: "post", onsubmit: async (event) => {
    event.preventDefault();
    enter.disabled = true;
    try {
      await open(await signIn(key));
    } catch (failure) {
      replace(note, problem(failure));
      enter.disabled = false;
    }
  } },
  h("img", { src: "/console/icon.svg", alt: "", width: 44, height: 44 }),
  h("h1", null, "Sign in with this link?"),
  h("p", null, "It holds the API key ", h("b", { dir: "auto" }, name), " of the workspace ", h("b", null, workspace), "."),
  h("p", { class: "quiet" }, "What you enter here then goes into that workspace. If the link came from somebody else, use your own key."),
  enter, button("Use another key", () => signedOut(), { type: "button" }), note);
  replace(app, h("main", { class: "center" }, form));
  enter.focus();
}

/** The key after `#key=`. Browsers never send that part to a host; it is taken out of the address first. */
function keyInAddress() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key) history.replaceState(null, "", location.pathname);
  return key;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || link.target || link.hasAttribute("download")) return;
  const url = new URL(link.href);
  const [, first] = url.pathname.split("/");
  if (url.origin !== location.origin || !PLACES.some(([, , path]) => path === `/${first}`)) return;
  event.preventDefault();
  if (url.pathname + url.search !== location.pathname + location.search) go(url.pathname + url.search);
});
addEventListener("popstate", show);

/** Single keys that work outside of fields, as people who answer all day want them. */
document.addEventListener("keydown", (event) => {
  if (!frame || event.metaKey || event.ctrlKey || event.altKey || event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
  const at = Number(event.key) - 1;
  if (event.key.length === 1 && PLACES[at]) go(PLACES[at][2]);
  else if (frame.shown?.key?.(event)) event.preventDefault();
});

async function begin() {
  whenSignedOut(() => signedOut("You are signed out."));
  const key = keyInAddress();
  try {
    const session = await resume();
    if (session) await open(session);
    else if (key) await confirmLink(key);
    else signedOut();
  } catch (failure) {
    signedOut();
    app.querySelector(".note").append(problem(failure, begin));
  }
}
begin();
