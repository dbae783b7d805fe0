// A connector's versions: proof before a swap, the swap, and the way back.

import { get, post } from "./api.js";
import { ask, button, chart, copyable, empty, field, h, problem, replace, toast } from "./dom.js";
import { bytes, moment } from "./words.js";

const STATES = { staged: ["accent", "Installed, does not serve"], canary: ["warn", "On trial"], active: ["good", "Serves"], draining: ["warn", "Ends its work"], retired: ["", "Retired"], quarantined: ["bad", "Set aside"] };
export const pill = (state) => h("span", { class: `pill ${STATES[state]?.[0] ?? ""}` }, STATES[state]?.[1] ?? state);

const KINDS = { trap: "breaks off", outcome: "ends otherwise", event: "tells otherwise", answer: "answers otherwise", request: "asks the platform otherwise", state_write: "remembers otherwise", refusal: "is refused by the host" };
const text = (value) => (value === null || value === undefined ? "nothing" : typeof value === "string" ? value : JSON.stringify(value));

/** One difference, before beside now. What stands there was written by people: text, never markup. */
const difference = (one, ...more) => h("li", { class: "difference" }, h("b", null, h("code", null, one.at || "all of it")), ...more,
  h("dl", null, h("dt", null, "Before"), h("dd", { dir: "auto" }, text(one.before)), h("dt", null, "Now"), h("dd", { dir: "auto" }, text(one.after))));

/** What a replay or a shadow run came to. */
export const report = (it) => (it.calls === 0 ? h("p", { class: "quiet" }, "No call was asked again yet.")
  : h("div", { class: "stack" },
    h("p", { class: it.differ ? "warn" : "quiet" }, it.differ ? `${it.differ} of ${it.calls} calls would end otherwise.` : `${it.calls} calls, and all end the same.`),
    it.refused > 0 && h("p", { class: "warn" }, `The host would refuse what this version does in ${it.refused} of them.`),
    h("small", { class: "quiet" }, `${(it.before.elapsed_us / it.calls / 1000).toFixed(1)} ms a call before, ${(it.after.elapsed_us / it.calls / 1000).toFixed(1)} ms now`),
    h("ul", { class: "differences" }, it.groups.map((one) => difference(one, h("small", null, ` ${one.count} × in ${one.call}: ${KINDS[one.kind] ?? one.kind}`))))));

const EVERY = 5000;
/** An hour of looks at each trial, kept while the console is open. */
const LOOKS = 720;
const looks = new Map();

/** Two versions side by side: each figure as it stands, and how it came there while somebody looked. */
function figures(seen) {
  const rows = [["Calls", "calls"], ["Failed", "failed"], ["Broke off", "broke_off"], ["Half within, ms", "p50_ms"], ["99 of 100 within, ms", "p99_ms"]];
  const last = seen.at(-1);
  return h("div", { class: "figures" }, rows.map(([label, key]) => {
    const of = (side) => seen.map((one) => one[side][key] ?? 0);
    const [mine, theirs] = [last.on_trial[key] ?? "–", last.active[key] ?? "–"];
    return h("section", { "aria-label": label }, h("h4", null, label), chart([of("on_trial"), of("active")], `${label}: ${mine} on trial, ${theirs} serving`),
      h("p", { class: "legend" }, h("span", { class: "mine" }, `${mine} on trial`), h("span", { class: "theirs" }, `${theirs} serving`)));
  }));
}

/** The versions of a connector, each with the steps that it can take; `again` draws the page anew. */
export function versions(it, list, { writes, again }) {
  const at = (version, step) => `/v1/connectors/${encodeURIComponent(it.name)}/versions/${encodeURIComponent(version.version)}/${step}`;
  const done = (words) => {
    toast(words);
    again();
  };
  const step = (version, label, title, words, path, body, said, danger = false) => button(label, async () => {
    const sure = await ask(title, { nodes: words.filter(Boolean).map((one) => (typeof one === "string" ? h("p", null, one) : one)), value: () => post(at(version, path), body()) }, label, { danger });
    if (sure) done(said);
  }, { class: "small" });

  const share = (version) => {
    const percent = h("input", { type: "number", min: 0, max: 100, required: true, value: String(version.canary?.percent || 10) });
    const bake = h("input", { type: "number", min: 0, required: true, value: String((version.canary?.rule.bake_s ?? 3600) / 60) });
    const ahead = h("input", { type: "checkbox", checked: version.canary?.rule.promote ?? false });
    return step(version, version.canary ? "Change the trial" : "Try it", `Try ${version.version}`, [
      "It serves this share of the accounts; each account meets one version. It goes back by itself when it breaks off, or when more of its calls fail than of the version that serves.",
      field("Share of the accounts, in percent", percent, "With 0 it follows along: what the serving version does is asked of it again, and nobody is served by it."),
      field("Minutes to hold", bake), h("label", null, ahead, " Let it serve all when it has held"),
    ], "canary", () => ({ percent: Number(percent.value), rule: { bake_s: Number(bake.value) * 60, promote: ahead.checked } }), `${version.version} is on trial`);
  };
  const prove = (version) => button("Ask real calls again", async () => {
    const place = h("div", { "aria-live": "polite" }, h("p", null, "Asking…"));
    const asked = post(at(version, "replay"), {}).then((found) => replace(place, report(found)), (failure) => replace(place, problem(failure)));
    await ask(`Real calls, asked of ${version.version}`, { nodes: [h("p", { class: "quiet" }, "Offline: every answer comes from what was written down, nothing leaves, and nothing is kept."), place] }, "Close");
    await asked;
  }, { class: "small" });
  const changes = (version) => button("What would change", async () => {
    const found = await get(at(version, "changes"));
    await ask(`${version.version} beside ${found.active_version ?? "nothing"}`, { nodes: [found.manifest.length ? h("ul", { class: "differences" }, found.manifest.map((one) => difference(one))) : h("p", null, "It says of itself what the serving version does.")] }, "Close");
  }, { class: "small" });
  const serve = (version) => step(version, "Let it serve", `Let ${version.version} serve?`, [
    it.active_version ? `It takes the place of ${it.active_version} for all accounts at once. Calls that run finish on the version that they began on.` : "It begins to serve all channels of its apps.",
    version.missing_grants.length > 0 && h("p", { class: "warn" }, "Not everything that it asks for is decided: say yes first, or no."),
  ], "promote", () => ({}), `${version.version} serves`);
  const back = (version, words) => {
    const reason = h("input", { maxlength: 200 });
    return step(version, "Take it back", `Take ${version.version} back?`, [words, field("Why", reason, "It stands in the timeline.")], "rollback", () => ({ reason: reason.value }), `${version.version} goes back`, true);
  };
  const retire = (version) => step(version, "Retire", `Retire ${version.version}?`, ["It serves nobody, and can be let serve again later."], "retire", () => ({}), `${version.version} is retired`);

  const steps = { active: (one) => [list.length > 1 && back(one, "The version that served before it takes its place; state that it took over is as it was.")],
    canary: (one) => [changes(one), prove(one), share(one), serve(one), back(one, "Its accounts go back to the version that serves; state that it took over is as it was.")] };
  const others = (one) => [it.active_version && changes(one), prove(one), it.active_version && share(one), serve(one), ["staged", "quarantined"].includes(one.state) && retire(one)];
  const trial = (version) => {
    const place = h("div", { class: "trial" });
    const draw = (found) => {
      const key = `${it.name}/${version.version}/${found.canary.since}`;
      const seen = [...looks.get(key) ?? [], found].slice(-LOOKS);
      looks.set(key, seen);
      replace(place, h("p", null, found.canary.percent ? `Serves ${found.canary.percent} of 100 accounts since ${moment(found.canary.since)}.` : `Follows along since ${moment(found.canary.since)}.`), figures(seen), h("h4", null, "Asked again what the serving version did"), report(found.shadow));
    };
    const step = () => get(at(version, "trial")).then(draw, (failure) => replace(place, problem(failure))).then(() => setTimeout(() => place.isConnected && step(), EVERY));
    step();
    return place;
  };
  return h("ol", { class: "timeline" }, list.map((one) => h("li", { class: one.state }, h("i"), h("div", null, h("b", null, one.version), " ", pill(one.state),
    h("p", { class: "quiet" }, `${bytes(one.size)}, ${one.signature.status}${one.signature.key ? ` by ${one.signature.key}` : ""}, installed ${moment(one.staged_at)}`), h("small", null, h("code", { title: one.digest }, `${one.digest.slice(0, 26)}…`)),
    one.failure && h("p", { class: "warn", dir: "auto" }, `Failed ${moment(one.failure.at)}: ${one.failure.reason}`),
    one.missing_grants.length > 0 && h("p", { class: "warn" }, `${one.missing_grants.length} of what it asks for is not decided.`),
    writes && h("p", { class: "row wrap" }, (steps[one.state] ?? others)(one)),
    one.state === "canary" && trial(one)))));
}

/** What happened to the versions, newest first. */
export const timeline = (steps) => h("section", { class: "card", "aria-label": "Timeline" }, h("h2", null, "Timeline"), h("ul", { class: "steps" }, steps.slice(0, 20).map((one) => h("li", null, h("time", { datetime: one.at }, moment(one.at)), " ", h("b", null, one.version), " ", pill(one.state), one.reason && h("small", { dir: "auto" }, ` ${one.reason}`)))));

/** Calls that were written down, each as a sequence that a person can read. */
export function transcripts(name, list) {
  const path = `/v1/connectors/${encodeURIComponent(name)}/transcripts`;
  const open = async (one) => {
    const whole = await get(`${path}/${encodeURIComponent(one.id)}`);
    const broke = whole.end.broke;
    const answer = (it) => (it.Ok ? `answered ${it.Ok.status}` : `got no answer: ${text(Object.values(it.Err)[0])}`);
    await ask(`${one.call} by ${one.version}`, { nodes: [h("ol", { class: "sequence" },
      h("li", null, h("b", null, "Asked"), " ", h("code", null, whole.asked.function), h("pre", { dir: "auto", tabindex: "0" }, JSON.stringify(whole.asked.with, null, 2))),
      whole.exchanges.map((it) => h("li", null, h("b", null, "Request"), " ", h("code", null, `${it.request.method} ${it.request.url.split("?")[0]}`), ` ${answer(it.answer)}`)),
      Object.keys(whole.writes).length > 0 && h("li", null, h("b", null, "Remembered"), ` ${Object.keys(whole.writes).join(", ")}`),
      h("li", null, h("b", null, broke ? "Broke off" : "Said"), broke ? h("p", { class: "warn", dir: "auto" }, broke.words) : null, h("pre", { dir: "auto", tabindex: "0" }, broke ? broke.backtrace : JSON.stringify(whole.end.said, null, 2)))),
    copyable(`weir connector transcript ${name} ${one.id} > call.json`)] }, "Close");
  };
  return h("section", { class: "card", "aria-label": "Calls" }, h("h2", null, "Calls that were written down"), list.length
    ? h("ul", { class: "steps" }, list.map((one) => h("li", null, h("time", { datetime: one.at }, moment(one.at)), " ", button(one.call, () => open(one), { class: "small" }), ` ${one.version} `, one.broke_off && h("span", { class: "pill bad" }, "Broke off"))))
    : empty("None yet", "Some of each kind are kept as they happen, and every one that breaks off."));
}
