"""Reads a batch's manifest row by row: CSV or JSON lines in, validated requests and invalid rows out. Pure.

Memory use does not depend on the length of the manifest. A row passes the same checks as an API call. A column
that is not an option of any model, such as ``sku``, belongs to the user: it is copied to the results, and comes back as
metadata of the row's video.
"""

import codecs
import csv
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from seedance.aws import fields
from seedance.batches import cells, columns, values
from seedance.batches.cells import Record
from seedance.batches.columns import MAX_COLUMNS
from seedance.batches.lines import Lines
from seedance.batches.wording import UNWRITABLE, listed, numbered, shown
from seedance.errors import InvalidRequest
from seedance.jobs import catalogue, labels, prices, requests
from seedance.jobs.defaults import Defaults

PLAN_PREFIX = "plans/"

MAX_ROWS = 100_000
"""Rows per manifest. The list of its chunks must fit into the 256 KB that Step Functions allows for a state's data."""

REPORT_COLUMNS = ("row", "line", "field", "error")

_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)*%?")
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_MOST_NOTES = 20
_MOST_NAMES = 20
_MOST_ROWS_NAMED = 5


@dataclass(frozen=True)
class Row:
    """A valid row. ``number`` counts rows from 1; ``line`` is the line number in the file."""

    number: int
    line: int
    request: requests.Request
    columns: dict[str, str]
    """The passthrough values, by column name."""
    notes: tuple[str, ...] = ()
    """Which values were read as something else. The first row's notes are also about the whole file."""

    @property
    def has_image(self) -> bool:
        """Whether the video is made from an image, and not from the prompt alone."""
        given = self.request.parameters
        first = self.request.model.parameters.first_image
        return self.request.image_key is not None or first in given or "reference_images" in given


@dataclass(frozen=True)
class BadRow:
    """An invalid row, with the field that is wrong and what is allowed."""

    number: int
    line: int
    field: str
    message: str
    columns: dict[str, str]
    notes: tuple[str, ...] = ()


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
    without_image: int = 0
    """Number of valid rows that have no image."""
    _first_without_image: list[str] = field(default_factory=list)
    _notes: dict[str, int] = field(default_factory=dict)
    """The rows' notes, with the number of rows."""
    _estimates: dict[tuple[str, prices.Setting], tuple[float, bool]] = field(default_factory=dict)

    def add(self, row: Row | BadRow) -> None:
        """Count a row."""
        self.rows += 1
        self.columns |= dict.fromkeys(row.columns)
        for note in row.notes:
            known = note in self._notes or len(self._notes) < _MOST_NOTES
            kept = note if known else "Other values were also read as their only possible meaning"
            self._notes[kept] = self._notes.get(kept, 0) + 1
        if isinstance(row, BadRow):
            self.bad += 1
            return
        if not row.has_image:
            self.without_image += 1
            if len(self._first_without_image) < _MOST_ROWS_NAMED:
                self._first_without_image.append(str(row.number))
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

    def notes(self) -> list[str]:
        """What a person should know before the videos are bought, one sentence each."""
        parts = []
        if self.without_image:
            which = ""
            if self.without_image < self.good:  # beside rows that have one
                which = f" ({'row' if self.without_image == 1 else 'rows'} "
                which += f"{listed(self._first_without_image, self.without_image)})"
            has = "has" if self.without_image == 1 else "have"
            parts.append(f"{self.without_image:,} of {numbered(self.rows, 'row')} {has} no image{which}")
        if self.columns:
            names = [shown(name) for name in list(self.columns)[:_MOST_NAMES]]
            parts.append(f"{'c' if parts else 'C'}olumns passed through: {listed(names, len(self.columns))}")
        told = [f"{'; '.join(parts)}."] if parts else []
        return told + [f"{note}{f' ({count:,} rows)' if count > 1 else ''}." for note, count in self._notes.items()]

    def refusal(self, tolerated_percent: float) -> str | None:
        """Why this manifest is refused, or None if it is not. It is when more rows are invalid than are tolerated."""
        if self.good and self.bad * 100 <= tolerated_percent * self.rows:
            return None
        if not self.good:
            return f"No row is valid ({numbered(self.rows, 'row')} checked)."
        return (
            f"{self.bad} of {self.rows} rows are invalid ({self.bad * 100 / self.rows:.1f}%); "
            f"at most {tolerated_percent:g}% are tolerated."
        )


def beside(key: str, batch_id: str, ending: str) -> str:
    """The key of a batch's results or report: beside the manifest, and different for each upload of it.

    Those of a manifest under ``staged/`` are at the same place under ``batches/``.
    """
    return fields.object_key(
        posixpath.splitext(requests.batch_path(key))[0], f"-{batch_id.rpartition('-')[2][:8]}{ending}"
    )


def plan_key(batch_id: str) -> str:
    """The key of a batch's plan."""
    return f"{PLAN_PREFIX}{batch_id}.jsonl"


def read(
    chunks: Iterable[bytes], key: str, defaults: Defaults, image_column: str | None = None
) -> Iterator[Row | BadRow]:
    """The rows of a manifest, in order, with all checks that do not need a bucket.

    The file extension of ``key`` gives the format. ``image_column``: the column of the image, if its name is none of
    ours. Raises InvalidRequest, whose field names the line, if the whole file can't be read: wrong encoding, no valid
    header, no rows, or too many. Also if a column seems to be an option under another name.
    """
    lines = Lines(chunks)
    reader = cells.json_records if key.lower().endswith(".jsonl") else cells.csv_records
    number = 0
    known: set[str] = set()
    for number, record in enumerate(reader(lines, image_column), start=1):
        if number > MAX_ROWS:
            message = f"exceeds the limit of {MAX_ROWS:,} rows; split the manifest"
            raise InvalidRequest(f"line {record.line}", message)
        row = _judged(number, record, defaults)
        if len(known.union(row.columns)) > MAX_COLUMNS:
            message = f"has a new passthrough column; at most {MAX_COLUMNS} are allowed in a manifest"
            row = BadRow(number, record.line, "row", message, {}, row.notes)
        known.update(row.columns)
        yield row
    if number == 0:
        raise InvalidRequest("manifest", "has no rows")


def _judged(number: int, record: Record, defaults: Defaults) -> Row | BadRow:
    notes = list(record.notes)
    try:
        request = _request(record, defaults, notes)
    except InvalidRequest as refusal:
        own = {name: UNWRITABLE.sub("?", value) for name, value in record.columns.items()}
        return BadRow(number, record.line, shown(refusal.field), refusal.message, own, tuple(notes))
    return Row(number, record.line, request, record.columns, tuple(notes))


def _request(record: Record, defaults: Defaults, notes: list[str]) -> requests.Request:
    if record.fault:
        raise record.fault
    for name, value in record.columns.items():
        if UNWRITABLE.search(value):
            raise InvalidRequest(name, "contains control characters; only plain text is allowed")
    body = _body(record.given, defaults, notes)
    if own := _metadata(record.columns, notes):
        body["metadata"] = own
    request = requests.api_request(json.dumps(body), defaults)
    if request.image_key:
        requests.check_key(request.image_key)
    return request


def _metadata(own: Mapping[str, str], notes: list[str]) -> dict[str, str]:
    """The metadata of a row's job. Raises InvalidRequest.

    A pair in ``metadata`` or ``metadata.NAME`` was meant for it, so an invalid one is refused. Other passthrough values
    are added as long as there is room. The results have all of them.
    """
    exact: dict[str, str] = {}
    others: list[tuple[str, str]] = []
    for name, cell in own.items():
        if not cell or cell.isspace():
            continue
        if (own_name := columns.own_name(name)) is not None:
            pairs: dict[str, str] | None = {own_name: cell}
        elif columns.is_own(name) and cell.lstrip().startswith("{"):
            pairs = requests.own_pairs(cell)
        else:
            others.append((name, cell))
            continue
        if pairs is None:
            raise InvalidRequest("metadata", 'must be a JSON object, such as {"sku": "S-1"}')
        if twice := next(iter(pairs.keys() & exact.keys()), None):
            raise InvalidRequest("metadata", f"{shown(twice)} is given twice")
        exact |= pairs
    labels.metadata(exact)
    kept, left_out = labels.fitting([*exact.items(), *others])
    if left_out:
        notes.append(labels.left_out_note(left_out).rstrip("."))
    return kept


def _body(given: dict[str, object], defaults: Defaults, notes: list[str]) -> dict[str, object]:
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
    _take(parameters, notes)
    prompt = body.get("prompt", parameters.get("prompt"))
    if isinstance(prompt, str) and values.is_no_text(prompt):
        raise InvalidRequest("prompt", f"is {prompt!r}, which stands for a missing value or an error; correct it")
    if "prompt" not in {*body, *parameters} and columns.image_names() & {*body, *parameters}:
        body["prompt"] = defaults.prompt  # as for an upload: an image alone is enough
    return body


def _take(parameters: dict[str, object], notes: list[str]) -> None:
    """Replace values by their only possible meaning."""
    for name, value in parameters.items():
        parameters[name] = meant = values.meant(name, value)
        if str(meant) != str(value):
            notes.append(f"{name}: {shown(str(value))} is read as {shown(str(meant))}")


def csv_head(names: Iterable[str]) -> bytes:
    """The first line of a CSV file that we write, with the mark by which Excel knows that the file is UTF-8."""
    return codecs.BOM_UTF8 + csv_line(names)


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
