// Keeps the page up to date with one call a tick: the jobs that changed since the last one. Ticks are quick while
// something is under way, slow otherwise, slower in a hidden tab, and back off while the stack does not answer.

import { api } from "./api.js";
import * as jobs from "./jobs.js";
import { now, seconds } from "./time.js";

const QUICK = 3000;
const QUICK_HIDDEN = 20000;
const IDLE = 30000;
const LONGEST = 60000;
const OVERLAP = 60;
const WHOLE_EVERY = 300000;
const MOST_PAGES = 5;

let timer = 0;
let since = null;
let lastWhole = 0;
let failures = 0;
let running = false;
let ticking = false;
let followers = 0;
const changes = new Set();
const connections = new Set();

/** Calls `listener` after each tick with what changed (and after the first one). */
export const onTick = (listener) => changes.add(listener);

/** Calls `listener` with null when the stack answers again, or with the time of the next attempt. */
export const onConnection = (listener) => connections.add(listener);

export function start() {
  running = true;
  since = now() / 1000 - OVERLAP;
  lastWhole = Date.now();
  plan();
}

export function stop() {
  running = false;
  clearTimeout(timer);
}

/** Asks soon, for example after something was ordered. */
export function poke(delay = 400) {
  if (!running || ticking) return;
  clearTimeout(timer);
  timer = setTimeout(tick, delay);
}

/** Something else is under way, such as a batch that is being planned. Returns what ends that. */
export function follow() {
  followers += 1;
  poke();
  let ended = false;
  return () => {
    if (!ended) followers -= 1;
    ended = true;
  };
}

function plan() {
  clearTimeout(timer);
  if (!running) return;
  const busy = followers > 0 || jobs.all().some(jobs.isOpen);
  // Nothing under way and nobody looking: the page asks again when somebody looks.
  if (document.hidden && !busy && !failures) return;
  let wait = busy ? (document.hidden ? QUICK_HIDDEN : QUICK) : IDLE;
  if (failures) {
    wait = Math.min(LONGEST, 1000 * 2 ** failures);
    for (const listener of connections) listener(Date.now() + wait);
  }
  timer = setTimeout(tick, wait);
}

async function tick() {
  if (!running || ticking) return;
  ticking = true;
  const began = now() / 1000;
  try {
    const changed = await look(began);
    since = began;
    const wasLost = failures > 0;
    failures = 0;
    if (wasLost) for (const listener of connections) listener(null);
    for (const listener of changes) listener(changed);
  } catch (problem) {
    // Whatever is wrong, ticking goes on: a page that silently stopped would show old news as new.
    failures += problem.status === 403 ? 0 : 1;
  } finally {
    ticking = false;
    plan();
  }
}

async function look(began) {
  // An index is read, and every job in the asked span costs: so only back to the oldest job that is under way, except
  // now and then, because somebody may have tried an older one again.
  const whole = Date.now() - lastWhole > WHOLE_EVERY;
  const oldest = Math.min(
    began - 600,
    ...jobs
      .all()
      .filter(jobs.mayChange)
      .map((job) => seconds(job.created_at)),
  );
  const query = {
    updated_since: new Date((since - OVERLAP) * 1000).toISOString(),
    created_since: whole ? null : new Date((oldest - 1) * 1000).toISOString(),
    limit: 100,
  };
  const changed = [];
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const answer = await api.list(query);
    changed.push(...jobs.take(answer.videos));
    if (!answer.next_cursor) break;
    query.cursor = answer.next_cursor;
  }
  if (whole) lastWhole = Date.now();
  return changed;
}

/** Tells the ticks about calls of other modules, so that the page says it when the stack is gone. */
export function heardNothing() {
  if (running && !failures && !ticking) poke(0);
}

export const isLost = () => failures > 0;

document.addEventListener("visibilitychange", () => poke(document.hidden ? QUICK_HIDDEN : 0));
addEventListener("online", () => poke(0));
