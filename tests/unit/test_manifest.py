"""Manifests: rows, errors and their messages, and bounded memory."""

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.batches import lines as lines_of_text
from seedance.batches import manifest
from seedance.batches.manifest import BadRow, Row, Tally, beside, csv_line, read
from seedance.errors import InvalidRequest
from seedance.jobs import requests
from seedance.jobs.requests import Defaults, is_manifest

DEFAULTS = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")
HEADER = "image,prompt,model,duration,sku\n"


def rows(text: str | bytes, key: str = "batches/m.csv", size: int = 7) -> list[Row | BadRow]:
    """The rows of a manifest that arrives in small chunks."""
    raw = text.encode() if isinstance(text, str) else text
    return list(read((raw[at : at + size] for at in range(0, len(raw), size)), key, DEFAULTS))


def row(text: str, key: str = "batches/m.csv") -> Row:
    (only,) = rows(text, key)
    assert isinstance(only, Row), only
    return only


def bad(text: str, key: str = "batches/m.csv") -> BadRow:
    (only,) = rows(text, key)
    assert isinstance(only, BadRow), only
    return only


def lines(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def test_a_row_is_a_request_and_its_other_columns() -> None:
    found = row(HEADER + "images/a.jpg,It turns,seedance-1.5-pro,8,S-1\n")
    assert (found.number, found.line, found.columns) == (1, 2, {"sku": "S-1"})
    assert (found.request.model.slug, found.request.image_key) == ("seedance-1.5-pro", "images/a.jpg")
    assert (found.request.parameters["duration"], found.request.parameters["prompt"]) == (8, "It turns")


def test_an_empty_cell_counts_as_missing() -> None:
    found = row(HEADER + "images/a.jpg, ,,  ,\n")
    assert found.request.model.slug == DEFAULTS.model
    assert found.request.parameters["prompt"] == DEFAULTS.prompt
    assert found.request.parameters["duration"] == 5
    assert found.columns == {"sku": ""}


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("name", ["image", "image_url", "first_frame_url", "Image", " IMAGE-URL "])
def test_a_url_is_an_image_under_every_column_name(name: str) -> None:
    found = row(f"{name},prompt\nhttps://example.com/a.jpg,x\n")
    assert found.request.parameters["image_url"] == "https://example.com/a.jpg"
    assert found.request.image_key is None


@pytest.mark.parametrize("name", ["image", "image_key"])
def test_a_key_is_an_image_under_both_column_names(name: str) -> None:
    assert row(f"{name}\nimages/a b.jpg\n").request.image_key == "images/a b.jpg"


@pytest.mark.hostile(kind="input")
def test_byte_order_marks_quotes_and_line_breaks_of_spreadsheets_are_read() -> None:
    text = '\ufeffimage,prompt,sku\r\n"a, ""b"".jpg","one\r\ntwo",1\r\n,three,2\r\n\r\n,,\r\n'
    first, second = rows(text)
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert (first.request.image_key, first.request.parameters["prompt"]) == ('a, "b".jpg', "one\r\ntwo")
    assert [(one.number, one.line) for one in (first, second)] == [(1, 2), (2, 4)]


def test_json_lines_are_api_bodies_with_extra_columns() -> None:
    body = {"prompt": "x", "parameters": {"duration": 10}, "resolution": "480p", "sku": 7, "tags": ["a"], "note": None}
    found = row("\n" + lines(body), "batches/m.JSONL")
    assert (found.request.parameters["duration"], found.request.parameters["resolution"]) == (10, "480p")
    assert (found.line, found.columns) == (2, {"sku": "7", "tags": '["a"]', "note": ""})


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", "line 1", "is empty; it must name the columns"),
        ("\n\n", "line 1", "is empty"),
        (HEADER, "manifest", "has no rows"),
        (HEADER + "\n,,,,\n", "manifest", "has no rows"),
        ("sep=!\nimage!prompt\na!b\n", "line 1", "names '!' as the separator"),
        ("images/a.jpg,It turns,\n", "line 1", "must be a header that names the columns"),
        ("images/a.jpg,It turns\n", "line 1", "must be a header that names the columns"),
        ("images/a.jpg;It turns\n", "line 1", "must be a header that names the columns"),
        ("sku,duration\n1,5\n", "line 1", "must be a header that names the columns"),
        ("prompt,sku,sku\nx,1,2\n", "line 1", "has the column sku twice"),
        ("prompt,Prompt\nx,y\n", "line 1", "has the column prompt twice, as 'prompt' and 'Prompt'"),
        ("prompt,duraton\nx,5\n", "duraton", "did you mean duration?"),
        ("prompt,mode\nx,y\n", "mode", "did you mean model?"),
        ("prompt,state\nx,y\n", "state", "is the name of a column in the results"),
        ("prompt,parameters\nx,{}\n", "parameters", "use one column per parameter"),
        ("prompt,a\x07\nx,y\n", "column", "is not a valid column name"),
        ("prompt," + "a" * 101 + "\nx,y\n", "column", "is not a valid column name"),
        ("prompt" + "".join(f",c{n}" for n in range(100)) + "\n", "line 1", "has 101 columns"),
        ("prompt\nx\n".encode("utf-32"), "line 1", "is UTF-32"),
        ("prompt\nx\n".encode("utf-16") + b"x", "manifest", "is damaged UTF-16"),
        ("prompt\nx".encode("utf-16-le") + b"\x00\xd8\n\x00", "manifest", "is damaged UTF-16"),
        (b"prompt,caf\xe9\nx,1\n", "line 1", "is not UTF-8 (byte 0xe9)"),
        ("prompt\rx\ry\r", "line 1", "has old Mac line breaks"),
        ('prompt,sku\nx,1\n"never closed,2\nx,3\n', "line 3", "opens a quote that is not closed"),
        ('prompt,sku\n"' + "x\n" * 80_000, "line 2", "opens a quote that is not closed"),
        ('prompt,sku\n"a"b,2\n', "line 2", "is not valid CSV"),
        ("prompt\n" + "x" * (1024 * 1024 + 1), "line 2", "is longer than 1024 KB"),
    ],
)
def test_an_unreadable_file_is_refused_with_the_position(text: str | bytes, line: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        rows(text, size=65536)
    assert caught.value.field == line
    assert says in caught.value.message


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("cells", "field", "says"),
    [
        (",,,,1", "prompt", "is missing"),
        ("a.jpg,x,sora,,1", "model", "'sora' does not exist"),
        ("a.jpg,x,,7,1", "duration", "must be 5 or 10, not 7"),
        ("a.jpg,x,,5,1,2", "row", "has 6 cells but the header has 5"),
        ("a.jpg,x,,5,1,,2,", "row", "has 8 cells but the header has 5"),
        ("a.jpg,nan,,5,1", "prompt", "is 'nan', which stands for a missing value"),
        ("a.jpg,#REF!,,5,1", "prompt", "is '#REF!'"),
        ("a.jpg,x,,5.5,1", "duration", "must be 5 or 10, not '5.5'"),
        ('a.jpg,x,,"5,000",1', "duration", "must be 5 or 10, not '5,000'"),  # five or five thousand
        ("a\x00.jpg,x,,5,1\x00", "sku", "contains control characters"),
        (",x\x00,,5,1", "prompt", "control characters"),
        ("a/../b.jpg,x,,5,1", "image", "has '.' or '..' between slashes"),
        ("s3://bucket/a.jpg,x,,5,1", "image", "without s3://"),
        (f"{'a' * 1025},x,,5,1", "image_key", "at most 1024 bytes"),
        (f"a.jpg,{'x' * 5001},,5,1", "prompt", "not text of 5001 characters"),
    ],
)
def test_an_invalid_row_is_bad_and_says_why(cells: str, field: str, says: str) -> None:
    found = bad(HEADER + cells + "\n")
    assert (found.number, found.line, found.field) == (1, 2, field)
    assert says in found.message


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ("[1]", "row", "must be a JSON object"),
        ("{", "row", "is not valid JSON"),
        ("[" * 100_000, "row", "is nested more than 20 levels deep"),
        ('{"prompt": "x", "prompt": "y"}', "row", "has the name 'prompt' twice"),
        ('{"prompt": NaN}', "row", "has NaN, which is not a number"),
        ('{"prompt": "x", "duration": 5, "Duration": 10}', "Duration", "is given twice"),
        ('{"prompt": "x", "duration": 5, "parameters": {"duration": 10}}', "duration", "is given twice"),
        ('{"prompt": "x", "parameters": [1]}', "parameters", "must be a JSON object"),
        ('{"prompt": "x", "durration": 5}', "durration", "did you mean duration?"),
        ('{"image": "a.jpg", "image_key": "b.jpg"}', "image", "is given twice"),
        ('{"image": 5, "prompt": "x"}', "image", "must be an http or https address"),
        ('{"prompt": "x", "sku": "\\ud800"}', "sku", "contains control characters"),
        ('{"prompt": "\\ud800"}', "prompt", "has half of a character in it"),
        ('{"prompt": 7}', "prompt", "must be text"),
    ],
)
def test_an_invalid_json_line_is_bad_and_says_why(text: str, field: str, says: str) -> None:
    found = bad(text + "\n", "batches/m.jsonl")
    assert (found.number, found.line, found.field) == (1, 1, field)
    assert says in found.message


def test_a_bad_row_keeps_its_columns_for_identification() -> None:
    assert bad(HEADER + ",,,,S\x07-1\n").columns == {"sku": "S?-1"}


@pytest.mark.hostile(kind="input")
def test_too_many_rows_and_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MAX_ROWS", 2)
    with pytest.raises(InvalidRequest, match="line 4: exceeds the limit of 2 rows"):
        rows("prompt\nx\nx\nx\n")
    monkeypatch.setattr(lines_of_text, "MAX_BYTES", 10)
    with pytest.raises(InvalidRequest, match="manifest: is larger than"):
        rows("prompt\nx\nx\nx\n")


def test_a_tally_sums_costs_and_counts_columns() -> None:
    tally = Tally()
    for one in rows(HEADER + "a.jpg,x,,10,1\na.jpg,x,seedance-pro,5,2\na.jpg,x,,5,3\n,,,,4\n"):
        tally.add(one)
    assert (tally.rows, tally.bad, tally.good) == (4, 1, 3)
    assert tally.models == {"seedance-1.0-pro-fast": (2, 0.75), "seedance-pro": (1, 0.35)}
    assert tally.estimate_usd == pytest.approx(1.10)
    assert list(tally.columns) == ["sku"]


def test_a_tally_uses_bills_where_there_are_some_and_reads_them_once_per_setting() -> None:
    asked: list[str] = []

    def bills(model: str) -> dict[str, list[float]]:
        asked.append(model)
        return {"720p 10s 16:9": [0.6]} if model == "seedance-1.0-pro-fast" else {}

    tally = Tally(bills)
    for one in rows(HEADER + "a.jpg,x,,10,1\n" * 100 + "a.jpg,x,seedance-pro,5,2\na.jpg,x,,5,3\n"):
        tally.add(one)
    assert tally.estimate_usd == pytest.approx(60 + 0.35 + 0.25)
    assert (tally.good, tally.billed) == (102, 100)
    assert sorted(asked) == ["seedance-1.0-pro-fast", "seedance-1.0-pro-fast", "seedance-pro"]


def test_a_row_without_a_fixed_length_counts_as_the_most_expensive_video() -> None:
    tally = Tally()
    for one in rows('{"prompt": "x", "model": "seedance-2.0-fast", "duration": -1}\n', "m.jsonl"):
        tally.add(one)
    assert tally.estimate_usd == pytest.approx(15 * 0.152)


def test_a_row_with_more_columns_than_a_sheet_should_have_is_bad_and_brings_none() -> None:
    tally = Tally()
    one, two = rows(
        lines(*({f"own{half}-{n}": 1 for n in range(60)} | {"prompt": "x"} for half in range(2))), "m.jsonl"
    )
    for each in (one, two):
        tally.add(each)
    assert isinstance(one, Row)
    assert isinstance(two, BadRow)
    assert "at most 100 are allowed" in two.message
    assert (tally.bad, len(tally.columns)) == (1, 60)


@pytest.mark.parametrize(
    ("good", "wrong", "tolerated", "refused"),
    [(10, 0, 0, False), (9, 1, 0, True), (8, 2, 20, False), (7, 3, 20, True), (0, 1, 100, True), (999, 1, 0.1, False)],
)
def test_a_share_of_bad_rows_is_tolerated(good: int, wrong: int, tolerated: float, refused: bool) -> None:
    tally = Tally(rows=good + wrong, bad=wrong)
    assert bool(tally.refusal(tolerated)) is refused


@pytest.mark.parametrize(
    ("key", "is_one"),
    [
        ("batches/a.csv", True),
        ("batches/deep/A.CSV", True),
        ("batches/a.jsonl", True),
        ("batches/a.json", False),
        ("batches/", False),
        ("batches/a.jpg", False),
        ("uploads/a.csv", False),
        ("batches/a-0123abcd.results.csv", False),
        ("batches/a-0123abcd.rejected.csv", False),
    ],
)
def test_a_manifest_is_recognised_by_its_key(key: str, is_one: bool) -> None:
    assert is_manifest(key) is is_one


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("letter", ["x", "é"])
def test_files_beside_a_manifest_with_the_longest_key_have_valid_keys(letter: str) -> None:
    key = "batches/" + letter * (1012 // len(letter.encode())) + ".csv"
    found = {
        beside(key, "batch-0123abcd4567", ending) for ending in (requests.RESULTS_ENDING, requests.REJECTED_ENDING)
    }
    assert all(len(name.encode()) <= 1024 for name in found)
    assert len(found) == 2
    assert not any(map(is_manifest, found))


def test_our_own_files_are_beside_the_manifest_and_are_no_manifests() -> None:
    for ending in (requests.RESULTS_ENDING, requests.REJECTED_ENDING):
        key = beside("batches/shop/spring.csv", "batch-0123abcd4567", ending)
        assert key == f"batches/shop/spring-0123abcd{ending}"
        assert not is_manifest(key)


@pytest.mark.hostile(kind="input", risk="leaked")
@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+2", "'+1+2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-x", "'-x"),
        ("\t=1", "'\t=1"),
        ("-5", "-5"),
        ("+3.25", "+3.25"),
        ("-5 %", "'-5 %"),
        ("a=b", "a=b"),
        ("", ""),
        (7, "7"),
        ('two\nlines, "quoted"', 'two\nlines, "quoted"'),
    ],
)
def test_a_cell_is_never_a_formula(cell: object, written: str) -> None:
    assert next(csv.reader(io.StringIO(csv_line((cell, "x")).decode(), newline=""))) == [written, "x"]


@pytest.mark.hostile(kind="input")
@given(st.binary(max_size=300), st.sampled_from(["m.csv", "m.jsonl"]))
def test_no_bytes_crash_the_reader(raw: bytes, key: str) -> None:
    try:
        for one in rows(b"prompt,sku\n" + raw, key):
            csv_line((one.number, *one.columns.values()))
    except InvalidRequest as refusal:
        assert str(refusal).encode()


@pytest.mark.hostile(kind="input")
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_rows_written_by_a_csv_writer_are_read_unchanged(text: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([["prompt", "sku"], ["x", text]])
    (found,) = rows(out.getvalue())
    if isinstance(found, Row):
        assert found.columns == {"sku": text}
    else:
        assert "control characters" in found.message


def test_memory_does_not_grow_with_the_number_of_rows() -> None:
    def pieces(count: int) -> Iterator[bytes]:
        yield HEADER.encode()
        for number in range(count):
            yield f"images/{number}.jpg,The shoe turns slowly,,5,SKU-{number}\n".encode()

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            assert sum(isinstance(one, Row) for one in read(pieces(count), "m.csv", DEFAULTS)) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)  # objects that are built once
    assert peak(4000) < 2 * peak(200) + 100_000


def test_own_columns_are_the_videos_metadata() -> None:
    found = row("image,prompt,sku,Shop Name,colour\nimages/a.jpg,It turns, S-1 ,North,\n")
    assert found.request.metadata == {"sku": " S-1 ", "Shop Name": "North"}
    assert found.columns == {"sku": " S-1 ", "Shop Name": "North", "colour": ""}
    assert found.notes == ()


@pytest.mark.parametrize(
    ("text", "key", "own"),
    [
        ("prompt,metadata.sku,metadata.seed\nx,S-1,5\n", "m.csv", {"sku": "S-1", "seed": "5"}),
        ("prompt,Metadata. SKU \nx,S-1\n", "m.csv", {"SKU": "S-1"}),
        ('prompt,metadata\nx,"{""sku"": ""S-1"", ""n"": 5}"\n', "m.csv", {"sku": "S-1", "n": "5"}),
        ("prompt,metadata\nx,spring\n", "m.csv", {"metadata": "spring"}),
        ("prompt,metadata,metadata.sku\nx,,\n", "m.csv", {}),
        (lines({"prompt": "x", "metadata": {"sku": "S-1", "n": 5}}), "m.jsonl", {"sku": "S-1", "n": "5"}),
        (lines({"prompt": "x", "metadata.sku": 1234, "size": 42}), "m.jsonl", {"sku": "1234", "size": "42"}),
        (lines({"prompt": "x", "metadata": {"sku": "S-1"}, "metadata.n": "5"}), "m.jsonl", {"sku": "S-1", "n": "5"}),
        (lines({"prompt": "x", "metadata": None}), "m.jsonl", {}),
        ("prompt,sku,metadata.sku\nx,a,b\n", "m.csv", {"sku": "b"}),
        ("prompt,metadata.photo,metadata.ratio\nx,a.jpg,16:9\n", "m.csv", {"photo": "a.jpg", "ratio": "16:9"}),
        ("prompt,metadata.video_link\nx,y\n", "m.csv", {"video_link": "y"}),
    ],
)
def test_metadata_can_be_named_as_such(text: str, key: str, own: dict[str, str]) -> None:
    assert row(text, f"batches/{key}").request.metadata == own


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ('prompt,metadata\nx,"{""sku"": S-1}"\n', "m.csv", 'must be a JSON object, such as {"sku": "S-1"}'),
        ("prompt,metadata.sku\nx," + "y" * 257, "m.csv", "the value of 'sku' must be text of at most 256 characters"),
        ("prompt,metadata.\nx,y\n", "m.csv", "has a name that is not text of 1 to 64 characters"),
        (lines({"prompt": "x", "metadata": {"sku": "a"}, "metadata.sku": "b"}), "m.jsonl", "sku is given twice"),
        (lines({"prompt": "x", "metadata": {str(n): "y" for n in range(21)}}), "m.jsonl", "with at most 20 pairs"),
    ],
)
def test_metadata_that_is_named_as_such_and_invalid_is_refused(text: str, key: str, says: str) -> None:
    found = bad(text, f"batches/{key}")
    assert (found.field, says in found.message) == ("metadata", True)


@pytest.mark.hostile(kind="input")
def test_own_columns_that_do_not_fit_are_noted_and_stay_in_the_results() -> None:
    found = row("prompt,metadata.sku,description,colour\nx,S-1," + "y" * 257 + ",red\n")
    assert found.request.metadata == {"sku": "S-1", "colour": "red"}
    assert set(found.columns) == {"metadata.sku", "description", "colour"}
    assert found.notes[0].startswith("Not kept as metadata: description. There is room for 20 pairs")
    many = row(",".join(["prompt", *(f"c{n}" for n in range(50))]) + "\nx" + ",y" * 50 + "\n")
    assert (len(many.request.metadata), len(many.columns)) == (20, 50)
