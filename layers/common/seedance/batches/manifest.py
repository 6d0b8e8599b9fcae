"""Reads a batch's manifest row by row: CSV or JSON lines in, validated requests and invalid rows out. Pure.

Memory use does not depend on the length of the manifest. A row passes the same checks as an API call. A column
that is not an option of any model, such as ``sku``, belongs to the user and is copied to the results.
"""

import csv
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any

from seedance.aws import fields
from seedance.errors import InvalidRequest
from seedance.jobs import catalogue, prices, requests
from seedance.jobs.defaults import Defaults

PLAN_PREFIX = "plans/"

MAX_ROWS = 100_000
"""Rows per manifest. The list of its chunks must fit into the 256 KB that Step Functions allows for a state's data."""

MAX_BYTES = 500 * 1024 * 1024
MAX_LINE_BYTES = 1024 * 1024
MAX_COLUMNS = 100
LONGEST_COLUMN_NAME = 100

RESULT_COLUMNS = ("row", "job", "state", "video_key", "cost_usd", "error")
"""The columns that the results always have. The manifest's passthrough columns follow them."""

REPORT_COLUMNS = ("row", "line", "field", "error")

_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)*%?")
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class Row:
    """A valid row. ``number`` counts rows from 1; ``line`` is the line number in the file."""

    number: int
    line: int
    request: requests.Request
    columns: dict[str, str]
    """The passthrough values, by column name."""


@dataclass(frozen=True)
class BadRow:
    """An invalid row, with the field that is wrong and what is allowed."""

    number: int
    line: int
    field: str
    message: str
    columns: dict[str, str]


@dataclass(frozen=True)
class _Record:
    """A row as it was read, before its values are checked."""

    line: int
    given: dict[str, object]
    columns: dict[str, str]
    fault: InvalidRequest | None = None


@dataclass
class Tally:
    """The totals of a manifest. ``bills`` gives a model's last bills; without it, only published prices are used."""

    bills: Callable[[str], prices.Bills] = lambda _: {}
    rows: int = 0
    bad: int = 0
    estimate_usd: float = 0.0
    billed: int = 0
    """Number of videos whose setting has bills, so that their estimate follows from these."""
    expected_seconds: float = 0.0
    """Sum over all videos, from the published averages."""
    models: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Number of videos and their estimated cost, by model."""
    columns: dict[str, None] = field(default_factory=dict)
    """The passthrough columns, in the order in which they first appear."""
    _estimates: dict[tuple[str, prices.Setting], tuple[float, bool]] = field(default_factory=dict)

    def add(self, row: Row | BadRow) -> None:
        """Count a row. Raises InvalidRequest if the rows have too many different passthrough columns."""
        self.rows += 1
        self.columns |= dict.fromkeys(row.columns)
        if len(self.columns) > MAX_COLUMNS:
            message = f"has a new passthrough column; at most {MAX_COLUMNS} are allowed in a manifest"
            raise InvalidRequest(f"line {row.line}", message)
        if isinstance(row, BadRow):
            self.bad += 1
            return
        model = row.request.model
        cost, billed = self._estimate(row.request)
        self.billed += billed
        videos, total = self.models.get(model.slug, (0, 0.0))
        self.models[model.slug] = (videos + 1, total + cost)
        self.estimate_usd += cost
        self.expected_seconds += model.average_seconds

    def _estimate(self, request: requests.Request) -> tuple[float, bool]:
        """A video's estimate, and whether there are bills for its setting. Many rows have the same setting."""
        slug, asked = request.model.slug, prices.setting(request.parameters)
        if (slug, asked) not in self._estimates:
            bills, possible = self.bills(slug), catalogue.settings(request.model, request.parameters)
            usd = prices.estimate_usd(slug, asked, possible, bills)
            self._estimates[slug, asked] = usd, bool(bills.get(asked.name))
        return self._estimates[slug, asked]

    @property
    def good(self) -> int:
        """Number of valid rows."""
        return self.rows - self.bad

    def refusal(self, tolerated_percent: float) -> str | None:
        """Why this manifest is refused, or None if it is not. It is when more rows are invalid than are tolerated."""
        if self.good and self.bad * 100 <= tolerated_percent * self.rows:
            return None
        if not self.good:
            return f"No row is valid ({_number(self.rows, 'row')} checked)."
        return (
            f"{self.bad} of {self.rows} rows are invalid ({self.bad * 100 / self.rows:.1f}%); "
            f"at most {tolerated_percent:g}% are tolerated."
        )


def beside(key: str, batch_id: str, ending: str) -> str:
    """The key of a batch's results or report: beside the manifest, and different for each upload of it."""
    return fields.object_key(posixpath.splitext(key)[0], f"-{batch_id.rpartition('-')[2][:8]}{ending}")


def plan_key(batch_id: str) -> str:
    """The key of a batch's plan."""
    return f"{PLAN_PREFIX}{batch_id}.jsonl"


def too_large() -> InvalidRequest:
    """The refusal of a manifest of more than MAX_BYTES."""
    return InvalidRequest("manifest", f"is larger than {MAX_BYTES // 1024 // 1024} MB; split it")


def read(chunks: Iterable[bytes], key: str, defaults: Defaults) -> Iterator[Row | BadRow]:
    """The rows of a manifest, in order, with all checks that do not need a bucket.

    The file extension of ``key`` gives the format. Raises InvalidRequest, whose field names the line, if the whole
    file can't be read: wrong encoding or separator, no valid header, no rows, or too many.
    """
    lines = _Lines(chunks)
    records = _json_records(lines) if key.lower().endswith(".jsonl") else _csv_records(lines)
    number = 0
    for number, record in enumerate(records, start=1):
        if number > MAX_ROWS:
            message = f"exceeds the limit of {MAX_ROWS:,} rows; split the manifest"
            raise InvalidRequest(f"line {record.line}", message)
        yield _judged(number, record, defaults)
    if number == 0:
        raise InvalidRequest("manifest", "has no rows")


class _Lines:
    """The file's lines as text. ``number`` is the line number of the last line returned."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.number = 0
        self._raw = _split(chunks)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = next(self._raw)
        self.number += 1
        if self.number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise InvalidRequest("line 1", "is UTF-16; save the file as UTF-8")
        if len(raw) > MAX_LINE_BYTES:
            raise InvalidRequest(f"line {self.number}", f"is longer than {MAX_LINE_BYTES // 1024} KB")
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(
                f"line {self.number}", f"is not UTF-8 (byte 0x{raw[error.start]:02x}); save the file as UTF-8"
            ) from None


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    size, rest = 0, b""
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_BYTES:
            raise too_large()
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(rest) > MAX_LINE_BYTES:
            break  # the caller will refuse this line, so there is no need to read on
    if rest:
        yield rest


def _csv_records(lines: _Lines) -> Iterator[_Record]:
    rows = _csv_rows(lines)
    _, header = next(rows, (0, []))
    options = _header(header)
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue  # an empty line, or only separators, as spreadsheets write one
        fault = None
        if len(cells) != len(header):
            fault = InvalidRequest("row", f"has {_number(len(cells), 'cell')} but the header has {len(header)}")
        given: dict[str, object] = {}
        columns: dict[str, str] = {}
        for name, option, cell in zip(header, options, cells, strict=False):
            if option is None:
                columns[name.strip()] = cell
            elif cell.strip():
                given[option] = cell
        yield _Record(line, given, columns, fault)


def _csv_rows(lines: _Lines) -> Iterator[tuple[int, list[str]]]:
    """The file's rows, each with the number of its first line."""
    reader = csv.reader(lines, strict=True)
    while True:
        first = lines.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InvalidRequest(f"line {first}", _csv_trouble(str(error))) from None
        if cells is None:
            return
        yield first, cells


def _csv_trouble(said: str) -> str:
    if "new-line character" in said:
        return "has old Mac line breaks (CR alone); save the file with LF or CRLF"
    if "end of data" in said or "field larger" in said:
        return "opens a quote that is not closed"
    return f"is not valid CSV: {said}"


def _header(header: list[str]) -> list[str | None]:
    """The option that each column stands for, None for a passthrough column. Raises InvalidRequest."""
    if not header or not any(name.strip() for name in header):
        raise InvalidRequest("line 1", "is empty; it must name the columns, such as image,prompt,sku")
    if len(header) > MAX_COLUMNS:
        raise InvalidRequest("line 1", f"has {len(header)} columns; at most {MAX_COLUMNS} are allowed")
    for mark, marks in _OTHER_SEPARATORS.items():
        if len(header) == 1 and mark in header[0]:
            raise InvalidRequest("line 1", f"is separated by {marks}; save the file with commas as separators")
    for number, name in enumerate(header, start=1):
        if not name.strip():
            raise InvalidRequest("line 1", f"has no name for column {number}")
    options = [_option(name) for name in header]
    if "parameters" in options:
        raise InvalidRequest("parameters", "is not allowed as a column; use one column per parameter")
    seen: dict[str, str] = {}
    for name, option in zip(header, options, strict=True):
        meant = option or name.strip()
        if meant in seen:
            raise InvalidRequest("line 1", f"has the column {meant} twice, as {seen[meant]!r} and {name!r}")
        seen[meant] = name
    if not {"prompt", *_first_image_names()} & set(seen):
        raise InvalidRequest(
            "line 1",
            f"must be a header that names the columns, with at least prompt or image; it is {_cut(','.join(header))}",
        )
    return options


def _json_records(lines: _Lines) -> Iterator[_Record]:
    for text in lines:
        if text.strip():
            yield _json_record(lines.number, text)


def _json_record(line: int, text: str) -> _Record:
    columns: dict[str, str] = {}
    given: dict[str, object] = {}
    try:
        for name, value in _json_object(text).items():
            option = _option(name)
            if option is None:
                columns[name.strip()] = _text(value)
            elif value is not None and value != "":
                _give(given, option, name, value)
    except InvalidRequest as fault:
        return _Record(line, {}, columns, fault)
    return _Record(line, given, columns)


def _give(given: dict[str, object], option: str, name: str, value: Any) -> None:
    if option in given:
        raise InvalidRequest(name, "is given twice")
    given[option] = value


def _json_object(text: str) -> dict[str, object]:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name appears twice")
        return found

    def no_number(word: str) -> Any:
        raise ValueError(f"{word} is not a valid number")

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("row", f"is not valid JSON: {getattr(error, 'msg', error)}") from None
    if not isinstance(value, dict):
        raise InvalidRequest("row", 'must be a JSON object, such as {"image": "a.jpg", "prompt": "it turns"}')
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@lru_cache(maxsize=1024)
def _option(name: str) -> str | None:
    """The option that a column name stands for, or None for a passthrough column. Raises InvalidRequest.

    As in an upload's metadata, a misspelt option is refused: passing it through would make the wrong video.
    """
    option = name.strip().lower().replace("-", "_").replace(" ", "_")
    known = _known_names()
    if option in known:
        return option
    if _UNWRITABLE.search(name) or len(name) > LONGEST_COLUMN_NAME:
        limit = f"use plain text of at most {LONGEST_COLUMN_NAME} characters"
        raise InvalidRequest("column", f"{_cut(name)!r} is not a valid column name; {limit}")
    if option in RESULT_COLUMNS:
        raise InvalidRequest(name, "is the name of a column in the results; rename your column")
    if close := get_close_matches(option, known, n=1, cutoff=0.8):
        raise InvalidRequest(name, f"is not an option (did you mean {close[0]}?)")
    return None


@cache
def _known_names() -> tuple[str, ...]:
    return tuple(sorted(catalogue.known_names() | {"model", "transport", "image_key", "parameters"}))


@cache
def _first_image_names() -> frozenset[str]:
    return frozenset({"image_key", *(name for name, of in catalogue.COMMON_NAMES.items() if of == "first_image")})


def _judged(number: int, record: _Record, defaults: Defaults) -> Row | BadRow:
    try:
        return Row(number, record.line, _request(record, defaults), record.columns)
    except InvalidRequest as refusal:
        columns = {name: _UNWRITABLE.sub("?", value) for name, value in record.columns.items()}
        return BadRow(number, record.line, _cut(refusal.field), refusal.message, columns)


def _request(record: _Record, defaults: Defaults) -> requests.Request:
    if record.fault:
        raise record.fault
    for name, value in record.columns.items():
        if _UNWRITABLE.search(value):
            raise InvalidRequest(name, "contains control characters; only plain text is allowed")
    request = requests.api_request(json.dumps(_body(record.given, defaults)), defaults)
    if request.image_key:
        requests.check_key(request.image_key)
    return request


def _body(given: dict[str, object], defaults: Defaults) -> dict[str, object]:
    """A row as the body of ``POST /videos``, so that the API's own checks apply to it."""
    parameters = given.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidRequest("parameters", "must be a JSON object of names and values")
    parameters = dict(parameters)
    body: dict[str, object] = {"parameters": parameters}
    for name, value in given.items():
        if name == "parameters":
            continue
        if name == "image" and isinstance(value, str) and not _ADDRESS.match(value.strip()):
            # The column may contain a key in the upload bucket or an address.
            if value.strip().lower().startswith("s3://"):
                raise InvalidRequest(name, "must be a key in the upload bucket (without s3://) or an https address")
            if "image_key" in given:
                raise InvalidRequest(name, "is given twice, once as image_key")
            body["image_key"] = value.strip()
        elif name in ("model", "prompt", "image", "image_key", "transport"):
            body[name] = value.strip() if isinstance(value, str) else value
        elif name in parameters:
            raise InvalidRequest(name, "is given twice, as a column and under parameters")
        else:
            parameters[name] = value
    if "prompt" not in {*body, *parameters} and _first_image_names() & {*body, *parameters}:
        body["prompt"] = defaults.prompt  # as for an upload: an image alone is enough
    return body


def csv_line(cells: Iterable[object]) -> bytes:
    """A line of a CSV file that we write.

    A value from a manifest may look like a formula, which a spreadsheet would run when it opens the file. A leading
    apostrophe makes it text (OWASP, "CSV Injection"). Plain numbers such as -5 are not changed.
    """
    out = _Sink()
    csv.writer(out, lineterminator="\n").writerow(map(_harmless, cells))
    return out.text.encode()


def _harmless(cell: object) -> object:
    formula = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if formula and not _NUMBER.fullmatch(str(cell)) else cell


class _Sink:
    text = ""

    def write(self, text: str) -> None:
        self.text = text


def report_line(row: BadRow) -> bytes:
    """The line for an invalid row in the report."""
    return csv_line((row.number, row.line, row.field, row.message))


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _cut(text: str) -> str:
    shown = _UNWRITABLE.sub("?", text)
    return shown if len(shown) <= 80 else shown[:77] + "..."
