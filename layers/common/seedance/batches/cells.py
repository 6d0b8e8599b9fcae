"""Reads a manifest's rows from its lines: which cell, or value of a JSON object, belongs to which column. Pure."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from seedance import bounds
from seedance.batches import columns
from seedance.batches.columns import MAX_COLUMNS, Column
from seedance.batches.lines import MAX_LINE_BYTES, Lines, LongLine
from seedance.batches.wording import listed, numbered, shown
from seedance.errors import InvalidRequest

MOST_NAMES = 2 * MAX_COLUMNS
"""Names in a row of JSON lines: its passthrough columns and its options."""

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[,;\t|]*', re.IGNORECASE)
"""The line with which a file tells Excel its separator."""


@dataclass(frozen=True)
class Record:
    """A row as it was read, before its values are checked. ``line`` is the line number in the file."""

    line: int
    given: dict[str, object]
    """The options, by their names."""
    columns: dict[str, str]
    """The passthrough values, by column name."""
    fault: InvalidRequest | None = None
    notes: tuple[str, ...] = ()
    """Which values were read as something else. The first row's notes are also about the whole file."""


def csv_records(lines: Lines, image_column: str | None) -> Iterator[Record]:
    """The rows of a CSV file. Raises InvalidRequest if the file as a whole can't be used."""
    rows = _csv_rows(lines)
    at, cells = next(((line, cells) for line, cells in rows if not _is_empty(cells)), (1, []))
    if fault := lines.fault():
        raise fault
    header = columns.header(cells, f"line {at}", image_column)
    there = columns.groups(known for _, known in header if known)
    if nameless := [str(number) for number, (name, _) in enumerate(header, start=1) if not name]:
        lines.note(f"Columns without a name in the header are ignored: {listed(nameless[:5], len(nameless))}")
    for line, cells in rows:
        if _is_empty(cells):
            continue  # an empty line, or only separators, as spreadsheets write one
        record = _csv_record(line, cells, header, lines.noted())
        if fault := lines.fault():
            record = replace(record, fault=fault)
        elif question := columns.misnamed(record.columns, there):
            raise InvalidRequest(f"line {at}", question)
        yield record


def _is_empty(cells: Sequence[str]) -> bool:
    return not any(cell.strip() for cell in cells)


def _csv_record(line: int, cells: list[str], header: Sequence[Column], notes: tuple[str, ...]) -> Record:
    fault = None
    if len(cells) < len(header):
        notes = (*notes, "Fewer cells than the header has: the missing ones count as empty")
    elif not _is_empty(cells[len(header) :]):
        fault = InvalidRequest("row", f"has {numbered(len(cells), 'cell')} but the header has {len(header)}")
    elif len(cells) > len(header):
        notes = (*notes, "More cells than the header has: the extra ones are empty and ignored")
    given: dict[str, object] = {}
    own: dict[str, str] = {}
    cells = cells + [""] * (len(header) - len(cells))
    for number, ((name, option), cell) in enumerate(zip(header, cells, strict=False), start=1):
        if option is not None:
            if cell.strip():
                given[option] = cell
        elif name:
            own[name] = cell
        elif cell.strip() and not (number == 1 and cell.strip().isdecimal()):  # a data frame's index
            fault = InvalidRequest("row", f"has {shown(cell)!r} in column {number}, which has no name in the header")
    return Record(line, given, own, fault, notes)


def _csv_rows(lines: Lines) -> Iterator[tuple[int, list[str]]]:
    """The file's rows, each with the number of its first line."""
    csv.field_size_limit(MAX_LINE_BYTES)  # a long cell is one row's fault, and not that of the whole file
    ahead = [next(lines, "")]
    said = _SEPARATOR_LINE.fullmatch(ahead[0].rstrip("\r\n"))
    if said:
        separator = said[1]
        if separator not in _SEPARATORS:
            raise InvalidRequest("line 1", f"names {shown(separator)!r} as the separator; use commas")
        lines.note(f"The line sep={'' if separator == chr(9) else separator} names the separator and was left out")
        ahead = []
    else:
        separator = _separator(ahead[0])
    if separator != ",":
        lines.note(f"The columns are separated by {_SEPARATORS[separator]}")
    reader = csv.reader(chain(ahead, lines), delimiter=separator, strict=True)
    first = lines.number + (1 if said else 0)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InvalidRequest(f"line {first}", _csv_trouble(str(error))) from None
        if cells is None:
            return
        yield first, cells
        first = lines.number + 1


def _separator(header: str) -> str:
    """The separator of a header: commas, or if it would have one column then, whatever divides it into most columns."""

    def count(separator: str) -> int:
        return len(next(csv.reader([header], delimiter=separator), []))

    try:
        return "," if count(",") > 1 else max(_SEPARATORS, key=count)
    except csv.Error:
        return ","  # reading the file will say what is wrong


def _csv_trouble(said: str) -> str:
    if "new-line character" in said:
        return "has old Mac line breaks (CR alone); save the file with LF or CRLF"
    if "end of data" in said or "field larger" in said:
        return "opens a quote that is not closed"
    return f"is not valid CSV: {said}"


def json_records(lines: Lines, image_column: str | None) -> Iterator[Record]:
    """The rows of a file of JSON lines."""
    while True:
        try:
            text = next(lines)
        except StopIteration:
            return
        except LongLine as too_long:
            yield Record(lines.number, {}, {}, too_long, lines.noted())
            continue
        if fault := lines.fault():
            yield Record(lines.number, {}, {}, fault, lines.noted())
        elif text.strip():
            yield _json_record(lines, text, image_column)


def _json_record(lines: Lines, text: str, image_column: str | None) -> Record:
    given: dict[str, object] = {}
    own: dict[str, str] = {}
    fault = None
    try:
        _sort(_json_object(text), image_column, given, own)
    except InvalidRequest as error:
        given, fault = {}, error
    return Record(lines.number, given, own, fault, lines.noted())


def _sort(row: dict[str, object], image_column: str | None, given: dict[str, object], own: dict[str, str]) -> None:
    """Divide a row's values into options and passthrough columns. Raises InvalidRequest."""
    there: list[str] = []
    for name, value in row.items():
        option = columns.option(name, image_column)
        if option is None:
            own[name.strip()] = _text(value)
            continue
        there += [option, *(value if option == "parameters" and isinstance(value, dict) else ())]
        if value is not None and value != "":
            if option in given:
                raise InvalidRequest(name, "is given twice")
            given[option] = value
    groups = columns.groups(there)
    if image_column is not None and "first_image" not in groups:
        raise InvalidRequest("image_column", f"the row has no {shown(image_column)!r}")
    if question := columns.misnamed(own, groups):
        raise InvalidRequest("row", question)


def _json_object(text: str) -> dict[str, object]:
    try:
        value = bounds.read_json(text, finite=True)
    except ValueError as error:
        raise InvalidRequest("row", str(error)) from None
    if not isinstance(value, dict):
        raise InvalidRequest("row", 'must be a JSON object, such as {"image": "a.jpg", "prompt": "it turns"}')
    if len(value) > MOST_NAMES:
        raise InvalidRequest("row", f"has {len(value):,} names; at most {MOST_NAMES} are allowed")
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
