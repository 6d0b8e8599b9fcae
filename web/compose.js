// The panel that orders videos: pictures or text alone, the model's form, and what it costs before anything is bought.

import { api } from "./api.js";
import { announce, ask, button, h, replace, set, text, toast } from "./dom.js";
import * as draft from "./draft.js";
import { modelForm } from "./form.js";
import * as orders from "./orders.js";
import { ownValues } from "./ownvalues.js";
import { pictures } from "./pictures.js";
import { duration, money } from "./time.js";
import { words } from "./words.js";

const PAUSE_IN_TYPING = 350;
const ASK_ABOVE_USD = 10;
const DOUBLE_CLICK = 700;

/** The panel. `models` are those of GET /models; `usual` is the one that the stack takes by default. */
export function composer(models, usual) {
  const before = draft.read();
  const find = (slug) => models.find((one) => one.model === slug);
  let model = find(before.model) || find(usual) || models[0];
  let form;
  let estimate = null;
  let asked = 0;
  let timer = 0;
  let ordered = 0;

  const shots = pictures(() => refresh());
  const prompt = h("textarea", {
    id: "prompt",
    rows: 3,
    maxlength: 5000,
    placeholder: words.compose.promptHint,
    "aria-describedby": "prompt-error",
    oninput: () => showPrompt(null),
  });
  const promptError = h("p", { id: "prompt-error", class: "field-error", hidden: true });
  const chosen = h(
    "select",
    { id: "model", onchange: () => choose(chosen.value) },
    models.map((one) =>
      h(
        "option",
        { value: one.model, selected: one === model },
        words.compose.modelLine(one.title, money(one.average_usd), duration(one.average_seconds)),
      ),
    ),
  );
  const name = h("input", { id: "name", maxlength: 100, autocomplete: "off", placeholder: words.compose.nameAuto });
  const address = h("input", {
    id: "image-address",
    type: "url",
    maxlength: 2048,
    autocomplete: "off",
    placeholder: words.form.address,
    "aria-describedby": "image-address-help",
    oninput: () => refresh(),
  });
  const addressField = h(
    "div",
    { class: "field" },
    h("label", { for: "image-address", class: "label" }, words.compose.imageAddress),
    address,
    h("p", { id: "image-address-help", class: "help" }, words.compose.imageAddressHelp),
  );
  const own = ownValues(() => refresh());
  const main = h("div", { class: "fields first" });
  const more = h("div", { class: "fields" });
  const options = h(
    "details",
    { class: "options" },
    h("summary", { onclick: showOptions }, words.compose.options),
    h(
      "div",
      { class: "fields" },
      h(
        "div",
        { class: "field" },
        h("label", { for: "name", class: "label" }, words.compose.name),
        name,
        h("p", { class: "help" }, words.compose.nameHelp),
      ),
      addressField,
    ),
    more,
    h("div", { class: "fields" }, own.element),
  );
  const price = h("p", { class: "price" }, words.compose.estimating);
  const time = h("p", { class: "help" });
  const problem = h("p", { class: "field-error", role: "alert", hidden: true });
  const note = h("p", { class: "note", hidden: true });
  const make = h("button", { type: "submit", class: "button primary wide" }, words.compose.make(1));

  const element = h(
    "form",
    { class: "composer", novalidate: true, "aria-labelledby": "composer-title", onsubmit: submit, oninput: keep },
    h("h2", { id: "composer-title" }, words.compose.title),
    note,
    shots.element,
    h(
      "div",
      { class: "field" },
      h("label", { for: "prompt", class: "label" }, words.compose.prompt),
      prompt,
      promptError,
    ),
    h("div", { class: "field" }, h("label", { for: "model", class: "label" }, words.compose.model), chosen),
    main,
    options,
    h("div", { class: "checkout" }, h("div", { "aria-live": "polite" }, price, time), problem, make),
  );

  /** Scrolls to the options that a person opens, which are below what is seen. */
  function showOptions() {
    requestAnimationFrame(() => options.open && options.scrollIntoView({ block: "nearest" }));
  }

  function choose(slug, values) {
    model = find(slug) || model;
    chosen.value = model.model;
    const kept = values || form?.values() || { parameters: {} };
    form = modelForm(model, () => refresh());
    form.fill(kept);
    replace(main, form.main);
    replace(more, form.more);
    refresh();
  }

  function body() {
    const given = { model: model.model, ...form.values(), metadata: own.value() };
    if (!shots.list.length && address.value.trim()) given.image = address.value.trim();
    return given;
  }

  /** Keeps what is in the form over a reload. A picture that is not uploaded by then is only counted. */
  function keep() {
    const pictures = shots.stored;
    draft.keep({
      ...{ model: model.model, values: form.values(), own: own.value() },
      ...{ prompt: prompt.value, name: name.value, address: address.value },
      ...{ pictures, missing: shots.list.length - pictures.length, open: options.open },
    });
  }

  function putBack() {
    prompt.value = before.prompt || "";
    name.value = before.name || "";
    address.value = before.address || "";
    own.fill(before.own);
    options.open = Boolean(before.open);
    if (before.pictures?.length) shots.putBack(before.pictures);
    text(note, before.missing ? words.compose.missing(before.missing) : "");
    note.hidden = !before.missing;
  }

  /** Asks for the price and the likely time, once nothing has changed for a moment. */
  function refresh() {
    clearTimeout(timer);
    if (!form) return;
    set(addressField, { hidden: shots.list.length > 0 });
    text(make, words.compose.make(shots.list.length));
    estimate = null;
    showProblem(null);
    keep();
    timer = setTimeout(look, PAUSE_IN_TYPING);
  }

  async function look() {
    asked += 1;
    const mine = asked;
    try {
      const answer = await api.estimate(body());
      if (mine !== asked) return;
      estimate = answer;
    } catch (refusal) {
      if (mine !== asked) return;
      if (!refusal.passing) showProblem(refusal);
      text(price, refusal.passing ? words.compose.noEstimate : "");
      text(time, "");
      if (refusal.passing) timer = setTimeout(look, 5000);
      return;
    }
    const count = Math.max(1, shots.list.length);
    text(price, words.compose.cost(money(estimate.estimate_usd * count), count));
    price.title = words.compose.bills(estimate.based_on.bills);
    text(time, words.compose.time(duration(estimate.seconds.p50), duration(estimate.seconds.p90)));
  }

  function showPrompt(message) {
    text(promptError, message);
    promptError.hidden = !message;
    set(prompt, { "aria-invalid": message ? "true" : null });
  }

  function showProblem(refusal) {
    const field = (refusal?.field || "").split(".").at(-1).replace(/\[.*$/, "");
    const ofOwn = own.fault || (field === "metadata" ? refusal.message : null);
    own.problem(ofOwn);
    const inForm = form.problem(field, refusal?.message) || field === "metadata";
    if (ofOwn || (inForm && !form.main.some((one) => one.classList.contains("wrong")))) options.open = true;
    text(problem, refusal && !inForm ? refusal.message : "");
    problem.hidden = !refusal || inForm;
  }

  async function submit(event) {
    event.preventDefault();
    if (Date.now() - ordered < DOUBLE_CLICK) return; // the second click of a double click orders nothing
    const wanted = prompt.value.trim();
    if (!wanted) {
      showPrompt(words.compose.promptNeeded);
      prompt.focus();
      return;
    }
    if (shots.failed) {
      text(problem, words.compose.uploadsFirst);
      problem.hidden = false;
      return;
    }
    if (own.fault) {
      options.open = true;
      own.focus();
      return;
    }
    const given = { ...body(), prompt: wanted };
    const count = Math.max(1, shots.list.length);
    const usd = (estimate?.estimate_usd ?? model.average_usd) * count;
    if (
      usd > ASK_ABOVE_USD &&
      !(await ask({
        title: words.compose.confirmTitle(count),
        lead: words.compose.confirmLead(money(usd)),
        yes: words.compose.confirm,
        no: words.compose.cancel,
      }))
    )
      return;
    ordered = Date.now();
    const list = shots.list.length ? [...shots.list].reverse() : [null]; // the first one is shown first
    const all = list.map((shot) => orderOf(given, shot, list.length > 1));
    // The form is empty before anything is bought: whatever goes wrong after that, another click orders nothing.
    clear();
    for (const order of all) orders.place(order);
    announce(words.compose.ordered(count));
    toast(words.compose.ordered(count));
    element.dispatchEvent(new CustomEvent("ordered", { bubbles: true }));
  }

  function clear() {
    prompt.value = "";
    name.value = "";
    address.value = "";
    own.fill({});
    note.hidden = true;
    shots.clear();
  }

  function orderOf(given, shot, several) {
    const typed = allowedName(name.value);
    const auto = autoName(shot, given.prompt);
    const called = typed && !several ? typed : typed && shot ? allowedName(`${typed} ${shot.name}`) : auto;
    return { name: called || words.order.sending, body: called ? { ...given, name: called } : given, shot };
  }

  /** Fills the form with another job's settings. The seed is left out: the same one would make the same video again.
   * A refused order comes back whole, with its seed. */
  function like(job) {
    const { refused } = job;
    const values = { ...job.parameters };
    const known = find(job.model) || model;
    prompt.value = values.prompt || job.prompt || "";
    name.value = refused?.ownName || "";
    address.value = refused?.body.image || values[known.first_image] || "";
    if (address.value) options.open = true; // so that nobody overlooks it
    if (!refused) delete values.seed;
    const reusable = job.image?.key.startsWith("images/");
    if (refused?.shot) shots.put(refused.shot);
    else if (reusable) shots.reuse(job.image.key, orders.thumbnails.get(job.job_id));
    else shots.clear();
    own.fill(job.metadata);
    if (own.value()) options.open = true; // so that nobody overlooks what they belong to
    choose(known.model, { parameters: values, transport: job.transport });
    const kept = refused ? words.compose.restored : words.compose.filled;
    text(note, job.image && !reusable ? words.compose.notReusable : kept);
    note.hidden = false;
    showPrompt(null);
    prompt.focus();
  }

  putBack();
  choose(model.model, before.values);
  return { element, like, takePictures: shots.take };
}

const autoName = (shot, prompt) => allowedName(shot ? shot.name : firstWords(prompt));

const firstWords = (prompt) => prompt.split(/\s+/).slice(0, 6).join(" ");

/** A text as a job's name, which is also a file's name; null if nothing is left of it. */
function allowedName(given) {
  return (
    given
      .replace(/[\p{Cc}/\\]/gu, " ")
      .replace(/^[ .]+/, "")
      .trim()
      .slice(0, 100)
      .trim() || null
  );
}

/** An order that was refused, put back into the form. */
export const asJob = (order) => ({
  job_id: order.key,
  model: order.body.model,
  prompt: order.body.prompt,
  parameters: { ...order.body.parameters, prompt: order.body.prompt },
  transport: order.body.transport,
  metadata: order.body.metadata,
  image: order.body.image_key ? { key: order.body.image_key } : null,
  refused: { ...order, ownName: order.body.name === autoName(order.shot, order.body.prompt) ? "" : order.body.name },
});

/** The button that opens the panel on a narrow screen. */
export function opener(panel) {
  const toggle = button(
    words.compose.open,
    () => show(panel.classList.toggle("open")),
    {
      class: "button primary opener",
      "aria-expanded": "false",
      "aria-controls": "composer",
    },
    "plus",
  );
  const show = (open) => {
    panel.classList.toggle("open", open);
    set(toggle, { "aria-expanded": String(open) });
    text(toggle.querySelector("span"), open ? words.compose.hide : words.compose.open);
  };
  return { toggle, show };
}
