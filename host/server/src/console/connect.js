// Connecting an account: prerequisites, the platform's own page, and the result.

import { get, post } from "./api.js";
import { ask, copyable, field, h, icon, problem, replace, toast } from "./dom.js";
import { moment } from "./format.js";

/** @import { App, AppSetting, Channel, ConnectSession } from "./types" */

const POLL_MS = 700;

/** Connects a new account of one of the apps. @param {App[]} apps @param {() => unknown} done */
export async function connectAccount(apps, done) {
  const app = h(
    "select",
    null,
    apps.map((one) => h("option", { value: one.name }, one.name)),
  );
  const form = connectForm(() => apps.find((one) => one.name === app.value)?.connector ?? "");
  app.addEventListener("change", form.load);
  const session = await ask(
    "Connect an account",
    {
      nodes: [apps.length > 1 && field("App", app), form.element],
      value: () => post("/v1/connect-sessions", {}, { app: app.value, fields: form.values() }),
    },
    "Continue",
  );
  await finish(session, done);
}

/** Starts a new authorization by the account's owner. @param {Channel} channel @param {() => unknown} done */
export async function reauthorize(channel, done) {
  const form = connectForm(() => channel.connector);
  const { id } = channel;
  const value = () => post("/v1/channels/{id}/reauthorize", { id });
  await finish(await ask("Reauthorize the account", { nodes: [form.element], value }, "Continue"), done);
}

/** @param {ConnectSession | null} session @param {() => unknown} done */
async function finish(session, done) {
  if (!session) return;
  if (session.status === "succeeded") toast("Account connected");
  else await waitForConsent(session);
  done();
}

/** The fields that a connector requires before an account is connected. @param {() => string} connector */
function connectForm(connector) {
  const element = h("div");
  /** @type {Map<string, HTMLInputElement>} */
  const inputs = new Map();
  const load = async () => {
    replace(element);
    inputs.clear();
    try {
      const manifest = await manifestOf(connector());
      const steps = manifest?.prerequisites.map((text) => h("li", null, text)) ?? [];
      const settings = manifest?.authorization.by === "fields" ? manifest.authorization.fields : [];
      const head = steps.length > 0 && [h("h3", null, "Before you begin"), h("ol", { class: "steps" }, steps)];
      replace(element, head, settings.map(input));
    } catch (failure) {
      replace(element, problem(failure));
    }
  };
  /** @param {AppSetting} setting */
  const input = ({ name, label, help, secret, required }) => {
    const box = h("input", { type: secret ? "password" : "text", required, autocomplete: "off" });
    inputs.set(name, box);
    return field(label, box, help);
  };
  load();
  return { element, load, values: () => Object.fromEntries([...inputs].map(([name, { value }]) => [name, value])) };
}

/** @param {string} name */
async function manifestOf(name) {
  const { active_version: version } = await get("/v1/connectors/{name}", { name });
  return version ? (await get("/v1/connectors/{name}/versions/{version}", { name, version })).manifest : null;
}

/** Shows the link for the account's owner until the dialog is closed. @param {ConnectSession} session */
async function waitForConsent({ id, url, expires_at: expires }) {
  const state = h("div", { role: "status" }, h("p", { class: "quiet" }, "Waiting for the account's owner."));
  let open = true;
  const poll = async () => {
    while (open) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      const session = await get("/v1/connect-sessions/{id}", { id }).catch(() => null);
      if (!session || session.status === "pending" || !open) continue;
      showResult(state, session);
      return;
    }
  };
  poll();
  const link = { class: "button primary", href: url, target: "_blank", rel: "noopener", id: "consent" };
  const nodes = [
    h(
      "p",
      null,
      "The account's owner opens this link, logs in and grants access. Open it here or send it to them. It works " +
        "once and expires on ",
      h("time", null, moment(expires)),
      ".",
    ),
    h("a", link, "Open the platform's page", icon("out", 15)),
    copyable(url),
    state,
  ];
  await ask("Log in on the platform", { nodes }, "Done");
  open = false;
}

/** @param {HTMLElement} state @param {ConnectSession} session */
function showResult(state, { status, problem: failure }) {
  if (status === "succeeded") {
    replace(state, h("p", { class: "good" }, icon("check"), " Connected."));
    toast("Account connected");
  } else {
    const message = failure?.detail ?? "The link expired before it was used.";
    replace(state, problem({ title: "Not connected", message, code: failure?.code }));
  }
}
