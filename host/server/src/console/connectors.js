// Comes next.
import { empty, h } from "./dom.js";
export function mount(root) { root.append(h("div", { class: "page" }, empty("Soon", "This page comes next."))); }
