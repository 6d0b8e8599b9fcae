// A job's card on the wall, and that of an order that has no answer yet.

import { button, h, icon, replace, set, text } from "./dom.js";
import * as jobs from "./jobs.js";
import * as orders from "./orders.js";
import { player, poster, release } from "./player.js";
import { progress } from "./progress.js";
import { exactly, money, moment } from "./time.js";
import { copyOf } from "./upload.js";
import { words } from "./words.js";

const TONES = { COMPLETED: "good", HELD: "warn", UNCERTAIN: "warn", CANCELLED: "quiet" };

/** Which colour a state has: good, bad, something to look at, under way, or quiet. */
export const toneOf = (job) => TONES[job.state] || (jobs.isOpen(job) ? "busy" : "bad");

export const statePill = (job) => h("span", { class: `pill ${toneOf(job)}` }, words.states[job.state] || job.state);

// What is seen gets its record: the link to its video, or when it was sent. What is never scrolled to costs no call.
const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) entry.target.dispatchEvent(new CustomEvent("seen", { detail: entry.isIntersecting }));
  },
  { rootMargin: "300px" },
);

/** A card. `chosen` tells whether it is chosen to be compared, `choose` changes that. */
export function card(titleOf, { chosen, choose }) {
  const frame = h("div", { class: "frame" });
  const name = h("a", { class: "card-link" });
  const pill = h("div", { class: "stage-pill" });
  const meta = h("p", { class: "card-meta" });
  const cost = h("span", { class: "cost" });
  const trouble = h("div", { class: "trouble" });
  const box = h("input", { type: "checkbox", onchange: () => choose(job, box.checked) });
  const pick = h("label", { class: "pick" }, box, h("span", { class: "unseen" }));
  const bar = progress();
  const element = h(
    "li",
    { class: "card" },
    h("div", { class: "stage" }, frame, pill, pick),
    h(
      "div",
      { class: "card-body" },
      h("div", { class: "card-head" }, h("h3", null, name), cost),
      meta,
      bar.element,
      trouble,
    ),
  );
  let job;
  let visible = false;
  let drawn = "";
  let posterAsked = false;
  let preview;

  element.addEventListener("seen", (event) => {
    visible = event.detail;
    if (visible) look();
  });
  element.addEventListener("pointerenter", (event) => {
    if (event.pointerType === "mouse") play();
  });
  element.addEventListener("pointerleave", still);
  seen.observe(element);

  /** Plays the video below the pointer, without sound. */
  function play() {
    if (job.state !== "COMPLETED" || preview || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    preview = player(job.job_id, { muted: true, loop: true, tabindex: "-1", "aria-hidden": "true", class: "preview" });
    const { video } = preview;
    video.addEventListener("loadeddata", () => video.play().catch(() => {}), { once: true });
    frame.append(video);
    preview.load().catch(still);
  }

  function still() {
    if (!preview) return;
    release(preview.video);
    preview.video.remove();
    preview = null;
  }

  function look() {
    if (job.state === "COMPLETED" && !posterAsked) {
      posterAsked = true;
      poster(job.job_id, frame).catch(() => {
        posterAsked = false;
      });
    } else if (jobs.isOpen(job) && job.state !== "RECEIVED" && jobs.elapsed(job) === null) {
      jobs.fetchRecord(job.job_id).catch(() => {}); // the next change asks again
    }
  }

  /** What is behind the words until there is a frame of the video. */
  function backdrop() {
    const kind = job.state === "COMPLETED" ? "ready" : toneOf(job);
    if (kind === drawn) return;
    drawn = kind;
    posterAsked = false;
    const canvas = orders.thumbnails.get(job.job_id);
    frame.className = `frame ${kind}`;
    replace(frame, canvas ? copyOf(canvas) : icon(kind === "bad" || kind === "warn" ? "alert" : "film"));
  }

  return {
    element,
    remove: () => {
      seen.unobserve(element);
      bar.stop();
      still();
    },
    update(found) {
      if (found === job) {
        box.checked = chosen(job);
        return;
      }
      job = found;
      const title = titleOf(job);
      text(name, title);
      set(name, { href: `#/videos/${encodeURIComponent(job.job_id)}`, title });
      replace(pill, statePill(job));
      text(meta, `${jobs.modelTitle(job.model).replace(/^Seedance /, "")} · ${moment(job.created_at)}`);
      meta.title = exactly(job.created_at);
      text(cost, job.cost_usd === null ? "" : money(job.cost_usd));
      pick.hidden = job.state !== "COMPLETED";
      text(pick.querySelector("span"), words.wall.choose(title));
      box.checked = chosen(job);
      bar.element.hidden = !jobs.isOpen(job);
      if (jobs.isOpen(job)) bar.update(job);
      else bar.stop();
      replace(trouble, job.error && job.state !== "COMPLETED" ? reason(job.error) : null);
      backdrop();
      if (visible) look();
    },
  };
}

/** Why a job is where it is, and what to do about it. */
export const reason = (error) => [
  h("p", { class: "reason" }, error.message),
  words.advice[error.code] && h("p", { class: "advice" }, words.advice[error.code]),
];

/** Why an order was refused. The stack names the picture by its key, which its owner has never seen. */
const complaint = ({ problem, body, name }) =>
  body.image_key ? problem.message.replace(`image_key: ${body.image_key}`, name) : problem.message;

/** The card of an order that has no answer yet. */
export function orderCard({ edit }) {
  const frame = h("div", { class: "frame busy" });
  const name = h("h3", null);
  const pill = h("span", { class: "pill busy" });
  const trouble = h("p", { class: "reason", "aria-live": "polite" });
  let order;
  const actions = h(
    "div",
    { class: "actions", hidden: true },
    button(words.again, () => orders.again(order), { class: "button small" }),
    button(words.order.edit, () => edit(order), { class: "button small" }),
    button(words.order.discard, () => orders.discard(order), { class: "button small" }),
  );
  const element = h(
    "li",
    { class: "card" },
    h("div", { class: "stage" }, frame, h("div", { class: "stage-pill" }, pill)),
    h("div", { class: "card-body" }, h("div", { class: "card-head" }, name), trouble, actions),
  );
  return {
    element,
    update(found) {
      if (!order) replace(frame, found.thumbnail ? copyOf(found.thumbnail) : icon("film"));
      order = found;
      text(name, order.name);
      const refused = Boolean(order.problem);
      pill.className = `pill ${refused ? "bad" : "busy"}`;
      text(pill, refused ? words.order.refused : order.whole ? words.order.sending : words.compose.waitsForUpload);
      text(trouble, refused ? complaint(order) : order.retrying ? words.order.retrying : "");
      actions.hidden = !refused;
    },
  };
}
