// Deliveries of events to endpoints, with their attempts.

import { get, may, once } from "./api.js";
import { attempt, button, h, icon, loading, replace } from "./dom.js";
import { moment, plural, seconds } from "./format.js";

/** @import { Delivery } from "./types" */
/** @typedef {NonNullable<Delivery["attempts"]>[number]} Attempt */

/** @type {Record<string, string>} */
const TONES = { delivered: "good", failed: "bad", pending: "warn" };

/** One delivery; opened, it shows its attempts. @param {Delivery} one */
export function deliveryDetails(one) {
  const inside = h("div", { class: "in" });
  const fill = () =>
    replace(
      inside,
      loading(() => attempts(one.id)),
    );
  const head = h(
    "summary",
    null,
    h("time", null, seconds(one.created_at)),
    h("span", null, h("span", { class: `pill ${TONES[one.status] ?? ""}` }, one.status)),
    h("span", null, `${one.event_type}, ${plural(one.attempt_count, "attempt")}`),
  );
  return h("details", { class: "tail", ontoggle: (event) => event.target.open && fill() }, head, inside);
}

/** @param {string} id */
async function attempts(id) {
  const { due_at: due, status, attempts: made } = await get("/v1/deliveries/{id}", { id });
  const next = due ? `Next attempt at ${seconds(due)}.` : "No more automatic attempts.";
  const resend = () => attempt(() => once("/v1/deliveries/{id}/resend", { id }), "Delivery queued");
  return [
    h("p", { class: "quiet" }, !due && status === "delivered" ? "Delivered." : next),
    made?.length ? h("ul", { class: "checks" }, made.map(row)) : h("p", { class: "quiet" }, "No attempts yet."),
    may("events:write") && button("Resend", resend, { class: "small" }),
  ];
}

/** @param {Attempt} one */
function row({ number, status, elapsed_ms: elapsed, at, error, answer }) {
  const good = Boolean(status && status >= 200 && status < 300);
  return h(
    "li",
    { class: good ? "good" : "bad" },
    icon(good ? "check" : "alert"),
    h(
      "div",
      { class: "ink" },
      h("b", null, `Attempt ${number}`),
      ` · ${status ?? "no response"} · ${elapsed} ms · ${moment(at)}`,
      error && h("p", { class: "bad", dir: "auto" }, error),
      answer && h("pre", null, answer),
    ),
  );
}
