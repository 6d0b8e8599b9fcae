// Videos whose links expire. Links are signed for some hours; when one stops working, the record is fetched anew and
// the video goes on where it was.

import { h, replace, toast } from "./dom.js";
import * as jobs from "./jobs.js";
import { words } from "./words.js";

const LEAST_BETWEEN = 5000;

/** A video element for a job. `said`: whether to tell when the link was renewed. */
export function player(id, props, { said = false } = {}) {
  const video = h("video", { playsInline: true, preload: "metadata", ...props });
  let renewedAt = 0;
  // Kept here, because an element that fails forgets where it was, and whether it played.
  let position = 0;
  let playing = false;
  video.addEventListener("timeupdate", () => {
    if (video.readyState > 1) position = video.currentTime;
  });
  video.addEventListener("playing", () => {
    playing = true;
  });
  for (const name of ["pause", "ended"]) {
    video.addEventListener(name, () => {
      if (video.readyState > 1) playing = false;
    });
  }

  async function load(age, at = 0, play = false) {
    const record = await jobs.fetchRecord(id, age, { first: true });
    if (!record.video?.url) return;
    video.src = at ? record.video.url : `${record.video.url}#t=0.05`; // iOS shows a frame only at a given time
    if (at || play) {
      video.addEventListener(
        "loadedmetadata",
        () => {
          video.currentTime = at;
          if (play) video.play().catch(() => {});
        },
        { once: true },
      );
    }
  }

  video.addEventListener("error", async () => {
    if (!video.getAttribute("src")) return;
    if (Date.now() - renewedAt < LEAST_BETWEEN) {
      video.dispatchEvent(new CustomEvent("hopeless"));
      return;
    }
    renewedAt = Date.now();
    try {
      await load(0, position, playing);
      if (said) toast(words.detail.renewed);
    } catch {
      video.dispatchEvent(new CustomEvent("hopeless"));
    }
  });

  return { video, load: () => load(Infinity), renew: () => load(0) };
}

// A browser plays only some dozens of videos at once, so a card keeps a picture of the first frame, and no video.
const frames = new Map();
const KEPT = 300;

/** Shows a frame of a job's video in `frame`, as a picture: the last one if the model returned it, else the first. */
export async function poster(id, frame) {
  if (frames.has(id)) {
    replace(frame, frames.get(id));
    return;
  }
  const record = await jobs.fetchRecord(id, Infinity, { first: true });
  if (record.video?.last_frame_url) {
    const picture = h("img", { src: record.video.last_frame_url, alt: "" });
    const lost = () => {
      picture.remove(); // its link may have expired
      firstFrame(id, frame).catch(() => {});
    };
    picture.addEventListener("error", lost, { once: true });
    replace(frame, picture);
    return;
  }
  await firstFrame(id, frame);
}

async function firstFrame(id, frame) {
  const { video, load } = player(id, { muted: true, "aria-hidden": "true", tabindex: "-1" });
  video.addEventListener(
    "loadeddata",
    () => {
      const canvas = document.createElement("canvas");
      const scale = Math.min(1, 480 / Math.max(video.videoWidth, video.videoHeight, 1));
      canvas.width = Math.max(1, Math.round(video.videoWidth * scale));
      canvas.height = Math.max(1, Math.round(video.videoHeight * scale));
      canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
      canvas.setAttribute("aria-hidden", "true");
      if (frames.size > KEPT) frames.delete(frames.keys().next().value);
      frames.set(id, canvas);
      if (frame.contains(video)) replace(frame, canvas);
      release(video);
    },
    { once: true },
  );
  frame.append(video); // over what the frame shows until then
  await load();
}

/** Ends a video's download and frees its decoder. */
export function release(video) {
  video.pause();
  video.removeAttribute("src");
  video.load();
}
