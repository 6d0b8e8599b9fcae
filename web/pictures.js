// The pictures of the form: chosen, dropped or pasted; each is uploaded at once, while the prompt is written.

import { add, button, h, icon, replace, set, text, toast } from "./dom.js";
import { filesOf } from "./dropped.js";
import { holdIf } from "./leaving.js";
import { copyOf, pictureName, refusalOf, thumbnail, upload } from "./upload.js";
import { words } from "./words.js";

/** The list of pictures, with its drop zone. `changed` is called after each change. */
export function pictures(changed) {
  let list = [];
  // JPEG and PNG only: iOS then turns HEIC into JPEG by itself. Dropped and pasted files may also be WebP.
  const chooser = h("input", {
    type: "file",
    accept: "image/jpeg,image/png",
    multiple: true,
    class: "unseen",
    id: "choose-pictures",
    onchange: () => {
      take(chooser.files);
      chooser.value = "";
    },
  });
  const tiles = h("ul", { class: "tiles", "aria-label": words.compose.pictures });
  const zone = h("div", { class: "drop" });
  const said = h("div", { class: "file-problems", role: "alert" });
  const element = h("div", { class: "pictures" }, zone, said);

  function draw() {
    element.classList.toggle("has", list.length > 0);
    replace(
      tiles,
      list.map((one) => one.element),
    );
    replace(
      zone,
      list.length
        ? tiles
        : h(
            "div",
            { class: "drop-empty" },
            icon("image"),
            h("p", { class: "drop-title" }, words.compose.dropTitle),
            h("p", { class: "help" }, words.compose.dropHint),
          ),
      chooser,
      h(
        "label",
        { for: "choose-pictures", class: "button small" },
        list.length ? words.compose.more : words.compose.choose,
      ),
    );
    changed();
  }

  function take(files) {
    const refused = [];
    for (const file of files) {
      const why = refusalOf(file);
      if (why) refused.push(h("p", null, why));
      else list.push(picture(file));
    }
    replace(said, refused);
    draw();
  }

  function tile(one, name, frame, ...below) {
    const remove = h(
      "button",
      {
        type: "button",
        class: "icon-button remove",
        "aria-label": words.compose.remove(name),
        onclick: () => {
          list = list.filter((other) => other !== one);
          draw();
          document.getElementById("choose-pictures")?.focus();
        },
      },
      icon("close"),
    );
    return h("li", null, frame, h("p", { class: "tile-name", title: name }, name), below, remove);
  }

  /** A picture that is in the bucket already. */
  function inBucket({ key, name }, canvas, said) {
    const one = { name, stored: key, key: Promise.resolve(key), thumbnail: canvas };
    const frame = h("div", { class: "tile-frame" }, canvas ? copyOf(canvas) : icon("image"));
    one.element = tile(one, name, frame, h("p", { class: "help" }, said));
    return one;
  }

  function picture(file) {
    const name = pictureName(file);
    const one = { name: name.replace(/\.[^.]*$/, ""), thumbnail: null };
    const bar = h("progress", { max: 1, value: 0, "aria-label": name });
    const state = h("p", { class: "help" });
    const frame = h("div", { class: "tile-frame" }, icon("image"));
    const retry = button(words.again, begin, { class: "button small", "aria-label": words.compose.retryUpload(name) });
    one.element = tile(one, name, frame, bar, state, retry);
    thumbnail(file).then((canvas) => {
      if (!canvas) return;
      one.thumbnail = canvas;
      replace(frame, copyOf(canvas));
    });

    function begin() {
      set(retry, { hidden: true });
      set(bar, { hidden: false });
      state.classList.remove("bad");
      text(state, words.compose.uploading(0));
      one.failed = false;
      one.key = upload(file, name, (part) => {
        bar.value = part;
        text(state, words.compose.uploading(Math.floor(part * 100)));
      }).then((form) => {
        bar.hidden = true;
        text(state, words.compose.uploaded);
        one.stored = form.image_key;
        return form.image_key;
      });
      one.key
        .catch((problem) => {
          one.failed = true;
          bar.hidden = true;
          state.classList.add("bad");
          text(state, problem.message);
          retry.hidden = false;
        })
        .finally(changed);
    }

    one.begin = begin;
    begin();
    return one;
  }

  holdIf(() => list.some((one) => !one.stored && !one.failed));
  draw();
  return {
    element,
    take,
    get list() {
      return list;
    },
    get failed() {
      return list.some((one) => one.failed);
    },
    /** Those that are in the bucket. */
    get stored() {
      return list.filter((one) => one.stored).map(({ name, stored }) => ({ name, key: stored }));
    },
    /** Shows one that was in this list before: that of an order which was refused. */
    put(shot) {
      list = [shot];
      replace(said);
      draw();
    },
    /** Shows a picture of an earlier video. */
    reuse(key, canvas) {
      const name = key
        .split("/")
        .at(-1)
        .replace(/(-[0-9a-f]{24})?\.[^.]*$/, "");
      list = [inBucket({ key, name }, canvas, words.compose.earlier)];
      replace(said);
      draw();
    },
    /** Shows those that were uploaded before the page was reloaded. */
    putBack(pictures) {
      list = pictures.map((one) => inBucket(one, null, words.compose.uploaded));
      draw();
    },
    clear() {
      list = [];
      replace(said);
      draw();
    },
  };
}

/** Lets the whole page take files: dropped anywhere, or pasted. `take` gets a list of files. */
export function takeFilesAnywhere(take) {
  const overlay = h(
    "div",
    { class: "drop-overlay", hidden: true, "aria-hidden": "true" },
    h(
      "div",
      null,
      icon("plus"),
      h("p", { class: "drop-title" }, words.compose.dropOverlay),
      h("p", null, words.compose.dropOverlayHint),
    ),
  );
  add(document.body, [overlay]);
  const files = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  const hide = () => {
    overlay.hidden = true;
  };
  let ends;
  const over = (event) => {
    if (!files(event)) return;
    // Also dragenter: the wall redraws itself, and what is new under the pointer must take the drop too.
    event.preventDefault();
    overlay.hidden = Boolean(document.querySelector("dialog[open]"));
    // A drag is told of every 350 ms. Its leaving is not, where the element that it left is no longer on the page.
    clearTimeout(ends);
    ends = setTimeout(hide, 1000);
  };
  addEventListener("dragenter", over);
  addEventListener("dragover", over);
  addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault(); // otherwise the browser leaves the page for the file
    hide();
    if (document.querySelector("dialog[open]")) return;
    filesOf(event.dataTransfer).then(take, () => toast(words.compose.folder));
  });
  addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files || [])];
    if (!pasted.length || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    take(pasted);
    toast(words.compose.uploading(0));
  });
}
