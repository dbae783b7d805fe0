// Builds the page. User content becomes text nodes and attributes of known names, never markup.

import { full, moment, spaced } from "./format.js";

/** @import { Child, Loaded, Props } from "./types" */

const SVG = "http://www.w3.org/2000/svg";

/** Links lead only to web pages: a `javascript:` URL in a message is shown and leads nowhere. @param {string} link */
export const safeUrl = (link) => {
  try {
    const parsed = new URL(link, location.href);
    return ["https:", "http:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
};

/** @param {Element} node @param {string} name @param {Props[string]} value */
function set(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (typeof value === "function") node.addEventListener(name.slice(2), value);
  else if (name === "value") /** @type {HTMLInputElement} */ (node).value = String(value);
  else if (name !== "href" || safeUrl(String(value))) node.setAttribute(name, value === true ? "" : String(value));
}

/** @param {Child[]} children @returns {(Node | string)[]} */
const shown = (children) =>
  /** @type {any[]} */ (children)
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && typeof child !== "boolean");

/** @template {Element} E @param {E} node @param {Props | null | undefined} props @param {Child[]} children */
function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) set(node, name, value);
  node.append(...shown(children));
  return node;
}

/**
 * An element: `h("p", { class: "quiet" }, "text", h("b", null, "more"))`.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Props | null} [props] @param {Child[]} children
 */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/**
 * An element of a drawing.
 * @param {string} tag @param {Props | null} [props] @param {Child[]} children
 */
const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

/** @template {Element} E @param {E} node @param {Child[]} children */
export const replace = (node, ...children) => {
  node.replaceChildren(...shown(children));
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

/** @param {keyof typeof ICONS} name */
export const icon = (name, size = 18) =>
  s(
    "svg",
    { viewBox: "0 0 24 24", width: size, height: size, class: "icon", "aria-hidden": "true" },
    s("path", { d: ICONS[name] }),
  );

/** Lines through values over time, all to one scale; the first is the main one. @param {number[][]} series */
export function chart(series, /** @type {string} */ label) {
  const top = Math.max(...series.flat(), 1e-9);
  /** @param {number[]} values */
  const points = (values) =>
    (values.length === 1 ? [values[0], values[0]] : values)
      .map((value, at, all) => `${((at * 200) / (all.length - 1)).toFixed(1)},${(41 - (value / top) * 38).toFixed(1)}`)
      .join(" ");
  const [first, ...others] = series.map(points);
  return s(
    "svg",
    { class: "chart", viewBox: "0 0 200 44", preserveAspectRatio: "none", role: "img", "aria-label": label },
    s("polygon", { class: "area", points: `0,44 ${first} 200,44` }),
    others.map((line) => s("polyline", { class: "spark other", points: line })),
    s("polyline", { class: "spark", points: first }),
  );
}

/**
 * A person's or an account's initials on a color of their own: pictures of the platform live on its hosts, and nothing
 * here is loaded from another host.
 * @param {string} id @param {string | null} name
 */
export function avatar(id, name, size = "") {
  const letters = [...(name ?? "").matchAll(/[\p{L}\p{N}]+/gu)].map(([word]) => [...word][0]);
  const text = [letters[0], letters.length > 1 ? letters.at(-1) : ""].join("").toUpperCase();
  let tone = 0;
  for (const char of id) tone = (tone * 31 + (char.codePointAt(0) ?? 0)) % 6;
  return h("span", { class: `avatar tone${tone} ${size}`, "aria-hidden": "true" }, text || "·");
}

/** What to show in place of an empty list, and what to do next. @param {string} title @param {Child[]} more */
export const empty = (title, /** @type {string} */ text, ...more) =>
  h("div", { class: "empty" }, h("h2", null, title), h("p", null, text), more);

/** @param {Child} text @param {(event: any) => unknown} onclick @param {Props} [props] */
export const button = (text, onclick, props) => h("button", { type: "button", onclick, ...props }, text);

/** @param {string} label @param {HTMLElement} input @param {string} [help] */
export const field = (label, input, help) =>
  h("label", { class: "field" }, h("span", null, label), input, help && h("small", null, help));

/** @param {HTMLInputElement} box @param {Child[]} text */
export const checkbox = (box, ...text) => h("label", { class: "check" }, box, h("span", { dir: "auto" }, text));

/** Names and their values. @param {[Child, Child][]} rows */
export const definitions = (rows) =>
  h(
    "dl",
    null,
    rows.map(([name, value]) => [h("dt", null, name), h("dd", { dir: "auto" }, value)]),
  );

/** A table that scrolls horizontally if it is too wide. @param {Child[]} heads @param {Child[]} rows */
export const table = (heads, rows) =>
  h(
    "div",
    { class: "tablewrap", tabindex: "0" },
    h(
      "table",
      null,
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          heads.map((head) => h("th", { scope: "col" }, head)),
        ),
      ),
      h("tbody", null, rows),
    ),
  );

/** @param {string} title @param {Child} text @param {Child[]} more */
export const pageHeader = (title, text, ...more) =>
  h("header", null, h("div", null, h("h1", null, title), h("p", null, text)), more);

/** JSON as a person reads it. @param {unknown} value */
export const json = (value) => h("pre", { dir: "auto", tabindex: "0" }, JSON.stringify(value, null, 2));

const TIME = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/;
/** @param {unknown} value @returns {Child} */
function fact(value) {
  if (Array.isArray(value)) {
    const flat = value.every((one) => typeof one !== "object");
    return flat ? value.join(", ") : value.map((one) => h("div", null, fact(one)));
  }
  if (value === null) return "none";
  if (typeof value === "object") return facts(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  const text = String(value);
  return TIME.test(text) ? h("time", { datetime: text, title: full(text) }, moment(text)) : text;
}
/** An object of the API for a person: each name, and its value under it. @param {object} value */
export const facts = (value) => definitions(Object.entries(value).map(([name, one]) => [spaced(name), fact(one)]));

/**
 * An element that fills itself, is busy meanwhile, and shows a failure with a way to try again.
 * @param {() => Promise<Child>} load
 */
export function loading(load) {
  const place = h("div", { class: "loaded" });
  const reload = async () => {
    place.setAttribute("aria-busy", "true");
    try {
      replace(place, await load());
    } catch (error) {
      replace(place, problem(error, reload));
    }
    place.removeAttribute("aria-busy");
  };
  reload();
  return /** @type {Loaded} */ (Object.assign(place, { reload }));
}

/** A failure. @param {any} error @param {() => unknown} [again] */
export const problem = (error, again) =>
  h(
    "div",
    { class: "problem", role: "alert" },
    icon("alert"),
    h(
      "div",
      null,
      h("b", null, error.title ?? "Something went wrong"),
      h("p", null, error.message),
      h(
        "p",
        { class: "row" },
        again && button("Try again", () => again(), { class: "small" }),
        error.code &&
          h("a", { href: `/docs/errors#${encodeURIComponent(error.code)}`, target: "_blank" }, "About this error"),
      ),
    ),
  );

/** A short notice. Failures stay longer. @param {string} text */
export function toast(text, kind = "") {
  const note = h("div", { class: `toast ${kind}` }, kind === "bad" && icon("alert"), h("span", { dir: "auto" }, text));
  document.getElementById("toasts")?.append(note);
  setTimeout(() => note.remove(), kind === "bad" ? 9000 : 4000);
}

/**
 * Calls the API and shows what came of it; a success without a text is shown by `then` alone.
 * @template T
 * @param {() => Promise<T>} act
 * @param {string | ((result: T) => string)} success @param {(result: T) => unknown} [then]
 */
export async function attempt(act, success, then) {
  try {
    const result = await act();
    const text = typeof success === "function" ? success(result) : success;
    if (text) toast(text);
    then?.(result);
  } catch (failure) {
    toast(/** @type {Error} */ (failure).message, "bad");
  }
}

/**
 * A dialog; returns the result of `value` once it is confirmed and succeeded, or null.
 * @template [T=boolean]
 * @param {string} title
 * @param {{ nodes: Child[], value?: () => T | Promise<T> }} body
 * @returns {Promise<Awaited<T> | null>}
 */
export function ask(title, { nodes, value }, yes = "OK", { danger = false } = {}) {
  return new Promise((done) => {
    const error = h("div");
    const confirm = h("button", { class: danger ? "danger" : "primary", value: "yes" }, yes);
    // Without a value there is nothing to cancel: the dialog only shows information.
    const cancel = value && button("Cancel", () => close(null), { value: "", formnovalidate: true });
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", null, title),
      nodes,
      error,
      h("div", { class: "row end" }, cancel, confirm),
    );
    const dialog = h("dialog", { "aria-label": title }, form);
    const close = (/** @type {Awaited<T> | null} */ result) => {
      dialog.close();
      dialog.remove();
      done(result);
    };
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      confirm.disabled = true;
      try {
        close(value ? await value() : /** @type {Awaited<T>} */ (true));
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
  });
}

/** Shows a secret once, to be copied. @param {string} title @param {string} text @param {string} secret */
export const showOnce = (title, text, secret) => ask(title, { nodes: [h("p", null, text), copyable(secret)] }, "Done");

/** @param {string} text */
export function copyable(text) {
  const code = h("code", { class: "wide", tabindex: "0" }, text);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied");
    } catch {
      getSelection()?.selectAllChildren(code);
      toast("Selected. Copy it with your keyboard.");
    }
  };
  return h("div", { class: "copyable" }, code, button([icon("copy", 16), "Copy"], copy, { class: "small" }));
}
