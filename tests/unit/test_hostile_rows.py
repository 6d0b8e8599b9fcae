"""One hostile row among nine good ones: it fails alone, with its line and a reason, whatever it is."""

import csv
import gzip
import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hostile_values import DEEP, TEXTS, VALUES, nested
from hypothesis import assume, given
from hypothesis import strategies as st
from seedance.batches import columns, manifest, plan_lines
from seedance.batches.manifest import BadRow, Row, Tally, read
from seedance.bounds import LONGEST_MESSAGE
from seedance.errors import InvalidRequest
from seedance.jobs.requests import Defaults
from seedance.plan import _planned

pytestmark = pytest.mark.hostile(kind="input")

DEFAULTS = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")
GOOD = '{"prompt": "x", "sku": "%d"}\n'
MOST_CPU_SECONDS = 5.0


def rows(raw: bytes, key: str) -> list[Row | BadRow]:
    """The rows of a manifest; all that is written about each of them can be written."""
    began, tally, found = time.process_time(), Tally(), []
    for row in read((raw[at : at + 65536] for at in range(0, len(raw), 65536)), key, DEFAULTS):
        tally.add(row)
        line = json.dumps(_planned(row, None, []), ensure_ascii=False).encode()
        assert plan_lines.planned_row(json.loads(line)) is None
        manifest.csv_line((row.number, *row.columns.values()))
        if isinstance(row, BadRow):
            assert row.field == row.field.encode().decode()
            assert len(row.field) <= 80
            assert 0 < len(row.message) <= LONGEST_MESSAGE
            (written,) = csv.reader(io.StringIO(manifest.report_line(row).decode(), newline=""))
            assert written[:2] == [str(row.number), str(row.line)]
        found.append(row)
    assert time.process_time() - began < MOST_CPU_SECONDS
    return found


def among_nine(line: str | bytes) -> Row | BadRow:
    """The fifth of ten rows of JSON lines. The others are all good."""
    good = [(GOOD % number).encode() for number in range(9)]
    raw = line if isinstance(line, bytes) else line.encode(errors="surrogatepass")
    found = rows(b"".join([*good[:4], raw + b"\n", *good[4:]]), "batches/m.jsonl")
    assert [row.number for row in found] == [*range(1, 11)]
    assert [row.line for row in found] == [*range(1, 11)]
    others = found[:4] + found[5:]
    assert all(isinstance(row, Row) for row in others), others
    assert [row.columns["sku"] for row in others] == [*"012345678"]
    return found[4]


PLACES: dict[str, tuple[str, str | None]] = {
    "prompt": ('{"prompt": %s, "sku": "h"}', "prompt"),
    "model": ('{"prompt": "x", "model": %s}', "model"),
    "transport": ('{"prompt": "x", "transport": %s}', "transport"),
    "image": ('{"prompt": "x", "image": %s}', "image"),
    "image_key": ('{"prompt": "x", "image_key": %s}', "image_key"),
    "image_url": ('{"prompt": "x", "image_url": %s}', "image_url"),
    "duration": ('{"prompt": "x", "duration": %s}', "duration"),
    "Duration": ('{"prompt": "x", "parameters": {"duration": %s}}', "duration"),
    "seed": ('{"prompt": "x", "seed": %s}', "seed"),
    "camera_fixed": ('{"prompt": "x", "camera_fixed": %s}', "camera_fixed"),
    "aspect_ratio": ('{"prompt": "x", "aspect_ratio": %s}', "aspect_ratio"),
    "references": ('{"prompt": "x", "model": "seedance-2.0-mini", "reference_images": %s}', "reference_images"),
    "parameters": ('{"prompt": "x", "parameters": %s}', None),
    "a column": ('{"prompt": "x", "note": %s}', "note"),
    "within a column": ('{"prompt": "x", "note": {"a": [%s]}}', "note"),
    "the row": ("%s", None),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("place", PLACES)
def test_a_hostile_value_fails_only_its_row(place: str, kind: str) -> None:
    form, field = PLACES[place]
    found = among_nine(form % VALUES[kind])
    if isinstance(found, BadRow) and found.field != "row":  # "row": the line can't be read as JSON
        # A text in the column "image" may be a key; and a link to a key does not work, whatever the column is called.
        assert field in (None, found.field) or {place, found.field} == {"image", "image_key"}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("form", ['{"prompt": "x", %s: 1}', '{"prompt": "x", "parameters": {%s: 1}}', "{%s: {}}"])
def test_a_hostile_name_fails_only_its_row(form: str, kind: str) -> None:
    among_nine(form % json.dumps(TEXTS[kind]))


LINES: dict[str, str | bytes] = {
    "no JSON": "x",
    "cut off": '{"prompt": "x"',
    "two objects": '{"prompt": "x"}{"prompt": "y"}',
    "a list": "[]",
    "null": "null",
    "a name twice": '{"prompt": "x", "prompt": "y"}',
    "an option twice": '{"prompt": "x", "duration": 5, "DURATION": 10}',
    "NUL": "\x00",
    "a byte order mark and NUL": "\ufeff\x00",
    "a raw half": '{"prompt": "\ud800"}',
    "not UTF-8": b'{"prompt": "caf\xe9"}',
    "not UTF-8 at all": bytes(byte for byte in range(256) if byte != 10),
    "UTF-16": '{"prompt": "x"}'.encode("utf-16-be"),
    "an overlong form": b'{"prompt": "\xc0\xaf"}',
    "too long": '{"prompt": "x", "note": "' + "y" * (1024 * 1024) + '"}',
    "much too long": '{"prompt": "x", "note": "' + "y" * (8 * 1024 * 1024) + '"}',
    "deep": "[" * DEEP,
    "deep and closed": '{"prompt": "x", "note": ' + nested(10_000) + "}",
    "deep within parameters": '{"prompt": "x", "parameters": {"duration": ' + nested(990) + "}}",
    "many names": "{" + ",".join(f'"own{number}":1' for number in range(50_000)) + "}",
    "201 names": "{" + ",".join(f'"own{number}":1' for number in range(201)) + "}",
    "101 columns": '{"prompt": "x", ' + ",".join(f'"own{number}":1' for number in range(101)) + "}",
    "100 more columns": '{"prompt": "x", ' + ",".join(f'"own{number}":1' for number in range(100)) + "}",
    "a prompt that lost a letter": '{"prompt": "caf\ufffd"}',
    "a compressed line": gzip.compress(b'{"prompt": "x"}', mtime=0).replace(b"\n", b""),
}


@pytest.mark.parametrize("name", LINES)
def test_a_hostile_line_fails_alone(name: str) -> None:
    assert isinstance(among_nine(LINES[name]), BadRow)


def test_a_row_with_as_many_columns_as_allowed_is_good() -> None:
    line = '{"prompt": "x", ' + ",".join(f'"own{number}":1' for number in range(99)) + "}"  # and the others' sku
    assert isinstance(among_nine(line), Row)


def test_the_row_that_brings_one_column_too_many_is_bad_and_those_before_and_after_are_good() -> None:
    lines = [json.dumps({"prompt": "x", f"own{number}": 1}) for number in (*range(100), 100, 50)]
    found = rows("\n".join(lines).encode(), "batches/m.jsonl")
    assert [row.number for row in found if isinstance(row, BadRow)] == [101]
    assert "at most 100" in next(row.message for row in found if isinstance(row, BadRow))


# CSV ------------------------------------------------------------------------------------------------------------------

HEADER = b"image_url,prompt,duration,seed,model,sku\n"


def among_csv(line: bytes, lines: int = 1) -> Row | BadRow:
    good = [f",x,5,7,,S-{number}\n".encode() for number in range(9)]
    found = rows(b"".join([HEADER, *good[:4], line, b"\n", *good[4:]]), "batches/m.csv")
    assert [row.number for row in found] == [*range(1, 11)]
    assert [row.line for row in found] == [*range(2, 7), *range(6 + lines, 11 + lines)]
    assert all(isinstance(row, Row) for row in found[:4] + found[5:])
    return found[4]


def written(cells: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="").writerow(cells)
    return out.getvalue().encode(errors="surrogatepass")


CELLS = {**TEXTS, **{f"JSON {kind}": text for kind, text in VALUES.items() if not kind.startswith("text")}}


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("column", range(6))
def test_a_hostile_cell_fails_only_its_row(column: int, kind: str) -> None:
    cells = ["https://example.com/a.png", "x", "5", "7", "", "S-h"]
    cells[column] = CELLS[kind]
    line = written(cells)
    found = among_csv(line, 1 + line.count(b"\n"))
    if isinstance(found, BadRow) and not found.field.startswith("line"):
        assert found.field == HEADER.decode().strip().split(",")[column]


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"x",
            b",,x",
            b"," * 500_000 + b"x",
            b"a,b,c,d,e,f,g",
            b"\x00",
            b"\x00,\x00,\x00,\x00,\x00,\x00",
            b"caf\xe9,x,5,7,,1",
        ),
        *(b"\xff\xfe,x,5,7,,1", b"\xed\xa0\x80,x,5,7,,1", b",x,5,7,,caf\xe9", b",x,5,7,,\xff"),
        b",x,5,7,,1,\xc0\xaf",
        b",x,5,7," + b"m" * 200_000 + b",1",
        b',"' + b"x" * 200_000 + b'",5,7,,1',
        b",x,1e400,7,,1",
        b",x,NaN,7,,1",
        b",x,5," + b"9" * 5000 + b",,1",
    ],
    ids=range(17),
)
def test_a_hostile_line_of_csv_fails_alone(line: bytes) -> None:
    assert isinstance(among_csv(line), BadRow)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (HEADER + b",x,5,7,,1\n" + b",x,5,7,," + b"y" * (1024 * 1024) + b"\n", "line 3"),
        (HEADER + b",x,5,7,,1\n" + b'"never closed,5\n' * 100_000, "line 3"),
        (HEADER + b'a"b,"' + b"c" * 2_000_000, "line 2"),
        (b"prompt,caf\xe9\nx,1\n", "line 1"),
        (b"\xff\xfe\x00p", "line 1"),
        (b"\x00" * 1000, "column"),
        (b"prompt," + b"a" * 2_000_000 + b"\n", "line 1"),
        (b",".join(f"own{number}".encode() for number in range(90_000)) + b"\n", "line 1"),
        (b"", "line 1"),
    ],
    ids=range(9),
)
def test_a_file_whose_rows_cannot_be_told_apart_is_refused_as_a_whole(raw: bytes, field: str) -> None:
    """After a quote that is not closed, or in a line too long to be read, nobody knows where the next row begins."""
    with pytest.raises(InvalidRequest) as caught:
        rows(raw, "batches/m.csv")
    assert caught.value.field == field
    assert len(str(caught.value)) < 500


# anything -------------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(codec=None, exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["model", "prompt", "parameters", "image", "image_key", "duration", "seed", "sku", "state"])


@given(st.dictionaries(NAMES | st.text(), JSON | st.dictionaries(NAMES, JSON), max_size=6))
def test_any_object_fails_only_its_row(row: dict[str, Any]) -> None:
    among_nine(json.dumps(row))


@given(st.binary(max_size=400).map(lambda raw: raw.replace(b"\n", b"")))
def test_any_bytes_fail_only_their_row(raw: bytes) -> None:
    if raw.decode(errors="replace").strip():
        among_nine(raw)


@given(st.lists(st.text(st.characters(codec=None, exclude_categories=())), min_size=6, max_size=6))
def test_any_cells_fail_only_their_row(cells: list[str]) -> None:
    line = written(cells)
    # Such a value in the column "sku" is a question about the whole file, before anything is bought.
    assume(columns.misnamed({"sku": cells[5]}, columns.groups(HEADER.decode().strip().split(","))) is None)
    if any(cell.strip() for cell in cells):
        among_csv(line, 1 + line.count(b"\n"))


@pytest.fixture
def planned(world: Any, wired: Any, root: Any) -> Callable[[bytes, str], dict[str, Any]]:
    """Plans a manifest as the function does."""
    from invoking import invoke  # noqa: PLC0415

    def plan(raw: bytes, key: str) -> dict[str, Any]:
        world.aws["s3"].put_object(Bucket="example-uploads", Key=key, Body=raw)
        event = {"batch_id": "batch-" + "0" * 32, "bucket": "example-uploads", "key": key, "version_id": None}
        return dict(invoke(root, "plan", event))

    return plan


@pytest.mark.parametrize("name", LINES)
def test_a_batch_with_a_hostile_line_is_planned_with_its_nine_good_rows(planned: Any, name: str) -> None:
    line = LINES[name]
    raw = line if isinstance(line, bytes) else line.encode(errors="surrogatepass")
    good = [(GOOD % number).encode() for number in range(9)]
    answer = planned(b"".join([*good[:4], raw + b"\n", *good[4:]]), "batches/m.jsonl")
    assert (answer["status"], answer["rows"], answer["rejected"]) == ("PLANNED", 10, 1)
