// Orders of videos. Each has its own Idempotency-Key from the moment of the click until the API has answered, also over
// a reload: however often it is sent, it is one video. That holds for one API key only: the stack keeps the
// Idempotency-Keys of its callers apart. So after another sign-in nothing is sent again by itself, and what was refused
// never is.

import { api, session } from "./api.js";
import * as jobs from "./jobs.js";
import { holdIf } from "./leaving.js";
import * as live from "./live.js";
import { words } from "./words.js";

const KEPT = "seedance-orders";
const LONGEST = 30000;

const orders = new Map();
const listeners = new Set();

export const listen = (listener) => listeners.add(listener);
export const pending = () => [...orders.values()].sort((one, other) => other.at - one.at);
export const unanswered = () => pending().filter((order) => !order.problem).length;

// What waits for its picture ends with the page, and so does with the tab what has no answer.
holdIf(() => pending().some((order) => !order.whole || !order.problem));

function changed() {
  const kept = pending()
    .filter((order) => order.whole)
    .map(({ key, name, body, at, by, problem }) => ({ key, name, body, at, by, problem: shown(problem) }));
  sessionStorage.setItem(KEPT, JSON.stringify(kept));
  for (const listener of listeners) listener();
}

const shown = (problem) => problem && { message: problem.message };

/** Orders a video. `shot`: its picture, which may still be on its way to the bucket. */
export function place({ name, body, shot }) {
  const order = { key: crypto.randomUUID(), name, body, shot, by: session.id, at: Date.now() };
  order.thumbnail = shot?.thumbnail;
  orders.set(order.key, order);
  changed();
  whenUploaded(order);
}

async function whenUploaded(order) {
  try {
    if (order.shot) order.body = { ...order.body, image_key: await order.shot.key };
    order.whole = true;
    changed();
  } catch (problem) {
    order.problem = problem;
    changed();
    return;
  }
  await send(order);
}

/** Another attempt for an order that was refused, or whose picture could not be uploaded. Its key stays. */
export function again(order) {
  order.problem = null;
  order.by = session.id;
  if (!order.whole && order.shot?.failed) order.shot.begin();
  changed();
  if (order.whole) send(order);
  else whenUploaded(order);
}

async function send(order) {
  if (order.sending) return;
  order.sending = true;
  try {
    await untilAnswered(order);
  } finally {
    order.sending = false;
  }
}

async function untilAnswered(order) {
  for (let attempt = 1; orders.has(order.key); attempt += 1) {
    let job;
    try {
      job = await api.order(order.body, order.key);
    } catch (problem) {
      if (!problem.passing) {
        order.problem = problem.status === 403 ? keyRefused(order) : problem;
        changed();
        return;
      }
      order.retrying = true;
      changed();
      await pause(problem, attempt);
      continue;
    }
    orders.delete(order.key);
    changed();
    if (order.thumbnail) thumbnails.set(job.job_id, order.thumbnail);
    jobs.takeRecord(job);
    live.poke();
    return;
  }
}

const keyRefused = (order) => ({ message: order.retrying ? words.order.unanswered : words.order.keyRefused });

const waiting = new Set();

/** Waits before the next attempt, at most until the stack answers again. */
function pause(problem, attempt) {
  const wait = (problem.retryAfter || 0) * 1000 || Math.min(LONGEST, 1000 * 2 ** attempt);
  return new Promise((resolve) => {
    const end = () => {
      waiting.delete(end);
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(end, wait);
    if (!problem.status) waiting.add(end);
  });
}

live.onTick(() => {
  for (const end of waiting) end();
});

/** Pictures of jobs that were ordered in this tab, shown until there is a frame of the video. */
export const thumbnails = new Map();

export function discard(order) {
  orders.delete(order.key);
  changed();
}

/** Forgets every order, refused or not answered. */
export function forget() {
  orders.clear();
  changed();
}

/** Sends what had no answer yet when the page was reloaded. All else waits for a person: what was refused, and what
 * somebody ordered before the present sign-in. */
export function resume() {
  let kept = [];
  try {
    kept = JSON.parse(sessionStorage.getItem(KEPT) || "[]");
  } catch {
    sessionStorage.removeItem(KEPT);
  }
  for (const one of kept) {
    const order = { ...one, whole: true, retrying: true };
    if (!order.problem && order.by !== session.id) order.problem = { message: words.order.unanswered };
    orders.set(order.key, order);
  }
  changed();
  for (const order of pending()) if (!order.problem) send(order);
}
