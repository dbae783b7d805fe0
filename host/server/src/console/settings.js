// Settings: keys, who changed what, and the API in a form to read.

import { del, get, post, query } from "./api.js";
import { ask, button, empty, facts, field, h, icon, loading, replace, shownOnce, toast } from "./dom.js";
import { full, moment } from "./words.js";

const SCOPES = {
  read: "Read everything but secrets", "messages:write": "Send, cancel, mark read, upload", "channels:write": "Connect, change and delete channels", "events:write": "Endpoints and dead letters",
  "connectors:write": "Apps and connectors", "policy:loosen": "Loosen what was tightened", admin: "Everything, keys among it",
};

export function mount(root, { session }) {
  const admin = session.scopes.includes("admin");
  const body = h("div");
  const tabs = h("div", { class: "tabs", role: "tablist" });
  const TABS = [["keys", "Keys"], ["audit", "Who changed what"], ["api", "API"], ["you", "You"]];
  root.append(h("div", { class: "page" }, h("header", null, h("div", null, h("h1", null, "Settings"), h("p", null, `Workspace ${session.workspace_id}`)), tabs), body));

  function show(tab) {
    replace(tabs, TABS.map(([key, words]) => button(words, () => show(key), { class: "small", role: "tab", "aria-selected": String(key === tab) })));
    replace(body, { keys, audit, api, you }[tab]());
  }
  const needsAdmin = () => empty("Your key may not see this", "Sign in with a key that has the scope admin.");

  function keys() {
    if (!admin) return needsAdmin();
    const place = loading(async () => {
      const { data } = await get("/v1/keys");
      const at = Date.now();
      return h("div", { class: "stack" }, h("div", { class: "row end" }, button([icon("plus", 16), "Make a key"], make, { class: "primary" })),
        h("div", { class: "tablewrap", tabindex: "0" }, h("table", null, h("thead", null, h("tr", null, ["Name", "Begins with", "May", "Made", "Ends", ""].map((words) => h("th", { scope: "col" }, words || h("span", { class: "sr" }, "What to do"))))),
          h("tbody", null, data.map((key) => {
            const over = key.revoked_at || (key.expires_at && Date.parse(key.expires_at) < at);
            return h("tr", null, h("td", { dir: "auto" }, h("b", null, key.name)), h("td", null, h("code", null, key.prefix)), h("td", null, key.scopes.join(", ")), h("td", { class: "tight" }, moment(key.created_at)),
              h("td", { class: "tight" }, key.revoked_at ? h("span", { class: "pill" }, "Revoked") : key.expires_at ? moment(key.expires_at) : "never"),
              h("td", { class: "tight" }, !over && button("Revoke", async () => {
                const sure = await ask(`Revoke ${key.name}?`, { nodes: [h("p", null, "Programs that use it are turned away at once, and browsers signed in with it are signed out.")], value: () => del(`/v1/keys/${key.id}`).then(() => true) }, "Revoke it", { danger: true });
                if (sure) place.reload();
              }, { class: "small danger" })));
          })))));
    });
    async function make() {
      const name = h("input", { required: true, maxlength: 200, placeholder: "crm", dir: "auto" });
      const boxes = Object.entries(SCOPES).map(([scope, words]) => [scope, h("input", { type: "checkbox", checked: scope === "read" }), words]);
      const channels = (await get("/v1/channels?limit=100")).data.map((channel) => [channel.id, h("input", { type: "checkbox" }), channel.name]);
      const checked = (of) => of.filter(([, box]) => box.checked).map(([value]) => value);
      const made = await ask("Make a key", { nodes: [field("What it is for", name), h("div", { class: "field" }, h("span", null, "It may"), boxes.map(([scope, box, words]) => h("label", { class: "check" }, box, h("span", null, words, " ", h("small", null, scope))))),
        channels.length && h("div", { class: "field" }, h("span", null, "Only in these channels"), channels.map(([id, box, words]) => h("label", { class: "check" }, box, h("span", { dir: "auto" }, words, " ", h("small", null, id)))),
          h("small", null, "Without any, the key is for the whole workspace."))].filter(Boolean),
        value: () => post("/v1/keys", { name: name.value, scopes: checked(boxes), ...(checked(channels).length ? { channel_ids: checked(channels) } : {}) }) }, "Make it");
      if (!made) return;
      await shownOnce("The new key", "It is shown once. Keep it where secrets are kept.", made.key);
      place.reload();
    }
    return place;
  }

  function audit() {
    if (!admin) return needsAdmin();
    return loading(async () => {
      const [first, keys] = await Promise.all([get("/v1/audit-log?limit=50"), get("/v1/keys")]);
      if (!first.data.length) return empty("Nothing was changed yet", "Every change of settings, keys, channels and connectors is written down here.");
      const names = new Map(keys.data.map((key) => [key.id, key.name]));
      const list = h("ul", { class: "tail dated", "aria-label": "Changes" });
      const row = (one) => h("li", null, h("details", null, h("summary", null, h("time", { datetime: one.at, title: full(one.at) }, moment(one.at)), h("span", null, h("span", { class: "pill" }, one.action)), h("span", { dir: "auto" }, one.subject)),
        h("div", { class: "in" }, h("p", { class: "quiet", dir: "auto" }, `${full(one.at)}, by ${names.has(one.actor) ? `the key ${names.get(one.actor)} (${one.actor})` : one.actor}`), facts(one.detail ?? {}))));
      let cursor = null;
      const more = button("Show more", async () => {
        try {
          add(await get(`/v1/audit-log${query({ limit: 50, cursor })}`));
        } catch (failure) {
          toast(failure.message, "bad");
        }
      }, { class: "more" });
      const add = (page) => {
        list.append(...page.data.map(row));
        cursor = page.next_cursor;
        more.hidden = !page.has_more;
      };
      add(first);
      return h("div", { class: "stack" }, list, more);
    });
  }

  function you() {
    return h("section", { class: "card" }, h("h2", null, "This browser"), h("dl", null, [["Workspace", session.workspace_id], ["Your key", session.key_name], ["Your key may", session.scopes.map((scope) => SCOPES[scope] ?? scope).join("; ")], ["Signed in until", moment(session.expires_at)]].map(([label, value]) => [h("dt", null, label), h("dd", null, value)])),
      h("h2", null, "Keys of the keyboard"), h("dl", null, [["1 to 8", "go to a place"], ["j, k", "the next, the one before in the inbox"], ["/", "search"], ["r", "write an answer"], ["Esc", "close"]].map(([key, words]) => [h("dt", null, h("code", null, key)), h("dd", null, words)])));
  }

  // ---- the API, from its own description -----------------------------------------------------------------------------

  function api() {
    return loading(async () => {
      const document = await get("/v1/openapi.json");
      const search = h("input", { type: "search", placeholder: "Filter routes", "aria-label": "Filter routes", oninput: () => draw() });
      const list = h("div", { class: "stack" });
      const groups = new Map(document.tags.map((tag) => [tag.name, [tag, []]]));
      for (const [path, item] of Object.entries(document.paths)) {
        for (const [verb, operation] of Object.entries(item)) groups.get(operation.tags?.[0])?.[1].push([path, verb, operation]);
      }
      const draw = () => {
        const words = search.value.toLowerCase();
        replace(list, [...groups.values()].map(([tag, routes]) => {
          const fitting = routes.filter(([path, verb, operation]) => `${verb} ${path} ${operation.summary ?? ""}`.toLowerCase().includes(words));
          return fitting.length > 0 && h("section", { class: "card", "aria-label": tag.name }, h("header", null, h("div", null, h("h2", null, tag.name), h("small", null, tag.description))), h("div", null, fitting.map((route) => row(document, route))));
        }));
      };
      draw();
      return h("div", { class: "stack" }, h("div", { class: "filters" }, search, h("a", { class: "button small", href: "/v1/openapi.json", download: "weir-openapi.json" }, "OpenAPI 3.1"), h("a", { class: "button small", href: "/docs/errors", target: "_blank" }, "Error codes")), list);
    });
  }

  const row = (document, [path, verb, operation]) => {
    const inside = h("div");
    return h("details", { class: "api", ontoggle: (event) => event.target.open && !inside.firstChild && replace(inside, detail(document, operation)) },
      h("summary", null, h("span", { class: `verb ${verb}` }, verb.toUpperCase()), h("code", null, path), h("small", null, operation.summary ?? "")), inside);
  };

  function detail(document, operation) {
    const body = operation.requestBody?.content ?? {};
    return [operation.description && h("p", null, operation.description),
      operation.parameters?.length > 0 && h("dl", null, operation.parameters.map((one) => [h("dt", null, h("code", null, one.name)), h("dd", null, `${one.in}${one.required ? ", required" : ""}. ${one.description ?? ""}`)])),
      ...Object.entries(body).map(([type, { schema }]) => h("div", null, h("b", null, "Body"), " ", h("small", null, type), h("pre", { tabindex: "0" }, JSON.stringify(outline(document, schema), null, 2)))),
      ...Object.entries(operation.responses ?? {}).flatMap(([status, answer]) => Object.entries(answer.content ?? { "": {} }).map(([type, { schema }]) => h("div", null, h("b", null, status), " ", h("small", null, type || answer.description || ""), schema && h("pre", { tabindex: "0" }, JSON.stringify(outline(document, schema), null, 2)))))];
  }

  /** A schema as an example of its shape: names with the words that describe them. */
  function outline(document, schema, depth = 0) {
    if (!schema || depth > 4) return "…";
    if (schema.$ref) return outline(document, schema.$ref.slice(2).split("/").reduce((at, key) => at?.[key], document), depth);
    if (schema.example !== undefined && depth === 0) return schema.example;
    if (schema.allOf) return Object.assign({}, ...schema.allOf.map((part) => outline(document, part, depth)));
    const choice = (schema.oneOf ?? schema.anyOf)?.filter((part) => part.type !== "null");
    if (choice) return choice.length === 1 ? outline(document, choice[0], depth) : choice.slice(0, 8).map((part) => outline(document, part, depth + 1));
    if (schema.enum) return schema.enum.join(" | ");
    if (schema.properties) return Object.fromEntries(Object.entries(schema.properties).map(([key, part]) => [key, outline(document, part, depth + 1)]));
    if (schema.items) return [outline(document, schema.items, depth + 1)];
    return schema.const ?? [schema.type].flat().filter((type) => type !== "null").join(" | ") + (schema.format ? ` (${schema.format})` : "");
  }

  const wanted = new URLSearchParams(location.search).get("show");
  show(TABS.some(([key]) => key === wanted) ? wanted : admin ? "keys" : "you");
  return { visit: () => false };
}

