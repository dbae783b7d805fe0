// The public API, called with the session's cookie. Requests that change something carry the session's CSRF token.

/** @import { Event, Read, Scope, Session, Write } from "./types" */

/** @type {Session | null} */
let session = null;
let offset = 0;
/** @type {Set<(event: Event) => void>} */
const listeners = new Set();
/** @type {EventSource | null} */
let stream = null;
/** @type {string | null} */
let lastEvent = null;
/** @type {(connected: boolean) => void} */
let onState = () => {};
let onSignedOut = () => {};

/** The host's time in milliseconds: windows close by its clock, not by the browser's. */
export const now = () => Date.now() + offset;

/** @param {string} time */
const adjustClock = (time) => {
  const difference = Date.parse(time) - Date.now();
  // Responses take a while to arrive: only a large difference adjusts the clock.
  if (Math.abs(difference - offset) > 2000) offset = difference;
};

/** A problem document of the API (RFC 9457). */
export class Problem extends Error {
  /** @type {string | undefined} */
  title;
  /** @type {string | null | undefined} */
  code;
  /** @type {string | undefined} */
  refusal_id;

  /** @param {{ title?: string, detail?: string, code?: string | null, refusal_id?: string }} document */
  constructor(document) {
    super(document.detail ?? document.title ?? "The host did not respond.");
    Object.assign(this, document);
  }
}

/**
 * A path with its parameters filled in; the others become the query, without those that are not set.
 * @param {string} path @param {object} [params]
 */
export function url(path, params = {}) {
  /** @type {Record<string, unknown>} */
  const rest = { ...params };
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => {
    const value = rest[name];
    delete rest[name];
    return encodeURIComponent(String(value));
  });
  const set = Object.entries(rest).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return set.length ? `${filled}?${new URLSearchParams(set.map(([name, value]) => [name, String(value)]))}` : filled;
}

/**
 * @param {string} method @param {string} path @param {unknown} [body] @param {Record<string, string>} [headers]
 * @returns {Promise<any>}
 */
export async function call(method, path, body, headers = {}) {
  const raw = body instanceof Blob || body instanceof FormData ? body : null;
  const token = method === "GET" ? null : session?.csrf_token;
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: {
        ...(body !== undefined && !raw ? { "content-type": "application/json" } : {}),
        ...(token ? { "x-csrf-token": token } : {}),
        ...headers,
      },
      body: raw ?? JSON.stringify(body),
    });
  } catch {
    throw new Problem({ title: "No connection", detail: "The host cannot be reached. Try again later.", code: null });
  }
  const text = await response.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    value = { detail: text };
  }
  if (response.ok) return value;
  if (response.status === 401 && session) {
    session = null;
    onSignedOut();
  }
  throw new Problem(value ?? { title: `The host returned ${response.status}` });
}

/** @type {Read<"get">} */
export const get = (path, params) => call("GET", url(path, params));
/** @type {Write<"post">} */
export const post = (path, params, body) => call("POST", url(path, params), body ?? {});
/** A POST that acts once however often it is sent. @type {Write<"post">} */
export const once = (path, params, body) =>
  call("POST", url(path, params), body ?? {}, {
    "idempotency-key": crypto.getRandomValues(new Uint32Array(4)).join("-"),
  });
/** @type {Write<"put">} */
export const put = (path, params, body) => call("PUT", url(path, params), body);
/** @type {Write<"patch">} */
export const patch = (path, params, body) => call("PATCH", url(path, params), body);
/** @type {Read<"delete">} */
export const del = (path, params) => call("DELETE", url(path, params));

/** A link to a file of this host, by whatever name the host calls itself. @param {string} link */
export const local = (link) => {
  try {
    const { pathname, search } = new URL(link, location.href);
    return pathname.startsWith("/media/") ? pathname + search : null;
  } catch {
    return null;
  }
};

/** @type {Promise<Map<string, string>> | null} */
let remedies = null;
/** What to do about an error code, from the host's own table. @param {string} code */
export async function remedy(code) {
  remedies ??= call("GET", "/docs/errors.json")
    .then(({ data }) => new Map(data.map((/** @type {any} */ one) => [one.code, one.remedy.replaceAll("`", "")])))
    .catch(() => new Map());
  return (await remedies).get(code) ?? null;
}

// ---- the session ----------------------------------------------------------------------------------------------------

/** @param {Session} begun */
function begin(begun) {
  session = begun;
  offset = Date.parse(begun.now) - Date.now();
  return begun;
}

/** Whether the session's key has a scope. @param {Scope} scope */
export const may = (scope) => Boolean(session?.scopes.includes(scope) || session?.scopes.includes("admin"));

/** The session of the cookie, or null. */
export async function resume() {
  try {
    return begin(await get("/v1/session"));
  } catch (failure) {
    const { code } = /** @type {Problem} */ (failure);
    if (code && ["key_unknown", "session_over", "key_ended"].includes(code)) return null;
    throw failure;
  }
}

// A header value is visible ASCII only; anything else cannot be part of a key.
/** @param {string} key */
const bearer = (key) => ({ authorization: `Bearer ${key.trim().replace(/[^\x21-\x7e]/g, "")}` });

/** Whose key it is, without signing in. @param {string} key @returns {Promise<Session>} */
export const whose = (key) => call("GET", "/v1/session", undefined, bearer(key));

/** @param {string} key */
export async function signIn(key) {
  return begin(await call("POST", "/v1/session", {}, bearer(key)));
}

export async function signOut() {
  await del("/v1/session");
  session = null;
  onSignedOut();
}

/** @param {() => void} then */
export const whenSignedOut = (then) => {
  onSignedOut = () => {
    disconnect();
    lastEvent = null;
    then();
  };
};

// ---- the event stream -----------------------------------------------------------------------------------------------

/** Calls `listener` with each event until the returned function is called. @param {(event: Event) => void} listener */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Opens the stream, which reconnects automatically; `whenState` receives whether it is connected. */
export function connect(whenState = onState) {
  onState = whenState;
  stream?.close();
  let retried = false;
  stream = new EventSource(url("/v1/events/stream", { after: lastEvent }));
  stream.onopen = () => {
    onState(true);
    retried = false;
  };
  stream.onmessage = (message) => {
    lastEvent = message.lastEventId;
    const event = JSON.parse(message.data);
    adjustClock(event.timestamp);
    for (const listener of [...listeners]) listener(event);
  };
  stream.onerror = () => {
    onState(false);
    // Closed permanently: the session may have ended, or the host is at its limit. Checked from time to time.
    if (stream?.readyState === EventSource.CLOSED && !retried) {
      retried = true;
      setTimeout(async () => {
        if (session && (await resume().catch(() => true))) connect();
        else onSignedOut();
      }, 5000);
    }
  };
}

// A browser opens six connections to a host over HTTP/1.1. A hidden page closes its stream, or a seventh tab would wait
// forever; it receives what it missed when it is visible again.
const HIDDEN_MS = 300_000;
/** @type {number | undefined} */
let hidden;
function disconnect() {
  stream?.close();
  stream = null;
}
addEventListener("pagehide", disconnect);
addEventListener("pageshow", (event) => event.persisted && session && connect());
document.addEventListener("visibilitychange", () => {
  clearTimeout(hidden);
  if (document.hidden) hidden = setTimeout(disconnect, HIDDEN_MS);
  else if (session && !stream) connect();
});

/** The host's clock may be a sandbox's, which a person moves: checked now and then. */
async function followClock() {
  if (!session || document.hidden) return;
  try {
    const health = await get("/healthz");
    adjustClock(new Date(health.now_ms).toISOString());
  } catch {
    // The stream shows that the host is unreachable.
  }
}
setInterval(followClock, 10_000);
document.addEventListener("visibilitychange", followClock);
