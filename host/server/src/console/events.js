// Events as they come, where they are handed over, and what could not be understood.

import { del, get, now, once, patch, post, query } from "./api.js";
import { ask, button, empty, field, h, icon, loading, problem, replace, shownOnce, toast } from "./dom.js";
import { about, full, moment, plural, seconds } from "./words.js";

const KEPT = 300;
const TYPES = {
  message: ["received", "echoed", "queued", "sent", "delivered", "read", "failed", "uncertain", "cancelled"],
  reaction: ["added", "removed"],
  contact: ["created", "updated", "erased"],
  conversation: ["opened", "closed"],
  window: ["opened", "closing", "closed"],
  referral: ["received"],
  channel: ["connected", "updated", "paused", "degraded", "reauthorization_required", "recovered", "deleted", "inbound_withheld"],
  connector: ["staged", "canary", "promoted", "rolled_back", "quarantined"],
  endpoint: ["failing", "disabled", "recovered"],
};
const tone = (type) => /failed|failing|disabled|quarantined|reauthorization|withheld|rolled_back/.test(type) ? "bad" : /uncertain|closing|closed|degraded|paused/.test(type) ? "warn" : /received|added|connected|opened|recovered/.test(type) ? "accent" : "";
const text = (value) => h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2));

export function mount(root, context) {
  return context.place === "endpoints" ? endpoints(root, context) : events(root, context);
}

// ---- events -----------------------------------------------------------------------------------------------------------

function events(root, { session }) {
  const may = (scope) => session.scopes.includes(scope) || session.scopes.includes("admin");
  let tab = new URLSearchParams(location.search).get("show") ?? "live";
  let listener = () => {};
  const body = h("div");
  const tabs = h("div", { class: "tabs", role: "tablist" });
  root.append(h("div", { class: "page" }, h("header", null, h("div", null, h("h1", null, "Events"), h("p", null, "Everything that happens, in one log.")), tabs), body));

  function show(name) {
    tab = name;
    listener = () => {};
    replace(tabs, [["live", "As they come"], ["dead", "Dead letters"]].map(([key, words]) => button(words, () => show(key), { class: "small", role: "tab", "aria-selected": String(key === tab) })));
    replace(body, { live, dead }[tab]?.() ?? live());
  }

  function live() {
    const wanted = new Set();
    let words = "";
    let held = false;
    let waiting = 0;
    const kept = [];
    const list = h("ul", { class: "tail", "aria-label": "Events" });
    const none = h("div");
    const groups = h("div", { class: "row" }, Object.keys(TYPES).map((group) => h("button", { type: "button", class: "small", "aria-pressed": "false", onclick: (event) => {
      if (!wanted.delete(group)) wanted.add(group);
      event.target.setAttribute("aria-pressed", String(wanted.has(group)));
      event.target.classList.toggle("primary", wanted.has(group));
      draw();
    } }, group)));
    const hold = button("Hold", () => {
      held = !held;
      hold.textContent = held ? "Go on" : "Hold";
      if (!held) {
        waiting = 0;
        draw();
      }
    }, { class: "small" });
    const search = h("input", { type: "search", placeholder: "Filter words or ids", "aria-label": "Filter words or ids", oninput: () => { words = search.value.toLowerCase(); draw(); } });
    const fits = (event) => (!wanted.size || wanted.has(event.type.split(".")[0])) && (!words || JSON.stringify(event).toLowerCase().includes(words));

    const row = (event) => {
      const inside = h("div", { class: "in" });
      return h("li", null, h("details", { ontoggle: (toggled) => toggled.target.open && fill(inside, event) },
        h("summary", null, h("time", { datetime: event.timestamp, title: full(event.timestamp) }, seconds(event.timestamp)), h("span", null, h("span", { class: `pill ${tone(event.type)}` }, event.type)), h("span", { dir: "auto" }, about(event))), inside));
    };
    function fill(inside, event) {
      const links = h("div", { class: "row" }, event.conversation_id && h("a", { class: "button small", href: `/inbox/${event.conversation_id}` }, "The conversation"),
        event.channel_id && h("a", { class: "button small", href: `/channels/${event.channel_id}` }, "The channel"));
      replace(inside, links, loading(() => deliveriesOf(event)), text(event));
    }
    const open = new Map();
    function draw() {
      if (held) return;
      const shown = kept.filter(fits);
      for (const key of open.keys()) if (!shown.some((event) => event.id === key)) open.delete(key);
      replace(list, shown.map((event) => {
        if (!open.has(event.id)) open.set(event.id, row(event));
        return open.get(event.id);
      }));
      list.hidden = !shown.length;
      replace(none, !shown.length && empty(kept.length ? "None of these" : "Nothing has happened yet", kept.length ? "Take a filter away to see more." : "Events appear here by themselves: when somebody writes, when a message leaves, when a window closes."));
    }
    listener = (event) => {
      kept.unshift(event);
      kept.length = Math.min(kept.length, KEPT);
      if (held) hold.textContent = `Go on (${++waiting} new)`;
      draw();
    };
    const recent = async () => {
      const page = await get("/v1/events?after=-100&limit=100");
      const known = new Set(kept.map((event) => event.id));
      kept.push(...page.data.filter((event) => !known.has(event.id)));
      kept.sort((a, b) => b.sequence - a.sequence);
      draw();
    };
    recent().catch((failure) => replace(none, problem(failure)));
    draw();
    return h("div", { class: "stack" }, h("div", { class: "filters" }, groups, search, hold), list, none);
  }

  async function deliveriesOf(event) {
    const { data } = await get(`/v1/deliveries${query({ event_id: event.id, limit: 200 })}`);
    if (!data.length) return h("p", { class: "quiet" }, "No endpoint wanted it, or it is so long ago that it is forgotten.");
    return data.map((one) => delivery(one, may));
  }

  function dead() {
    const place = loading(async () => {
      const { data } = await get("/v1/dead-letters?limit=100");
      if (!data.length) return empty("No dead letters", "A verified webhook that a connector cannot understand is kept here, and can be replayed once the connector is mended.");
      return h("ul", { class: "tail" }, data.map((one) => {
        const inside = h("div", { class: "in" });
        const act = (call, said) => async () => {
          try {
            toast(said(await call()));
            place.reload();
          } catch (failure) {
            toast(failure.message, "bad");
          }
        };
        return h("li", null, h("details", { ontoggle: async (event) => {
          if (!event.target.open) return;
          replace(inside, h("p", { dir: "auto" }, one.reason), may("events:write") && h("div", { class: "row" },
            button("Replay", act(() => once(`/v1/dead-letters/${one.id}/replay`), (told) => `Replayed: ${plural(told.stored, "new fact")}, ${told.duplicates} known already`), { class: "small primary" }),
            button("Drop", act(() => del(`/v1/dead-letters/${one.id}`), () => "Dropped"), { class: "small danger" })),
          loading(async () => {
            const whole = await get(`/v1/dead-letters/${one.id}`);
            return h("pre", { tabindex: "0" }, whole.body ?? whole.body_base64 ?? "");
          }));
        } }, h("summary", null, h("time", { title: full(one.received_at) }, seconds(one.received_at)), h("span", null, h("span", { class: "pill bad" }, `${one.app} ${one.version}`)), h("span", { dir: "auto" }, one.reason)), inside));
      }));
    });
    return place;
  }

  show(tab);
  return { event: (event) => listener(event), visit: () => false };
}

/** One handing-over with its tries: what was sent, when, and what came back. */
function delivery(one, may) {
  const colour = { delivered: "good", failed: "bad", pending: "warn" }[one.status] ?? "";
  const inside = h("div", { class: "in" });
  return h("details", { class: "tail", ontoggle: (event) => event.target.open && replace(inside, loading(async () => {
    const whole = await get(`/v1/deliveries/${one.id}`);
    return [h("p", { class: "quiet" }, one.due_at ? `Tried again at ${seconds(one.due_at)}.` : one.status === "delivered" ? "Handed over." : "Not tried again by itself."),
      whole.attempts?.length ? h("ul", { class: "checks" }, whole.attempts.map((attempt) => h("li", { class: attempt.status >= 200 && attempt.status < 300 ? "good" : "bad" },
        icon(attempt.status >= 200 && attempt.status < 300 ? "check" : "alert"), h("div", { class: "ink" }, h("b", null, `Try ${attempt.number}`), ` · ${attempt.status ?? "no answer"} · ${attempt.elapsed_ms} ms · ${moment(attempt.at)}`,
          attempt.error && h("p", { class: "bad", dir: "auto" }, attempt.error), attempt.answer && h("pre", null, attempt.answer)))))
        : h("p", { class: "quiet" }, "Not tried yet."),
      may("events:write") && button("Send it again", async () => {
        try {
          await once(`/v1/deliveries/${one.id}/resend`);
          toast("It is sent again");
        } catch (failure) {
          toast(failure.message, "bad");
        }
      }, { class: "small" })];
  })) }, h("summary", null, h("time", null, seconds(one.created_at)), h("span", null, h("span", { class: `pill ${colour}` }, one.status)), h("span", null, `${one.event_type}, ${one.attempt_count === 1 ? "1 try" : `${one.attempt_count} tries`}`)), inside);
}

// ---- endpoints --------------------------------------------------------------------------------------------------------

const standing = (one) => one.enabled
  ? one.failing_since ? h("span", { class: "pill warn" }, `Failing since ${moment(one.failing_since)}`) : h("span", { class: "pill good" }, "Takes its events")
  : h("span", { class: "pill bad" }, one.disabled_reason ? `Off: ${one.disabled_reason}` : "Off");

function endpoints(root, { id, session, go }) {
  const may = (scope) => session.scopes.includes(scope) || session.scopes.includes("admin");
  let place = null;
  let shown = id;
  function show(next) {
    shown = next;
    place = loading(() => (next ? one(next) : all()));
    replace(root, place);
  }

  async function form(title, known = null) {
    const url = h("input", { type: "url", required: true, value: known?.url ?? "", placeholder: "https://crm.example/weir", spellcheck: "false" });
    const words = h("input", { value: known?.description ?? "", maxlength: 500, dir: "auto" });
    const ordered = h("input", { type: "checkbox", checked: known?.ordered ?? true });
    const chosen = new Set(known?.types ?? []);
    const boxes = Object.entries(TYPES).map(([group, names]) => h("details", null, h("summary", null, group), h("div", { class: "row" }, names.map((name) => {
      const type = `${group}.${name}`;
      return h("label", { class: "check" }, h("input", { type: "checkbox", checked: chosen.has(type), onchange: (event) => { if (event.target.checked) chosen.add(type); else chosen.delete(type); } }), name);
    }))));
    const body = () => ({ url: url.value, description: words.value, ordered: ordered.checked, types: [...chosen] });
    return ask(title, { nodes: [field("URL", url, "https and public, unless the configuration allows private ones."), field("What it is for", words),
      h("div", { class: "field" }, h("span", null, "Types of event"), h("small", null, "All of them if none is chosen."), boxes),
      h("label", { class: "check" }, ordered, "Keep the order within a conversation")],
    value: () => known ? patch(`/v1/endpoints/${known.id}`, body()) : post("/v1/endpoints", body()) }, known ? "Save" : "Add");
  }

  async function add() {
    const made = await form("Add an endpoint");
    if (!made) return;
    await shownOnce("The endpoint's secret", "It is shown once. Your receiver checks each call with it, by any Standard Webhooks library.", made.secret);
    go(`/endpoints/${made.id}`);
  }

  async function all() {
    const { data } = await get("/v1/endpoints?limit=200");
    const more = may("events:write") && button([icon("plus", 16), "Add an endpoint"], add, { class: "primary" });
    return h("div", { class: "page" }, h("header", null, h("div", null, h("h1", null, "Endpoints"), h("p", null, "Where Weir calls you when something happens.")), more),
      data.length ? h("div", { class: "cards" }, data.map((one) => h("a", { class: "card", href: `/endpoints/${one.id}` }, h("header", null, h("div", null, h("h2", { dir: "auto" }, one.description || new URL(one.url).host), h("small", null, one.url))), standing(one),
        h("p", { class: "quiet" }, one.types.length ? one.types.join(", ") : "All events"))))
        : empty("No endpoint yet", "Add your URL and Weir hands every event over, signed, in order, and tries again until it is taken. Or read the stream at /v1/events/stream.", more));
  }

  async function one(endpoint) {
    const it = await get(`/v1/endpoints/${endpoint}`);
    const path = `/v1/endpoints/${endpoint}`;
    const act = (call, said) => async () => {
      try {
        const answer = await call();
        if (answer === null) return;
        toast(typeof said === "function" ? said(answer) : said);
        show(endpoint);
      } catch (failure) {
        toast(failure.message, "bad");
      }
    };
    const handed = loading(async () => {
      const { data } = await get(`/v1/deliveries${query({ endpoint_id: endpoint, limit: 50 })}`);
      return data.length ? data.map((row) => delivery(row, may)) : empty("Nothing was handed over yet", "Send an example to see what your endpoint gets.");
    });
    const rotate = async () => {
      if (!(await ask("A new secret?", { nodes: [h("p", null, "The old one goes on working for a day: until then each call carries both signatures, so nothing is lost while you change it.")] }, "Make a new one"))) return;
      try {
        const { secret } = await post(`${path}/secret/rotate`);
        await shownOnce("The new secret", "It is shown once.", secret);
        show(endpoint);
      } catch (failure) {
        toast(failure.message, "bad");
      }
    };
    const recover = async () => {
      const hours = h("input", { type: "number", min: 1, value: 24, required: true });
      return ask("Hand over again what failed", { nodes: [field("Of the last hours", hours)], value: () => post(`${path}/recover`, { since: new Date(now() - hours.value * 3_600_000).toISOString() }) }, "Hand over again");
    };
    return h("div", { class: "page" },
      h("header", null, h("div", { class: "row" }, h("a", { class: "ghost", href: "/endpoints", "aria-label": "All endpoints" }, icon("back")), h("div", null, h("h1", { dir: "auto" }, it.description || new URL(it.url).host), h("p", null, it.url)), standing(it)),
        may("events:write") && h("div", { class: "row" }, button("Send an example", act(() => post(`${path}/send-example`, {}), "The newest event is on its way")), button("Recover", act(recover, (told) => `${plural(told.recovered, "event")} will be handed over again`)),
          button("New secret", rotate), it.enabled ? button("Switch off", act(() => patch(path, { enabled: false }), "Switched off")) : button("Switch on", act(() => patch(path, { enabled: true }), "Switched on"), { class: "primary" }),
          button("Change", async () => (await form("Change the endpoint", it)) && show(endpoint)),
          button("Delete", async () => {
            if (!(await ask("Delete the endpoint?", { nodes: [h("p", null, "It gets no more events. What was handed over stays in the log.")], value: () => del(path).then(() => true) }, "Delete it", { danger: true }))) return;
            go("/endpoints");
          }, { class: "danger" }))),
      it.failing_since && problem({ title: "It does not take its events", message: `Since ${moment(it.failing_since)}. Each event is tried again, later and later; after some days the endpoint is switched off. Look at the answers below.` }),
      h("section", { class: "card" }, h("dl", null, h("dt", null, "Types"), h("dd", null, it.types.length ? it.types.join(", ") : "all"), h("dt", null, "Order"), h("dd", null, it.ordered ? "kept within a conversation" : "not kept"),
        it.old_secret_until && [h("dt", null, "Old secret"), h("dd", null, `works until ${moment(it.old_secret_until)}`)], h("dt", null, "Since"), h("dd", null, moment(it.created_at)))),
      h("h2", null, "Handed over"), handed);
  }

  show(id);
  let soon;
  return {
    visit(next) {
      show(next);
      return true;
    },
    event(event) {
      if (document.querySelector("dialog[open]") || (shown && root.querySelector("details[open]"))) return;
      clearTimeout(soon);
      if (event.type.startsWith("endpoint.")) soon = setTimeout(() => place.reload(), 200);
    },
    leave: () => clearTimeout(soon),
  };
}
