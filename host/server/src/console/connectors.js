// Connectors and apps: the installed connectors, and their registrations at the platforms.

import { call, get, may } from "./api.js";
import { attempt, button, empty, h, icon, pageHeader } from "./dom.js";
import { appsSection } from "./apps.js";
import { connectorPage } from "./connector.js";
import { ListPage } from "./page.js";
import { statePill } from "./versions.js";

/** @import { Connector, Context } from "./types" */

/** @param {HTMLElement} root @param {Context} context */
export function mount(root, { id, go }) {
  return new ListPage(
    root,
    (shown, page) => (shown ? connectorPage(shown, () => page.refresh()) : list(() => page.refresh(), go)),
    (event) => event.type.startsWith("connector."),
  ).show(id);
}

/** @param {() => unknown} refresh @param {Context["go"]} go */
async function list(refresh, go) {
  const [connectors, apps] = await Promise.all([get("/v1/connectors"), get("/v1/apps")]);
  const file = h("input", {
    type: "file",
    accept: ".wasm,application/wasm",
    hidden: true,
    "aria-label": "Component",
    onchange: ({ target }) => target.files[0] && install(target.files[0], go),
  });
  const add =
    may("connectors:write") &&
    button([icon("plus", 16), "Install connector"], () => file.click(), { class: "primary" });
  const none = empty(
    "No connectors installed",
    "A connector is one WebAssembly component. Install the file, review the grants that it requests, and grant them.",
    add,
  );
  const text = "Each connector speaks one platform's protocol, and can do only what you grant.";
  return h(
    "div",
    { class: "page" },
    file,
    pageHeader("Connectors", text, add),
    connectors.data.length ? h("div", { class: "cards" }, connectors.data.map(card)) : none,
    appsSection(connectors.data, apps.data, refresh),
  );
}

/** @param {Connector} it */
function card(it) {
  const version = it.active_version ? `Version ${it.active_version}` : "No active version";
  const state = it.active_version ? "active" : (it.versions[0]?.state ?? "staged");
  return h(
    "a",
    { class: "card", href: `/connectors/${it.name}` },
    h("header", null, h("div", null, h("h2", null, it.name), h("small", null, version)), statePill(state)),
    h("p", { class: "quiet" }, it.description),
  );
}

/** @param {File} file @param {Context["go"]} go */
const install = (file, go) =>
  attempt(
    () => call("POST", "/v1/connectors", file, { "content-type": "application/wasm" }),
    ({ name, version }) => `${name} ${version} is staged`,
    ({ name }) => go(`/connectors/${name}`),
  );
