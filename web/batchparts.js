// The parts of a batch's page: its state, its estimate, the rows that can't be used, and how far it is.

import { button, h } from "./dom.js";
import { modelTitle } from "./jobs.js";
import { money } from "./time.js";
import { words } from "./words.js";

const TONES = {
  PLANNING: "busy",
  PLANNED: "warn",
  RUNNING: "busy",
  CANCELLING: "busy",
  DONE: "good",
  CANCELLED: "quiet",
  EXPIRED: "quiet",
  OPEN: "warn",
  REFUSED: "bad",
  FAILED: "bad",
};
const ROW_TONES = {
  COMPLETED: "good",
  FAILED: "bad",
  EXPIRED: "bad",
  REJECTED: "bad",
  HELD: "warn",
  UNCERTAIN: "warn",
  PLANNED: "quiet",
  NOT_STARTED: "quiet",
  CANCELLED: "quiet",
};

const toneOf = (state) => ROW_TONES[state] || "busy";

/** The name of a batch's file, without what was added to its key. */
export const fileOf = (batch) =>
  batch.manifest.key
    .split("/")
    .at(-1)
    .replace(/-[0-9a-f]{24}(?=\.[^.]*$)/, "");

export const pill = (batch) =>
  h("span", { class: `pill ${TONES[batch.state] || "quiet"}` }, words.batches.states[batch.state] || batch.state);

function panel(title, ...parts) {
  return h("section", { class: "panel" }, h("h4", null, title), parts);
}

/** A table. `numbers`: how many columns, counted from the right, are numbers. */
function table(headings, rows, { numbers = 0, foot } = {}) {
  const kind = (index) => (index >= headings.length - numbers ? "number" : null);
  const line = (cells) =>
    h(
      "tr",
      null,
      cells.map((cell, index) => h("td", { class: kind(index) }, cell)),
    );
  const head = headings.map((title, index) => h("th", { scope: "col", class: kind(index) }, title));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": headings.join(", ") },
    h(
      "table",
      null,
      h("thead", null, h("tr", null, head)),
      h("tbody", null, rows.map(line)),
      foot && h("tfoot", null, line(foot)),
    ),
  );
}

export function progressOf(batch) {
  if (!batch.approved_at || !batch.rows) return null;
  const order = Object.keys(words.states);
  const counts = Object.entries(batch.states).filter(([, count]) => count > 0);
  counts.sort(([one], [other]) => order.indexOf(one) - order.indexOf(other));
  const strip = counts.map(([state, count]) => {
    const part = h("div", { class: toneOf(state) });
    part.style.setProperty("--part", count);
    return part;
  });
  const legend = counts.map(([state, count]) =>
    h(
      "li",
      null,
      h("span", { class: `dot ${toneOf(state)}` }),
      `${count.toLocaleString("en")} ${words.batches.rowStates[state] || words.states[state] || state}`,
    ),
  );
  return panel(
    words.batches.progress,
    h("div", { class: "strip", "aria-hidden": "true" }, strip),
    h("ul", { class: "counts" }, legend),
    batch.rows_fed < batch.rows && h("p", { class: "help" }, words.batches.fed(batch.rows_fed, batch.rows)),
    h("p", { class: "help" }, `${words.batches.spent}: ${money(batch.spent_usd)}`),
  );
}

export function estimateOf(batch, good) {
  if (batch.estimate_usd === null) return null;
  const row = (name, videos, usd) => [name, videos.toLocaleString("en"), money(usd)];
  return panel(
    words.batches.estimate,
    table(
      [words.batches.model, words.batches.count, words.batches.estimate],
      batch.estimate_by_model.map((share) => row(modelTitle(share.model), share.videos, share.estimate_usd)),
      { numbers: 2, foot: row(words.batches.total, good, batch.estimate_usd) },
    ),
  );
}

/** `download` saves all of them. */
export function badRowsOf(batch, download) {
  if (batch.rows === null) return null;
  if (!batch.rejected) return batch.state === "PLANNED" ? h("p", { class: "fine" }, words.batches.noBad) : null;
  const shown = batch.bad_rows.length;
  return panel(
    words.batches.bad(batch.rejected),
    table(
      [words.batches.row, words.batches.line, words.batches.field, words.batches.error],
      batch.bad_rows.map((bad) => [bad.row, bad.line, h("code", null, bad.field), bad.error]),
    ),
    h("p", { class: "help", hidden: batch.rejected <= shown }, words.batches.firstBad(shown, batch.rejected)),
    batch.rejected_report &&
      h("div", null, button(words.batches.allBad, download, { class: "button small", "data-act": "bad-rows" }, "down")),
  );
}
