// The wall: all jobs, newest first, page by page, with filters. Live changes come into it by themselves.

import { api } from "./api.js";
import { card, orderCard } from "./card.js";
import { announce, button, h, icon, keyed, replace, set, text, toast } from "./dom.js";
import * as jobs from "./jobs.js";
import * as live from "./live.js";
import * as orders from "./orders.js";
import { seconds } from "./time.js";
import { words } from "./words.js";

const PAGE = 48;
const MOST_EMPTY_PAGES = 8;
const PAUSE_IN_TYPING = 300;
const MOST_COMPARED = 4;

export function wall({ models, edit, compare }) {
  const filter = { group: "all", model: "", name: "", batch: "" };
  let query = null;
  const chosen = new Set();
  const shown = new Map();
  let typing = 0;

  // Filters -----------------------------------------------------------------------------------------------------------

  const groups = h(
    "div",
    { class: "choices groups", role: "group", "aria-label": words.wall.filters },
    Object.entries(words.wall.groups).map(([group, label]) => [
      h("input", {
        type: "radio",
        name: "group",
        id: `group-${group}`,
        value: group,
        checked: group === "all",
        onchange: () => narrow({ group }),
      }),
      h("label", { for: `group-${group}` }, label),
    ]),
  );
  const model = h(
    "select",
    { "aria-label": words.wall.model, onchange: () => narrow({ model: model.value }) },
    h("option", { value: "" }, words.wall.anyModel),
    models.map((one) => h("option", { value: one.model }, one.title)),
  );
  const name = h("input", {
    type: "search",
    placeholder: words.wall.name,
    "aria-label": words.wall.name,
    maxlength: 200,
    oninput: () => {
      clearTimeout(typing);
      typing = setTimeout(() => narrow({ name: name.value }), PAUSE_IN_TYPING);
    },
  });
  const batchNote = h("p", { class: "note" });
  const list = h("ul", { class: "cards", id: "cards" });
  const foot = h("div", { class: "wall-foot" });
  const tray = h("div", { class: "tray", hidden: true, role: "region", "aria-label": words.compare.title });
  const element = h(
    "section",
    { class: "wall", "aria-labelledby": "wall-title" },
    h(
      "div",
      { class: "wall-head" },
      h("h2", { id: "wall-title", tabindex: "-1", class: "unseen" }, words.wall.title),
      groups,
      h("div", { class: "filters" }, model, name),
    ),
    batchNote,
    tray, // before the list, so that a keyboard need not pass all cards; its place is below
    list,
    foot,
  );

  function narrow(change) {
    Object.assign(filter, change);
    begin();
  }

  function reset() {
    set(model, { value: "" });
    name.value = "";
    document.getElementById("group-all").checked = true;
    if (filter.batch) location.hash = "#/";
    narrow({ group: "all", model: "", name: "", batch: "" });
  }

  const isFiltered = () => filter.group !== "all" || filter.model || filter.name || filter.batch;

  const fits = (job) =>
    (!filter.model || job.model === filter.model) &&
    (!filter.batch || job.batch?.batch_id === filter.batch) &&
    (!filter.name || job.name.startsWith(filter.name)) &&
    (!jobs.GROUPS[filter.group] || jobs.GROUPS[filter.group].includes(job.state));

  // Pages -------------------------------------------------------------------------------------------------------------

  /** Begins the list anew, with the present filters. */
  function begin() {
    replace(
      batchNote,
      filter.batch && [words.wall.batch(filter.batch), " ", h("a", { href: "#/" }, words.wall.clearBatch)],
    );
    batchNote.hidden = !filter.batch;
    // Jobs older than `floor` are not shown: of those, only some may be known.
    query = { cursor: null, floor: Infinity, done: false, loading: false };
    draw();
    return page();
  }

  async function page() {
    const mine = query;
    if (mine.loading || mine.done) return;
    mine.loading = true;
    mine.failed = false;
    drawFoot();
    try {
      // A page may be short, or even empty, although there is more: filters apply to what a call has read.
      for (let empty = 0; empty < MOST_EMPTY_PAGES; empty += 1) {
        const states = jobs.GROUPS[filter.group];
        const answer = await api.list({
          state: states?.join(","),
          model: filter.model,
          batch: filter.batch,
          name_prefix: filter.name,
          limit: PAGE,
          cursor: mine.cursor,
        });
        jobs.take(answer.videos);
        if (mine !== query) return;
        mine.cursor = answer.next_cursor;
        mine.done = !mine.cursor;
        if (answer.videos.length) mine.floor = seconds(answer.videos.at(-1).created_at);
        if (mine.done || answer.videos.length) break;
      }
    } catch (problem) {
      if (mine === query) mine.failed = true;
      if (problem.passing) live.heardNothing();
    } finally {
      mine.loading = false;
      if (mine === query) draw();
    }
  }

  // Drawing -----------------------------------------------------------------------------------------------------------

  function draw() {
    const floor = query.done ? -Infinity : query.floor;
    const visible = jobs.all().filter((job) => fits(job) && seconds(job.created_at) >= floor);
    visible.sort((one, other) =>
      one.created_at < other.created_at
        ? 1
        : one.created_at > other.created_at
          ? -1
          : one.job_id < other.job_id
            ? 1
            : -1,
    );
    const waiting = isFiltered() ? [] : orders.pending();
    const all = [...waiting.map((order) => ({ order })), ...visible];
    keyed(
      list,
      all,
      shown,
      (one) => one.order?.key || one.job_id,
      (one) =>
        one.order ? wrapped(orderCard({ edit })) : card(titleOf, { chosen: (job) => chosen.has(job.job_id), choose }),
    );
    list.hidden = !all.length;
    drawFoot(all.length);
  }

  const wrapped = (made) => ({ element: made.element, update: ({ order }) => made.update(order) });

  function drawFoot(count = list.childElementCount) {
    const parts = [];
    if (query.loading) parts.push(h("p", { class: "help" }, count ? words.wall.searching : words.wall.loading));
    else if (query.failed) parts.push(button(words.again, page, null, "again"));
    else if (!query.done) parts.push(button(words.wall.more, page, { id: "more" }));
    else if (!count) parts.push(empty());
    replace(foot, parts);
  }

  const empty = () =>
    h(
      "div",
      { class: "empty" },
      icon("film"),
      h("h3", null, isFiltered() ? words.wall.nothingTitle : words.wall.emptyTitle),
      h("p", null, isFiltered() ? words.wall.nothingLead : words.wall.emptyLead),
      isFiltered() && button(words.wall.clear, reset),
    );

  // Older jobs come by themselves when the end of the list is near; the button is for the keyboard.
  new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting) && query && !query.failed && query.cursor) page();
    },
    { rootMargin: "600px" },
  ).observe(foot);

  // Comparing ---------------------------------------------------------------------------------------------------------

  function choose(job, on) {
    if (!on) chosen.delete(job.job_id);
    else if (chosen.size < MOST_COMPARED) chosen.add(job.job_id);
    else toast(words.wall.compareMost(MOST_COMPARED));
    drawTray();
    draw();
  }

  function drawTray() {
    tray.hidden = !chosen.size;
    const ids = [...chosen];
    replace(
      tray,
      h("p", { "aria-live": "polite" }, ids.length === 1 ? words.wall.compareOne : words.wall.chosen(ids.length)),
      button(words.wall.compare(ids.length), () => compare(ids), { class: "button primary", disabled: ids.length < 2 }),
      button(words.wall.compareClear, () => {
        chosen.clear();
        drawTray();
        draw();
        document.getElementById("wall-title").focus();
      }),
    );
  }

  // Changes -----------------------------------------------------------------------------------------------------------

  let planned = 0;
  const redraw = () => {
    if (!planned)
      planned = requestAnimationFrame(() => {
        planned = 0;
        if (query) draw();
      });
  };
  jobs.listen(redraw);
  orders.listen(redraw);
  live.onConnection((next) => {
    if (next === null && query?.failed) page();
  });
  live.onTick((changed) => {
    const moved = changed.filter(({ job, before }) => before && before.state !== job.state);
    if (moved.length === 1) {
      announce(words.wall.changed(titleOf(moved[0].job), words.states[moved[0].job.state] || moved[0].job.state));
    } else if (moved.length) announce(words.wall.many(moved.length));
  });

  return {
    element,
    begin,
    isChosen: (id) => chosen.has(id),
    choose,
    ofBatch(id) {
      if (filter.batch === id) return;
      narrow({ batch: id });
      if (id) document.getElementById("wall-title")?.focus();
    },
    clear() {
      list.replaceChildren();
      shown.clear();
      text(foot, "");
    },
  };
}

export const titleOf = (job) => job.name || job.job_id;
