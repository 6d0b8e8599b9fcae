// Calls of the API that serves this page. The page's own address tells where the API is: on AWS the stage is a part of
// the path, on the local stack there are more parts.

import { hear } from "./time.js";
import { words } from "./words.js";

const BASE = new URL("./", location.href.split("#")[0].split("?")[0]);
const KEY = "seedance-key";
const SESSION = "seedance-session";

/** A refusal, as the API explains it. `status` 0: there was no answer. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || fallback(status));
    this.status = status;
    this.code = body.code || "";
    this.field = body.field || "";
    this.estimate = body.estimate_usd;
    this.retryAfter = body.retryAfter;
  }

  /** Whether repeating the call may help, because it was not answered. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

function fallback(status) {
  if (status === 0) return words.problems.lost;
  return status === 429 ? words.problems.busy : words.problems.failed;
}

// The key -------------------------------------------------------------------------------------------------------------

let refused = () => {};

/** What to do when the stack refuses the key. */
export const onRefused = (listener) => {
  refused = listener;
};

export const session = {
  /** The key of a link that opens the page signed in. It is taken out of the address at once. */
  takeFromAddress() {
    const found = /^#key=(.+)$/.exec(location.hash);
    if (!found) return;
    history.replaceState(null, "", location.pathname + location.search);
    try {
      this.key = decodeURIComponent(found[1]);
    } catch {
      this.key = found[1];
    }
  },
  get key() {
    return sessionStorage.getItem(KEY) || "";
  },
  set key(value) {
    if (value !== this.key) sessionStorage.setItem(SESSION, crypto.randomUUID());
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  },
  /** Changes with each sign-in. The key itself is kept in one place only. */
  get id() {
    return sessionStorage.getItem(SESSION) || "";
  },
};

// Calls ---------------------------------------------------------------------------------------------------------------

/** Calls the API and returns the answer's object. Raises Problem. */
export async function call(method, path, { body, query, headers, key = session.key, quiet, patience = 30000 } = {}) {
  const url = new URL(path.replace(/^\//, ""), BASE);
  for (const [name, value] of Object.entries(query || {})) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  let response;
  let text;
  try {
    response = await fetch(url, {
      method,
      headers: { "x-api-key": key, ...(body ? { "content-type": "application/json" } : {}), ...headers },
      body: body && JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(patience),
    });
    text = await response.text();
  } catch {
    throw new Problem(0, {});
  }
  hear(response.headers.get("date"));
  const answer = read(text);
  if (response.ok) return answer;
  if (response.status === 403 && !quiet) refused();
  throw new Problem(response.status, { ...answer, retryAfter: Number(response.headers.get("retry-after")) || null });
}

function read(text) {
  try {
    return JSON.parse(text) || {};
  } catch {
    return {};
  }
}

/** A header must be ASCII. A key that is not can't be right, and fetch would only say that it failed. */
export const possibleKey = (key) => /^[\x21-\x7e]+$/.test(key);

const video = (id) => `/videos/${encodeURIComponent(id)}`;
const batch = (id) => `/batches/${encodeURIComponent(id)}`;

export const api = {
  check: (key) => call("GET", "/budget", { key, quiet: true }),
  budget: () => call("GET", "/budget"),
  pause: (reason) => call("POST", "/pause", { body: reason ? { reason } : {} }),
  resume: () => call("POST", "/resume"),
  models: async () => (await call("GET", "/models")).models,
  estimate: (body) => call("POST", "/estimates", { body }),
  list: (query) => call("GET", "/videos", { query, patience: 10000 }),
  order: (body, key) => call("POST", "/videos", { body, headers: { "Idempotency-Key": key } }),
  video: (id) => call("GET", video(id)),
  timeline: (id) => call("GET", `${video(id)}/timeline`),
  cancel: (id) => call("POST", `${video(id)}/cancel`),
  retry: (id, body) => call("POST", `${video(id)}/retry`, { body }),
  share: (id) => call("POST", `${video(id)}/link`),
  unshare: (id) => call("DELETE", `${video(id)}/link`),
  uploadForm: (name, bytes) => call("POST", "/uploads", { body: { name, bytes } }),
  batches: (query) => call("GET", "/batches", { query }),
  batch: (id) => call("GET", batch(id)),
  plan: (manifest) => call("POST", "/batches", { body: { manifest_key: manifest, approve: false } }),
  approve: (id) => call("POST", `${batch(id)}/approve`),
  stop: (id) => call("POST", `${batch(id)}/cancel`),
};
