"""Manifests as spreadsheets and data frames write them: read as their only possible meaning, and said so."""

import io
from pathlib import Path
from typing import Any

import pytest
from seedance.batches import values
from seedance.batches.manifest import BadRow, Row, Tally, csv_head, csv_line, read
from seedance.errors import InvalidRequest
from seedance.jobs import catalogue
from seedance.jobs.requests import Defaults

pytestmark = pytest.mark.hostile(kind="input")

DEFAULTS = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")
FILES = Path(__file__).parent / "manifests"


def rows(text: str | bytes, key: str = "batches/m.csv", size: int = 7, **options: Any) -> list[Row | BadRow]:
    """The rows of a manifest that arrives in small chunks."""
    raw = text.encode() if isinstance(text, str) else text
    return list(read((raw[at : at + size] for at in range(0, len(raw), size)), key, DEFAULTS, **options))


def good(text: str | bytes, key: str = "batches/m.csv", **options: Any) -> list[Row]:
    found = rows(text, key, **options)
    assert [one for one in found if isinstance(one, BadRow)] == []
    return [one for one in found if isinstance(one, Row)]


def notes(text: str | bytes, key: str = "batches/m.csv", **options: Any) -> list[str]:
    tally = Tally()
    for one in rows(text, key, **options):
        tally.add(one)
    return tally.notes()


def file(name: str) -> bytes:
    return (FILES / name).read_bytes()


def parameters(found: list[Row], name: str) -> list[Any]:
    return [one.request.parameters[name] for one in found]


def test_empty_cells_that_are_missing_at_a_rows_end_count_as_empty() -> None:
    raw = file("excel-missing-trailing-commas.csv")
    found = good(raw)
    assert [one.columns["sku"] for one in found] == ["A", *(f"S{number}" for number in range(16))]
    assert [one.columns["note"] for one in found] == ["first", *[""] * 16]
    assert "Fewer cells than the header has: the missing ones count as empty (16 rows)." in notes(raw)


def test_extra_cells_at_a_rows_end_are_ignored_if_they_are_empty() -> None:
    text = "image,prompt\na.jpg,x,,\nb.jpg,y, \n"
    assert [one.request.image_key for one in good(text)] == ["a.jpg", "b.jpg"]
    assert "More cells than the header has: the extra ones are empty and ignored (2 rows)." in notes(text)


def test_empty_columns_without_a_name_are_ignored() -> None:
    raw = file("excel-empty-columns.csv")
    (found,) = good(raw)
    assert (found.request.image_key, found.columns) == ("images/red.jpg", {"sku": "A"})
    assert "Columns without a name in the header are ignored: 4 and 5." in notes(raw)


def test_hundreds_of_empty_columns_are_ignored() -> None:
    text = "image,prompt" + "," * 300 + "\na.jpg,x" + "," * 300 + "\n"
    assert good(text)[0].request.image_key == "a.jpg"
    assert "Columns without a name in the header are ignored: 3, 4, 5, 6, 7 and 295 more." in notes(text)


def test_a_value_in_a_column_without_a_name_makes_the_row_bad() -> None:
    first, second = rows("image,,prompt\na.jpg,,x\na.jpg,10,x\n")
    assert isinstance(first, Row)
    assert isinstance(second, BadRow)
    assert second.message == "has '10' in column 2, which has no name in the header"


def test_the_index_of_a_data_frame_is_ignored() -> None:
    text = ",image,prompt\n0,a.jpg,x\n17,b.jpg,y\n"
    assert [(one.request.image_key, one.columns) for one in good(text)] == [("a.jpg", {}), ("b.jpg", {})]
    assert "Columns without a name in the header are ignored: 1." in notes(text)
    (bad,) = rows(",image,prompt\nS-1,a.jpg,x\n")
    assert isinstance(bad, BadRow)
    assert "has 'S-1' in column 1" in bad.message


@pytest.mark.parametrize(
    "text",
    [
        file("excel-sep-line.csv").decode(),
        "SEP=;\nimage;prompt\nimages/red.jpg;It turns\n",
        "\ufeffsep=\t\r\nimage\tprompt\r\nimages/red.jpg\tIt turns\r\n",
        '"sep=;"\nimage;prompt\nimages/red.jpg;It turns\n',
        "sep=,,\nimage,prompt\nimages/red.jpg,It turns\n",
    ],
)
def test_the_line_that_names_the_separator_is_left_out(text: str) -> None:
    (found,) = good(text)
    assert (found.request.image_key, found.request.parameters["prompt"]) == ("images/red.jpg", "It turns")
    assert found.line == 3
    assert any("names the separator and was left out" in note for note in notes(text))


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_the_header_shows_which_separator_a_file_has(separator: str, name: str) -> None:
    text = separator.join(['"image"', "prompt", "sku"]) + "\n" + separator.join(["a.jpg", "one, two", "S-1"]) + "\n"
    (found,) = good(text)
    assert (found.request.parameters["prompt"], found.columns) == ("one, two", {"sku": "S-1"})
    assert f"The columns are separated by {name}." in notes(text)


def test_empty_lines_before_the_header_are_skipped() -> None:
    (found,) = good("\r\n,,\r\nimage,prompt\r\na.jpg,x\r\n")
    assert (found.request.image_key, found.line) == ("a.jpg", 4)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_utf_16_is_read_with_and_without_a_mark(encoding: str, size: int) -> None:
    raw = "größe,image,prompt\r\n36 一Ā,images/ä.jpg,It turns 👟\r\n".encode(encoding)
    (found,) = good(raw, size=size)
    assert (found.columns, found.request.image_key) == ({"größe": "36 一Ā"}, "images/ä.jpg")
    assert found.request.parameters["prompt"] == "It turns 👟"
    assert "The file is UTF-16 and was read as such." in notes(raw)


def test_json_lines_may_be_utf_16_too() -> None:
    raw = '{"prompt": "größer"}\n'.encode("utf-16-le")
    assert parameters(good(raw, "m.jsonl"), "prompt") == ["größer"]


def test_ratios_that_a_spreadsheet_took_for_times() -> None:
    raw = file("excel-ratio.csv")
    assert parameters(good(raw), "aspect_ratio") == ["16:9", "9:16", "1:1"]
    told = notes(raw)
    for was, meant in (("16:09", "16:9"), ("09:16:00", "9:16"), ("01:01", "1:1")):
        assert f"aspect_ratio: {was} is read as {meant}." in told


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("16:9", "16:9"),
        ("1:01", "1:1"),
        ("04:03:00", "4:3"),
        ("3:04", "3:4"),
        ("21:09:00", "21:9"),
        ("4:09:00 PM", "16:9"),
        ("09:16:00 AM", "9:16"),
        ("1:01 am", "1:1"),
        ("9:09 p.m.", "21:9"),
        ("1899-12-30 16:09:00", "16:9"),
        ("1900-01-01T09:16:00", "9:16"),
        ("adaptive", "adaptive"),
        # can't be a ratio
        ("16:10", "16:10"),
        ("16:09:30", "16:09:30"),
        ("2026-11-30 16:09:00", "2026-11-30 16:09:00"),
        ("0.5625", "0.5625"),
    ],
)
def test_a_time_means_a_ratio_only_if_a_model_has_it(text: str, meant: str) -> None:
    assert values.meant("ratio", text) == values.meant("aspect_ratio", text) == meant


def test_a_ratio_that_the_model_does_not_have_is_refused() -> None:
    (bad,) = rows("image,ratio\na.jpg,21:09:00\n")
    assert isinstance(bad, BadRow)
    assert "must be 16:9, 4:3, 1:1, 3:4 or 9:16, not '21:9'" in bad.message


def test_a_data_frames_whole_numbers_are_whole() -> None:
    raw = file("pandas-floats.csv")
    assert parameters(good(raw), "duration") == [5, 5]
    assert "duration: 5.0 is read as 5." in notes(raw)


@pytest.mark.parametrize("model", catalogue.MODELS)
@pytest.mark.parametrize("given", ["5.0", "5,0", "5.00", "5.000", "5.000000", " 5 ", "05"])
def test_whole_numbers_are_accepted_for_every_model(model: str, given: str) -> None:
    found = good(f'image,model,duration,seed,camera_fixed\na.jpg,{model},"{given}","77.0",\n')
    assert (parameters(found, "duration"), parameters(found, "seed")) == ([5], [77])
    assert [type(one.request.parameters["duration"]) for one in found] == [int]


@pytest.mark.parametrize("model", catalogue.MODELS)
def test_json_numbers_may_be_integral_too(model: str) -> None:
    line = f'{{"prompt": "x", "model": "{model}", "duration": 5.0, "parameters": {{"seed": 7.0}}}}\n'
    assert parameters(good(line, "m.jsonl"), "duration") == [5]
    assert "seed: 7.0 is read as 7." in notes(line, "m.jsonl")


@pytest.mark.parametrize(("cell", "value"), [("1.0", True), ("0.0", False), ("TRUE", True), ("False", False)])
def test_a_data_frames_truth_values_are_read(cell: str, value: bool) -> None:
    assert parameters(good(f"image,camera_fixed\na.jpg,{cell}\n"), "camera_fixed") == [value]


def test_numbers_in_texts_and_own_columns_stay_as_they_are() -> None:
    (found,) = good("image,prompt,sku\n5.0,7.0,5.0\n")
    assert found.request.image_key == "5.0"
    assert (found.request.parameters["prompt"], found.columns) == ("7.0", {"sku": "5.0"})


def test_notes_are_bounded() -> None:
    text = "prompt,seed\n" + "".join(f"x,{number}.0\n" for number in range(1, 501))
    told = notes(text)
    assert len(told) == 22
    assert told[-1] == "Other values were also read as their only possible meaning (480 rows)."


def test_our_own_files_begin_with_the_mark_that_excel_needs_and_are_read_back() -> None:
    raw = csv_head(("prompt", "größe")) + csv_line(("x", "å"))
    assert raw.startswith(b"\xef\xbb\xbfprompt,")
    assert good(raw)[0].columns == {"größe": "å"}
    assert io.StringIO(raw.decode("utf-8-sig")).readline() == "prompt,größe\n"


def test_rows_without_an_image_are_counted_and_named() -> None:
    text = "image,prompt,sku\na.jpg,x,1\n,y,2\nhttps://example.com/b,x,3\n,z,4\n"
    assert notes(text) == ["2 of 4 rows have no image (rows 2 and 4); columns passed through: sku."]
    assert notes("image,prompt\na.jpg,x\n,y\n") == ["1 of 2 rows has no image (row 2)."]
    assert notes("image,prompt\na.jpg,x\n") == []
    many = "image,prompt\na.jpg,x\n" + ",y\n" * 9
    assert notes(many) == ["9 of 10 rows have no image (rows 2, 3, 4, 5, 6 and 4 more)."]


def test_rows_without_an_image_are_not_named_if_no_row_has_one() -> None:
    assert notes("prompt,sku,Note\nx,1,2\ny,2,3\n") == [
        "2 of 2 rows have no image; columns passed through: sku and Note."
    ]


def test_reference_images_are_images() -> None:
    text = "prompt,model,reference_images\nx,seedance-2.0-mini,https://example.com/a.jpg\n"
    assert notes(text) == []


def test_many_passthrough_columns_are_cut() -> None:
    names = [f"own{number}" for number in range(30)]
    told, left_out = notes(f"image,{','.join(names)}\na.jpg{',1' * 30}\n")
    assert left_out.startswith("Not kept as metadata: own20, own21, own22, own23, own24 and 5 more.")
    assert told == f"Columns passed through: {', '.join(names[:20])} and 10 more."


def test_a_file_with_notes_and_errors_is_still_refused() -> None:
    with pytest.raises(InvalidRequest, match="manifest: has no rows"):
        rows("sep=,\nimage,prompt,,\n")
