// Batches: a table is uploaded and checked; its dry run is shown, and only an approval buys its videos.

import { api } from "./api.js";
import { ask, button, h, icon, replace, save, set, text, toast } from "./dom.js";
import { holdIf } from "./leaving.js";
import * as live from "./live.js";
import { exactly, moment, money } from "./time.js";
import { badRowsOf, estimateOf, fileOf, pill, progressOf } from "./batchparts.js";
import { withPictures } from "./table.js";
import { isTable, upload } from "./upload.js";
import { words } from "./words.js";

const QUICK = 3000;
const IDLE = 30000;
const PAGE = 20;
const OURS = /\.(results|rejected)\.csv$/i; // what a batch before it has written
const ACTIVE = new Set(["PLANNING", "RUNNING", "CANCELLING"]);

export function batchView() {
  const said = h("div", { class: "file-problems", role: "alert" });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": words.batches.progress });
  const status = h("p", { class: "help", "aria-live": "polite" });
  const chooser = h("input", {
    type: "file",
    accept: ".csv,.jsonl,image/jpeg,image/png,image/webp",
    multiple: true,
    class: "unseen",
    id: "choose-table",
    onchange: () => {
      take([...chooser.files]);
      chooser.value = "";
    },
  });
  const zone = h(
    "div",
    { class: "drop table-drop" },
    h(
      "div",
      { class: "drop-empty" },
      icon("table"),
      h("p", { class: "drop-title" }, words.batches.drop),
      h("p", { class: "help" }, words.batches.dropHint),
    ),
    chooser,
    h("label", { for: "choose-table", class: "button small" }, words.batches.choose),
    bar,
    status,
    said,
  );
  const lead = h("p", { class: "help" }, words.batches.lead);
  const content = h("div", null);
  const element = h(
    "section",
    { class: "batches", "aria-labelledby": "batches-title" },
    h("div", { class: "page-head" }, h("h2", { id: "batches-title", tabindex: "-1" }, words.batches.title), lead),
    content,
  );

  let open = null;
  let timer = 0;
  let drawn = "";
  let uploads = 0;

  // A new batch -------------------------------------------------------------------------------------------------------

  /** A table, with the pictures that its rows name or without. */
  async function take(files) {
    if (!files.length) return;
    const tables = files.filter((file) => isTable(file) && !OURS.test(file.name));
    if (tables.length !== 1) {
      const why = tables.length ? words.batches.several : words.batches.kind(files[0].name);
      replace(said, h("p", null, why));
      return;
    }
    replace(said);
    bar.hidden = false;
    bar.value = 0;
    uploads += 1;
    try {
      const file = await filled(tables[0], files);
      const form = await upload(file, file.name, (part) => {
        bar.value = part;
        text(status, words.batches.uploading(file.name, Math.floor(part * 100)));
      });
      text(status, words.batches.checking);
      const batch = await api.plan(form.manifest_key);
      location.hash = `#/batches/${encodeURIComponent(batch.batch_id)}`;
    } catch (problem) {
      replace(said, h("p", null, problem.message));
    } finally {
      uploads -= 1;
      bar.hidden = true;
      text(status, "");
    }
  }

  holdIf(() => uploads > 0);

  async function filled(table, files) {
    const others = files.filter((file) => !isTable(file));
    if (!others.length) return table;
    const made = await withPictures(table, others, (done, all) => {
      bar.value = all ? done / all : 0;
      text(status, words.batches.pictures(done, all));
    });
    if (made.left) toast(words.batches.left(made.left));
    return made.table;
  }

  // The list ----------------------------------------------------------------------------------------------------------

  async function list() {
    const answer = await api.batches({ limit: PAGE });
    if (open !== "") return IDLE;
    const mark = JSON.stringify(answer.batches);
    if (mark !== drawn) {
      drawn = mark;
      replace(
        content,
        zone,
        answer.batches.length ? h("ul", { class: "batch-list" }, answer.batches.map(row)) : none(),
        answer.next_cursor && more(answer.next_cursor),
      );
    }
    return answer.batches.some((batch) => ACTIVE.has(batch.state)) ? QUICK : IDLE;
  }

  function more(cursor) {
    const next = button(words.wall.more, async () => {
      next.disabled = true;
      const answer = await api.batches({ limit: PAGE, cursor }).catch(() => null);
      next.disabled = false;
      if (!answer) return;
      content.querySelector(".batch-list")?.append(...answer.batches.map(row));
      next.replaceWith(answer.next_cursor ? more(answer.next_cursor) : "");
    });
    return next;
  }

  const none = () =>
    h(
      "div",
      { class: "empty" },
      icon("table"),
      h("h3", null, words.batches.emptyTitle),
      h("p", null, words.batches.emptyLead),
    );

  const row = (batch) =>
    h(
      "li",
      { class: "batch-row" },
      h(
        "div",
        null,
        h(
          "h3",
          null,
          h("a", { href: `#/batches/${encodeURIComponent(batch.batch_id)}`, class: "card-link" }, fileOf(batch)),
        ),
        h("p", { class: "help", title: exactly(batch.created_at) }, words.batches.created(moment(batch.created_at))),
      ),
      h("p", { class: "help" }, batch.rows === null ? "" : words.batches.rows(batch.rows)),
      h("p", { class: "cost" }, batch.estimate_usd === null ? "" : words.compose.cost(money(batch.estimate_usd), 1)),
      pill(batch),
    );

  // One batch ---------------------------------------------------------------------------------------------------------

  async function one(id) {
    let batch;
    try {
      batch = await api.batch(id);
    } catch (problem) {
      if (problem.status !== 404) throw problem;
      replace(content, back(), h("p", { class: "empty" }, words.batches.notFound));
      return IDLE;
    }
    if (open === id) draw(batch);
    return ACTIVE.has(batch.state) || batch.state === "OPEN" ? QUICK : IDLE;
  }

  const back = () => h("p", { class: "back" }, h("a", { href: "#/batches" }, icon("back"), words.batches.back));

  function draw(batch) {
    // Links are signed anew in each answer, so they don't count as a change. They are fetched when they are used.
    const mark = JSON.stringify(batch, (name, value) => (name === "url" || name === "counted_at" ? undefined : value));
    if (mark === drawn) return;
    const sameBatch = drawn.includes(batch.batch_id);
    const focused = sameBatch && content.contains(document.activeElement) && document.activeElement.dataset.act;
    drawn = mark;
    const good = (batch.rows || 0) - batch.rejected;
    replace(
      content,
      back(),
      h(
        "div",
        { class: "batch-head" },
        h("h3", { class: "batch-name" }, fileOf(batch)),
        pill(batch),
        h("p", { class: "help", title: exactly(batch.created_at) }, words.batches.created(moment(batch.created_at))),
      ),
      h(
        "div",
        { "aria-live": "polite" },
        batch.state === "PLANNING" && h("p", { class: "lead" }, words.batches.checking),
        batch.error && h("p", { class: "reason" }, batch.error.message),
        words.batches.what[batch.state] && h("p", { class: "advice" }, words.batches.what[batch.state]),
        batch.budget_note && h("p", { class: "note" }, batch.budget_note),
      ),
      progressOf(batch),
      buttons(batch, good),
      estimateOf(batch, good),
      badRowsOf(batch, () => download(batch, "rejected_report")),
      batch.notes.map((note) => h("p", { class: "help" }, note)),
    );
    if (focused) content.querySelector(`[data-act="${focused}"]`)?.focus();
  }

  function buttons(batch, good) {
    const planned = batch.state === "PLANNED";
    return h(
      "div",
      { class: "actions" },
      planned &&
        good > 0 &&
        button(
          words.batches.approve(good, money(batch.estimate_usd)),
          () => approve(batch, good),
          { class: "button primary", "data-act": "approve" },
          "check",
        ),
      batch.approved_at &&
        h("a", { class: "button", href: `#/of/${encodeURIComponent(batch.batch_id)}` }, words.batches.show),
      batch.results &&
        button(words.batches.results, () => download(batch, "results"), { "data-act": "results" }, "down"),
      (planned || batch.state === "RUNNING" || batch.state === "PLANNING") &&
        button(planned ? words.batches.discard : words.batches.cancel, () => stop(batch), {
          class: "button danger-text",
          "data-act": "stop",
        }),
      planned && batch.approve_by && h("p", { class: "help" }, words.batches.approveBy(moment(batch.approve_by))),
    );
  }

  const approve = (batch, good) =>
    act(() => api.approve(batch.batch_id), words.batches.approved, {
      title: words.batches.approveTitle,
      lead: words.batches.approveLead(good, money(batch.estimate_usd)),
      yes: words.batches.approveYes,
      no: words.compose.cancel,
    });

  const stop = (batch) =>
    act(() => api.stop(batch.batch_id), words.batches.cancelled, {
      title: words.batches.cancelTitle,
      yes: words.batches.cancelYes,
      no: words.dismiss,
      danger: true,
      lead: batch.approved_at ? words.batches.cancelLead : words.batches.discardLead,
    });

  /** Saves a file of the batch, by a link that is fresh: the page may have been open for days. */
  async function download(batch, file) {
    try {
      save((await api.batch(batch.batch_id))[file].url, { shown: true });
    } catch (problem) {
      toast(problem.message);
    }
  }

  async function act(call, done, question) {
    if (!(await ask(question))) return;
    try {
      draw(await call());
      toast(done);
    } catch (problem) {
      toast(problem.message);
    }
    look();
  }

  // Following ---------------------------------------------------------------------------------------------------------

  let failures = 0;

  async function look() {
    clearTimeout(timer);
    if (open === null) return;
    let wait;
    try {
      wait = await (open ? one(open) : list());
      failures = 0;
    } catch (problem) {
      failures += 1;
      if (problem.passing) live.heardNothing();
      wait = Math.min(60000, QUICK * 2 ** failures);
      if (!drawn) replace(content, zone, h("p", { class: "reason" }, problem.message));
    }
    clearTimeout(timer);
    if (open !== null) timer = setTimeout(look, document.hidden ? Math.max(wait, IDLE) : wait);
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) look();
  });
  live.onConnection((next) => {
    if (next === null && failures) look();
  });

  return {
    element,
    take,
    /** Shows a batch, or with "" the list; with null, nothing is followed. */
    show(id) {
      if (open !== id) {
        drawn = "";
        replace(content, id ? back() : zone);
      }
      open = id;
      set(element, { hidden: id === null });
      set(lead, { hidden: Boolean(id) });
      look();
    },
  };
}
