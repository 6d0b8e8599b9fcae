// Starts the console: signs in, builds the page, and shows the view that the address names.
//
// #/  the wall · #/of/BATCH  the wall of a batch · #/videos/JOB  a video · #/batches  · #/batches/BATCH

import { api, onRefused, session } from "./api.js";
import { bar, connectionBanner } from "./bar.js";
import { batchView } from "./batch.js";
import { openCompare } from "./compare.js";
import { asJob, composer, opener } from "./compose.js";
import { openDetail } from "./detail.js";
import { ask, h, set, toast } from "./dom.js";
import * as draft from "./draft.js";
import * as jobs from "./jobs.js";
import { isUnderWay, letGo } from "./leaving.js";
import * as live from "./live.js";
import * as orders from "./orders.js";
import { takeFilesAnywhere } from "./pictures.js";
import { isTable } from "./upload.js";
import { wall } from "./wall.js";
import { signIn } from "./signin.js";
import { words } from "./words.js";

const SAID = "seedance-said";
const root = document.getElementById("app");

async function begin() {
  session.takeFromAddress();
  let said = sessionStorage.getItem(SAID) || "";
  sessionStorage.removeItem(SAID);
  for (;;) {
    if (!session.key) await signIn(root, said);
    said = "";
    try {
      const [models, estimate] = await Promise.all([api.models(), api.estimate({})]);
      build(models, estimate.model);
      return;
    } catch (problem) {
      if (problem.status === 403) {
        session.key = "";
        said = words.signIn.wrong;
      } else if (problem.passing) {
        await failed(problem.message);
      } else throw problem;
    }
  }
}

/** Says that the page could not begin, until somebody asks to try again, or for some seconds. */
function failed(message) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 10000);
    root.replaceChildren(
      h(
        "main",
        { class: "sign-in-page" },
        h(
          "div",
          { class: "sign-in" },
          h("p", { class: "brand" }, words.title),
          h("h1", null, message),
          h("p", { class: "lead" }, words.signIn.lost),
          h(
            "button",
            {
              type: "button",
              class: "button primary",
              onclick: () => {
                clearTimeout(timer);
                resolve();
              },
            },
            words.again,
          ),
        ),
      ),
    );
  });
}

function signOut(why) {
  letGo();
  session.key = "";
  live.stop();
  if (why) sessionStorage.setItem(SAID, why);
  location.hash = "";
  location.reload(); // nothing of the session stays in memory
}

/** Signs out, after telling what ends with that: uploads, and orders without an answer, which the next key would buy a
 * second time. */
async function leave() {
  const open = orders.unanswered();
  const { title, lead } = open ? words.leave.orders(open) : words.leave.uploads;
  if (isUnderWay() && !(await ask({ title, lead, yes: words.signOut, no: words.leave.stay }))) return;
  orders.forget();
  draft.forget();
  signOut();
}

function build(models, usual) {
  onRefused(() => signOut(words.signIn.ended));
  jobs.takeModels(models);
  const composing = composer(models, usual);
  const panel = h("aside", { id: "composer", class: "side", "aria-label": words.compose.title }, composing.element);
  const { toggle, show: showPanel } = opener(panel);
  const top = bar({ signOut: leave });
  const connection = connectionBanner();
  const batches = batchView();
  let dialog = null;
  let ground = "#/"; // what a dialog that closes goes back to

  const another = (job) => {
    location.hash = "#/";
    showPanel(true);
    composing.like(job);
  };
  const videos = wall({
    models,
    edit: (order) => {
      another(asJob(order));
      orders.discard(order);
    },
    compare: (ids) => openCompare(ids, { closed: () => {} }),
  });
  const tabs = [
    ["videos", "#/"],
    ["batches", "#/batches"],
  ].map(([name, href]) => h("a", { href }, words.nav[name]));
  const head = h(
    "header",
    { class: "head" },
    h(
      "div",
      { class: "top" },
      h("h1", { class: "brand" }, words.title),
      h("nav", { "aria-label": words.nav.label }, tabs),
      top.element,
      toggle,
    ),
    connection,
    top.banner,
  );
  const page = h("main", { id: "main" }, h("div", { class: "columns" }, panel, videos.element), batches.element);
  root.replaceChildren(
    h(
      "a",
      {
        class: "skip",
        href: "#wall-title",
        onclick: (event) => {
          event.preventDefault();
          document.getElementById("wall-title").focus();
        },
      },
      words.skip,
    ),
    head,
    page,
  );
  // The panel beside the wall is as high as the window below what is on top, which changes with its banners.
  new ResizeObserver(() => document.documentElement.style.setProperty("--head", `${head.offsetHeight}px`)).observe(
    head,
  );

  panel.addEventListener("ordered", () => {
    showPanel(false);
    panel.scrollTop = 0; // the next one begins with its pictures
    if (!panel.offsetParent) document.getElementById("wall-title").focus(); // what had the focus is not seen any more
  });
  takeFilesAnywhere((files) => {
    if (files.some(isTable) || !batches.element.hidden) {
      location.hash = "#/batches";
      batches.take(files);
    } else {
      showPanel(true);
      composing.takePictures(files);
    }
  });

  function showGround(view, id) {
    const onBatches = view === "batches";
    ground = location.hash || "#/";
    set(page.firstChild, { hidden: onBatches });
    toggle.hidden = onBatches;
    batches.show(onBatches ? id : null);
    if (!onBatches) videos.ofBatch(view === "of" ? id : "");
    for (const [index, tab] of tabs.entries()) {
      set(tab, { "aria-current": (index === 1) === onBatches ? "page" : null });
    }
  }

  function showVideo(id) {
    if (dialog?.id === id) return;
    closeDialogs();
    const element = openDetail(id, {
      another,
      pick: videos.choose,
      isPicked: videos.isChosen,
      closed: () => {
        if (dialog?.element !== element) return;
        dialog = null;
        if (location.hash.startsWith("#/videos/")) location.hash = ground;
      },
    });
    dialog = { id, element };
  }

  function closeDialogs() {
    const before = dialog;
    dialog = null; // so that closing does not change the address
    before?.element.close();
    for (const one of document.querySelectorAll("dialog[open]")) one.close();
  }

  function route() {
    const [, view = "", id = ""] = location.hash.split("/").map(decoded);
    if (view === "videos" && id) showVideo(id);
    else {
      closeDialogs();
      showGround(view, id);
    }
  }

  addEventListener("hashchange", route);
  videos.begin();
  if (location.hash.startsWith("#/videos/")) {
    showGround("", "");
    ground = "#/";
  }
  route();
  top.look();
  live.start();
  orders.resume();
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

begin().catch(() => toast(words.unknownError));
