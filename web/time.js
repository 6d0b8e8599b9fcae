// Times, durations, sums and sizes as the viewer reads them: in the viewer's zone, by the stack's clock.

import { words } from "./words.js";

const dateAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const timeOnly = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const dayOnly = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const toTheSecond = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

let ahead = 0;

/** Takes the stack's clock from an answer: a laptop's clock that is wrong would show wrong progress. */
export function hear(dateHeader) {
  const stack = Date.parse(dateHeader || "");
  // The header has whole seconds, so less than two seconds of difference is none.
  if (Number.isFinite(stack)) ahead = Math.abs(stack - Date.now()) > 2000 ? stack - Date.now() : 0;
}

/** Milliseconds by the stack's clock. */
export const now = () => Date.now() + ahead;

export const seconds = (iso) => Date.parse(iso) / 1000;

export function moment(iso) {
  const at = new Date(iso);
  return at.toDateString() === new Date(now()).toDateString() ? timeOnly.format(at) : dateAndTime.format(at);
}

export const exactly = (iso) => exact.format(new Date(iso));
export const day = (iso) => dayOnly.format(new Date(iso));
export const clockTime = (iso) => toTheSecond.format(new Date(iso));

/** A duration that is counted: 0:42, 12:05, 1:02:10. */
export function counted(secs) {
  const whole = Math.max(0, Math.floor(secs));
  const parts = [Math.floor(whole / 60) % 60, whole % 60];
  if (whole >= 3600) parts.unshift(Math.floor(whole / 3600));
  return parts.map((part, index) => (index ? String(part).padStart(2, "0") : part)).join(":");
}

/** A duration in words: 42 s, 2 min 5 s. */
export function duration(secs) {
  if (secs < 10) return words.units.seconds(Number(secs.toFixed(1)));
  const whole = Math.round(secs);
  if (whole < 120) return words.units.seconds(whole);
  if (whole % 60 && whole < 600) return words.units.both(Math.floor(whole / 60), whole % 60);
  return words.units.minutes(Math.round(whole / 60));
}

/** A sum in USD. Prices of cents have cents; smaller ones have what is needed to see them. */
export function money(usd) {
  const digits = usd > 0 && usd < 0.1 ? 3 : 2;
  return words.units.usd(usd.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: digits }));
}

export function bytes(count) {
  if (count < 1e5) return words.units.kilobytes(Math.max(1, Math.round(count / 1000)));
  return words.units.megabytes((count / 1e6).toFixed(1));
}
