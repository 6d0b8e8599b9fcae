// Puts files into the upload bucket with the forms of POST /uploads. XMLHttpRequest, because fetch tells no progress.

import { api, Problem } from "./api.js";
import { queueOf } from "./queue.js";
import { words } from "./words.js";

const LARGEST = 30 * 1024 * 1024;

const inTurn = queueOf(3);

/** Uploads a file, `progress` being told the part that is done. Resolves to the answer of POST /uploads. */
export function upload(file, name, progress) {
  return inTurn(async () => {
    const form = await api.uploadForm(name, file.size);
    await post(form, file, progress);
    return form;
  });
}

function post(form, file, progress) {
  return new Promise((resolve, reject) => {
    const body = new FormData();
    for (const [name, value] of Object.entries(form.fields)) body.append(name, value);
    body.append("file", file); // last: S3 ignores what follows
    const request = new XMLHttpRequest();
    request.open("POST", form.url);
    request.upload.onprogress = (event) => progress(event.lengthComputable ? event.loaded / event.total : 0);
    request.onerror = () => reject(new Problem(0, { detail: words.compose.uploadFailed }));
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve();
      else reject(new Problem(request.status, { detail: words.compose.uploadRefused }));
    };
    request.send(body);
  });
}

const ENDINGS = { "image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp" };

/** The name under which a picture is uploaded, with an ending that says what it is. null: the API takes no such. */
export function pictureName(file) {
  const stem = file.name.replace(/\.[^.]*$/, "") || "picture";
  if (ENDINGS[file.type]) return stem + ENDINGS[file.type];
  const ending = /\.(jpe?g|png|webp)$/i.exec(file.name);
  return !file.type && ending ? file.name : null;
}

export const isTable = (file) => /\.(csv|jsonl)$/i.test(file.name);
const isHeic = (file) => /^image\/hei[cf]/.test(file.type) || /\.hei[cf]$/i.test(file.name);

/** Why a file can't be used as a picture; null if nothing is seen that speaks against it. */
export function refusalOf(file) {
  if (isHeic(file)) return words.compose.heic(file.name);
  if (!pictureName(file)) return words.compose.kind(file.name);
  if (file.size > LARGEST) return words.compose.large(file.name);
  return file.size ? null : words.compose.empty(file.name);
}

/** A small picture of a file for the page, as a canvas: an address of the file itself would need a wider policy. */
export async function thumbnail(file, side = 480) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    canvas.setAttribute("aria-hidden", "true");
    return canvas;
  } catch {
    return null; // not a picture that this browser can read; the stack says what is wrong with it
  }
}

/** Another canvas with the same picture, because an element has one place in a page. */
export function copyOf(canvas) {
  const copy = canvas.cloneNode();
  copy.getContext("2d").drawImage(canvas, 0, 0);
  return copy;
}
