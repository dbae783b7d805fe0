// Building the page. What people wrote goes in as text nodes and attributes of known names, never as markup.

import { full, moment } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

/** Links may lead out only over the web: a `javascript:` URL in a message is shown and leads nowhere. */
export const safeUrl = (url) => {
  try {
    const parsed = new URL(url, location.href);
    return ["https:", "http:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
};

function set(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
  else if (name === "class") node.setAttribute("class", value);
  else if (name === "value") node.value = value;
  else if (name === "href") {
    if (safeUrl(value)) node.setAttribute("href", value);
  } else node.setAttribute(name, value === true ? "" : value);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) set(node, name, value);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An element: `h("p", { class: "quiet" }, "words", h("b", null, "more"))`. */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/** An element of a drawing. */
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

export const replace = (node, ...children) => {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
};

const ICONS = {
  overview: "M3 13h4v7H3zM10 4h4v16h-4zM17 9h4v11h-4z",
  inbox: "M3 13l3-8h12l3 8v6H3zM3 13h5l1.5 3h5L16 13h5",
  channels: "M4 6h16v11h-9l-4 4v-4H4zM8 10h8M8 13h5",
  events: "M3 12h4l3-8 4 16 3-8h4",
  refusals: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM5.6 5.6l12.8 12.8",
  endpoints: "M4 12h12M12 6l6 6-6 6M20 4v16",
  connectors: "M9 3v5M15 3v5M6 8h12v4a6 6 0 0 1-12 0zM12 18v3",
  settings: "M4 7h10M18 7h2M4 17h2M10 17h10M14 4v6M6 14v6",
  send: "M4 12l16-8-6 16-3-7z",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  back: "M15 5l-7 7 7 7",
  search: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.5 15.5L20 20",
  close: "M6 6l12 12M18 6L6 18",
  check: "M4 12.5l5 5L20 6.5",
  checks: "M2 12.5l5 5L17 7M12 17l.5.5L23 7",
  clock: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM12 7v5l3 2",
  alert: "M12 3.5L22 20H2zM12 10v4M12 17h.01",
  unsure: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7M12 16.5h.01",
  reply: "M10 6L4 12l6 6M4 12h10a6 6 0 0 1 6 6",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  plus: "M12 5v14M5 12h14",
  post: "M5 4h14v16H5zM10.5 9l4.5 3-4.5 3z",
  out: "M14 5h5v5M19 5l-9 9M11 5H5v14h14v-6",
};

export const icon = (name, size = 18) =>
  s("svg", { viewBox: "0 0 24 24", width: size, height: size, class: "icon", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));

/** Lines through values that were seen one after another, all to one scale; the first is the one that is looked at. */
export function chart(series, label) {
  const top = Math.max(...series.flat(), 1e-9);
  const line = (values) => (values.length === 1 ? [values[0], values[0]] : values).map((value, at, all) => `${(at * 200 / (all.length - 1)).toFixed(1)},${(41 - (value / top) * 38).toFixed(1)}`).join(" ");
  const [first, ...others] = series.map(line);
  return s("svg", { class: "chart", viewBox: "0 0 200 44", preserveAspectRatio: "none", role: "img", "aria-label": label },
    s("polygon", { class: "area", points: `0,44 ${first} 200,44` }), others.map((points) => s("polyline", { class: "spark other", points })), s("polyline", { class: "spark", points: first }));
}

/** A round sign of a person or an account: initials on a tone that stays theirs. Pictures of the platform live on its hosts,
 * and nothing here comes from another host. */
export function avatar(id, name, size = "") {
  const letters = [...(name ?? "").matchAll(/[\p{L}\p{N}]+/gu)].map(([word]) => [...word][0]);
  const text = [letters[0], letters.length > 1 ? letters.at(-1) : ""].join("").toUpperCase();
  let tone = 0;
  for (const char of String(id)) tone = (tone * 31 + char.codePointAt(0)) % 6;
  return h("span", { class: `avatar tone${tone} ${size}`, "aria-hidden": "true" }, text || "·");
}

/** What to say when there is nothing to show, and what to do next. */
export const empty = (title, words, ...more) =>
  h("div", { class: "empty" }, h("h2", null, title), h("p", null, words), ...more);

export const button = (words, onclick, props = {}) => h("button", { type: "button", onclick, ...props }, words);

export const field = (label, input, help) =>
  h("label", { class: "field" }, h("span", null, label), input, help && h("small", null, help));

const TIME = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/;
const fact = (value) => Array.isArray(value) ? (value.every((one) => typeof one !== "object") ? value.join(", ") : value.map((one) => h("div", null, fact(one))))
  : value !== null && typeof value === "object" ? facts(value)
  : TIME.test(value) ? h("time", { datetime: value, title: full(value) }, moment(value))
  : { true: "yes", false: "no", null: "none" }[value] ?? String(value);
/** What a program wrote down, for a person: each name, and its value under it. */
export const facts = (value) => h("dl", null, Object.entries(value).map(([name, one]) => [h("dt", null, name.replaceAll("_", " ")), h("dd", { dir: "auto" }, fact(one))]));

/** A place that fills itself, says so while it does, and shows a failure in words with a way to try again. */
export function loading(load) {
  const place = h("div", { class: "loaded" });
  const run = async () => {
    place.setAttribute("aria-busy", "true");
    try {
      replace(place, await load());
    } catch (error) {
      replace(place, problem(error, run));
    }
    place.removeAttribute("aria-busy");
  };
  place.reload = run;
  run();
  return place;
}

/** A failure in words. */
export function problem(error, again) {
  const code = error.code;
  return h("div", { class: "problem", role: "alert" }, icon("alert"), h("div", null,
    h("b", null, error.title ?? "This did not work"),
    h("p", null, error.message),
    h("p", { class: "row" },
      again && button("Try again", () => again(), { class: "small" }),
      code && h("a", { href: `/docs/errors#${encodeURIComponent(code)}`, target: "_blank" }, "What this means"))));
}

/** Words that come and go at the edge. Failures stay longer. */
export function toast(words, kind = "") {
  const note = h("div", { class: `toast ${kind}` }, kind === "bad" && icon("alert"), h("span", { dir: "auto" }, words));
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), kind === "bad" ? 9000 : 4000);
}

/** Asks in a dialog; gives what `body` returns as its value, or null. */
export function ask(title, body, yes = "OK", { danger = false } = {}) {
  return new Promise((done) => {
    const { nodes, value = () => true, ready } = body;
    const error = h("div");
    const confirm = h("button", { class: danger ? "danger" : "primary", value: "yes" }, yes);
    const form = h("form", { method: "dialog" }, h("h2", null, title), ...nodes, error,
      h("div", { class: "row end" }, h("button", { value: "", formnovalidate: true, type: "button", onclick: () => close(null) }, "Cancel"), confirm));
    const dialog = h("dialog", { "aria-label": title }, form);
    const close = (result) => {
      dialog.close();
      dialog.remove();
      done(result);
    };
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      confirm.disabled = true;
      try {
        close(await value());
      } catch (failure) {
        replace(error, problem(failure));
        confirm.disabled = false;
      }
    });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      close(null);
    });
    document.body.append(dialog);
    dialog.showModal();
    ready?.(dialog);
  });
}

/** Shows a text once, to be copied: a key, a secret. */
export const shownOnce = (title, words, text) =>
  ask(title, { nodes: [h("p", null, words), copyable(text)] }, "Done");

export function copyable(text) {
  const code = h("code", { class: "wide", tabindex: "0" }, text);
  return h("div", { class: "copyable" }, code, button([icon("copy", 16), "Copy"], async () => {
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied");
    } catch {
      getSelection().selectAllChildren(code);
      toast("Selected; copy it with the keyboard");
    }
  }, { class: "small" }));
}
