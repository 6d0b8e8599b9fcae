// The files of a drop. Those of a folder keep their paths in it, by which a table's rows name them.

const MOST = 1000;
const paths = new WeakMap();

/** A file's path from what was dropped; without a folder, its name. */
export const pathOf = (file) => paths.get(file) || file.name;

/** The files of a drop and of its folders, without hidden ones. Rejects if a folder can't be read or has too many. */
export async function filesOf(transfer) {
  const files = [...transfer.files]; // the browser forgets both after the event
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  return entries.some((entry) => entry.isDirectory) ? inside(entries, []) : files;
}

async function inside(entries, found) {
  for (const entry of entries) {
    if (entry.name.startsWith(".")) continue;
    if (entry.isDirectory) await inside(await listed(entry.createReader()), found);
    else {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      paths.set(file, entry.fullPath.slice(1));
      if (found.push(file) > MOST) throw new Error("too many files");
    }
  }
  return found;
}

async function listed(reader) {
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most 100 at a time
    if (!some.length) return found;
    found.push(...some);
  }
}
