// Settings: API keys, the audit log, the nodes, the API reference, and this session.

import { del, get, post } from "./api.js";
import { ask, attempt, button, checkbox, definitions, empty, facts } from "./dom.js";
import { field, h, icon, loading, replace, showOnce, table } from "./dom.js";
import { full, moment } from "./format.js";
import { reference } from "./reference.js";

/** @import { Context, Page, Scope, Session } from "./types" */
/** @typedef {import("./openapi").components["schemas"]["ApiKey"]} ApiKey */
/** @typedef {import("./openapi").components["schemas"]["AuditEntry"]} AuditEntry */
/** @typedef {import("./openapi").components["schemas"]["Node"]} Node */
/** @typedef {"keys" | "audit" | "nodes" | "api" | "you"} Tab */

/** @type {Record<Scope, string>} */
const SCOPES = {
  read: "Read everything except secrets",
  "messages:write": "Send and cancel messages, mark as read, upload",
  "channels:write": "Connect, edit and delete channels",
  "events:write": "Manage endpoints and dead letters",
  "connectors:write": "Manage apps and connectors",
  "policy:loosen": "Loosen policies that were tightened",
  admin: "Full access including keys",
};
/** @type {[Tab, string][]} */
const TABS = [
  ["keys", "API keys"],
  ["audit", "Audit log"],
  ["nodes", "Nodes"],
  ["api", "API"],
  ["you", "Session"],
];

/** @param {HTMLElement} root @param {Context} context @returns {Page} */
export function mount(root, { session }) {
  const admin = session.scopes.includes("admin");
  const tabs = h("div", { class: "tabs", role: "tablist" });
  const body = h("div");
  const title = h("div", null, h("h1", null, "Settings"), h("p", null, `Workspace ${session.workspace_id}`));
  root.append(h("div", { class: "page" }, h("header", null, title, tabs), body));
  const forbidden = () => empty("Not permitted", "Sign in with a key that has the scope admin.");
  const contents = {
    keys: () => (admin ? keys() : forbidden()),
    audit: () => (admin ? loading(auditLog) : forbidden()),
    nodes: () => loading(nodes),
    api: () => loading(reference),
    you: () => sessionDetails(session),
  };
  const show = (/** @type {Tab} */ tab) => {
    replace(
      tabs,
      TABS.map(([name, text]) =>
        button(text, () => show(name), { class: "small", role: "tab", "aria-selected": String(name === tab) }),
      ),
    );
    replace(body, contents[tab]());
  };
  const wanted = new URLSearchParams(location.search).get("show");
  show(TABS.find(([name]) => name === wanted)?.[0] ?? (admin ? "keys" : "you"));
  return {};
}

// ---- API keys -------------------------------------------------------------------------------------------------------

function keys() {
  const reload = () => place.reload();
  const place = loading(async () => {
    const { data } = await get("/v1/keys");
    const create = button([icon("plus", 16), "Create key"], () => createKey(reload), { class: "primary" });
    const heads = ["Name", "Prefix", "Scopes", "Created", "Expires", h("span", { class: "sr" }, "Actions")];
    const rows = data.map((key) => keyRow(key, reload));
    return h("div", { class: "stack" }, h("div", { class: "row end" }, create), table(heads, rows));
  });
  return place;
}

/** @param {ApiKey} key @param {() => void} reload */
function keyRow(key, reload) {
  const expired = key.expires_at && Date.parse(key.expires_at) < Date.now();
  const usable = !key.revoked_at && !expired;
  return h(
    "tr",
    null,
    h("td", { dir: "auto" }, h("b", null, key.name)),
    h("td", null, h("code", null, key.prefix)),
    h("td", null, key.scopes.join(", ")),
    h("td", { class: "tight" }, moment(key.created_at)),
    h("td", { class: "tight" }, key.revoked_at ? h("span", { class: "pill" }, "Revoked") : moment(key.expires_at)),
    h("td", { class: "tight" }, usable && button("Revoke", () => revokeKey(key, reload), { class: "small danger" })),
  );
}

/** @param {ApiKey} key @param {() => void} reload */
async function revokeKey({ id, name }, reload) {
  const text = "Programs that use it lose access immediately, and browsers signed in with it are signed out.";
  const value = () => del("/v1/keys/{id}", { id }).then(() => true);
  if (await ask(`Revoke ${name}?`, { nodes: [h("p", null, text)], value }, "Revoke", { danger: true })) reload();
}

/** @param {() => void} reload */
async function createKey(reload) {
  const name = h("input", { required: true, maxlength: 200, placeholder: "crm", dir: "auto" });
  const box = (checked = false) => h("input", { type: "checkbox", checked });
  const { data } = await get("/v1/channels", { limit: 100 });
  const channels = data.map((one) => ({ value: one.id, text: one.name, box: box() }));
  const scopes = Object.entries(SCOPES).map(([scope, text]) => ({
    value: /** @type {Scope} */ (scope),
    text,
    box: box(scope === "read"),
  }));
  /** @param {{ value: string, text: string, box: HTMLInputElement }} choice */
  const row = (choice) => checkbox(choice.box, choice.text, " ", h("small", null, choice.value));
  const nodes = [
    field("Name", name),
    h("div", { class: "field" }, h("span", null, "Scopes"), scopes.map(row)),
    channels.length > 0 &&
      h(
        "div",
        { class: "field" },
        h("span", null, "Channels"),
        channels.map(row),
        h("small", null, "The whole workspace if none is selected."),
      ),
  ];
  const value = () => {
    const limited = channels.filter((one) => one.box.checked).map((one) => one.value);
    const granted = scopes.filter((one) => one.box.checked).map((one) => one.value);
    const limit = limited.length ? { channel_ids: limited } : {};
    return post("/v1/keys", {}, { name: name.value, scopes: granted, ...limit });
  };
  const made = await ask("Create an API key", { nodes, value }, "Create");
  if (!made) return;
  await showOnce("New API key", "It is shown once. Store it where you store secrets.", made.key ?? "");
  reload();
}

// ---- the audit log --------------------------------------------------------------------------------------------------

async function auditLog() {
  const [first, { data: keys }] = await Promise.all([get("/v1/audit-log", { limit: 50 }), get("/v1/keys")]);
  const text = "Changes to settings, keys, channels and connectors are recorded here.";
  if (!first.data.length) return empty("No changes yet", text);
  const names = new Map(keys.map((key) => [key.id, key.name]));
  const list = h("ul", { class: "tail dated", "aria-label": "Changes" });
  let cursor = first.next_cursor;
  const add = (/** @type {typeof first} */ page) => {
    list.append(...page.data.map((entry) => auditRow(entry, names)));
    cursor = page.next_cursor;
    more.hidden = !page.has_more;
  };
  const more = button("Load more", () => attempt(() => get("/v1/audit-log", { limit: 50, cursor }), "", add), {
    class: "more",
  });
  add(first);
  return h("div", { class: "stack" }, list, more);
}

/** @param {AuditEntry} entry @param {Map<string, string>} names */
function auditRow({ at, action, subject, actor, detail }, names) {
  const who = names.has(actor) ? `key ${names.get(actor)} (${actor})` : actor;
  const head = h(
    "summary",
    null,
    h("time", { datetime: at, title: full(at) }, moment(at)),
    h("span", null, h("span", { class: "pill" }, action)),
    h("span", { dir: "auto" }, subject),
  );
  const by = h("p", { class: "quiet", dir: "auto" }, `${full(at)}, by ${who}`);
  return h("li", null, h("details", null, head, h("div", { class: "in" }, by, facts(detail))));
}

// ---- nodes ----------------------------------------------------------------------------------------------------------

async function nodes() {
  const { data } = await get("/v1/nodes");
  return table(["Name", "State", "Version", "Started", "Last heartbeat", "Duties"], data.map(nodeRow));
}

/** @param {Node["state"]} state */
const stateOf = (state) =>
  state === "alive" ? h("span", { class: "pill good" }, "Alive") : h("span", { class: "pill bad" }, "Dead");

/** @param {Node} node */
const nodeRow = ({ id, name, state, version, started_at, last_beat_at, duties, is_this }) =>
  h(
    "tr",
    null,
    h("td", { dir: "auto" }, h("b", null, name), " ", h("code", null, id), is_this && h("small", null, " this node")),
    h("td", null, stateOf(state)),
    h("td", null, version),
    h("td", { class: "tight" }, moment(started_at)),
    h("td", { class: "tight" }, moment(last_beat_at)),
    h("td", null, duties.join(", ")),
  );

// ---- this session ---------------------------------------------------------------------------------------------------

/** @type {[string, string][]} */
const SHORTCUTS = [
  ["1 to 8", "Open a page"],
  ["j, k", "Next or previous conversation"],
  ["/", "Search"],
  ["r", "Write a message"],
  ["Esc", "Close the conversation"],
];

/** @param {Session} session */
const sessionDetails = (session) =>
  h(
    "section",
    { class: "card" },
    h("h2", null, "Session"),
    definitions([
      ["Workspace", session.workspace_id],
      ["API key", session.key_name],
      ["Scopes", session.scopes.map((scope) => SCOPES[scope] ?? scope).join("; ")],
      ["Expires", moment(session.expires_at)],
    ]),
    h("h2", null, "Keyboard shortcuts"),
    definitions(SHORTCUTS.map(([key, text]) => [h("code", null, key), text])),
  );
