// Endpoints: where Weir delivers events, and the state of deliveries.

import { del, get, may, now, patch, post } from "./api.js";
import { ask, attempt, button, checkbox, definitions, empty, field, h, icon } from "./dom.js";
import { loading, pageHeader, problem, showOnce, toast } from "./dom.js";
import { deliveryDetails } from "./deliveries.js";
import { GROUPS } from "./event-types.js";
import { moment, plural } from "./format.js";
import { ListPage } from "./page.js";

/** @import { Child, Context, Endpoint } from "./types" */

/** @param {HTMLElement} root @param {Context} context */
export function mount(root, { id, go }) {
  return new ListPage(
    root,
    (shown, page) => (shown ? endpointPage(shown, () => page.refresh(), go) : list(go)),
    // Opened sections stay open.
    (event, page) => event.type.startsWith("endpoint.") && !(page.id && root.querySelector("details[open]")),
  ).show(id);
}

/** @param {Endpoint} it */
function statusPill({ enabled, failing_since: failing, disabled_reason: reason }) {
  if (!enabled) return h("span", { class: "pill bad" }, reason ? `Disabled: ${reason}` : "Disabled");
  if (failing) return h("span", { class: "pill warn" }, `Failing since ${moment(failing)}`);
  return h("span", { class: "pill good" }, "Healthy");
}

/** @param {Endpoint} it */
const nameOf = (it) => it.description || new URL(it.url).host;

// ---- all of them ----------------------------------------------------------------------------------------------------

/** @param {Context["go"]} go */
async function list(go) {
  const { data } = await get("/v1/endpoints", { limit: 200 });
  const add =
    may("events:write") && button([icon("plus", 16), "Add endpoint"], () => addEndpoint(go), { class: "primary" });
  const none = empty(
    "No endpoints yet",
    "Add your URL, and Weir delivers every event to it: signed, in order, and retried until it is accepted. Or read " +
      "the stream at /v1/events/stream.",
    add,
  );
  return h(
    "div",
    { class: "page" },
    pageHeader("Endpoints", "URLs that receive your events.", add),
    data.length ? h("div", { class: "cards" }, data.map(card)) : none,
  );
}

/** @param {Endpoint} it */
const card = (it) =>
  h(
    "a",
    { class: "card", href: `/endpoints/${it.id}` },
    h("header", null, h("div", null, h("h2", { dir: "auto" }, nameOf(it)), h("small", null, it.url)), statusPill(it)),
    h("p", { class: "quiet" }, it.types.length ? it.types.join(", ") : "All events"),
  );

/** @param {Context["go"]} go */
async function addEndpoint(go) {
  const made = await editEndpoint(null);
  if (!made) return;
  const text = "It is shown once. Verify deliveries with it, using any Standard Webhooks library.";
  await showOnce("Signing secret", text, made.secret ?? "");
  go(`/endpoints/${made.id}`);
}

/** Adds an endpoint, or edits a known one. @param {Endpoint | null} known */
function editEndpoint(known) {
  const url = h("input", {
    type: "url",
    required: true,
    value: known?.url ?? "",
    placeholder: "https://crm.example/weir",
    spellcheck: "false",
  });
  const description = h("input", { value: known?.description ?? "", maxlength: 500, dir: "auto" });
  const ordered = h("input", { type: "checkbox", checked: known?.ordered ?? true });
  const types = new Set(known?.types);
  const body = () => ({
    url: url.value,
    description: description.value,
    ordered: ordered.checked,
    types: [...types],
  });
  const nodes = [
    field("URL", url, "Public and HTTPS, unless the configuration allows private addresses."),
    field("Description", description),
    h(
      "div",
      { class: "field" },
      h("span", null, "Event types"),
      h("small", null, "All types if none is selected."),
      [...GROUPS].map(([group, members]) => typeGroup(group, members, types)),
    ),
    checkbox(ordered, "Keep the order within a conversation"),
  ];
  const value = () =>
    known ? patch("/v1/endpoints/{id}", { id: known.id }, body()) : post("/v1/endpoints", {}, body());
  return ask(known ? "Edit the endpoint" : "Add an endpoint", { nodes, value }, known ? "Save" : "Add");
}

/** Checkboxes for the types of a group, which keep `chosen`. @param {string} group @param {string[]} types */
function typeGroup(group, types, /** @type {Set<string>} */ chosen) {
  const boxes = types.map((type) => {
    const toggle = () => (box.checked ? chosen.add(type) : chosen.delete(type));
    const box = h("input", { type: "checkbox", checked: chosen.has(type), onchange: toggle });
    return checkbox(box, type.slice(group.length + 1));
  });
  return h("details", null, h("summary", null, group), h("div", { class: "row" }, boxes));
}

// ---- one of them ----------------------------------------------------------------------------------------------------

/** @param {string} id @param {() => unknown} refresh @param {Context["go"]} go */
async function endpointPage(id, refresh, go) {
  const it = await get("/v1/endpoints/{id}", { id });
  const deliveries = loading(async () => {
    const { data } = await get("/v1/deliveries", { endpoint_id: id, limit: 50 });
    if (data.length) return data.map(deliveryDetails);
    return empty("No deliveries yet", "Send an example to see what your endpoint receives.");
  });
  const failing =
    it.failing_since &&
    `Since ${moment(it.failing_since)}. Each event is retried with growing delays; after some days the endpoint is ` +
      "disabled. The responses are below.";
  /** @type {[Child, Child][]} */
  const rows = [
    ["Types", it.types.length ? it.types.join(", ") : "All"],
    ["Order", it.ordered ? "Kept within a conversation" : "Not kept"],
    ["Created", moment(it.created_at)],
  ];
  if (it.old_secret_until) rows.push(["Old secret", `Valid until ${moment(it.old_secret_until)}`]);
  return h(
    "div",
    { class: "page" },
    h(
      "header",
      null,
      h(
        "div",
        { class: "row" },
        h("a", { class: "ghost", href: "/endpoints", "aria-label": "All endpoints" }, icon("back")),
        h("div", null, h("h1", { dir: "auto" }, nameOf(it)), h("p", null, it.url)),
        statusPill(it),
      ),
      may("events:write") && actions(it, refresh, go),
    ),
    failing && problem({ title: "Deliveries fail", message: failing }),
    h("section", { class: "card" }, definitions(rows)),
    h("h2", null, "Deliveries"),
    deliveries,
  );
}

/** @param {Endpoint} it @param {() => unknown} refresh @param {Context["go"]} go */
function actions(it, refresh, go) {
  const { id } = it;
  const sendExample = () => post("/v1/endpoints/{id}/send-example", { id });
  const enable = () =>
    attempt(
      () => patch("/v1/endpoints/{id}", { id }, { enabled: !it.enabled }),
      it.enabled ? "Endpoint disabled" : "Endpoint enabled",
      refresh,
    );
  return h(
    "div",
    { class: "row" },
    button("Send example", () => attempt(sendExample, "The newest event is queued", refresh)),
    button("Retry failed", () => recover(id, refresh)),
    button("Rotate secret", () => rotate(id, refresh)),
    button(it.enabled ? "Disable" : "Enable", enable, { class: it.enabled ? "" : "primary" }),
    button("Edit", async () => (await editEndpoint(it)) && refresh()),
    button("Delete", () => remove(id, go), { class: "danger" }),
  );
}

/** @param {string} id @param {() => unknown} refresh */
async function recover(id, refresh) {
  const hours = h("input", { type: "number", min: 1, value: 24, required: true });
  const since = () => new Date(now() - Number(hours.value) * 3_600_000).toISOString();
  const value = () => post("/v1/endpoints/{id}/recover", { id }, { since: since() });
  const nodes = [field("Hours to look back", hours)];
  const result = await ask("Retry failed deliveries", { nodes, value }, "Retry");
  if (!result) return;
  toast(`${plural(result.recovered, "event")} queued again`);
  refresh();
}

/** @param {string} id @param {() => unknown} refresh */
async function rotate(id, refresh) {
  const text = "The old secret stays valid for a day: until then each delivery carries both signatures.";
  const value = () => post("/v1/endpoints/{id}/secret/rotate", { id });
  const made = await ask("Rotate the signing secret?", { nodes: [h("p", null, text)], value }, "Rotate");
  if (!made) return;
  await showOnce("New signing secret", "It is shown once.", made.secret ?? "");
  refresh();
}

/** @param {string} id @param {Context["go"]} go */
async function remove(id, go) {
  const text = "It receives no more events. Past deliveries stay in the log.";
  const value = () => del("/v1/endpoints/{id}", { id }).then(() => true);
  if (await ask("Delete the endpoint?", { nodes: [h("p", null, text)], value }, "Delete", { danger: true })) {
    go("/endpoints");
  }
}
