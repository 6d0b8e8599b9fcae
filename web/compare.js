// Two to four videos side by side. One set of controls plays, stops and seeks all of them at the same moment.

import { button, h, modal, replace, set, text } from "./dom.js";
import * as jobs from "./jobs.js";
import { player, release } from "./player.js";
import { counted, duration, money } from "./time.js";
import { titleOf } from "./wall.js";
import { words } from "./words.js";

const MOST_APART = 0.12;
const STEPS = 1000;

export async function openCompare(ids, { closed }) {
  const grid = h("div", { class: `compare of-${ids.length}` });
  const position = h("input", {
    type: "range",
    min: 0,
    max: STEPS,
    value: 0,
    step: 1,
    "aria-label": words.compare.position,
    oninput: seek,
  });
  const clock = h("span", { class: "clock" }, counted(0));
  const toggle = button(words.compare.play, () => (playing ? pause() : play()), { class: "button primary" });
  const sound = button(words.compare.unmute, () => {
    const on = players[0]?.video.muted;
    players.forEach(({ video }, index) => {
      video.muted = !(on && index === 0);
    }); // one sound: that of the first
    text(sound.querySelector("span"), on ? words.compare.mute : words.compare.unmute);
  });
  const dialog = h(
    "dialog",
    { class: "large wide", "aria-labelledby": "compare-title" },
    h(
      "header",
      { class: "dialog-head" },
      h("h2", { id: "compare-title", tabindex: "-1" }, words.compare.title),
      button(words.close, () => dialog.close(), { class: "icon-button", "aria-label": words.close }, "close"),
    ),
    grid,
    h("div", { class: "transport" }, toggle, position, clock, sound),
  );
  const players = [];
  let playing = false;
  let frame = 0;

  /** The longest video leads: it shows the time, and the others follow it. */
  const leader = () =>
    players.reduce((one, other) => ((other.video.duration || 0) > (one.video.duration || 0) ? other : one)).video;

  const at = (video, time) => Math.min(time, Math.max(0, (video.duration || time) - 0.05));

  function play() {
    if (!players.length) return;
    const lead = leader();
    if (lead.ended || lead.currentTime >= (lead.duration || Infinity) - 0.06) move(0);
    playing = true;
    drawToggle();
    for (const { video } of players) {
      if (video.currentTime < (video.duration || Infinity) - 0.06) video.play().catch(() => {});
    }
    follow();
  }

  function pause() {
    playing = false;
    drawToggle();
    cancelAnimationFrame(frame);
    for (const { video } of players) video.pause();
    if (players.length) move(leader().currentTime);
  }

  function move(time) {
    for (const { video } of players) video.currentTime = at(video, time);
    show(time);
  }

  function seek() {
    const lead = leader();
    move((position.value / STEPS) * (lead.duration || 0));
    if (playing) play();
  }

  function show(time) {
    const total = players.length ? leader().duration || 0 : 0;
    position.value = total ? (time / total) * STEPS : 0;
    set(position, { "aria-valuetext": counted(time) });
    text(clock, `${counted(time)} / ${counted(total)}`);
  }

  /** Keeps the others at the leader's time: browsers start and buffer each video in their own time. */
  function follow() {
    if (!playing || !players.length) return;
    const lead = leader();
    for (const { video } of players) {
      if (video === lead || video.ended || video.seeking) continue;
      const wanted = at(video, lead.currentTime);
      if (Math.abs(video.currentTime - wanted) > MOST_APART) video.currentTime = wanted;
    }
    show(lead.currentTime);
    if (lead.ended) pause();
    else frame = requestAnimationFrame(follow);
  }

  const drawToggle = () => text(toggle.querySelector("span"), playing ? words.compare.pause : words.compare.play);

  function end() {
    playing = false;
    cancelAnimationFrame(frame);
    for (const { video } of players) release(video);
    closed();
  }

  modal(dialog, end);
  document.getElementById("compare-title").focus();

  const found = await Promise.allSettled(ids.map((id) => jobs.fetchRecord(id, 120, { first: true })));
  replace(
    grid,
    found.map((one, index) => {
      const job = one.value;
      if (!job?.video) return h("figure", null, h("p", { class: "reason" }, words.compare.gone));
      const made = player(ids[index], { muted: true, preload: "auto", "aria-label": titleOf(job) });
      players.push(made);
      made.video.addEventListener("loadedmetadata", () => show(made.video.currentTime));
      return h(
        "figure",
        null,
        made.video,
        h(
          "figcaption",
          null,
          h("a", { href: `#/videos/${encodeURIComponent(job.job_id)}`, class: "compare-name" }, titleOf(job)),
          h(
            "dl",
            null,
            fact(words.detail.model, jobs.modelTitle(job.model)),
            fact(words.detail.cost, job.cost_usd === null ? words.detail.costUnknown : money(job.cost_usd)),
            fact(words.detail.made, jobs.took(job) === null ? "" : duration(jobs.took(job))),
          ),
          h("p", { class: "prompt" }, job.prompt),
        ),
      );
    }),
  );
  for (const one of players) one.load().catch(() => {});
}

const fact = (name, value) => h("div", null, h("dt", null, name), h("dd", null, value));
