// Refusals: each with its rule, the facts, when the decision changes, and the fix.

import { get } from "./api.js";
import { attempt, button, definitions, empty, facts, h, icon, pageHeader, replace, table } from "./dom.js";
import { capital, full, moment, sentence, spaced } from "./format.js";
import { ListPage } from "./page.js";

/** @import { Child, Context, List, Refusal, RefusalCount } from "./types" */

const PAGE = 50;
/** @type {Record<string, string>} */
const OPERATIONS = {
  send: "Sending a message",
  request: "A connector's network request",
  state: "A connector's state write",
  grant: "Installing or promoting a connector version",
};

/** @param {HTMLElement} root @param {Context} context */
export const mount = (root, { id }) => new ListPage(root, (shown) => (shown ? refusalPage(shown) : list())).show(id);

/** @param {string} name */
const ruleName = (name) => capital(spaced(name));

/**
 * Who was refused: a channel, a connector, or a component that never gave its name.
 * @param {{ whom: string }} refusal
 */
function requester({ whom }) {
  if (whom.startsWith("chn_")) return h("a", { href: `/channels/${whom}` }, "Channel");
  if (/^[a-z0-9-]+$/.test(whom)) return h("a", { href: `/connectors/${encodeURIComponent(whom)}` }, whom);
  return whom;
}

// ---- all of them ----------------------------------------------------------------------------------------------------

async function list() {
  const [first, counts] = await Promise.all([get("/v1/refusals", { limit: PAGE }), get("/v1/refusals/counts")]);
  const header = pageHeader("Refusals", "Requests that a rule refused, and why.");
  const text =
    "When a rule refuses a message, a request or a grant, it is recorded here with its facts and what to do.";
  if (!counts.data.length) return h("div", { class: "page" }, header, empty("No refusals", text));
  return h("div", { class: "page" }, header, byRule(counts.data.slice(0, 8)), recent(first));
}

/** @param {RefusalCount[]} counts */
function byRule(counts) {
  const rows = counts.map((one) =>
    h(
      "tr",
      null,
      h("td", null, h("a", { href: `/refusals/${one.last_id}` }, ruleName(one.rule))),
      h("td", { dir: "auto" }, requester(one)),
      h("td", { class: "num tight" }, one.count),
      h("td", { class: "tight" }, moment(one.last_at)),
    ),
  );
  const body = table(["Rule", "Requested by", "Count", "Last"], rows);
  return h("section", { class: "stack", "aria-label": "By rule" }, h("h2", null, "By rule"), body);
}

/** The newest, with a filter, and older ones on request. @param {List<Refusal>} first */
function recent(first) {
  const refusals = [...first.data];
  let cursor = first.next_cursor;
  const search = h("input", {
    type: "search",
    placeholder: "Filter by text, rule or ID",
    "aria-label": "Filter by text, rule or ID",
    oninput: () => draw(),
  });
  const place = h("div");
  const load = () =>
    attempt(
      () => get("/v1/refusals", { limit: PAGE, cursor }),
      "",
      (page) => {
        refusals.push(...page.data);
        cursor = page.next_cursor;
        draw();
      },
    );
  const more = button("Load more", load, { class: "more" });
  function draw() {
    const words = search.value.toLowerCase();
    const matching = refusals.filter((one) => JSON.stringify(one).toLowerCase().includes(words));
    const none = refusals.length
      ? empty("No matching refusals", "Remove the filter to see more.")
      : empty("No recent refusals", "Refusals are kept for a time; their counts stay.");
    replace(place, matching.length ? h("ul", { class: "tail dated" }, matching.map(row)) : none);
    more.hidden = !cursor;
  }
  draw();
  const filters = h("div", { class: "filters" }, h("h2", null, "Recent"), search);
  return h("section", { class: "stack", "aria-label": "Recent" }, filters, place, more);
}

/** @param {Refusal} one */
const row = (one) =>
  h(
    "li",
    null,
    h(
      "a",
      { class: "line", href: `/refusals/${one.id}` },
      h("time", { datetime: one.at, title: full(one.at) }, moment(one.at)),
      h("span", null, h("span", { class: "pill warn" }, ruleName(one.rule))),
      h("span", { dir: "auto" }, sentence(one.detail)),
    ),
  );

// ---- one of them ----------------------------------------------------------------------------------------------------

/** @param {string} id */
async function refusalPage(id) {
  const [it, counts] = await Promise.all([get("/v1/refusals/{id}", { id }), get("/v1/refusals/counts")]);
  const same = counts.data.find(({ rule, about, whom }) => rule === it.rule && about === it.about && whom === it.whom);
  /** @type {[Child, Child][]} */
  const rows = [
    ["Operation", OPERATIONS[it.about] ?? it.about],
    ["Requested by", requester(it)],
    ["Allowed again", sentence(it.changes)],
    ["What to do", it.remedy.replaceAll("`", "")],
  ];
  const times = same?.count === 1 ? "once" : `${same?.count} times since ${moment(same?.first_at)}`;
  if (same) rows.push(["Occurred", times]);
  const back = h("a", { class: "ghost", href: "/refusals", "aria-label": "All refusals" }, icon("back"));
  const title = h("div", null, h("h1", null, ruleName(it.rule)), h("p", null, full(it.at)));
  return h(
    "div",
    { class: "page" },
    h("header", null, h("div", { class: "row" }, back, title)),
    h(
      "section",
      { class: "card", "aria-label": "Reason" },
      h("p", { dir: "auto" }, h("b", null, sentence(it.detail))),
      definitions(rows.filter(([, value]) => value)),
    ),
    Object.keys(it.facts).length > 0 &&
      h("section", { class: "card", "aria-label": "Details" }, h("h2", null, "Details"), facts(it.facts)),
    links(it),
    h("p", { class: "quiet" }, "Command line: ", h("code", null, `weir why ${it.id}`)),
  );
}

/** @param {Refusal} it */
function links({ conversation_id: conversation, channel_id: channel, type }) {
  const link = (/** @type {string} */ href, /** @type {string} */ text) =>
    h("a", { class: "button small", href }, text);
  return h(
    "div",
    { class: "row" },
    conversation && link(`/inbox/${conversation}`, "Open conversation"),
    channel && link(`/channels/${channel}`, "Open channel"),
    type && h("a", { class: "button small", href: type, target: "_blank" }, "About this rule"),
  );
}
