// A connector's versions: replay, canary, promotion and rollback.

import { get, post } from "./api.js";
import { ask, button, chart, checkbox, field, h, problem, replace, toast } from "./dom.js";
import { bytes, moment } from "./format.js";

/** @import { Canary, Child, Comparison, Connector, ConnectorVersion, Difference, VersionStep } from "./types" */

/** @type {Record<string, [tone: string, text: string]>} */
const STATES = {
  staged: ["accent", "Staged"],
  canary: ["warn", "Canary"],
  active: ["good", "Active"],
  draining: ["warn", "Draining"],
  retired: ["", "Retired"],
  quarantined: ["bad", "Quarantined"],
};

/** @param {string} state */
export function statePill(state) {
  const [tone, text] = STATES[state] ?? ["", state];
  return h("span", { class: `pill ${tone}` }, text);
}

/**
 * The versions of a connector, each with the actions that its state allows.
 * @param {Connector} it @param {ConnectorVersion[]} versions @param {boolean} writes @param {() => unknown} refresh
 */
export function versionList(it, versions, writes, refresh) {
  const done = (/** @type {string} */ text) => {
    toast(text);
    refresh();
  };
  return h(
    "ol",
    { class: "timeline" },
    versions.map((version) =>
      h(
        "li",
        { class: version.state },
        h("i"),
        h(
          "div",
          null,
          h("b", null, version.version),
          " ",
          statePill(version.state),
          about(version),
          writes && h("p", { class: "row wrap" }, actions(it, version, versions.length > 1, done)),
          version.state === "canary" && canaryStatus(version),
        ),
      ),
    ),
  );
}

/** @param {ConnectorVersion} version */
function about({ size, signature, staged_at: staged, digest, failure, missing_grants: missing }) {
  const key = signature.key ? ` by ${signature.key}` : "";
  return [
    h("p", { class: "quiet" }, `${bytes(size)}, ${signature.status}${key}, staged ${moment(staged)}`),
    h("small", null, h("code", { title: digest }, `${digest.slice(0, 26)}…`)),
    failure && h("p", { class: "warn", dir: "auto" }, `Failed ${moment(failure.at)}: ${failure.reason}`),
    missing.length > 0 && h("p", { class: "warn" }, `Undecided grants: ${missing.length}`),
  ];
}

// ---- actions --------------------------------------------------------------------------------------------------------

/** @typedef {(text: string) => void} Done */

/**
 * @param {Connector} it @param {ConnectorVersion} version @param {boolean} hasOthers @param {Done} done
 * @returns {Child}
 */
function actions(it, version, hasOthers, done) {
  const active = Boolean(it.active_version);
  switch (version.state) {
    case "active":
      return hasOthers && rollBack(version, done);
    case "canary":
      return [
        compare(version),
        replay(version),
        startCanary(version, done),
        promote(it, version, done),
        stopCanary(version, done),
      ];
    default:
      return [
        active && compare(version),
        replay(version),
        active && startCanary(version, done),
        promote(it, version, done),
        ["staged", "quarantined"].includes(version.state) && retire(version, done),
      ];
  }
}

/**
 * A button that asks for confirmation, acts and reports the result.
 * @param {string} label @param {string} title @param {Child[]} nodes @param {() => Promise<unknown>} act
 * @param {() => void} then
 */
const step = (label, title, nodes, act, then, danger = false) =>
  button(
    label,
    async () => {
      const value = () => act().then(() => true);
      if (await ask(title, { nodes, value }, label, { danger })) then();
    },
    { class: "small" },
  );

/** @param {string} text */
const paragraph = (text) => h("p", null, text);

/** @param {ConnectorVersion} version @param {Done} done */
function startCanary({ name, version, canary }, done) {
  const current = /** @type {Canary | null | undefined} */ (canary);
  const percent = h("input", { type: "number", min: 0, max: 100, required: true, value: current?.percent || 10 });
  const minutes = h("input", { type: "number", min: 0, required: true, value: (current?.rule.bake_s ?? 3600) / 60 });
  const promotes = h("input", { type: "checkbox", checked: current?.rule.promote ?? false });
  const nodes = [
    paragraph(
      "It serves this share of the accounts; each account sees one version. It is rolled back automatically if it " +
        "crashes, or if more of its calls fail than of the active version's.",
    ),
    field(
      "Share of accounts, in percent",
      percent,
      "With 0 it shadows: calls of the active version are replayed against it, and it serves no account.",
    ),
    field("Bake time, in minutes", minutes),
    checkbox(promotes, "Promote automatically after the bake time"),
  ];
  const start = () =>
    post(
      "/v1/connectors/{name}/versions/{version}/canary",
      { name, version },
      {
        percent: Number(percent.value),
        rule: /** @type {any} */ ({ bake_s: Number(minutes.value) * 60, promote: promotes.checked }),
      },
    );
  const [label, title] = current
    ? ["Edit canary", `Edit canary ${version}`]
    : ["Start canary", `Start canary ${version}`];
  return step(label, title, nodes, start, () => done(current ? "Canary updated" : "Canary started"));
}

/** @param {ConnectorVersion} version */
const replay = ({ name, version }) =>
  button(
    "Replay",
    async () => {
      const place = h("div", { "aria-live": "polite" }, paragraph("Replaying…"));
      const replayed = post("/v1/connectors/{name}/versions/{version}/replay", { name, version }, {}).then(
        (found) => replace(place, report(/** @type {Comparison} */ (/** @type {unknown} */ (found)))),
        (failure) => replace(place, problem(failure)),
      );
      const text = "Offline: every response comes from a transcript; nothing is sent and nothing is stored.";
      await ask(`Replay on ${version}`, { nodes: [h("p", { class: "quiet" }, text), place] }, "Close");
      await replayed;
    },
    { class: "small" },
  );

/** @param {ConnectorVersion} version */
const compare = ({ name, version }) =>
  button(
    "Show changes",
    async () => {
      const found = await get("/v1/connectors/{name}/versions/{version}/changes", { name, version });
      const changes = /** @type {Difference[]} */ (/** @type {unknown} */ (found.manifest));
      const nodes = changes.length
        ? [
            h(
              "ul",
              { class: "differences" },
              changes.map((one) => difference(one)),
            ),
          ]
        : [paragraph("The manifest is the same as the active version's.")];
      await ask(`${version} compared to ${found.active_version ?? "nothing"}`, { nodes }, "Close");
    },
    { class: "small" },
  );

/** @param {Connector} it @param {ConnectorVersion} version @param {Done} done */
function promote(it, { name, version, missing_grants: missing }, done) {
  const nodes = [
    paragraph(
      it.active_version
        ? `It replaces ${it.active_version} for all accounts at once. Running calls finish on their version.`
        : "It starts serving all channels of its apps.",
    ),
    missing.length > 0 && h("p", { class: "warn" }, "Some grants are undecided. Grant or withhold them first."),
  ];
  const act = () => post("/v1/connectors/{name}/versions/{version}/promote", { name, version });
  return step("Promote", `Promote ${version}?`, nodes, act, () => done(`${version} promoted`));
}

/**
 * @param {ConnectorVersion} version
 * @param {string} label @param {string} title @param {string} text @param {() => void} then
 */
function rollBackStep({ name, version }, label, title, text, then) {
  const reason = h("input", { maxlength: 200 });
  const nodes = [paragraph(text), field("Reason", reason, "Shown on the timeline.")];
  const body = () => ({ reason: reason.value });
  const act = () => post("/v1/connectors/{name}/versions/{version}/rollback", { name, version }, body());
  return step(label, title, nodes, act, then, true);
}

/** @param {ConnectorVersion} version @param {Done} done */
const rollBack = (version, done) =>
  rollBackStep(
    version,
    "Roll back",
    `Roll back ${version.version}?`,
    "The previous version becomes active again, with its earlier state.",
    () => done(`${version.version} rolled back`),
  );

/** @param {ConnectorVersion} version @param {Done} done */
const stopCanary = (version, done) =>
  rollBackStep(
    version,
    "Stop canary",
    `Stop canary ${version.version}?`,
    "Its accounts return to the active version, with their earlier state.",
    () => done("Canary stopped"),
  );

/** @param {ConnectorVersion} version @param {Done} done */
function retire({ name, version }, done) {
  const nodes = [paragraph("It serves no account, and can be promoted again later.")];
  const act = () => post("/v1/connectors/{name}/versions/{version}/retire", { name, version });
  return step("Retire", `Retire ${version}?`, nodes, act, () => done(`${version} retired`));
}

// ---- comparisons ----------------------------------------------------------------------------------------------------

/** @type {Record<string, string>} */
const KINDS = {
  trap: "crashes",
  outcome: "different outcome",
  event: "different event",
  answer: "different response",
  request: "different request",
  state_write: "different state",
  refusal: "refused by the host",
};

/** @param {unknown} value */
const text = (value) => {
  if (value === null || value === undefined) return "none";
  return typeof value === "string" ? value : JSON.stringify(value);
};

/**
 * One difference. Its content is user content: text, never markup.
 * @param {Difference} one @param {Child[]} more
 */
const difference = (one, ...more) =>
  h(
    "li",
    { class: "difference" },
    h("b", null, h("code", null, one.at || "whole")),
    more,
    h(
      "dl",
      null,
      h("dt", null, "Before"),
      h("dd", { dir: "auto" }, text(one.before)),
      h("dt", null, "After"),
      h("dd", { dir: "auto" }, text(one.after)),
    ),
  );

/** What a replay or a shadow run found. @param {Comparison} it */
function report(it) {
  if (it.calls === 0) return h("p", { class: "quiet" }, "No calls replayed yet.");
  const ms = (/** @type {{ elapsed_us: number }} */ side) => (side.elapsed_us / it.calls / 1000).toFixed(1);
  const groups = it.groups.map((one) =>
    difference(one, h("small", null, ` ${one.count} × in ${one.call}: ${KINDS[one.kind] ?? one.kind}`)),
  );
  return h(
    "div",
    { class: "stack" },
    h(
      "p",
      { class: it.differ ? "warn" : "quiet" },
      it.differ ? `${it.differ} of ${it.calls} calls differ.` : `${it.calls} calls, no differences.`,
    ),
    it.refused > 0 && h("p", { class: "warn" }, `Calls with requests that the host would refuse: ${it.refused}`),
    h("small", { class: "quiet" }, `${ms(it.before)} ms per call before, ${ms(it.after)} ms after`),
    h("ul", { class: "differences" }, groups),
  );
}

// ---- the canary -----------------------------------------------------------------------------------------------------

/** @typedef {"calls" | "failed" | "broke_off" | "p50_ms" | "p99_ms"} Figure */
/** @typedef {Partial<Record<Figure, number | null>>} Figures */
/** @typedef {{ active: Figures, on_trial: Figures, canary: Canary, shadow: Comparison }} Sample */

const EVERY_MS = 5000;
/** An hour of samples of each canary, kept while the console is open. */
const MAX_SAMPLES = 720;
/** @type {Map<string, Sample[]>} */
const samples = new Map();

/** @type {[label: string, figure: Figure][]} */
const FIGURES = [
  ["Calls", "calls"],
  ["Failed", "failed"],
  ["Crashed", "broke_off"],
  ["p50, ms", "p50_ms"],
  ["p99, ms", "p99_ms"],
];

/** Two versions side by side: each figure now, and over time. @param {Sample[]} seen */
function figures(seen) {
  const last = seen[seen.length - 1];
  const shown = (/** @type {number | null | undefined} */ value) =>
    value === null || value === undefined ? "–" : String(Math.round(value * 10) / 10);
  return h(
    "div",
    { class: "figures" },
    FIGURES.map(([label, figure]) => {
      const series = (/** @type {"active" | "on_trial"} */ side) => seen.map((one) => one[side][figure] ?? 0);
      const canary = `${shown(last.on_trial[figure])} canary`;
      const active = `${shown(last.active[figure])} active`;
      return h(
        "section",
        { "aria-label": label },
        h("h4", null, label),
        chart([series("on_trial"), series("active")], `${label}: ${canary}, ${active}`),
        h("p", { class: "legend" }, h("span", { class: "mine" }, canary), h("span", { class: "theirs" }, active)),
      );
    }),
  );
}

/** A canary's figures, read again while they are shown. @param {ConnectorVersion} version */
function canaryStatus({ name, version }) {
  const place = h("div", { class: "trial" });
  const draw = (/** @type {Sample} */ sample) => {
    const { percent, since } = sample.canary;
    const key = `${name}/${version}/${since}`;
    const seen = [...(samples.get(key) ?? []), sample].slice(-MAX_SAMPLES);
    samples.set(key, seen);
    replace(
      place,
      paragraph(
        percent ? `Serves ${percent} % of the accounts since ${moment(since)}.` : `Shadows since ${moment(since)}.`,
      ),
      figures(seen),
      h("h4", null, "Shadow calls"),
      report(sample.shadow),
    );
  };
  const read = () =>
    get("/v1/connectors/{name}/versions/{version}/trial", { name, version })
      .then(
        (run) => draw(/** @type {Sample} */ (/** @type {unknown} */ (run))),
        (failure) => replace(place, problem(failure)),
      )
      .then(() => setTimeout(() => place.isConnected && read(), EVERY_MS));
  read();
  return place;
}

/** What happened to the versions, newest first. @param {VersionStep[]} steps */
export function timeline(steps) {
  const rows = steps
    .slice(0, 20)
    .map(({ at, version, state, reason }) =>
      h(
        "li",
        null,
        h("time", { datetime: at }, moment(at)),
        " ",
        h("b", null, version),
        " ",
        statePill(state),
        reason && h("small", { dir: "auto" }, ` ${reason}`),
      ),
    );
  return h(
    "section",
    { class: "card", "aria-label": "Timeline" },
    h("h2", null, "Timeline"),
    h("ul", { class: "steps" }, rows),
  );
}
