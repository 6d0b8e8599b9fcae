// The caller's own names and values (metadata), which come back with the video: a short list of pairs.

import { button, h, icon, replace, set } from "./dom.js";
import { frame } from "./form.js";
import { words } from "./words.js";

const PAIRS = 20; // as many as the API takes

/** The list, with the same methods as a field of the form. `changed` is called after each change. */
export function ownValues(changed) {
  let rows = [];
  const id = "own-values";
  const list = h("ul", { class: "own-values" });
  const more = button(words.own.add, () => addAndFocus(), { class: "button small" }, "plus");
  const parts = { id, label: words.own.label, help: words.own.help(PAIRS), described: `${id}-help ${id}-error` };
  const { element, problem } = frame(parts, h("div", { class: "own" }, list, more), { group: true });

  function draw() {
    for (const [index, row] of rows.entries()) row.number(index + 1);
    replace(
      list,
      rows.map((row) => row.element),
    );
    set(list, { hidden: !rows.length });
    set(more, { disabled: rows.length >= PAIRS });
  }

  function addAndFocus() {
    if (rows.length >= PAIRS) return;
    const row = pair();
    rows.push(row);
    draw();
    row.name.focus();
  }

  function pair(given) {
    // A pair of another job is sent as it was until it is changed: a field has no line breaks, but a value may have.
    let kept = given;
    const input = (text) =>
      h("input", {
        value: text,
        autocomplete: "off",
        oninput: () => {
          kept = null;
          changed();
        },
        onkeydown: (event) => {
          if (event.key !== "Enter" || event.isComposing) return;
          event.preventDefault(); // Enter goes on to the next pair, and orders nothing
          addAndFocus();
        },
      });
    const name = input(given?.[0] ?? "");
    const value = input(given?.[1] ?? "");
    const remove = h("button", { type: "button", class: "icon-button", onclick: () => drop(row) }, icon("close"));
    const row = {
      name,
      element: h("li", null, name, value, remove),
      number(n) {
        set(name, { "aria-label": words.own.name(n), placeholder: words.own.nameHint });
        set(value, { "aria-label": words.own.value(n), placeholder: words.own.valueHint });
        set(remove, { "aria-label": words.own.remove(n) });
      },
      /** Name and value, or null if the pair is empty. */
      read() {
        if (kept) return kept;
        const read = [name.value.trim(), value.value.trim()];
        return read.some(Boolean) ? read : null;
      },
    };
    return row;
  }

  function drop(row) {
    const index = rows.indexOf(row);
    rows = rows.filter((one) => one !== row);
    draw();
    (rows[index]?.name || more).focus();
    changed();
  }

  const pairs = () => rows.map((row) => row.read()).filter(Boolean);

  draw();
  return {
    element,
    problem,
    /** The pairs as an object; undefined if there are none. */
    value() {
      const found = pairs();
      return found.length ? Object.fromEntries(found) : undefined;
    },
    fill(values) {
      rows = Object.entries(values || {}).map(pair);
      draw();
    },
    /** What the API can't see, because an object has each name once: a name that is given twice. */
    get fault() {
      const names = pairs().map(([name]) => name);
      const twice = names.find((name, index) => names.indexOf(name) !== index);
      return twice === undefined ? null : words.own.twice(twice);
    },
    /** Leads to what is wrong: the name that is given for the second time. */
    focus() {
      const names = rows.map((row) => row.read()?.[0]);
      rows[names.findIndex((name, index) => name !== undefined && names.indexOf(name) !== index)]?.name.focus();
      element.scrollIntoView({ block: "nearest" });
    },
  };
}
