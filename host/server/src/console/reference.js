// The API's reference, from its own description.

import { call } from "./api.js";
import { h, json, replace } from "./dom.js";

/** What is used of an OpenAPI document.
 * @typedef {{ [member: string]: any }} Schema
 * @typedef {{ [type: string]: { schema?: Schema } }} Media
 * @typedef {{
 *   summary?: string, description?: string, tags?: string[], requestBody?: { content: Media },
 *   parameters?: { name: string, in: string, required?: boolean, description?: string }[],
 *   responses?: { [status: string]: { description?: string, content?: Media } },
 * }} Operation
 * @typedef {{ name: string, description: string }} Tag
 * @typedef {{ tags: Tag[], paths: { [path: string]: { [verb: string]: Operation } } }} Document
 * @typedef {[path: string, verb: string, operation: Operation]} Route */

const MAX_DEPTH = 4;

/** The routes by tag, with a filter. */
export async function reference() {
  /** @type {Document} */
  const document = await call("GET", "/v1/openapi.json");
  const groups = routesByTag(document);
  const list = h("div", { class: "stack" });
  const draw = () => {
    const words = search.value.toLowerCase();
    /** @param {Route} route */
    const matches = ([path, verb, { summary = "" }]) => `${verb} ${path} ${summary}`.toLowerCase().includes(words);
    replace(
      list,
      groups.map(([tag, routes]) => section(document, tag, routes.filter(matches))),
    );
  };
  const search = h("input", {
    type: "search",
    placeholder: "Filter routes",
    "aria-label": "Filter routes",
    oninput: draw,
  });
  draw();
  const download = { class: "button small", href: "/v1/openapi.json", download: "weir-openapi.json" };
  const errors = { class: "button small", href: "/docs/errors", target: "_blank" };
  const filters = h(
    "div",
    { class: "filters" },
    search,
    h("a", download, "OpenAPI 3.1"),
    h("a", errors, "Error codes"),
  );
  return h("div", { class: "stack" }, filters, list);
}

/** @param {Document} document @returns {[Tag, Route[]][]} */
function routesByTag({ tags, paths }) {
  /** @type {Route[]} */
  const routes = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([verb, operation]) => /** @type {Route} */ ([path, verb, operation])),
  );
  return tags.map((tag) => [tag, routes.filter(([, , { tags: of }]) => of?.[0] === tag.name)]);
}

/** @param {Document} document @param {Tag} tag @param {Route[]} routes */
function section(document, { name, description }, routes) {
  if (!routes.length) return null;
  const title = h("div", null, h("h2", null, name), h("small", null, description));
  const rows = routes.map((route) => row(document, route));
  return h("section", { class: "card", "aria-label": name }, h("header", null, title), h("div", null, rows));
}

/** @param {Document} document @param {Route} route */
function row(document, [path, verb, operation]) {
  const inside = h("div");
  const fill = () => inside.firstChild ?? replace(inside, details(document, operation));
  const head = h(
    "summary",
    null,
    h("span", { class: `verb ${verb}` }, verb.toUpperCase()),
    h("code", null, path),
    h("small", null, operation.summary ?? ""),
  );
  return h("details", { class: "api", ontoggle: (event) => event.target.open && fill() }, head, inside);
}

/** @param {Document} document @param {Operation} operation */
function details(document, { description, parameters = [], requestBody, responses = {} }) {
  const rows = parameters.map((one) => [
    h("dt", null, h("code", null, one.name)),
    h("dd", null, `${one.in}${one.required ? ", required" : ""}. ${one.description ?? ""}`),
  ]);
  return [
    description && h("p", null, description),
    rows.length > 0 && h("dl", null, rows),
    Object.entries(requestBody?.content ?? {}).map(([type, { schema }]) => body(document, "Body", type, schema)),
    Object.entries(responses).map(([status, { description: text = "", content = { "": {} } }]) =>
      Object.entries(content).map(([type, { schema }]) => body(document, status, type || text, schema)),
    ),
  ];
}

/** @param {Document} document @param {string} title @param {string} type @param {Schema} [schema] */
const body = (document, title, type, schema) =>
  h("div", null, h("b", null, title), " ", h("small", null, type), schema && json(outline(document, schema)));

/** A schema as an example of its shape. @param {Document} document @param {Schema} [schema] @returns {any} */
function outline(document, schema, depth = 0) {
  if (!schema || depth > MAX_DEPTH) return "…";
  if (schema.$ref) return outline(document, resolve(document, schema.$ref), depth);
  if (schema.example !== undefined && depth === 0) return schema.example;
  /** @param {Schema} part */
  const deeper = (part) => outline(document, part, depth + 1);
  if (schema.allOf) {
    return Object.assign({}, ...schema.allOf.map((/** @type {Schema} */ part) => outline(document, part, depth)));
  }
  const choices = (schema.oneOf ?? schema.anyOf)?.filter((/** @type {Schema} */ part) => part.type !== "null");
  if (choices) return choices.length === 1 ? outline(document, choices[0], depth) : choices.slice(0, 8).map(deeper);
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.properties) {
    return Object.fromEntries(Object.entries(schema.properties).map(([name, part]) => [name, deeper(part)]));
  }
  if (schema.items) return [deeper(schema.items)];
  const types = [schema.type].flat().filter((type) => type !== "null");
  return schema.const ?? types.join(" | ") + (schema.format ? ` (${schema.format})` : "");
}

/** What a `$ref` refers to. @param {Document} document @param {string} ref @returns {Schema | undefined} */
const resolve = (document, ref) =>
  ref
    .slice(2)
    .split("/")
    .reduce((/** @type {Schema | undefined} */ at, key) => at?.[key], document);
