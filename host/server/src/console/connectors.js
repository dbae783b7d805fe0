// Connectors: versions, what each asks for and what was granted, and the apps that they speak for.

import { call, get, post, put } from "./api.js";
import { ask, button, copyable, empty, field, h, icon, loading, replace, toast } from "./dom.js";
import { pill, timeline, transcripts, versions } from "./versions.js";
import { grant, moment, plural } from "./words.js";

export function mount(root, { id, session, go }) {
  const may = (scope) => session.scopes.includes(scope) || session.scopes.includes("admin");
  const writes = may("connectors:write");
  let place = null;
  let shown = id;
  function show(next) {
    shown = next;
    place = loading(() => (next ? one(next) : all()));
    replace(root, place);
  }

  async function all() {
    const [connectors, apps] = await Promise.all([get("/v1/connectors"), get("/v1/apps")]);
    const file = h("input", { type: "file", accept: ".wasm,application/wasm", hidden: true, "aria-label": "Component", onchange: () => file.files[0] && install(file.files[0]) });
    const add = writes && button([icon("plus", 16), "Install a component"], () => file.click(), { class: "primary" });
    return h("div", { class: "page" }, file,
      h("header", null, h("div", null, h("h1", null, "Connectors"), h("p", null, "Each speaks one platform's protocol, and may do only what you granted.")), add),
      connectors.data.length ? h("div", { class: "cards" }, connectors.data.map((it) => h("a", { class: "card", href: `/connectors/${it.name}` }, h("header", null, h("div", null, h("h2", null, it.name), h("small", null, it.active_version ? `version ${it.active_version}` : "no version serves")), pill(it.active_version ? "active" : it.versions[0]?.state ?? "staged")), h("p", { class: "quiet" }, it.description))))
        : empty("No connector yet", "A connector is one WebAssembly component. Install the file, read what it asks for, and say yes.", add),
      h("header", null, h("div", null, h("h2", null, "Apps"), h("p", { class: "quiet" }, "Your registrations with platforms' developer portals.")), writes && connectors.data.length > 0 && button("Register an app", () => register(connectors.data), { class: "small" })),
      apps.data.length ? h("div", { class: "cards" }, apps.data.map((app) => h("section", { class: "card", "aria-label": app.name }, h("header", null, h("div", null, h("h3", null, app.name), h("small", null, `speaks ${app.connector}`)), writes && button("Change", () => register(connectors.data, app), { class: "small" })),
        h("small", null, "Webhook URL, as the platform calls it"), copyable(app.webhook_url), h("small", null, "Redirect URL, to enter at the platform"), copyable(app.redirect_url),
        app.refused_webhooks && !app.refused_webhooks.accepted_since && h("p", { class: "warn" }, `${plural(app.refused_webhooks.count, "webhook")} refused, the last ${moment(app.refused_webhooks.last_at)}: ${app.refused_webhooks.reason}`),
        Object.keys(app.origins).length > 0 && h("p", { class: "quiet" }, `Mapped to a sandbox: ${Object.values(app.origins).join(", ")}`), h("small", null, app.secrets.length ? `Secrets kept: ${app.secrets.join(", ")}` : "No secrets yet"))))
        : h("p", { class: "quiet" }, connectors.data.length ? "No app is registered yet." : ""));
  }

  async function install(file) {
    try {
      const made = await call("POST", "/v1/connectors", file, { "content-type": "application/wasm" });
      toast(`${made.name} ${made.version} is installed; it does not serve yet`);
      go(`/connectors/${made.name}`);
    } catch (failure) {
      toast(failure.message, "bad");
    }
  }

  async function register(connectors, app = null) {
    const name = h("input", { value: app?.name ?? connectors[0].name, required: true, readonly: app !== null, pattern: "[a-z][a-z0-9\\-]*", spellcheck: "false" });
    const which = h("select", null, connectors.map((it) => h("option", { value: it.name, selected: it.name === app?.connector }, it.name)));
    const settings = h("div", { class: "stack" });
    const inputs = new Map();
    const look = async () => {
      inputs.clear();
      const it = connectors.find((one) => one.name === which.value);
      const version = it.active_version ?? it.versions[0].version;
      const { manifest } = await get(`/v1/connectors/${it.name}/versions/${version}`);
      replace(settings, manifest.app_settings.map((one) => {
        const known = app?.settings?.[one.name];
        const input = h("input", { type: one.secret ? "password" : "text", autocomplete: "off", required: one.required && !app?.secrets.includes(one.name), value: known === undefined ? "" : Array.isArray(known) ? known.join(", ") : String(known), placeholder: one.secret && app?.secrets.includes(one.name) ? "kept as it is" : "" });
        inputs.set(one.name, [one, input]);
        return field(one.label, input, one.help);
      }));
    };
    which.addEventListener("change", () => look());
    await look();
    const overlap = h("input", { type: "checkbox", checked: true });
    const rotating = app?.secrets.length > 0 && h("label", { class: "check" }, overlap, h("span", null, "The old secrets stay valid for a day ", h("small", null, "Webhooks that the platform signed with them are still accepted.")));
    const saved = await ask(app ? `App ${app.name}` : "Register an app", { nodes: [field("Name", name, "It is part of the webhook's URL."), connectors.length > 1 && field("Connector", which), settings, rotating], value: async () => {
      const body = { connector: which.value, settings: {}, secrets: {}, origins: app?.origins ?? {} };
      const rotated = {};
      for (const [key, [one, input]] of inputs) {
        if (!input.value) continue;
        if (one.secret && rotating && overlap.checked && app.secrets.includes(key)) rotated[key] = input.value;
        else if (one.secret) body.secrets[key] = input.value;
        else body.settings[key] = input.value.includes(",") || /list/i.test(one.help) ? input.value.split(",").map((word) => word.trim()).filter(Boolean) : input.value;
      }
      const path = `/v1/apps/${encodeURIComponent(name.value)}`;
      if (Object.keys(rotated).length) await post(`${path}/secrets/rotate`, { secrets: rotated });
      return put(path, body);
    } }, "Save");
    if (saved) {
      toast("The app is saved");
      show(shown);
    }
  }

  async function one(name) {
    const it = await get(`/v1/connectors/${encodeURIComponent(name)}`);
    const list = await Promise.all(it.versions.slice(0, 10).map((line) => get(`/v1/connectors/${encodeURIComponent(name)}/versions/${encodeURIComponent(line.version)}`)));
    const [steps, calls] = await Promise.all([get(`/v1/connectors/${encodeURIComponent(name)}/timeline`), writes ? get(`/v1/connectors/${encodeURIComponent(name)}/transcripts?limit=20`) : { data: [] }]);
    const newest = list[0];
    return h("div", { class: "page" },
      h("header", null, h("div", { class: "row" }, h("a", { class: "ghost", href: "/connectors", "aria-label": "All connectors" }, icon("back")), h("div", null, h("h1", null, it.name), h("p", null, it.description)))),
      h("div", { class: "split" },
        h("div", { class: "stack" }, h("section", { class: "card", "aria-label": "Versions" }, h("h2", null, "Versions"), versions(it, list, { writes, again: () => show(it.name) })), timeline(steps.data), about(newest), writes && transcripts(it.name, calls.data)),
        consent(it, newest)));
  }

  const about = ({ manifest }) => h("section", { class: "card", "aria-label": "What it says of itself" }, h("h2", null, "What it says of itself"), h("dl", null,
    [["Platform", manifest.platform], ["Release", manifest.release], ["Maturity", manifest.maturity], ["Accounts", manifest.account_kinds.join(", ")], ["Price at the platform", manifest.pricing], ["Carries out", manifest.contents.filter((one) => one.outbound === "full").map((one) => one.kind.replaceAll("_", " ")).join(", ")], ["Beyond messages", manifest.provides.join(", ") || "nothing"]]
      .filter(([, value]) => value !== undefined && value !== null && value !== "").map(([label, value]) => [h("dt", null, label), h("dd", null, String(value))])),
  manifest.homepage && h("a", { href: manifest.homepage, target: "_blank", rel: "noopener noreferrer" }, "The platform's documentation"));

  /** What it asks for, in plain words, each with a yes of its own. */
  function consent(it, version) {
    // A grant is the thing asked for; its words and what is new about it are for the reader.
    const exact = ({ words, changes, ...one }) => JSON.stringify(one);
    const [withheld, wanted] = [it.withheld_grants, version.wanted_grants].map((list) => new Set(list.map(exact)));
    const others = it.grants.filter((one) => !wanted.has(exact(one)));
    const boxes = version.wanted_grants.map((one) => {
      const given = grant(one);
      const box = h("input", { type: "checkbox", checked: !withheld.has(exact(one)), disabled: !writes });
      return [one, box, h("li", null, h("label", null, box, h("span", null, h("b", null, one.why || given.title), h("small", null, `${given.title}. ${given.secrets}`), h("code", null, given.where), one.body_has.length > 0 && h("small", null, `Only with ${one.body_has.join(", ")}.`), given.terms.map((words) => h("small", null, words)), one.changes.map((change) => h("small", { class: "warn" }, `Otherwise than before: ${change.member} was ${change.before || "nothing"}, and would be ${change.after || "nothing"}.`)))))];
    });
    const missing = version.missing_grants.length;
    return h("section", { class: "card", "aria-label": "What it may do" }, h("header", null, h("div", null, h("h2", null, `What ${version.version} asks for`), h("small", null, "It can reach these addresses and no others.")), h("span", { class: `pill ${missing ? "warn" : "good"}` }, missing ? `${missing} not decided` : "All decided")),
      h("ul", { class: "grants" }, boxes.map(([, , row]) => row)),
      writes && button(missing ? "Say yes to what is ticked" : "Save what is ticked", async () => {
        try {
          await put(`/v1/connectors/${encodeURIComponent(it.name)}/grants`, { version: version.version, grants: [...others, ...boxes.filter(([, box]) => box.checked).map(([one]) => one)] });
          toast("Your consent is kept");
          show(it.name);
        } catch (failure) {
          toast(failure.message, "bad");
        }
      }, { class: missing ? "primary" : "" }));
  }

  show(id);
  let soon;
  return {
    visit(next) {
      show(next);
      return true;
    },
    event(event) {
      if (!event.type.startsWith("connector.") || document.querySelector("dialog[open]")) return;
      clearTimeout(soon);
      soon = setTimeout(() => place.reload(), 200);
    },
    leave: () => clearTimeout(soon),
  };
}
