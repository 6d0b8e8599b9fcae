// The cells of a CSV file that name pictures. What the file says is judged by the stack; here only these are replaced.

const COLUMNS = ["image", "image_key"];
const SEPARATORS = [",", ";", "\t", "|"];

/** Each cell that names a picture: its text, and where it begins and ends in the file. */
export function pictureCells(text) {
  const said = /^"?sep=([,;\t|])"?[,;\t|]*\r?\n/i.exec(text);
  const separator = said ? said[1] : separatorOf(text);
  const found = [];
  let header = null;
  for (const row of rows(text, said ? said[0].length : 0, separator)) {
    if (!row.some((cell) => cell.value)) continue;
    if (header) found.push(...row.filter((cell, index) => cell.value && COLUMNS.includes(header[index])));
    else header = row.map((cell) => cell.value.toLowerCase().replace(/[- ]/g, "_"));
  }
  return found;
}

/** The file with other texts in some of its cells. `keyOf`: the text for a cell, which needs no quotes. */
export function withKeys(text, cells, keyOf) {
  const parts = [];
  let done = 0;
  for (const cell of cells) {
    const key = keyOf(cell.value);
    if (!key) continue;
    parts.push(text.slice(done, cell.from), key);
    done = cell.to;
  }
  return parts.join("") + text.slice(done);
}

/** Commas; or if the header has one column then, whatever divides it into most. */
function separatorOf(text) {
  const columns = (separator) => rows(text, 0, separator).next().value?.length ?? 0;
  if (columns(",") > 1) return ",";
  return SEPARATORS.reduce((best, one) => (columns(one) > columns(best) ? one : best));
}

function* rows(text, start, separator) {
  // A cell is quoted if it begins with a quote, and may then have line breaks. What follows a closing quote is wrong.
  const cell = new RegExp(
    `("[^"]*(?:""[^"]*)*")?([^${separator}\\n]*)(${separator === "|" ? "\\|" : separator}|\\n|$)`,
    "y",
  );
  let row = [];
  cell.lastIndex = start;
  while (cell.lastIndex < text.length || row.length) {
    const from = cell.lastIndex;
    const [, quoted, bare, end] = cell.exec(text);
    const raw = quoted || bare;
    const before = raw.length - raw.trimStart().length;
    const value = quoted ? quoted.slice(1, -1).replaceAll('""', '"') : bare;
    row.push({ value: value.trim(), from: from + before, to: from + raw.trimEnd().length });
    if (end === separator) continue;
    yield row;
    row = [];
  }
}
