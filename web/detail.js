// One video, in a dialog: it plays, and everything that is known about it, and what can be done with it.

import { api } from "./api.js";
import { reason, statePill, toneOf } from "./card.js";
import { actions, share } from "./actions.js";
import { add, button, h, icon, modal, replace, text } from "./dom.js";
import * as jobs from "./jobs.js";
import * as live from "./live.js";
import { thumbnails } from "./orders.js";
import { player, release } from "./player.js";
import { progress } from "./progress.js";
import { bytes, clockTime, duration, exactly, moment, money } from "./time.js";
import { copyOf } from "./upload.js";
import { titleOf } from "./wall.js";
import { words } from "./words.js";

const OWN = new Set(["prompt"]);
const IDS = new Set([words.detail.id, words.detail.request, words.detail.picture]);

/** Opens the dialog of a job. `another` makes another one like it, `pick` chooses it to be compared. */
export function openDetail(id, { another, pick, isPicked, closed }) {
  const title = h("h2", { id: "detail-title", tabindex: "-1" }, "…");
  const state = h("span", { "aria-live": "polite" });
  const stage = h("div", { class: "watch" });
  const why = h("div", { class: "trouble" });
  const doing = h("div", { class: "actions" });
  const outcome = h("div", { class: "outcome", "aria-live": "polite" });
  const shared = h("div", { class: "share" });
  const facts = h("div", { class: "facts" });
  const story = h("ol", { class: "timeline" });
  const bar = progress();
  const body = h(
    "div",
    { class: "detail" },
    h(
      "div",
      { class: "detail-main" },
      stage,
      bar.element,
      why,
      doing,
      outcome,
      shared,
      h("section", { class: "story" }, h("h3", null, words.detail.timeline), story),
    ),
    h("div", { class: "detail-side" }, facts),
  );
  const dialog = h(
    "dialog",
    { class: "large", "aria-labelledby": "detail-title" },
    h(
      "header",
      { class: "dialog-head" },
      h("div", null, title, state),
      button(words.close, () => dialog.close(), { class: "icon-button", "aria-label": words.close }, "close"),
    ),
    body,
  );
  // A press beside the dialog closes it: there the dialog itself is the target.
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });

  let playing = null;
  let drawn = "";
  let unfollow = () => {};
  const unlisten = jobs.listen((changed) => {
    const mine = changed.find(({ job }) => job.job_id === id);
    if (mine) refresh();
  });

  async function refresh(age = Infinity) {
    try {
      draw(await jobs.fetchRecord(id, age, { first: true }));
    } catch (problem) {
      if (problem.status === 404) replace(body, h("p", { class: "empty" }, words.detail.notFound));
      else if (!drawn)
        replace(
          why,
          h("p", { class: "reason" }, problem.message),
          button(words.again, () => refresh()),
        );
    }
  }

  function draw(job) {
    if (!dialog.isConnected) return;
    const mark = JSON.stringify(job, (key, value) => (/url$/.test(key) ? undefined : value));
    if (mark === drawn) return;
    drawn = mark;
    unfollow();
    unfollow = jobs.mayChange(job) && !jobs.isOpen(job) && job.retry && !job.retry.ended_at ? live.follow() : () => {};
    text(title, titleOf(job));
    replace(state, statePill(job));
    if (state.dataset.of !== job.state) replace(outcome); // what it said was about the state before
    state.dataset.of = job.state;
    drawStage(job);
    bar.element.hidden = !jobs.isOpen(job);
    if (jobs.isOpen(job)) bar.update(job);
    else bar.stop();
    replace(why, job.error && reason(job.error));
    if (job.retry?.said && job.state !== "COMPLETED")
      add(why, [h("p", { class: "advice" }, `${words.detail.retrySaid}: ${job.retry.said}`)]);
    replace(
      doing,
      actions(job, {
        outcome,
        another: () => {
          dialog.close();
          another(job);
        },
        pick,
        isPicked,
        refresh,
      }),
    );
    replace(shared, share(job, refresh));
    replace(facts, factsOf(job));
    drawStory();
  }

  function drawStage(job) {
    const ready = job.state === "COMPLETED";
    if (!ready) {
      const canvas = thumbnails.get(id);
      replace(stage, h("div", { class: `frame ${toneOf(job)}` }, canvas ? copyOf(canvas) : icon("film")));
    }
    if (!ready || playing) return;
    playing = player(id, { controls: true, "aria-label": `${words.detail.watch}: ${titleOf(job)}` }, { said: true });
    playing.video.addEventListener("hopeless", () =>
      replace(
        stage,
        h("p", { class: "reason" }, words.detail.playError),
        button(words.again, () => {
          playing = null;
          replace(stage);
          drawStage(job);
          playing.renew();
        }),
      ),
    );
    replace(stage, playing.video, h("p", { class: "help ai" }, words.detail.aiGenerated));
    playing.load().catch(() => {});
  }

  async function drawStory() {
    try {
      const { events } = await api.timeline(id);
      replace(
        story,
        events.map((event) =>
          h(
            "li",
            null,
            h("time", { datetime: event.at, title: exactly(event.at) }, clockTime(event.at)),
            h("span", null, eventWords(event)),
          ),
        ),
      );
    } catch {
      // The next change draws it again; everything else is shown already.
    }
  }

  function end() {
    unlisten();
    unfollow();
    bar.stop();
    if (playing) release(playing.video);
    closed();
  }

  modal(dialog, end);
  title.focus();
  // A record that is older than some minutes may have links that end soon.
  refresh(120);
  return dialog;
}

/** A timeline's event in the page's words: names of states and codes are for programs. */
function eventWords(event) {
  const known = words.states[event.event] || words.timeline[event.event];
  if (known || !event.state || !event.code) return known || event.event;
  const said = event.event.replace(/^[A-Z]+: /, "").replace(/ \([^()]*\)$/, "");
  const attempt = event.attempt > 1 ? ` (${words.timeline.attempt(event.attempt)})` : "";
  return `${words.states[event.state] || event.state}: ${said}${attempt}`;
}

function factsOf(job) {
  const rows = [
    [words.detail.model, jobs.modelTitle(job.model)],
    [words.detail.cost, costOf(job)],
    [
      words.detail.created,
      h("time", { datetime: job.created_at, title: exactly(job.created_at) }, moment(job.created_at)),
    ],
    [words.detail.made, job.state === "COMPLETED" && jobs.took(job) !== null ? duration(jobs.took(job)) : null],
    [words.detail.size, job.video && bytes(job.video.bytes)],
    [words.detail.source, words.detail.sources[job.source] || job.source],
    [
      words.detail.batch,
      job.batch && [
        h("a", { href: `#/batches/${encodeURIComponent(job.batch.batch_id)}` }, job.batch.batch_id),
        job.batch.row ? `, ${words.detail.row(job.batch.row)}` : "",
      ],
    ],
    [words.detail.picture, job.image?.key],
    [words.detail.id, job.job_id],
    [words.detail.request, job.request_id],
    [words.fields.transport, job.transport],
  ];
  const given = Object.entries(job.parameters).filter(
    ([name, value]) => !OWN.has(name) && value !== null && !(Array.isArray(value) && !value.length),
  );
  const labels = Object.entries(job.metadata || {}).map(([name, value]) => [name, value || words.own.empty]);
  return [
    job.prompt && h("section", null, h("h3", null, words.detail.prompt), h("p", { class: "prompt" }, job.prompt)),
    job.notes.length > 0 &&
      h(
        "section",
        null,
        h("h3", null, words.detail.notes),
        job.notes.map((one) => h("p", { class: "help" }, one)),
      ),
    h("section", null, h("h3", null, words.detail.about), pairs(rows)),
    h(
      "section",
      null,
      h("h3", null, words.detail.parameters),
      pairs(given.map(([name, value]) => [words.fields[name] || name, shown(name, value)])),
    ),
    labels.length > 0 && h("section", null, h("h3", null, words.detail.metadata), pairs(labels)),
  ];
}

/** What a job cost, as far as it is certain: a failed one may have been charged although nothing came back. */
function costOf(job) {
  if (job.cost_usd !== null) return money(job.cost_usd);
  if (job.state === "COMPLETED") return words.detail.costUnknown;
  if (["REJECTED", "CANCELLED"].includes(job.state) || /^PROVIDER_/.test(job.error?.code || ""))
    return words.detail.free;
  return jobs.mayChange(job) ? null : words.detail.costUncertain;
}

function shown(name, value) {
  if (typeof value === "boolean") return value ? words.detail.on : words.detail.off;
  if (name === "duration") return words.form.seconds(value);
  if (value === "adaptive") return words.form.adaptive;
  return Array.isArray(value) ? value.join(", ") : String(value);
}

const pairs = (rows) =>
  h(
    "dl",
    null,
    rows
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => h("div", null, h("dt", null, name), h("dd", { class: IDS.has(name) && "id" }, value))),
  );
