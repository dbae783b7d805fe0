// The event stream, and webhooks that no connector could process.

import { del, get, may, once } from "./api.js";
import { attempt, button, empty, h, json, loading, pageHeader, problem, replace } from "./dom.js";
import { deliveryDetails } from "./deliveries.js";
import { GROUPS, TONES, groupOf } from "./event-types.js";
import { full, plural, seconds, subject } from "./format.js";

/** @import { DeadLetter, Event, Page } from "./types" */

/** Older events leave the page. */
const MAX_EVENTS = 300;
const TABS = /** @type {const} */ ([
  ["live", "Live"],
  ["dead", "Dead letters"],
]);

/** @param {HTMLElement} root @returns {Page} */
export function mount(root) {
  const tabs = h("div", { class: "tabs", role: "tablist" });
  const body = h("div");
  root.append(h("div", { class: "page" }, pageHeader("Events", "A log of everything that happens.", tabs), body));
  /** @type {EventLog | null} */
  let log = null;
  const show = (/** @type {string | null} */ tab) => {
    replace(
      tabs,
      TABS.map(([name, title]) =>
        button(title, () => show(name), { class: "small", role: "tab", "aria-selected": String(name === tab) }),
      ),
    );
    log = tab === "dead" ? null : new EventLog();
    replace(body, log?.element ?? deadLetters());
  };
  show(new URLSearchParams(location.search).get("show") === "dead" ? "dead" : "live");
  return { event: (event) => log?.add(event) };
}

// ---- live events ----------------------------------------------------------------------------------------------------

class EventLog {
  element;
  /** @type {Event[]} */
  #events = [];
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  /** Groups to show; all if none. @type {Set<string>} */
  #groups = new Set();
  #paused = false;
  #missed = 0;
  #list = h("ul", { class: "tail", "aria-label": "Events" });
  #empty = h("div");
  #pause = button("Pause", () => this.#togglePause(), { class: "small" });
  #search = h("input", {
    type: "search",
    placeholder: "Filter by text or ID",
    "aria-label": "Filter by text or ID",
    oninput: () => this.#draw(),
  });

  constructor() {
    const groups = h(
      "div",
      { class: "row" },
      [...GROUPS.keys()].map((group) => this.#groupButton(group)),
    );
    const filters = h("div", { class: "filters" }, groups, this.#search, this.#pause);
    this.element = h("div", { class: "stack" }, filters, this.#list, this.#empty);
    this.#draw();
    this.#load().catch((failure) => replace(this.#empty, problem(failure)));
  }

  /** @param {Event} event */
  add(event) {
    this.#events.unshift(event);
    this.#events.length = Math.min(this.#events.length, MAX_EVENTS);
    if (this.#paused) this.#pause.textContent = `Resume (${++this.#missed} new)`;
    this.#draw();
  }

  async #load() {
    const { data } = await get("/v1/events", { after: "-100", limit: 100 });
    const known = new Set(this.#events.map((event) => event.id));
    this.#events.push(...data.filter((event) => !known.has(event.id)));
    this.#events.sort((a, b) => b.sequence - a.sequence);
    this.#draw();
  }

  /** @param {string} group */
  #groupButton(group) {
    const toggle = () => {
      const on = !this.#groups.delete(group);
      if (on) this.#groups.add(group);
      box.setAttribute("aria-pressed", String(on));
      box.classList.toggle("primary", on);
      this.#draw();
    };
    const box = button(group, toggle, { class: "small", "aria-pressed": "false" });
    return box;
  }

  #togglePause() {
    this.#paused = !this.#paused;
    this.#missed = 0;
    this.#pause.textContent = this.#paused ? "Resume" : "Pause";
    this.#draw();
  }

  /** @param {Event} event */
  #matches(event) {
    const words = this.#search.value.toLowerCase();
    const inGroup = !this.#groups.size || this.#groups.has(groupOf(event.type));
    return inGroup && (!words || JSON.stringify(event).toLowerCase().includes(words));
  }

  #draw() {
    if (this.#paused) return;
    const shown = this.#events.filter((event) => this.#matches(event));
    const ids = new Set(shown.map((event) => event.id));
    for (const id of this.#rows.keys()) if (!ids.has(id)) this.#rows.delete(id);
    replace(
      this.#list,
      shown.map((event) => this.#row(event)),
    );
    this.#list.hidden = !shown.length;
    const none = this.#events.length
      ? empty("No matching events", "Remove a filter to see more.")
      : empty("No events yet", "Events appear here as they happen: messages arrive or are sent, windows close.");
    replace(this.#empty, !shown.length && none);
  }

  /** An event's row, the same one as long as it is shown: what was opened stays open. @param {Event} event */
  #row(event) {
    const row = this.#rows.get(event.id) ?? eventRow(event);
    this.#rows.set(event.id, row);
    return row;
  }
}

/** @param {Event} event */
function eventRow(event) {
  const inside = h("div", { class: "in" });
  const fill = () => {
    const { conversation_id: conversation, channel_id: channel } = event;
    const links = h(
      "div",
      { class: "row" },
      conversation && h("a", { class: "button small", href: `/inbox/${conversation}` }, "Open conversation"),
      channel && h("a", { class: "button small", href: `/channels/${channel}` }, "Open channel"),
    );
    replace(
      inside,
      links,
      loading(() => deliveriesOf(event)),
      json(event),
    );
  };
  const head = h(
    "summary",
    null,
    h("time", { datetime: event.timestamp, title: full(event.timestamp) }, seconds(event.timestamp)),
    h("span", null, h("span", { class: `pill ${TONES[event.type] ?? ""}` }, event.type)),
    h("span", { dir: "auto" }, subject(event)),
  );
  return h("li", null, h("details", { ontoggle: (toggled) => toggled.target.open && fill() }, head, inside));
}

/** @param {Event} event */
async function deliveriesOf(event) {
  const { data } = await get("/v1/deliveries", { event_id: event.id, limit: 200 });
  if (data.length) return data.map(deliveryDetails);
  return h("p", { class: "quiet" }, "No endpoint subscribes to this event, or its deliveries are no longer kept.");
}

// ---- dead letters ---------------------------------------------------------------------------------------------------

function deadLetters() {
  const place = loading(async () => {
    const { data } = await get("/v1/dead-letters", { limit: 100 });
    const text =
      "Verified webhooks that a connector cannot process are kept here. Replay them once the connector is fixed.";
    if (!data.length) return empty("No dead letters", text);
    return h(
      "ul",
      { class: "tail" },
      data.map((one) => deadLetterRow(one, () => place.reload())),
    );
  });
  return place;
}

/** @param {DeadLetter} one @param {() => void} reload */
function deadLetterRow(one, reload) {
  const { id, reason } = one;
  const replay = () =>
    attempt(
      () => once("/v1/dead-letters/{id}/replay", { id }),
      ({ stored, duplicates }) => `Replayed: ${plural(stored, "new event")}, ${plural(duplicates, "duplicate")}`,
      reload,
    );
  const remove = () => attempt(() => del("/v1/dead-letters/{id}", { id }), "Dead letter deleted", reload);
  const body = async () => {
    const whole = await get("/v1/dead-letters/{id}", { id });
    return h("pre", { tabindex: "0" }, whole.body ?? whole.body_base64 ?? "");
  };
  const inside = h("div", { class: "in" });
  const fill = () => {
    const actions = h(
      "div",
      { class: "row" },
      button("Replay", replay, { class: "small primary" }),
      button("Delete", remove, { class: "small danger" }),
    );
    replace(inside, h("p", { dir: "auto" }, reason), may("events:write") && actions, loading(body));
  };
  const head = h(
    "summary",
    null,
    h("time", { title: full(one.received_at) }, seconds(one.received_at)),
    h("span", null, h("span", { class: "pill bad" }, `${one.app} ${one.version}`)),
    h("span", { dir: "auto" }, reason),
  );
  return h("li", null, h("details", { ontoggle: (event) => event.target.open && fill() }, head, inside));
}
