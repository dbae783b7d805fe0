// The public API, called with the session's cookie. What changes something shows the session's token.

let token = null;
let offset = 0;
const listeners = new Set();
let stream = null;
let lastEvent = null;
let onState = () => {};
let onSignedOut = () => {};

/** The host's time in milliseconds. Windows close by its clock, not by the browser's. */
export const now = () => Date.now() + offset;

const heard = (time) => {
  const there = Date.parse(time) - Date.now();
  // Answers take a while on their way: only what is plainly off moves the clock.
  if (Math.abs(there - offset) > 2000) offset = there;
};

/** A failure as the API words it (RFC 9457). */
export class Problem extends Error {
  constructor(document) {
    super(document.detail ?? document.title ?? "The host did not answer.");
    Object.assign(this, document);
  }
}

export async function call(method, path, body, headers = {}) {
  const json = body !== undefined && !(body instanceof Blob) && !(body instanceof FormData);
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: {
        ...(json ? { "content-type": "application/json" } : {}),
        ...(token && method !== "GET" ? { "x-csrf-token": token } : {}),
        ...headers,
      },
      body: json ? JSON.stringify(body) : body,
    });
  } catch {
    throw new Problem({ title: "No connection", detail: "The host cannot be reached. It is tried again when you do something.", code: null });
  }
  const text = await answer.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    value = { detail: text };
  }
  if (answer.ok) return value;
  if (answer.status === 401 && token) {
    token = null;
    onSignedOut();
  }
  throw new Problem(value ?? { title: `The host answered ${answer.status}` });
}

export const get = (path) => call("GET", path);
export const post = (path, body) => call("POST", path, body ?? {});
/** A POST that acts once however often it is sent. */
export const once = (path, body) => call("POST", path, body, { "idempotency-key": random() });
export const put = (path, body) => call("PUT", path, body);
export const patch = (path, body) => call("PATCH", path, body);
export const del = (path) => call("DELETE", path);

const random = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** A query of what is set. */
export const query = (values) => {
  const set = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return set.length ? `?${new URLSearchParams(set)}` : "";
};

/** A link to bytes of this host, whatever name it calls itself by. */
export const local = (url) => {
  try {
    const { pathname, search } = new URL(url, location.href);
    return pathname.startsWith("/media/") ? pathname + search : null;
  } catch {
    return null;
  }
};

// ---- the session ----------------------------------------------------------------------------------------------------

function begin(session) {
  token = session.csrf_token;
  offset = Date.parse(session.now) - Date.now();
  return session;
}

/** The session that the cookie stands for, or null. */
export async function resume() {
  try {
    return begin(await get("/v1/session"));
  } catch (failure) {
    if (["key_unknown", "session_over", "key_ended"].includes(failure.code)) return null;
    throw failure;
  }
}

// A header takes visible ASCII only; what is none cannot be a key.
const bearer = (key) => ({ authorization: `Bearer ${key.trim().replace(/[^\x21-\x7e]/g, "")}` });

/** Whose key it is, without signing in. */
export const whose = (key) => call("GET", "/v1/session", undefined, bearer(key));

export async function signIn(key) {
  return begin(await call("POST", "/v1/session", {}, bearer(key)));
}

export async function signOut() {
  await del("/v1/session");
  token = null;
  onSignedOut();
}

export const whenSignedOut = (then) => {
  onSignedOut = () => {
    rest();
    lastEvent = null;
    then();
  };
};

// ---- what happens, as it happens --------------------------------------------------------------------------------------

/** Tells of each event until the returned function is called. */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Opens the stream. It comes back by itself where it broke off; `told` hears whether it is there. */
export function connect(told = onState) {
  onState = told;
  stream?.close();
  let missed = false;
  stream = new EventSource(`/v1/events/stream${query({ after: lastEvent })}`);
  stream.onopen = () => {
    onState(true);
    missed = false;
  };
  stream.onmessage = (message) => {
    lastEvent = message.lastEventId;
    const event = JSON.parse(message.data);
    heard(event.timestamp);
    for (const listener of [...listeners]) listener(event);
  };
  stream.onerror = () => {
    onState(false);
    // Closed for good: the session may be over, or the host is full. Asked once in a while.
    if (stream?.readyState === EventSource.CLOSED && !missed) {
      missed = true;
      setTimeout(async () => {
        if (token && (await resume().catch(() => true))) connect();
        else onSignedOut();
      }, 5000);
    }
  };
}

// A browser opens six connections to a host over HTTP/1.1. A page that nobody sees gives its own back, or a seventh tab would
// wait for ever; what it missed meanwhile follows when it is seen again.
const UNSEEN = 300_000;
let unseen;
function rest() {
  stream?.close();
  stream = null;
}
addEventListener("pagehide", rest);
addEventListener("pageshow", (event) => event.persisted && token && connect());
document.addEventListener("visibilitychange", () => {
  clearTimeout(unseen);
  if (document.hidden) unseen = setTimeout(rest, UNSEEN);
  else if (token && !stream) connect();
});

/** The host's clock may be a sandbox's that somebody moves: looked at now and then. */
async function follow() {
  if (!token || document.hidden) return;
  try {
    const health = await get("/healthz");
    heard(new Date(health.now_ms).toISOString());
  } catch {
    // The stream shows that the host is away.
  }
}
setInterval(follow, 10_000);
document.addEventListener("visibilitychange", follow);
