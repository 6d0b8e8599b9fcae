// A table that comes with the pictures its rows name: they are uploaded first, and the rows name their keys then.

import { Problem } from "./api.js";
import { pictureCells, withKeys } from "./cells.js";
import { pathOf } from "./dropped.js";
import { pictureName, refusalOf, upload } from "./upload.js";
import { words } from "./words.js";

const ATTEMPTS = 4;

/** The table with keys instead of the names of `files`, which are by their paths from the table's folder; and how many
 * of the files no row names. `progress` is told how many of the pictures are uploaded. Rejects if one can't be used. */
export async function withPictures(table, files, progress) {
  const text = /\.csv$/i.test(table.name) ? decoded(await table.arrayBuffer()) : null;
  if (text === null) throw new Problem(400, { detail: words.batches.picturesNeedCsv });
  const folder = pathOf(table).slice(0, -table.name.length);
  const beside = new Map(
    files
      .filter((file) => pathOf(file).startsWith(folder))
      .map((file) => [pathOf(file).slice(folder.length).normalize(), file]),
  );
  const cells = pictureCells(text);
  const named = [...new Set(cells.map((cell) => cell.value.normalize()))].filter((name) => beside.has(name));
  const refused = named.map((name) => refusalOf(beside.get(name))).filter(Boolean);
  if (refused.length) throw new Problem(400, { detail: refused.join(" ") });
  let done = 0;
  progress(done, named.length);
  const keys = new Map(
    await Promise.all(
      named.map(async (name) => {
        const key = await uploaded(beside.get(name));
        done += 1;
        progress(done, named.length);
        return [name, key];
      }),
    ),
  );
  const content = withKeys(text, cells, (value) => keys.get(value.normalize()));
  return { table: new File([content], table.name), left: files.length - named.length };
}

/** The file's text; null if it is neither UTF-8 nor UTF-16 with its mark. */
function decoded(bytes) {
  const [first, second] = new Uint8Array(bytes, 0, Math.min(2, bytes.byteLength));
  const marks = { "255 254": "utf-16le", "254 255": "utf-16be" };
  try {
    return new TextDecoder(marks[`${first} ${second}`] || "utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** The key of an uploaded picture. One lost connection does not end an upload of many. */
async function uploaded(file) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return (await upload(file, pictureName(file), () => {})).image_key;
    } catch (problem) {
      if (!problem.passing || attempt === ATTEMPTS) throw problem;
      await new Promise((resolve) => setTimeout(resolve, 1000 * 2 ** attempt));
    }
  }
}
