// Channels: connected accounts, and connecting one more.

import { get, may } from "./api.js";
import { avatar, button, empty, h, icon, pageHeader } from "./dom.js";
import { channelPage, channelPill } from "./channel.js";
import { connectAccount } from "./connect.js";
import { channelName, duration, plural } from "./format.js";
import { ListPage } from "./page.js";

/** @import { Channel, Context } from "./types" */

/** @param {HTMLElement} root @param {Context} context */
export function mount(root, { id, go }) {
  const editing = () => root.contains(document.activeElement?.closest("input") ?? null);
  return new ListPage(
    root,
    (shown, page) => (shown ? channelPage(shown, () => page.refresh(), go) : list(() => page.refresh())),
    (event) => event.type.startsWith("channel.") && !editing(),
  ).show(id);
}

/** @param {() => unknown} refresh */
async function list(refresh) {
  const [channels, apps] = await Promise.all([get("/v1/channels", { limit: 200 }), get("/v1/apps")]);
  const queues = await Promise.all(
    channels.data.map(({ id }) => get("/v1/channels/{id}/queue", { id }).catch(() => null)),
  );
  const connect =
    may("channels:write") &&
    apps.data.length > 0 &&
    button([icon("plus", 16), "Connect account"], () => connectAccount(apps.data, refresh), { class: "primary" });
  const cards = channels.data.map((channel, at) => card(channel, queues[at]));
  return h(
    "div",
    { class: "page" },
    pageHeader("Channels", "Business accounts that are connected to this host.", connect),
    cards.length ? h("div", { class: "cards" }, cards) : apps.data.length ? noChannels(connect) : noApps(),
  );
}

/** @param {Channel} channel @param {{ depth: number, oldest_age_ms?: number | null } | null} queue */
function card(channel, queue) {
  const name = channelName(channel);
  const about = h("small", null, channel.username ? `@${channel.username}` : channel.type);
  const queued = queue?.depth
    ? `${plural(queue.depth, "message")} queued, the oldest for ${duration(queue.oldest_age_ms ?? 0)}`
    : "No messages queued.";
  return h(
    "a",
    { class: "card", href: `/channels/${channel.id}` },
    h(
      "header",
      null,
      avatar(channel.id, name),
      h("div", null, h("h2", { dir: "auto" }, name), about),
      channelPill(channel),
    ),
    h("p", { class: "quiet" }, queued),
  );
}

/** @param {HTMLElement | false} connect */
const noChannels = (connect) =>
  empty(
    "No accounts connected",
    "Connecting takes about a minute: the account's owner logs in on the platform and grants access.",
    connect,
  );

const noApps = () =>
  empty(
    "Register an app first",
    "An app is your registration in the platform's developer portal. Install a connector and register the app, then " +
      "connect accounts.",
    h("a", { class: "button primary", href: "/connectors" }, "Connectors and apps"),
  );
