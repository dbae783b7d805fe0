// Apps: registrations with the platforms' developer portals.

import { get, may, post, put } from "./api.js";
import { ask, button, checkbox, copyable, field, h, replace, toast } from "./dom.js";
import { moment, plural } from "./format.js";

/** @import { App, AppSetting, Connector } from "./types" */

/** @param {Connector[]} connectors @param {App[]} apps @param {() => unknown} refresh */
export function appsSection(connectors, apps, refresh) {
  const writes = may("connectors:write");
  const register = button("Register app", () => editApp(connectors, null, refresh), { class: "small" });
  const cards = apps.map((app) => {
    const edit = writes && button("Edit", () => editApp(connectors, app, refresh), { class: "small" });
    return card(app, edit);
  });
  const none = h("p", { class: "quiet" }, connectors.length ? "No apps registered." : "");
  const text = h("p", { class: "quiet" }, "Your registrations in the platforms' developer portals.");
  return [
    h("header", null, h("div", null, h("h2", null, "Apps"), text), writes && connectors.length > 0 && register),
    cards.length ? h("div", { class: "cards" }, cards) : none,
  ];
}

/** @param {App} app @param {HTMLElement | false} edit */
function card(app, edit) {
  const { name, connector, refused_webhooks: refused, origins, secrets } = app;
  const rejected =
    refused &&
    !refused.accepted_since &&
    `${plural(refused.count, "webhook")} rejected, the last ${moment(refused.last_at)}: ${refused.reason}`;
  const sandbox = Object.values(origins).join(", ");
  return h(
    "section",
    { class: "card", "aria-label": name },
    h("header", null, h("div", null, h("h3", null, name), h("small", null, `Connector ${connector}`)), edit),
    h("small", null, "Webhook URL, called by the platform"),
    copyable(app.webhook_url),
    h("small", null, "Redirect URL, for the developer portal"),
    copyable(app.redirect_url),
    rejected && h("p", { class: "warn" }, rejected),
    sandbox && h("p", { class: "quiet" }, `Origins replaced by: ${sandbox}`),
    h("small", null, secrets.length ? `Secrets: ${secrets.join(", ")}` : "No secrets"),
  );
}

/**
 * Registers an app, or edits one.
 * @param {Connector[]} connectors @param {App | null} app @param {() => unknown} refresh
 */
async function editApp(connectors, app, refresh) {
  const name = h("input", {
    value: app?.name ?? connectors[0].name,
    required: true,
    readonly: app !== null,
    pattern: "[a-z][a-z0-9\\-]*",
    spellcheck: "false",
  });
  const options = connectors.map((it) =>
    h("option", { value: it.name, selected: it.name === app?.connector }, it.name),
  );
  const connector = h("select", null, options);
  const settings = settingsForm(app);
  connector.addEventListener("change", () => settings.load(connectors, connector.value));
  await settings.load(connectors, connector.value);
  const overlap = h("input", { type: "checkbox", checked: true });
  const rotates = Boolean(app?.secrets.length);
  const nodes = [
    field("Name", name, "Part of the webhook URL."),
    connectors.length > 1 && field("Connector", connector),
    settings.element,
    rotates &&
      checkbox(
        overlap,
        "Keep old secrets valid for a day ",
        h("small", null, "Webhooks that the platform signed with them are still accepted."),
      ),
  ];
  const save = async () => {
    const kept = rotates && overlap.checked ? (app?.secrets ?? []) : [];
    const { values, secrets, rotated } = settings.entered(kept);
    if (Object.keys(rotated).length) {
      await post("/v1/apps/{name}/secrets/rotate", { name: name.value }, { secrets: rotated });
    }
    const body = { connector: connector.value, settings: values, secrets, origins: app?.origins ?? {} };
    return put("/v1/apps/{name}", { name: name.value }, /** @type {any} */ (body));
  };
  if (await ask(app ? `Edit app ${app.name}` : "Register an app", { nodes, value: save }, "Save")) {
    toast("App saved");
    refresh();
  }
}

/** The settings that a connector declares, with what the app has. @param {App | null} app */
function settingsForm(app) {
  const element = h("div", { class: "stack" });
  /** @type {Map<string, [AppSetting, HTMLInputElement]>} */
  const inputs = new Map();
  /** @param {Connector[]} connectors @param {string} name */
  const load = async (connectors, name) => {
    inputs.clear();
    const it = connectors.find((one) => one.name === name);
    const version = it?.active_version ?? it?.versions[0]?.version;
    const manifest = version && (await get("/v1/connectors/{name}/versions/{version}", { name, version })).manifest;
    replace(element, manifest ? manifest.app_settings.map(input) : []);
  };
  /** @param {AppSetting} setting */
  const input = (setting) => {
    const known = /** @type {Record<string, unknown> | undefined} */ (app?.settings)?.[setting.name];
    const kept = setting.secret && app?.secrets.includes(setting.name);
    const box = h("input", {
      type: setting.secret ? "password" : "text",
      autocomplete: "off",
      required: setting.required && !kept,
      value: Array.isArray(known) ? known.join(", ") : String(known ?? ""),
      placeholder: kept ? "Unchanged" : "",
    });
    inputs.set(setting.name, [setting, box]);
    return field(setting.label, box, setting.help);
  };
  /** What was entered; new values of the `kept` secrets are rotated in. @param {string[]} kept */
  const entered = (kept) => {
    /** @type {Record<string, string | string[]>} */
    const values = {};
    /** @type {Record<string, string>} */
    const secrets = {};
    /** @type {Record<string, string>} */
    const rotated = {};
    for (const [key, [{ secret, help }, { value }]] of inputs) {
      if (!value) continue;
      const isList = value.includes(",") || /list/i.test(help);
      if (secret) (kept.includes(key) ? rotated : secrets)[key] = value;
      else
        values[key] = isList
          ? value
              .split(",")
              .map((word) => word.trim())
              .filter(Boolean)
          : value;
    }
    return { values, secrets, rotated };
  };
  return { element, load, entered };
}
