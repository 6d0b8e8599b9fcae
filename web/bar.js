// The bar on top: the day's budget, what waits and is in progress, and whether submits are paused.

import { api } from "./api.js";
import { announce, ask, button, h, replace, set, text, toast } from "./dom.js";
import * as live from "./live.js";
import { exactly, moment, money } from "./time.js";
import { words } from "./words.js";

const LEAST_BETWEEN = 4000;
const AT_LEAST_EVERY = 30000;

export function bar({ signOut }) {
  const spent = h("span", { class: "spent" });
  const left = h("span", { class: "left" });
  const spentFill = h("div", { class: "meter-spent" });
  const reservedFill = h("div", { class: "meter-reserved" });
  const meter = h("div", { class: "meter", hidden: true }, spentFill, reservedFill);
  const queue = h("ul", { class: "queue" });
  const toggle = button(words.bar.pause, pause, { class: "button small" });
  const out = button(
    words.signOut,
    signOut,
    { class: "icon-button", "aria-label": words.signOut, title: words.signOut },
    "out",
  );
  const element = h(
    "div",
    { class: "budget", role: "group", "aria-label": words.bar.label },
    h("div", { class: "money" }, h("p", null, spent, left), meter),
    queue,
    toggle,
    out,
  );
  const banner = h("div", { class: "banner warn", role: "status", hidden: true });
  let askedAt = 0;
  let later = 0;

  async function look() {
    clearTimeout(later);
    askedAt = Date.now();
    try {
      draw(await api.budget());
    } catch (problem) {
      if (problem.passing) live.heardNothing();
    }
  }

  function draw(found) {
    const { limit_usd: limit, spent_usd: used, reserved_usd: reserved } = found;
    text(spent, limit === null ? words.bar.spent(money(used)) : words.bar.ofLimit(money(used), money(limit)));
    text(left, limit === null ? "" : found.left_usd > 0 ? words.bar.left(money(found.left_usd)) : words.bar.used);
    set(meter, { title: words.bar.reserved(money(reserved)) });
    meter.hidden = limit === null;
    meter.classList.toggle("full", limit !== null && found.left_usd === 0);
    spentFill.style.setProperty("--part", limit ? Math.min(1, used / limit) : 0);
    reservedFill.style.setProperty("--part", limit ? Math.min(1, reserved / limit) : 0);
    replace(
      queue,
      [
        [found.in_flight, words.bar.inFlight],
        [found.waiting, words.bar.waiting],
        [found.held, words.bar.held],
      ]
        .filter(([count], index) => count || index === 0)
        .map(([count, label]) => h("li", null, label(count))),
    );
    toggle.hidden = found.paused; // then the banner has the button
    banner.hidden = !found.paused;
    if (found.paused) {
      replace(
        banner,
        h(
          "p",
          null,
          h("strong", null, words.bar.pausedTitle),
          " ",
          h("span", { title: exactly(found.paused_at) }, words.bar.pausedSince(moment(found.paused_at))),
          ": ",
          found.paused_reason,
        ),
        button(words.bar.resume, resume, { class: "button small" }),
      );
    }
  }

  async function pause() {
    const reason = h("input", {
      name: "reason",
      id: "pause-reason",
      maxlength: 500,
      autocomplete: "off",
      placeholder: words.bar.reasonHint,
    });
    const agreed = await ask({
      title: words.bar.pauseTitle,
      lead: words.bar.pauseLead,
      yes: words.bar.pauseNow,
      no: words.dismiss,
      body: h("div", { class: "field" }, h("label", { for: "pause-reason", class: "label" }, words.bar.reason), reason),
    });
    if (agreed) await change(() => api.pause(agreed.reason.trim()), words.bar.paused);
  }

  const resume = () => change(api.resume, words.bar.resumed);

  async function change(call, said) {
    try {
      await call();
      toast(said);
    } catch (problem) {
      toast(problem.message);
    }
    await look();
    live.poke();
  }

  live.onTick((changed) => {
    const wait = Date.now() - askedAt;
    if ((changed.length && wait > LEAST_BETWEEN) || wait > AT_LEAST_EVERY) look();
    else if (changed.length) {
      clearTimeout(later);
      later = setTimeout(look, LEAST_BETWEEN - wait);
    }
  });

  return { element, banner, look };
}

/** What the page says while the stack does not answer. */
export function connectionBanner() {
  const line = h("p", null);
  const banner = h(
    "div",
    { class: "banner bad", hidden: true },
    line,
    button(
      words.connection.now,
      () => {
        text(line, words.connection.trying);
        live.poke(0);
      },
      { class: "button small" },
    ),
  );
  let timer = 0;
  live.onConnection((next) => {
    clearInterval(timer);
    if (next === null) {
      banner.hidden = true;
      toast(words.connection.back);
      return;
    }
    const draw = () => {
      const seconds = Math.ceil((next - Date.now()) / 1000);
      text(line, seconds > 0 ? words.connection.lost(seconds) : words.connection.trying);
    };
    if (banner.hidden) announce(words.connection.trying); // once: the seconds are not read out
    banner.hidden = false;
    draw();
    timer = setInterval(draw, 1000);
  });
  return banner;
}
