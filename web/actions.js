// What can be done with a job: download, share, try again, cancel. What costs money or can't be undone is asked first.

import { api } from "./api.js";
import { ask, button, h, replace, save, set, toast } from "./dom.js";
import * as jobs from "./jobs.js";
import * as live from "./live.js";
import { day, money } from "./time.js";
import { words } from "./words.js";

const CANCELLABLE = new Set(["OVER_BUDGET", "SUBMITS_PAUSED"]);
const FRESH_SECONDS = 120;

const canCancel = (job) => job.state === "RECEIVED" || (job.state === "HELD" && CANCELLABLE.has(job.error?.code));
const canRetry = (job) =>
  ["FAILED", "EXPIRED"].includes(job.state) || (job.state === "HELD" && job.error?.code === "RESULT_UNCLEAR");

/** The buttons for a job. `outcome` is where they say what happened. */
export function actions(job, { outcome, another, pick, isPicked, refresh }) {
  const say = (...what) => replace(outcome, ...what);
  const waits = job.retry && !job.retry.ended_at;
  const ready = job.state === "COMPLETED";
  if (waits) say(h("p", null, job.retry.pay ? words.detail.retryWaits : words.detail.retryFree));
  else if (canRetry(job) && job.retry?.estimate_usd) say(...offer(job, job.retry.estimate_usd, say, refresh));
  return [
    ready && button(words.detail.download, () => download(job.job_id, say), { class: "button primary" }, "down"),
    canRetry(job) &&
      !waits &&
      button(
        words.detail.retry,
        (event) => retry(job, event.currentTarget, say, refresh),
        { class: "button primary" },
        "again",
      ),
    button(words.detail.another, another, null, "plus"),
    ready && picker(job, pick, isPicked),
    canCancel(job) && button(words.detail.cancel, () => cancel(job, say), { class: "button danger-text" }),
  ];
}

function picker(job, pick, isPicked) {
  const label = () => (isPicked(job.job_id) ? words.detail.compareRemove : words.detail.compareAdd);
  const toggle = button(
    label(),
    () => {
      pick(job, !isPicked(job.job_id));
      toggle.querySelector("span").textContent = label();
      set(toggle, { "aria-pressed": String(isPicked(job.job_id)) });
    },
    { "aria-pressed": String(isPicked(job.job_id)) },
  );
  return toggle;
}

const complain = (say, problem) => say(h("p", { class: "reason" }, problem.message));

/** Downloads with a link that is fresh: the page may have been open for hours. */
async function download(id, say) {
  try {
    const { video } = await jobs.fetchRecord(id, FRESH_SECONDS, { first: true });
    save(video.download_url);
  } catch (problem) {
    complain(say, problem);
  }
}

async function cancel(job, say) {
  const agreed = await ask({
    title: words.detail.cancelTitle,
    lead: words.detail.cancelLead,
    danger: true,
    yes: words.detail.cancelYes,
    no: words.detail.cancelNo,
  });
  if (!agreed) return;
  try {
    jobs.takeRecord(await api.cancel(job.job_id));
    toast(words.detail.cancelled);
  } catch (problem) {
    complain(say, problem);
    live.poke();
  }
}

/** First without money: a known result is copied, or looked for. Only then is a purchase offered, with its price. */
async function retry(job, pressed, say, refresh) {
  pressed.disabled = true;
  try {
    jobs.takeRecord(await api.retry(job.job_id, { pay: false }));
    say(h("p", null, words.detail.retryFree));
    live.poke();
  } catch (problem) {
    if (problem.code === "NEEDS_PAYMENT") say(...offer(job, problem.estimate, say, refresh));
    else complain(say, problem);
  } finally {
    pressed.disabled = false;
  }
}

function offer(job, usd, say, refresh) {
  // The limit is what was shown, rounded up to a cent: a more expensive video is refused, and the user is asked again.
  const most = Math.max(0.01, Math.ceil(usd * 100 - 1e-6) / 100);
  const buy = button(
    words.detail.retryPayYes(money(most)),
    async () => {
      buy.disabled = true;
      try {
        jobs.takeRecord(await api.retry(job.job_id, { pay: true, max_usd: most }));
        say(h("p", null, words.detail.retried));
        live.poke();
      } catch (problem) {
        complain(say, problem);
        refresh(0);
      }
    },
    { class: "button primary" },
  );
  return [
    h("p", null, words.detail.retryPay(money(usd))),
    h(
      "div",
      { class: "actions" },
      buy,
      button(words.detail.retryPayNo, () => say()),
    ),
  ];
}

/** The link that people open without a key: made, copied, revoked. */
export function share(job, refresh) {
  if (job.state !== "COMPLETED" || !job.video) return [];
  const problem = h("p", { class: "reason", hidden: true, role: "alert" });
  const call = async (what, said) => {
    try {
      await what(job.job_id);
      await refresh(0);
      toast(said);
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  };
  const head = h("h3", null, words.detail.share);
  if (!job.video.link) {
    return [
      head,
      h("p", { class: "help" }, words.detail.shareNone),
      button(words.detail.shareMake, () => call(api.share, words.detail.shareMade), { class: "button small" }, "link"),
      problem,
    ];
  }
  const address = h("input", {
    readOnly: true,
    value: job.video.link,
    "aria-label": words.detail.shareLabel,
    onfocus: () => address.select(),
  });
  const copy = button(
    words.copy,
    async () => {
      try {
        await navigator.clipboard.writeText(job.video.link);
        toast(words.copied);
      } catch {
        address.focus(); // then the person copies it: some browsers ask for a permission
      }
    },
    { class: "button small" },
  );
  const revoke = button(
    words.detail.shareRevoke,
    async () => {
      if (
        await ask({
          title: words.detail.shareRevokeTitle,
          lead: words.detail.shareRevokeLead,
          danger: true,
          yes: words.detail.shareRevokeYes,
          no: words.dismiss,
        })
      )
        await call(api.unshare, words.detail.shareRevoked);
    },
    { class: "button small danger-text" },
  );
  return [
    head,
    h("p", { class: "help" }, words.detail.shareLead(day(job.video.link_expires_at))),
    h("div", { class: "share-row" }, address, copy),
    revoke,
    problem,
  ];
}
