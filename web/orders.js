// Orders of videos. Each has its own Idempotency-Key from the moment of the click until the API has answered, also over
// a reload: however often it is sent, it is one video.

import { api } from "./api.js";
import * as jobs from "./jobs.js";
import * as live from "./live.js";

const KEPT = "seedance-orders";
const LONGEST = 30000;

const orders = new Map();
const listeners = new Set();

export const listen = (listener) => listeners.add(listener);
export const pending = () => [...orders.values()].sort((one, other) => other.at - one.at);

function changed() {
  const kept = pending()
    .filter((order) => order.whole)
    .map(({ key, name, body, at }) => ({ key, name, body, at }));
  sessionStorage.setItem(KEPT, JSON.stringify(kept));
  for (const listener of listeners) listener();
}

/** Orders a video. `shot`: its picture, which may still be on its way to the bucket. */
export function place({ name, body, shot }) {
  const order = { key: crypto.randomUUID(), name, body, shot, thumbnail: shot?.thumbnail, at: Date.now() };
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
    try {
      const job = await api.order(order.body, order.key);
      orders.delete(order.key);
      changed();
      if (order.thumbnail) thumbnails.set(job.job_id, order.thumbnail);
      jobs.takeRecord(job);
      live.poke();
      return;
    } catch (problem) {
      if (problem.status === 403) return; // sent again after the next sign-in
      if (!problem.passing) {
        order.problem = problem;
        changed();
        return;
      }
      order.retrying = true;
      changed();
      await pause(problem, attempt);
    }
  }
}

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

/** Sends what had no answer yet when the page was reloaded or the key was refused. */
export function resume() {
  let kept = [];
  try {
    kept = JSON.parse(sessionStorage.getItem(KEPT) || "[]");
  } catch {
    sessionStorage.removeItem(KEPT);
  }
  for (const order of kept) {
    const here = orders.get(order.key);
    if (here?.problem || here?.sending) continue;
    orders.set(order.key, { ...orders.get(order.key), ...order, whole: true });
    send(orders.get(order.key));
  }
  if (kept.length) for (const listener of listeners) listener();
}
