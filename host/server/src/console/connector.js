// One connector: its versions, manifest, grants and transcripts.

import { get, may, put } from "./api.js";
import { attempt, button, definitions, h, icon } from "./dom.js";
import { spaced } from "./format.js";
import { transcriptsSection } from "./transcripts.js";
import { timeline, versionList } from "./versions.js";

/** @import { Connector, ConnectorVersion, Grant, Manifest, WantedGrant } from "./types" */

/** Older versions are on the timeline only. */
const MAX_VERSIONS = 10;

/** @param {string} name @param {() => unknown} refresh */
export async function connectorPage(name, refresh) {
  const it = await get("/v1/connectors/{name}", { name });
  const writes = may("connectors:write");
  const shown = it.versions.slice(0, MAX_VERSIONS);
  const [steps, calls, ...versions] = await Promise.all([
    get("/v1/connectors/{name}/timeline", { name }),
    writes ? get("/v1/connectors/{name}/transcripts", { name, limit: 20 }) : { data: [] },
    ...shown.map(({ version }) => get("/v1/connectors/{name}/versions/{version}", { name, version })),
  ]);
  const newest = versions[0];
  const back = h("a", { class: "ghost", href: "/connectors", "aria-label": "All connectors" }, icon("back"));
  const title = h("div", null, h("h1", null, it.name), h("p", null, it.description));
  return h(
    "div",
    { class: "page" },
    h("header", null, h("div", { class: "row" }, back, title)),
    h(
      "div",
      { class: "split" },
      h(
        "div",
        { class: "stack" },
        h(
          "section",
          { class: "card", "aria-label": "Versions" },
          h("h2", null, "Versions"),
          versionList(it, versions, writes, refresh),
        ),
        timeline(steps.data),
        manifestSection(newest.manifest),
        writes && transcriptsSection(it.name, calls.data),
      ),
      grantsSection(it, newest, writes, refresh),
    ),
  );
}

/** @param {Manifest} manifest */
function manifestSection(manifest) {
  const outbound = manifest.contents.filter((one) => one.outbound === "full").map((one) => spaced(one.kind));
  /** @type {[string, string | number][]} */
  const rows = [
    ["Platform", manifest.platform],
    ["Release", manifest.release],
    ["Maturity", manifest.maturity],
    ["Account types", manifest.account_kinds.join(", ")],
    ["Pricing", manifest.pricing],
    ["Sends", outbound.join(", ")],
    ["Capabilities", manifest.provides?.join(", ") || "None"],
  ];
  const link = { href: manifest.homepage, target: "_blank", rel: "noopener noreferrer" };
  return h(
    "section",
    { class: "card", "aria-label": "Manifest" },
    h("h2", null, "Manifest"),
    definitions(rows.filter(([, value]) => value !== "")),
    manifest.homepage && h("a", link, "Platform documentation"),
  );
}

// ---- grants ---------------------------------------------------------------------------------------------------------

/** @type {Record<Grant["class"], string>} */
const CLASSES = {
  read: "Reads data",
  "message-send": "Sends messages, each permitted by the host",
  signal: "Sends typing indicators and read receipts",
  media: "Transfers media",
  setup: "Sets up the account",
};

/** What a grant allows, as a title, its place, and its secrets. @param {Grant} given */
function describe(given) {
  const secrets = given.secrets.map(spaced).join(" and ");
  if (given.capability === "webhook") {
    return { title: "Trusts webhooks", where: given.places?.join(", "), secrets: `Verified with ${secrets}.` };
  }
  if (given.capability === "policy") {
    return { title: "Sets messaging limits", where: "Messaging window, budget, rates", secrets: "No secret is added." };
  }
  return {
    title: given.capability === "authorization" ? "Authorizes accounts" : (CLASSES[given.class] ?? given.class),
    where: `${given.method} ${given.origin}${given.path}`,
    secrets: secrets ? `The host adds ${secrets}; the connector never sees it.` : "No secret is added.",
  };
}

/** @param {Grant} given */
function terms({ terms, body_has: members }) {
  return [
    members?.length && `Only with ${members.join(", ")}.`,
    terms?.except?.length && `Except what an earlier route matches: ${terms.except.join(", ")}.`,
    terms?.scopes?.length && `Permissions: ${terms.scopes.join(", ")}.`,
    terms?.fixed?.length && `Fixed: ${terms.fixed.join("; ")}.`,
    typeof terms?.tolerance_s === "number" && `Timestamps may be off by ${terms.tolerance_s} s.`,
  ].filter(Boolean);
}

/** @param {WantedGrant} wanted @param {HTMLInputElement} box */
function grantRow(wanted, box) {
  const { title, where, secrets } = describe(wanted);
  const changes = wanted.changes.map(
    ({ member, before, after }) => `Changed: ${member} was ${before || "none"}, now ${after || "none"}.`,
  );
  const text = h(
    "span",
    null,
    h("b", null, wanted.why || title),
    h("small", null, `${title}. ${secrets}`),
    h("code", null, where),
    terms(wanted).map((term) => h("small", null, term)),
    wanted.capability === "policy" && h("small", null, wanted.words),
    changes.map((change) => h("small", { class: "warn" }, change)),
  );
  return h("li", null, h("label", null, box, text));
}

/** The grants that the newest version requests, each with its own checkbox. */
/**
 * @param {Connector} it @param {ConnectorVersion} version @param {boolean} writes @param {() => unknown} refresh
 */
function grantsSection(it, version, writes, refresh) {
  // The grant is the requested part; its description and its changes are only for display.
  const exact = (/** @type {Partial<WantedGrant>} */ { words, changes, ...grant }) => JSON.stringify(grant);
  const withheld = new Set(it.withheld_grants.map(exact));
  const wanted = new Set(version.wanted_grants.map(exact));
  const others = it.grants.filter((one) => !wanted.has(exact(one)));
  const boxes = version.wanted_grants.map((one) =>
    h("input", { type: "checkbox", checked: !withheld.has(exact(one)), disabled: !writes }),
  );
  const undecided = version.missing_grants.length;
  const save = () => {
    const grants = [...others, ...version.wanted_grants.filter((_, at) => boxes[at].checked)];
    const body = { version: version.version, grants };
    return attempt(() => put("/v1/connectors/{name}/grants", { name: it.name }, body), "Grants saved", refresh);
  };
  const state = undecided ? `${undecided} undecided` : "All decided";
  return h(
    "section",
    { class: "card", "aria-label": "Grants" },
    h(
      "header",
      null,
      h(
        "div",
        null,
        h("h2", null, `Grants for ${version.version}`),
        h("small", null, "The connector can reach these addresses and no others."),
      ),
      h("span", { class: `pill ${undecided ? "warn" : "good"}` }, state),
    ),
    h(
      "ul",
      { class: "grants" },
      version.wanted_grants.map((one, at) => grantRow(one, boxes[at])),
    ),
    writes && button(undecided ? "Grant selected" : "Save grants", save, { class: undecided ? "primary" : "" }),
  );
}
