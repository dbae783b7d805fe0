// Transcripts: recorded calls, each as a sequence that a person can read.

import { get } from "./api.js";
import { ask, button, copyable, empty, h, json } from "./dom.js";
import { moment } from "./format.js";

/** @import { TranscriptSummary } from "./types" */
/** What the API passes through as an object.
 * @typedef {{ Ok: { status: number } } | { Ok?: undefined, Err: Record<string, unknown> }} Response
 * @typedef {{
 *   asked: { function: string, with: unknown },
 *   exchanges: { request: { method: string, url: string }, answer: Response }[],
 *   writes: object,
 *   end: { broke?: { words: string, backtrace: string }, said?: unknown },
 * }} Transcript */

/** @param {unknown} value */
const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** @param {string} name @param {TranscriptSummary[]} list */
export function transcriptsSection(name, list) {
  const rows = list.map((one) =>
    h(
      "li",
      null,
      h("time", { datetime: one.at }, moment(one.at)),
      " ",
      button(one.call, () => open(name, one), { class: "small" }),
      ` ${one.version} `,
      one.broke_off && h("span", { class: "pill bad" }, "Crashed"),
    ),
  );
  return h(
    "section",
    { class: "card", "aria-label": "Transcripts" },
    h("h2", null, "Transcripts"),
    rows.length
      ? h("ul", { class: "steps" }, rows)
      : empty("No transcripts yet", "A sample of each kind of call is recorded, and every crash."),
  );
}

/** @param {string} name @param {TranscriptSummary} summary */
async function open(name, { id, call, version }) {
  const found = await get("/v1/connectors/{name}/transcripts/{id}", { name, id });
  const { asked, exchanges, writes, end } = /** @type {Transcript} */ (/** @type {unknown} */ (found));
  const requests = exchanges.map(({ request, answer }) => {
    const response = answer.Ok ? `returned ${answer.Ok.status}` : `no response: ${text(Object.values(answer.Err)[0])}`;
    const [address] = request.url.split("?");
    return h("li", null, h("b", null, "Request"), " ", h("code", null, `${request.method} ${address}`), ` ${response}`);
  });
  const written = Object.keys(writes);
  const result = end.broke
    ? [
        h("p", { class: "warn", dir: "auto" }, end.broke.words),
        h("pre", { dir: "auto", tabindex: "0" }, end.broke.backtrace),
      ]
    : json(end.said);
  const sequence = h(
    "ol",
    { class: "sequence" },
    h("li", null, h("b", null, "Call"), " ", h("code", null, asked.function), json(asked.with)),
    requests,
    written.length > 0 && h("li", null, h("b", null, "State"), ` ${written.join(", ")}`),
    h("li", null, h("b", null, end.broke ? "Crashed" : "Result"), result),
  );
  const command = copyable(`weir connector transcript ${name} ${id} > call.json`);
  await ask(`${call} on ${version}`, { nodes: [sequence, command] }, "Close");
}
