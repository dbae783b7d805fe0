// The composer: it knows what this conversation can carry now, and says no before anything is sent.

import { call, now, once } from "./api.js";
import { button, h, icon, replace, toast } from "./dom.js";
import { signal } from "./bubbles.js";
import { bytes, duration, gist, plural, remedy, sentence } from "./words.js";

const LINK = /\b(?:https?:\/\/|www\.)\S+/i;
const TYPING_EVERY = 5000;

/** What the platform lets us do here, in one line that counts down. */
function standing(features) {
  const parts = [];
  if (features.window) {
    const left = Date.parse(features.window.closes_at) - now();
    const tone = left <= 0 ? "bad" : left < 2 * 3_600_000 ? "warn" : "";
    parts.push(h("span", { class: `fact ${tone}`, title: `Until ${new Date(features.window.closes_at).toLocaleString()}` }, icon("clock", 15),
      h("span", { class: "count" }, left > 0 ? `${duration(left)} left to answer` : "The window is closed")));
  }
  if (features.budget) {
    const { limit, left } = features.budget;
    const dots = limit <= 20 && Array.from({ length: limit }, (_, at) => h("i", { class: at < left ? "" : "spent" }));
    parts.push(h("span", { class: `fact ${left === 0 ? "bad" : left <= 2 ? "warn" : ""}`, title: "The contact's next message gives them back" },
      dots && h("span", { class: "dots", "aria-hidden": "true" }, dots), `${left} of ${limit} messages left`));
  }
  return parts;
}

/** `sent` takes the accepted message; `stale` is called when what was known of the window is over; `id` is the conversation's. */
export function composer({ id, may, sent, stale }) {
  let features = null;
  let picture = null;
  let quoted = null;
  let typedAt = 0;
  let busy = false;
  // What was said no to, until somebody does something about it.
  let complaint = null;

  const text = h("textarea", { rows: 1, dir: "auto", placeholder: "Write an answer", "aria-label": "Answer", "aria-describedby": "hints", autocomplete: "off" });
  const file = h("input", { type: "file", hidden: true, tabindex: "-1", "aria-label": "Picture" });
  const attach = h("button", { type: "button", class: "ghost", title: "Attach a picture", "aria-label": "Attach a picture", onclick: () => file.click() }, icon("image", 20));
  const send = h("button", { class: "send", "aria-label": "Send", title: "Send (Enter)" }, icon("send", 20));
  const line = h("div", { class: "facts" });
  const hints = h("div", { class: "hints", id: "hints", "aria-live": "polite" });
  const beside = h("div", { class: "beside" });
  const no = h("div", { class: "no", role: "status" });
  const form = h("form", { class: "composer" }, line, no, beside, h("div", { class: "entry" }, attach, file, text, send), hints);

  const rule = (kind) => features?.contents.find((one) => one.kind === kind);
  const images = () => {
    const it = rule("image");
    return it && it.outbound === "full" && it.allowed ? it : null;
  };

  const complain = (...words) => h("p", { class: "bad", role: "alert" }, icon("alert", 15), h("span", null, words));

  /** Why a file cannot go, in words; null if it can. */
  function refusal(one) {
    const it = rule("image");
    if (!it || it.outbound !== "full") return "The platform takes no pictures from a business.";
    if (!it.allowed) return it.reason ?? "Pictures cannot be exchanged in this conversation.";
    if (it.mime_types.length && !it.mime_types.includes(one.type)) {
      return `The platform does not take ${one.type || "this kind of file"}; it takes ${it.mime_types.map((type) => type.replace("image/", "").toUpperCase()).join(" and ")}.`;
    }
    if (it.max_bytes && one.size > it.max_bytes) return `The file has ${bytes(one.size)}, and the platform takes ${bytes(it.max_bytes)}.`;
    return null;
  }

  /** The picture, drawn and not linked: nothing of it becomes an address. */
  async function preview(one) {
    const canvas = h("canvas", { width: 112, height: 112, role: "img", "aria-label": "The picture" });
    try {
      const map = await createImageBitmap(one);
      const scale = Math.max(112 / map.width, 112 / map.height);
      canvas.getContext("2d").drawImage(map, (112 - map.width * scale) / 2, (112 - map.height * scale) / 2, map.width * scale, map.height * scale);
      map.close();
    } catch {
      return h("span", { class: "none" }, icon("image", 22));
    }
    return canvas;
  }

  async function take(one) {
    const why = refusal(one);
    if (why) {
      complaint = complain(why);
      update();
      return;
    }
    complaint = null;
    picture = one;
    const drawn = await preview(one);
    replace(beside, h("div", { class: "attached" }, drawn, h("div", null, h("b", { dir: "auto" }, one.name), h("small", null, bytes(one.size))),
      button(icon("close", 16), drop, { class: "ghost", "aria-label": "Leave the picture out" })));
    update();
    text.focus();
  }

  function drop() {
    picture = null;
    file.value = "";
    replace(beside);
    showQuote();
    update();
  }

  function showQuote() {
    if (!quoted) return;
    beside.append(h("div", { class: "quote" }, icon("reply", 16), h("span", { dir: "auto" }, gist(quoted.content)),
      button(icon("close", 16), () => { quoted = null; replace(beside); if (picture) take(picture); }, { class: "ghost", "aria-label": "Do not quote" })));
  }

  function update() {
    const open = Boolean(features?.can_reply) && may;
    const limit = rule("text")?.max_chars ?? 0;
    const length = text.value.length;
    const over = limit > 0 && length > limit;
    const notes = [];
    if (limit && length > limit * 0.8) notes.push(h("span", { class: over ? "bad" : "" }, `${length} of ${limit} characters`));
    if (rule("text")?.notes.includes("links_not_clickable") && LINK.test(text.value)) notes.push(h("span", null, "Links cannot be tapped there: the platform shows them as plain text."));
    if (picture && text.value.trim() && features) notes.push(h("span", null, "The picture goes first, then the text: two messages."));
    replace(hints, complaint, notes.map((note) => h("p", null, note)));
    text.disabled = !open;
    attach.hidden = !open || !images();
    send.disabled = !open || busy || over || !(text.value.trim() || picture);
    form.classList.toggle("closed", Boolean(features) && !open);
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight, 180)}px`;
    text.style.overflowY = text.scrollHeight > 180 ? "auto" : "hidden";
  }

  async function show(given) {
    features = given;
    replace(line, standing(features));
    update();
    if (!may) replace(no, h("p", null, "Your key may read and not write. Sign in with one that has messages:write."));
    else if (features.can_reply) replace(no);
    else {
      const { code, detail } = features.refusal ?? {};
      const what = code ? await remedy(code) : null;
      replace(no, h("p", { "data-code": code }, icon("alert", 16), h("span", null, h("b", null, sentence(detail ?? "Nothing can be sent now")), what && ` ${what}`)));
    }
    if (file.accept !== (images()?.mime_types.join(",") ?? "")) file.accept = images()?.mime_types.join(",") ?? "";
  }

  async function deliver() {
    if (send.disabled) return;
    busy = true;
    complaint = null;
    update();
    try {
      if (picture) {
        const form = new FormData();
        form.append("file", picture);
        const media = await call("POST", "/v1/media", form);
        sent(await once(`/v1/conversations/${id}/messages`, { content: { type: "image", media: { id: media.id } } }));
        drop();
      }
      if (text.value.trim()) {
        sent(await once(`/v1/conversations/${id}/messages`, { content: { type: "text", text: text.value }, ...(quoted ? { reply_to: quoted.id } : {}) }));
        text.value = "";
        quoted = null;
        replace(beside);
      }
    } catch (failure) {
      complaint = complain(failure.message, failure.refusal_id && [" ", h("a", { href: `/refusals/${failure.refusal_id}` }, "Why")]);
      busy = false;
      update();
      return;
    }
    busy = false;
    update();
    text.focus();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    deliver();
  });
  text.addEventListener("keydown", (event) => {
    // Not while a word is being composed (Japanese, Chinese).
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      deliver();
    }
  });
  text.addEventListener("input", () => {
    complaint = null;
    update();
    if (features?.signals.includes("typing") && text.value && Date.now() - typedAt > TYPING_EVERY) {
      typedAt = Date.now();
      signal(id, "typing").catch(() => {});
    }
  });
  text.addEventListener("paste", (event) => {
    const [one] = event.clipboardData?.files ?? [];
    if (one) {
      event.preventDefault();
      take(one);
    }
  });
  file.addEventListener("change", () => file.files[0] && take(file.files[0]));

  const timer = setInterval(() => {
    if (!features) return;
    replace(line, standing(features));
    // The window closes by the clock alone: nobody has to say so.
    if (features.can_reply && features.window && Date.parse(features.window.closes_at) <= now()) stale();
  }, 1000);
  return {
    form,
    show,
    focus: () => text.focus(),
    quote(message) {
      quoted = message;
      replace(beside);
      if (picture) take(picture);
      showQuote();
      text.focus();
    },
    /** Lets files be dropped on a place; it says no while they still hover, as far as a browser tells. */
    catches(place) {
      const veil = h("div", { class: "veil", hidden: true });
      place.append(veil);
      const has = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
      place.addEventListener("dragover", (event) => {
        if (!has(event)) return;
        event.preventDefault();
        const [item] = event.dataTransfer.items;
        const why = !features?.can_reply ? "Nothing can be sent in this conversation now." : item ? refusal({ type: item.type, size: 0 }) : null;
        veil.hidden = false;
        veil.className = `veil ${why ? "bad" : ""}`;
        replace(veil, h("p", null, why ?? "Drop the picture to attach it"));
      });
      for (const name of ["dragleave", "drop"]) {
        place.addEventListener(name, (event) => {
          if (name === "dragleave" && place.contains(event.relatedTarget)) return;
          veil.hidden = true;
          if (name === "drop" && has(event)) {
            event.preventDefault();
            if (!features?.can_reply) toast("Nothing can be sent in this conversation now.", "bad");
            else if (event.dataTransfer.files.length > 1) toast(`One picture at a time: ${plural(event.dataTransfer.files.length, "file")} were dropped.`, "bad");
            else if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
          }
        });
      }
    },
    leave: () => clearInterval(timer),
  };
}
