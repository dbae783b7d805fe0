// One message: its content, its status, and the possible actions. User content is only text; `dir=auto` sets the
// direction of each text.

import { del, get, local, once, remedy } from "./api.js";
import { ask, attempt, button, definitions, h, icon, safeUrl } from "./dom.js";
import { STATUS, bytes, clock, full, gist, spaced } from "./format.js";

/** @import { Attachment, Child, Content, Message, MessageStatus, Referral } from "./types" */

/** @type {Record<string, string>} */
const REASONS = {
  type_unsupported: "not supported by the platform's API",
  content_withheld: "withheld by the platform",
  media_unavailable: "the file could not be downloaded",
  media_expired: "the file expired before it was downloaded",
};
/** @type {Record<string, string>} */
const SOURCES = { ad: "From an ad", link: "From a link", post: "From a post", qr: "From a QR code" };
/** @type {Partial<Record<MessageStatus, Parameters<typeof icon>[0]>>} */
const SIGNS = {
  sent: "check",
  delivered: "checks",
  read: "checks",
  uncertain: "unsure",
  failed: "alert",
  cancelled: "close",
};

/** @param {string} text */
const paragraph = (text) => h("p", { dir: "auto", class: "words" }, text);
/** @param {string} link @param {string} text */
const external = (link, text) =>
  safeUrl(link) && h("a", { href: link, target: "_blank", rel: "noopener noreferrer" }, text, icon("out", 14));
/** @param {string} time */
const sentAt = (time) => h("time", { datetime: time, title: full(time) }, clock(time));

// ---- media ----------------------------------------------------------------------------------------------------------

/** Where a stored file is, or null. @param {Attachment} media */
const source = (media) => (media.url && media.status === "stored" ? local(media.url) : null);

/** @param {Attachment} media @param {string} name */
function picture(media, name) {
  const from = source(media);
  if (from) {
    const image = h("img", { src: from, alt: name, loading: "lazy" });
    return h("a", { href: from, download: true, class: "picture", "aria-label": `${name}, download` }, image);
  }
  const state = media.status === "failed" ? "The file could not be downloaded" : "Downloading the file";
  return h("span", { class: "picture none" }, icon("image", 24), h("small", null, state));
}

/** @param {Attachment} media @param {string} name */
function video(media, name) {
  const from = source(media);
  if (!from) return picture(media, name);
  const shown = { controls: true, preload: "metadata", playsinline: true, class: "picture" };
  return h("video", { src: from, ...shown, "aria-label": name });
}

/** @param {Attachment} media @param {string} name */
function file(media, name) {
  const from = source(media);
  const about = [media.mime_type, media.size && bytes(media.size)].filter(Boolean).join(", ");
  const label = [icon("post"), about ? `${name} (${about})` : name];
  return from ? h("a", { href: from, download: true, class: "file" }, label) : h("span", { class: "file" }, label);
}

/** A file of any type. @param {Attachment} media @param {string} name */
function anyMedia(media, name) {
  const [type] = (media.mime_type ?? "").split("/");
  if (type === "video") return video(media, name);
  return type === "image" || media.status !== "stored" ? picture(media, name) : file(media, name);
}

// ---- contents -------------------------------------------------------------------------------------------------------

/** @type {{ [T in Content["type"]]?: (it: Extract<Content, { type: T }>) => Child }} */
const CONTENTS = {
  text: (it) => paragraph(it.text),
  image: (it) => [picture(it.media, "Image"), it.caption && paragraph(it.caption)],
  sticker: (it) => picture(it.media, "Sticker"),
  video: (it) => [video(it.media, "Video"), it.caption && paragraph(it.caption)],
  audio: (it) => file(it.media, "Voice message"),
  file: (it) => [file(it.media, "File"), it.caption && paragraph(it.caption)],
  shared_post: (it) => {
    const link = it.url ? external(it.url, "View post") : h("small", null, it.post_id ?? "");
    const cover = h("span", { class: "cover" }, icon("post", 30));
    return h("div", { class: "post" }, cover, h("p", null, h("b", null, "Shared post"), link));
  },
  card: (it) => {
    const buttons = it.buttons.map((one) => h("li", { dir: "auto" }, one.title));
    const title = h("b", { dir: "auto" }, it.title);
    return h("div", { class: "card-in" }, title, it.body && paragraph(it.body), h("ul", null, buttons));
  },
  location: (it) => {
    const name = h("b", { dir: "auto" }, it.name ?? "Location");
    const place = h("small", null, `${it.latitude}, ${it.longitude}`);
    return h("div", null, name, it.address && paragraph(it.address), place);
  },
  fallback: (it) => [
    it.media && anyMedia(it.media, it.original_type),
    h("p", { class: "odd", dir: "auto" }, it.text),
    h("small", { class: "why", title: it.reason }, `${it.original_type}: ${REASONS[it.reason] ?? spaced(it.reason)}`),
    it.url && h("small", null, external(it.url, "View on the platform")),
  ],
};

/** What a message carries. @param {Content} it */
export function content(it) {
  const draw = /** @type {((it: Content) => Child) | undefined} */ (CONTENTS[it.type]);
  return draw ? draw(it) : h("p", { class: "odd" }, gist(it));
}

/** How the contact got here. @param {Referral} it */
export function referral(it) {
  /** @type {[string, string | null | undefined][]} */
  const rows = [
    ["Ad", it.ad_name ?? it.ad_id],
    ["Ref", it.ref],
    ["Prefilled message", it.prefilled_text],
    ["Advertiser", it.advertiser_id],
    ["Creative", it.creative_id],
  ];
  return h(
    "div",
    { class: "referral" },
    h("b", null, SOURCES[it.source] ?? `From ${it.source}`),
    definitions(rows.filter(([, value]) => value)),
    it.url && external(it.url, "Open link"),
  );
}

// ---- status ---------------------------------------------------------------------------------------------------------

/** When it was sent, and its status if it is ours. @param {Message} message */
export function standing(message) {
  if (message.direction === "inbound") return sentAt(message.sent_at);
  return h(
    "span",
    { class: `standing ${message.status}` },
    sentAt(message.sent_at),
    icon(SIGNS[message.status] ?? "clock", 14),
    h("span", null, STATUS[message.status] ?? message.status),
  );
}

/** The attempts to send a message, with their requests. @param {Message} message */
async function showAttempts(message) {
  const { data } = await get("/v1/messages/{id}/attempts", { id: message.id });
  const attempts = data.map((one) => {
    const requests = one.requests.map((request) => {
      const result = `${request.status ?? request.error ?? "no response"} · ${request.elapsed_ms} ms`;
      return h("li", null, h("code", null, `${request.method} ${request.url}`), " ", h("small", null, result));
    });
    return h(
      "li",
      null,
      h("b", null, `Attempt ${one.number}: ${one.outcome}`),
      " ",
      h("small", null, full(one.started_at)),
      one.error && h("p", { class: "quiet" }, one.error.detail),
      requests.length ? h("ul", null, requests) : h("p", { class: "quiet" }, "No requests sent."),
    );
  });
  const list = attempts.length
    ? h("ol", { class: "attempts" }, attempts)
    : h("p", { class: "quiet" }, "No attempts yet.");
  await ask("Send attempts", { nodes: [list] }, "Close");
}

/** Why a message is not sent, and what can be done. @param {Message} message */
export function trouble(message) {
  const { id } = message;
  // Further changes arrive as events.
  const retry = button("Retry", () => attempt(() => once("/v1/messages/{id}/retry", { id }), "Retry queued"), {
    class: "small",
  });
  const attempts = button("View attempts", () => showAttempts(message), { class: "small" });
  if (message.status === "queued") {
    const cancel = () => attempt(() => del("/v1/messages/{id}", { id }), "Message cancelled");
    return h("div", { class: "trouble quiet" }, button("Cancel", cancel, { class: "small" }));
  }
  if (message.status === "uncertain") {
    return h(
      "div",
      { class: "trouble warn" },
      h(
        "p",
        null,
        h("b", null, "Unconfirmed. "),
        "The platform did not respond, so the message may or may not have arrived. To avoid a duplicate it is not " +
          "sent again automatically; the platform's next update settles it. Retry if the contact did not receive it.",
      ),
      h("p", { class: "row" }, retry, attempts),
    );
  }
  return message.status === "failed" ? failure(message, retry, attempts) : null;
}

/** @param {Message} message @param {Child[]} actions */
function failure({ error }, ...actions) {
  if (!error) return null;
  const { code, detail, platform } = error;
  const advice = h("p");
  remedy(code).then((text) => text && advice.append(h("b", null, "What to do: "), text));
  const response = [
    platform?.message,
    platform?.code && `code ${platform.code}`,
    platform?.request_id && `request ${platform.request_id}`,
  ].filter(Boolean);
  const quote = h("q", { dir: "auto" }, response.join(", "));
  const docs = h("a", { href: `/docs/errors#${encodeURIComponent(code)}`, target: "_blank" }, h("code", null, code));
  return h(
    "div",
    { class: "trouble bad" },
    h("p", { dir: "auto" }, detail),
    advice,
    response.length > 0 && h("p", { class: "quiet" }, "Platform response: ", quote),
    h("p", { class: "row" }, actions, docs),
  );
}
