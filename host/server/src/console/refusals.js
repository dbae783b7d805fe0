// Refusals: each no that was said, with both sides of it, when it changes, and what would allow it.

import { get, query } from "./api.js";
import { button, empty, facts, h, icon, loading, replace, toast } from "./dom.js";
import { capital, full, moment, sentence } from "./words.js";

const PAGE = 50;
const ABOUT = {
  send: "A message, to be sent",
  request: "A connector's request to the network",
  state: "A connector's state, to be written",
  grant: "A version of a connector, to be installed or to serve",
};
const rule = (name) => capital(name.replaceAll("_", " "));
const isChannel = (whom) => whom.startsWith("chn_");
/** Who was told no: a channel, a connector, or a component that never told its name. */
const whom = (one) => isChannel(one.whom) ? h("a", { href: `/channels/${one.whom}` }, "the channel")
  : /^[a-z0-9-]+$/.test(one.whom) ? h("a", { href: `/connectors/${encodeURIComponent(one.whom)}` }, one.whom) : one.whom;
const table = (heads, rows) => h("div", { class: "tablewrap", tabindex: "0" }, h("table", null, h("thead", null, h("tr", null, heads.map((words) => h("th", { scope: "col" }, words)))), h("tbody", null, rows)));

export function mount(root, { id }) {
  function show(next) {
    replace(root, loading(() => (next ? one(next) : all())));
  }

  async function all() {
    const [first, counts] = await Promise.all([get(`/v1/refusals?limit=${PAGE}`), get("/v1/refusals/counts")]);
    const head = h("header", null, h("div", null, h("h1", null, "Refusals"), h("p", null, "Each no that was said, with its reason.")));
    if (!counts.data.length) return h("div", { class: "page" }, head, empty("Nothing was refused", "When a rule says no to a message, a request or a grant, it is kept here with both sides of it and what would allow it."));
    const often = table(["Rule", "Who asked", "How often", "Last"], counts.data.slice(0, 8).map((row) => h("tr", null,
      h("td", null, h("a", { href: `/refusals/${row.last_id}` }, rule(row.rule))), h("td", { dir: "auto" }, whom(row)), h("td", { class: "num tight" }, row.count), h("td", { class: "tight" }, moment(row.last_at)))));
    return h("div", { class: "page" }, head, h("section", { class: "stack", "aria-label": "How often" }, h("h2", null, "How often"), often), list(first));
  }

  /** The list, its filter, and what came before what is shown. */
  function list(first) {
    const kept = [...first.data];
    let cursor = first.next_cursor;
    const search = h("input", { type: "search", placeholder: "Filter words, rules or ids", "aria-label": "Filter words, rules or ids", oninput: () => draw() });
    const place = h("div");
    const more = button("Show more", async () => {
      try {
        const page = await get(`/v1/refusals${query({ limit: PAGE, cursor })}`);
        kept.push(...page.data);
        cursor = page.next_cursor;
        draw();
      } catch (failure) {
        toast(failure.message, "bad");
      }
    }, { class: "more" });
    const row = (no) => h("li", null, h("a", { class: "line", href: `/refusals/${no.id}` }, h("time", { datetime: no.at, title: full(no.at) }, moment(no.at)), h("span", null, h("span", { class: "pill warn" }, rule(no.rule))), h("span", { dir: "auto" }, sentence(no.detail))));
    function draw() {
      const words = search.value.toLowerCase();
      const fitting = kept.filter((no) => JSON.stringify(no).toLowerCase().includes(words));
      replace(place, fitting.length ? h("ul", { class: "tail dated" }, fitting.map(row))
        : kept.length ? empty("None of these", "Take the filter away to see more.") : empty("Those are forgotten", "Refusals are kept for a time, and stay counted."));
      more.hidden = !cursor;
    }
    draw();
    return h("section", { class: "stack", "aria-label": "The newest" }, h("div", { class: "filters" }, h("h2", null, "The newest"), search), place, more);
  }

  async function one(refusal) {
    const [it, counts] = await Promise.all([get(`/v1/refusals/${encodeURIComponent(refusal)}`), get("/v1/refusals/counts")]);
    const same = counts.data.find((row) => row.rule === it.rule && row.about === it.about && row.whom === it.whom);
    const row = (title, ...words) => words.some(Boolean) && [h("dt", null, title), h("dd", { dir: "auto" }, words)];
    return h("div", { class: "page" },
      h("header", null, h("div", { class: "row" }, h("a", { class: "ghost", href: "/refusals", "aria-label": "All refusals" }, icon("back")), h("div", null, h("h1", null, rule(it.rule)), h("p", null, full(it.at))))),
      h("section", { class: "card", "aria-label": "Why" }, h("p", { dir: "auto" }, h("b", null, sentence(it.detail))), h("dl", null,
        row("Asked for", ABOUT[it.about] ?? it.about), row("By", whom(it)), row("It changes", sentence(it.changes)), row("What would allow it", it.remedy.replaceAll("`", "")),
        same && row("How often", same.count === 1 ? "once" : `${same.count} times since ${moment(same.first_at)}`))),
      Object.keys(it.facts ?? {}).length > 0 && h("section", { class: "card", "aria-label": "Both sides" }, h("h2", null, "Both sides"), facts(it.facts)),
      h("div", { class: "row" }, it.conversation_id && h("a", { class: "button small", href: `/inbox/${it.conversation_id}` }, "The conversation"), it.channel_id && h("a", { class: "button small", href: `/channels/${it.channel_id}` }, "The channel"),
        it.type && h("a", { class: "button small", href: it.type, target: "_blank" }, "The rule")),
      h("p", { class: "quiet" }, "On the command line: ", h("code", null, `weir why ${it.id}`)));
  }

  show(id);
  return {
    visit(next) {
      show(next);
      return true;
    },
  };
}
