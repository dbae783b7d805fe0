// The composer: it knows what the conversation can carry now, and refuses the rest before a message is sent.

import { call, may, now, once, remedy } from "./api.js";
import { button, h, icon, replace, toast } from "./dom.js";
import { bytes, duration, full, gist, plural, sentence } from "./format.js";
import { signal } from "./thread.js";

/** @import { Child, ContentFeature, Features, Message } from "./types" */
/** What the composer needs to know of a conversation.
 * @typedef {Pick<Features, "can_reply" | "refusal" | "contents" | "signals" | "window" | "budget">} Known */

const LINK = /\b(?:https?:\/\/|www\.)\S+/i;
const TYPING_EVERY_MS = 5000;
const MAX_HEIGHT = 180;
const PREVIEW = 112;
const CLOSED = "Messages cannot be sent in this conversation right now.";

/** Window and budget in one line that counts down. @param {Known} features */
function limits({ window, budget }) {
  const parts = [];
  if (window) {
    const left = Date.parse(window.closes_at) - now();
    const tone = left <= 0 ? "bad" : left < 2 * 3_600_000 ? "warn" : "";
    const text = left > 0 ? `${duration(left)} left to reply` : "The messaging window is closed";
    const title = `Until ${full(window.closes_at)}`;
    parts.push(h("span", { class: `fact ${tone}`, title }, icon("clock", 15), h("span", { class: "count" }, text)));
  }
  if (budget) {
    const { limit, left } = budget;
    const tone = left === 0 ? "bad" : left <= 2 ? "warn" : "";
    const dots = limit <= 20 && Array.from({ length: limit }, (_, at) => h("i", { class: at < left ? "" : "spent" }));
    const title = "Resets when the contact writes";
    parts.push(
      h(
        "span",
        { class: `fact ${tone}`, title },
        dots && h("span", { class: "dots", "aria-hidden": "true" }, dots),
        `${left} of ${limit} messages left`,
      ),
    );
  }
  return parts;
}

/**
 * Why a file cannot be sent, or null.
 * @param {ContentFeature | undefined} rule @param {{ type: string, size: number }} file
 */
function fileRefusal(rule, { type, size }) {
  if (rule?.outbound !== "full") return "The platform does not accept images from businesses.";
  if (!rule.allowed) return rule.reason ?? "Images are not supported in this conversation.";
  if (rule.mime_types.length && !rule.mime_types.includes(type)) {
    const supported = rule.mime_types.map((one) => one.replace("image/", "").toUpperCase()).join(" and ");
    return `${type || "This file type"} is not supported. The platform accepts ${supported}.`;
  }
  if (rule.max_bytes && size > rule.max_bytes) {
    return `The file is ${bytes(size)}; the platform accepts up to ${bytes(rule.max_bytes)}.`;
  }
  return null;
}

/** The image, drawn and not linked: nothing of it becomes an address. @param {File} file */
async function preview(file) {
  const canvas = h("canvas", { width: PREVIEW, height: PREVIEW, role: "img", "aria-label": "Image preview" });
  try {
    const map = await createImageBitmap(file);
    const scale = Math.max(PREVIEW / map.width, PREVIEW / map.height);
    const [width, height] = [map.width * scale, map.height * scale];
    canvas.getContext("2d")?.drawImage(map, (PREVIEW - width) / 2, (PREVIEW - height) / 2, width, height);
    map.close();
  } catch {
    return h("span", { class: "none" }, icon("image", 22));
  }
  return canvas;
}

/** @param {Child[]} text */
const complaint = (...text) => h("p", { class: "bad", role: "alert" }, icon("alert", 15), h("span", null, text));

export class Composer {
  form;
  /** @type {Known | null} */
  #features = null;
  /** @type {File | null} */
  #image = null;
  /** The image's preview. @type {HTMLElement | null} */
  #preview = null;
  /** @type {Message | null} */
  #quoted = null;
  #typedAt = 0;
  #busy = false;
  /** What was refused, until the person does something about it. @type {HTMLElement | null} */
  #complaint = null;
  #conversation;
  #onSent;
  #onWindowClosed;
  #timer;

  #text = h("textarea", {
    rows: 1,
    dir: "auto",
    placeholder: "Write a message",
    "aria-label": "Message",
    "aria-describedby": "hints",
    autocomplete: "off",
  });
  #file = h("input", { type: "file", hidden: true, tabindex: "-1", "aria-label": "Image" });
  #attach = button(icon("image", 20), () => this.#file.click(), {
    class: "ghost",
    title: "Attach an image",
    "aria-label": "Attach an image",
  });
  #send = h("button", { class: "send", "aria-label": "Send", title: "Send (Enter)" }, icon("send", 20));
  #limits = h("div", { class: "facts" });
  #hints = h("div", { class: "hints", id: "hints", "aria-live": "polite" });
  #attached = h("div", { class: "beside" });
  #refusal = h("div", { class: "no", role: "status" });

  /**
   * `onSent` takes each accepted message; `onWindowClosed` is called when the messaging window closes.
   * @param {string} conversation @param {(message: Message) => void} onSent @param {() => void} onWindowClosed
   */
  constructor(conversation, onSent, onWindowClosed) {
    this.#conversation = conversation;
    this.#onSent = onSent;
    this.#onWindowClosed = onWindowClosed;
    const entry = h("div", { class: "entry" }, this.#attach, this.#file, this.#text, this.#send);
    const parts = [this.#limits, this.#refusal, this.#attached, entry, this.#hints];
    this.form = h("form", { class: "composer" }, parts);
    this.#handle();
    this.#timer = setInterval(() => this.#tick(), 1000);
  }

  leave() {
    clearInterval(this.#timer);
  }

  focus() {
    this.#text.focus();
  }

  /** @param {Message} message */
  quote(message) {
    this.#quoted = message;
    this.#drawAttached();
    this.focus();
  }

  /** @param {Known} features */
  async show(features) {
    this.#features = features;
    replace(this.#limits, limits(features));
    this.#update();
    const accept = this.#images()?.mime_types.join(",") ?? "";
    if (this.#file.accept !== accept) this.#file.accept = accept;
    if (!may("messages:write")) {
      const text = "Your API key cannot send messages. Sign in with a key that has the scope messages:write.";
      replace(this.#refusal, h("p", null, text));
    } else if (features.can_reply) {
      replace(this.#refusal);
    } else {
      const { code, detail } = features.refusal ?? {};
      const advice = code ? await remedy(code) : null;
      const text = h("span", null, h("b", null, sentence(detail ?? CLOSED)), advice && ` ${advice}`);
      replace(this.#refusal, h("p", { "data-code": code }, icon("alert", 16), text));
    }
  }

  #tick() {
    const features = this.#features;
    if (!features) return;
    replace(this.#limits, limits(features));
    // The window closes at its time without an event.
    if (features.can_reply && features.window && Date.parse(features.window.closes_at) <= now()) this.#onWindowClosed();
  }

  // ---- text and attachments -----------------------------------------------------------------------------------------

  /** @param {string} kind */
  #rule(kind) {
    return this.#features?.contents.find((one) => one.kind === kind);
  }

  #images() {
    const rule = this.#rule("image");
    return rule?.outbound === "full" && rule.allowed ? rule : null;
  }

  #update() {
    const open = Boolean(this.#features?.can_reply) && may("messages:write");
    const limit = this.#rule("text")?.max_chars ?? 0;
    const length = this.#text.value.length;
    const over = limit > 0 && length > limit;
    replace(
      this.#hints,
      this.#complaint,
      limit > 0 &&
        length > limit * 0.8 &&
        h("p", null, h("span", { class: over ? "bad" : "" }, `${length} of ${limit} characters`)),
      this.#rule("text")?.notes.includes("links_not_clickable") &&
        LINK.test(this.#text.value) &&
        h("p", null, "The platform shows links as plain text: they cannot be tapped."),
      this.#image && this.#text.value.trim() && h("p", null, "Sends two messages: the image, then the text."),
    );
    this.#text.disabled = !open;
    this.#attach.hidden = !open || !this.#images();
    this.#send.disabled = !open || this.#busy || over || !(this.#text.value.trim() || this.#image);
    this.form.classList.toggle("closed", Boolean(this.#features) && !open);
    this.#text.style.height = "auto";
    this.#text.style.height = `${Math.min(this.#text.scrollHeight, MAX_HEIGHT)}px`;
    this.#text.style.overflowY = this.#text.scrollHeight > MAX_HEIGHT ? "auto" : "hidden";
  }

  /** @param {File} file */
  async #take(file) {
    const refused = fileRefusal(this.#rule("image"), file);
    this.#complaint = refused ? complaint(refused) : null;
    if (!refused) {
      this.#preview = await preview(file);
      this.#image = file;
      this.#drawAttached();
      this.focus();
    }
    this.#update();
  }

  #dropImage() {
    this.#image = null;
    this.#preview = null;
    this.#file.value = "";
    this.#drawAttached();
    this.#update();
  }

  #drawAttached() {
    const remove = { class: "ghost", "aria-label": "Remove the image" };
    const unquote = () => {
      this.#quoted = null;
      this.#drawAttached();
    };
    replace(
      this.#attached,
      this.#image &&
        h(
          "div",
          { class: "attached" },
          this.#preview,
          h("div", null, h("b", { dir: "auto" }, this.#image.name), h("small", null, bytes(this.#image.size))),
          button(icon("close", 16), () => this.#dropImage(), remove),
        ),
      this.#quoted &&
        h(
          "div",
          { class: "quote" },
          icon("reply", 16),
          h("span", { dir: "auto" }, gist(this.#quoted.content)),
          button(icon("close", 16), unquote, { class: "ghost", "aria-label": "Cancel the reply" }),
        ),
    );
  }

  // ---- sending ------------------------------------------------------------------------------------------------------

  async #deliver() {
    if (this.#send.disabled) return;
    this.#busy = true;
    this.#complaint = null;
    this.#update();
    try {
      if (this.#image) await this.#deliverImage(this.#image);
      if (this.#text.value.trim()) await this.#deliverText();
    } catch (failure) {
      const { message, refusal_id: refusal } = /** @type {import("./api.js").Problem} */ (failure);
      this.#complaint = complaint(message, refusal && [" ", h("a", { href: `/refusals/${refusal}` }, "Details")]);
    }
    this.#busy = false;
    this.#update();
    if (!this.#complaint) this.focus();
  }

  /** @param {File} image */
  async #deliverImage(image) {
    const upload = new FormData();
    upload.append("file", image);
    const media = await call("POST", "/v1/media", upload);
    const id = this.#conversation;
    const content = /** @type {const} */ ({ type: "image", media: { id: media.id } });
    this.#onSent(await once("/v1/conversations/{id}/messages", { id }, { content }));
    this.#dropImage();
  }

  async #deliverText() {
    const id = this.#conversation;
    const content = /** @type {const} */ ({ type: "text", text: this.#text.value });
    const reply = this.#quoted ? { reply_to: this.#quoted.id } : {};
    this.#onSent(await once("/v1/conversations/{id}/messages", { id }, { content, ...reply }));
    this.#text.value = "";
    this.#quoted = null;
    this.#drawAttached();
  }

  // ---- user actions -------------------------------------------------------------------------------------------------

  #handle() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#deliver();
    });
    this.#text.addEventListener("keydown", (event) => {
      // Not during text composition (Japanese, Chinese).
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#deliver();
      }
    });
    this.#text.addEventListener("input", () => {
      this.#complaint = null;
      this.#update();
      this.#signalTyping();
    });
    this.#text.addEventListener("paste", (event) => {
      const file = event.clipboardData?.files[0];
      if (file) {
        event.preventDefault();
        this.#take(file);
      }
    });
    this.#file.addEventListener("change", () => this.#file.files?.[0] && this.#take(this.#file.files[0]));
  }

  #signalTyping() {
    const due = Date.now() - this.#typedAt > TYPING_EVERY_MS;
    if (!due || !this.#text.value || !this.#features?.signals.includes("typing")) return;
    this.#typedAt = Date.now();
    signal(this.#conversation, "typing").catch(() => {});
  }

  /**
   * Lets a file be dropped on `place`; a file that cannot be sent is refused while it hovers.
   * @param {HTMLElement} place
   */
  acceptDropsOn(place) {
    const veil = h("div", { class: "veil", hidden: true });
    place.append(veil);
    const hasFiles = (/** @type {DragEvent} */ event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    place.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      const item = event.dataTransfer?.items[0];
      const refused = item && fileRefusal(this.#rule("image"), { type: item.type, size: 0 });
      const text = this.#features?.can_reply ? refused : CLOSED;
      veil.hidden = false;
      veil.className = `veil ${text ? "bad" : ""}`;
      replace(veil, h("p", null, text ?? "Drop the image to attach it"));
    });
    place.addEventListener("dragleave", (event) => {
      if (!place.contains(/** @type {Node | null} */ (event.relatedTarget))) veil.hidden = true;
    });
    place.addEventListener("drop", (event) => {
      veil.hidden = true;
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.#takeDropped([...(event.dataTransfer?.files ?? [])]);
    });
  }

  /** @param {File[]} files */
  #takeDropped(files) {
    if (!this.#features?.can_reply) toast(CLOSED, "bad");
    else if (files.length > 1) toast(`Attach one image at a time: ${plural(files.length, "file")} dropped.`, "bad");
    else if (files[0]) this.#take(files[0]);
  }
}
