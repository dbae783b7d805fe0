// Pages that show a list, or one item of it.

import { loading, replace } from "./dom.js";

/** @import { Child, Event, Loaded, Page } from "./types" */

/** Changes often come several at once: the page waits this long for the others before it reloads. */
const SETTLE_MS = 200;

/** @implements {Page} */
export class ListPage {
  /** @type {string | null} */
  id = null;
  /** @type {Loaded | undefined} */
  #shown;
  /** @type {number | undefined} */
  #soon;
  #root;
  #load;
  #reloadsOn;

  /**
   * `load` builds the list, or the item of an id; `reloadsOn` returns whether an event changes what is shown.
   * @param {HTMLElement} root
   * @param {(id: string | null, page: ListPage) => Promise<Child>} load
   * @param {(event: Event, page: ListPage) => boolean} [reloadsOn]
   */
  constructor(root, load, reloadsOn = () => false) {
    this.#root = root;
    this.#load = load;
    this.#reloadsOn = reloadsOn;
  }

  /** @param {string | null} id */
  show(id) {
    this.id = id;
    this.#shown = loading(() => this.#load(id, this));
    replace(this.#root, this.#shown);
    this.#root.scrollTop = 0;
    return this;
  }

  /** Rebuilds the content. */
  refresh() {
    return this.show(this.id);
  }

  /** @param {string | null} id */
  visit(id) {
    this.show(id);
    return true;
  }

  /** @param {Event} event */
  event(event) {
    if (document.querySelector("dialog[open]") || !this.#reloadsOn(event, this)) return;
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => this.#shown?.reload(), SETTLE_MS);
  }

  leave() {
    clearTimeout(this.#soon);
  }
}
