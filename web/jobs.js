// What the page knows about jobs: those of lists, and whole records of the ones that are looked at. Views listen.

import { api } from "./api.js";
import { queueOf } from "./queue.js";
import { now, seconds } from "./time.js";

export const OPEN = ["RECEIVED", "SUBMITTING", "QUEUED", "PROCESSING", "COPYING", "UNCERTAIN"];
export const GROUPS = {
  all: null,
  open: OPEN,
  ready: ["COMPLETED"],
  held: ["HELD"],
  ended: ["FAILED", "EXPIRED", "REJECTED", "CANCELLED"],
};

export const isOpen = (job) => OPEN.includes(job.state);
/** Whether the job is being worked on. */
export const isMoving = (job) => isOpen(job) || Boolean(job.retry && !job.retry.ended_at);
/** Whether the job may still change by itself. A held one changes when money or a person lets it. */
export const mayChange = (job) => isMoving(job) || job.state === "HELD";

const titles = new Map();

/** Takes the models' titles. */
export function takeModels(models) {
  for (const one of models) titles.set(one.model, one.title);
}

export const modelTitle = (model) => titles.get(model) || model;

const known = new Map();
const records = new Map();
const asked = new Map();
const listeners = new Set();

/** Calls `listener` with the jobs that changed. Returns what ends that. */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell(changed) {
  for (const listener of listeners) listener(changed);
}

export const get = (id) => known.get(id);
export const all = () => [...known.values()];

/** Takes jobs from an answer. The list may lag behind, so an older view of a job is ignored. Returns what is new. */
export function take(jobs) {
  const changed = [];
  for (const job of jobs) {
    const before = known.get(job.job_id);
    if (before && before.updated_at > job.updated_at) continue;
    if (before && before.updated_at === job.updated_at && before.state === job.state) continue;
    if (before && before.updated_at === job.updated_at && !isOpen(before)) continue;
    known.set(job.job_id, job);
    changed.push({ job, before });
  }
  if (changed.length) tell(changed);
  return changed;
}

/** Takes a whole record. */
export function takeRecord(record) {
  records.set(record.job_id, { record, at: Date.now() });
  const before = known.get(record.job_id);
  known.set(record.job_id, record);
  tell([{ job: record, before }]);
  return record;
}

/** The whole record if it is known and of the job's present state. */
export function record(id) {
  const found = records.get(id)?.record;
  const job = known.get(id);
  return found && job && found.state === job.state ? found : undefined;
}

// Four at a time: a wall of new cards asks for many records at once, and the API has a limit of calls per second.
const inTurn = queueOf(4);

/** The whole record, from the API if it is unknown, outdated, or older than `age` seconds. */
export function fetchRecord(id, age = Infinity, { first = false } = {}) {
  const kept = records.get(id);
  if (kept && record(id) && Date.now() - kept.at <= age * 1000) return Promise.resolve(kept.record);
  if (asked.has(id)) return asked.get(id);
  const wanted = inTurn(() => api.video(id).then(takeRecord), { first }).finally(() => asked.delete(id));
  asked.set(id, wanted);
  return wanted;
}

// How long a model's videos take. It changes slowly, so it is asked for once in ten minutes.
const likely = new Map();

export function likelySeconds(model) {
  const kept = likely.get(model);
  if (kept && Date.now() - kept.at < 600000) return kept.wanted;
  const wanted = api.estimate({ model }).then(
    (answer) => answer.seconds,
    () => {
      likely.delete(model);
      return null;
    },
  );
  likely.set(model, { wanted, at: Date.now() });
  return wanted;
}

/** Seconds since the request was sent, or null if it is not known (yet). */
export function elapsed(job) {
  const from = record(job.job_id)?.submitted_at || job.submitted_at;
  return from ? Math.max(0, now() / 1000 - seconds(from)) : null;
}

/** Seconds from the request to the end, of a job that has ended. */
export const took = (job) => job.timings?.total_seconds ?? null;
