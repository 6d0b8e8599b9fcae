// Honest progress: the provider tells no percentage, so the bar shows time. Its end is what nine of ten videos need, a
// mark is what half of them need, and the words say when a video takes longer.

import { h, text } from "./dom.js";
import * as jobs from "./jobs.js";
import { counted, duration } from "./time.js";
import { words } from "./words.js";

const shown = new Set();
let timer = 0;

/** A bar with words, which moves by itself while it is in the page. */
export function progress() {
  const fill = h("div", { class: "progress-fill" });
  const mark = h("div", { class: "progress-mark", title: words.progress.halfMark });
  const track = h(
    "div",
    {
      class: "progress",
      role: "progressbar",
      "aria-label": words.progress.label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
    },
    fill,
    mark,
  );
  const line = h("p", { class: "progress-line" });
  const one = { element: h("div", { class: "progress-box" }, track, line), job: null, likely: null };
  one.draw = () => {
    const { job, likely } = one;
    const since = jobs.elapsed(job);
    const moving = since !== null && likely !== null && ["QUEUED", "PROCESSING", "SUBMITTING"].includes(job.state);
    const part = job.state === "COPYING" ? 1 : moving ? Math.min(1, since / likely.p90) : 0;
    fill.style.setProperty("--part", part);
    track.classList.toggle("late", moving && part === 1);
    track.classList.toggle("waiting", !moving && job.state !== "COPYING");
    mark.hidden = !likely;
    if (likely) mark.style.setProperty("--part", likely.p50 / likely.p90);
    if (moving) track.setAttribute("aria-valuenow", Math.round(part * 100));
    else track.removeAttribute("aria-valuenow");
    text(line, wordsOf(job, since, likely));
    track.setAttribute("aria-valuetext", line.textContent || words.states[job.state]);
  };
  one.update = (job) => {
    one.job = job;
    jobs.likelySeconds(job.model).then((likely) => {
      one.likely = likely;
      if (one.job) one.draw();
    });
    one.draw();
    shown.add(one);
    beat();
  };
  one.stop = () => shown.delete(one);
  return one;
}

function wordsOf(job, since, likely) {
  if (since === null || job.state === "COPYING" || !likely) return "";
  const time = counted(since);
  if (since > likely.p90) return `${time} · ${words.progress.verylate}`;
  if (since > likely.p50) return `${time} · ${words.progress.late(duration(likely.p90))}`;
  return `${time} · ${words.progress.usually(duration(likely.p50), duration(likely.p90))}`;
}

function beat() {
  if (timer) return;
  timer = setInterval(() => {
    if (document.hidden) return;
    for (const one of shown) {
      if (one.element.isConnected) one.draw();
      else shown.delete(one);
    }
    if (!shown.size) timer = clearInterval(timer) || 0;
  }, 1000);
}
