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
const ALL_EVERY = 60000;
const RECENT = 600;
const DAY = 86400;
const LIMIT = 100;
const MOST_PAGES = 5;

let timer = 0;
let lookedAtAll = 0;
let turn = 0;
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
  recent.begin();
  all.begin();
  lookedAtAll = Date.now();
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
  try {
    const changed = await look();
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

/** Reads the jobs that changed since the last reading, page by page; `oldest(since)` tells when the oldest one that
 * matters was created. A reading that is not finished goes on at its place with the next call, so nothing is left out
 * however much there is or whatever fails. */
function reading(oldest) {
  let since = 0;
  let place = null;
  let began = 0;
  return {
    begin() {
      since = now() / 1000;
      place = null;
    },
    /** One call, or some more while there are many changes. Returns what changed. */
    async next() {
      if (!place) {
        began = now() / 1000;
        const created = oldest(since);
        place = { updated_since: moment(since - OVERLAP), created_since: created && moment(created), limit: LIMIT };
      }
      const changed = [];
      for (let page = 0; page < MOST_PAGES; page += 1) {
        let answer;
        try {
          answer = await api.list(place);
        } catch (problem) {
          if (!problem.passing) place = null; // its place is refused: it begins again, as far back as before
          throw problem;
        }
        changed.push(...jobs.take(answer.videos));
        if (!answer.next_cursor) {
          since = began;
          place = null;
          break;
        }
        place.cursor = answer.next_cursor;
        if (answer.videos.length < LIMIT) break; // few changes in the thousand jobs that were read
      }
      return changed;
    },
  };
}

const moment = (seconds) => new Date(seconds * 1000).toISOString();

const horizon = () => now() / 1000 - DAY;

// A call reads every job that was created in the span it asks for, up to a thousand, and that costs. So ticks ask for
// the span of the jobs that are under way, of at most a day. All jobs are read once a minute, a thousand at a time: a
// held one may go on, or somebody may try an old one again.
const recent = reading((since) => {
  const moving = jobs
    .all()
    .filter(jobs.isMoving)
    .map((job) => seconds(job.created_at));
  return Math.min(since - RECENT, ...moving.map((created) => Math.max(created, horizon()))) - 1;
});
const all = reading(() => null);

async function look() {
  const changed = await recent.next();
  if (Date.now() - lookedAtAll >= ALL_EVERY) {
    changed.push(...(await all.next()));
    lookedAtAll = Date.now();
  }
  return [...changed, ...(await lookAtOld())];
}

/** One of those that are under way and older than a day. Their own records cost less than all jobs since then. */
async function lookAtOld() {
  const old = jobs.all().filter((job) => jobs.isMoving(job) && seconds(job.created_at) < horizon());
  if (!old.length) return [];
  turn += 1;
  const before = old[turn % old.length];
  try {
    const job = await jobs.fetchRecord(before.job_id, 0);
    return job.state === before.state ? [] : [{ job, before }];
  } catch (problem) {
    if (problem.passing) throw problem;
    return []; // its record is not kept any more
  }
}

/** Tells the ticks about calls of other modules, so that the page says it when the stack is gone. */
export function heardNothing() {
  if (running && !failures && !ticking) poke(0);
}

document.addEventListener("visibilitychange", () => poke(document.hidden ? QUICK_HIDDEN : 0));
addEventListener("online", () => poke(0));
