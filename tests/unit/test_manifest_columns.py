"""Columns that mean an option under another name: nothing that changes what is bought is ignored."""

import json
from pathlib import Path
from typing import Any

import pytest
from seedance.batches import columns, values
from seedance.batches.manifest import BadRow, Row, read
from seedance.errors import InvalidRequest
from seedance.jobs import catalogue
from seedance.jobs.requests import Defaults

pytestmark = pytest.mark.hostile(kind="input", risk=("lost", "paid twice"))

DEFAULTS = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")
SHOP = (Path(__file__).parent / "manifests/shopify-columns.csv").read_text()
PICTURE = "https://cdn.example.com/files/1/shoe_800x,crop.JPG?v=17#main"


def rows(text: str, key: str = "m.csv", image_column: str | None = None) -> list[Row | BadRow]:
    return list(read([text.encode()], key, DEFAULTS, image_column))


def refusal(text: str, image_column: str | None = None) -> str:
    with pytest.raises(InvalidRequest) as caught:
        rows(text, image_column=image_column)
    return str(caught.value)


def test_a_shops_export_is_refused_with_the_right_name() -> None:
    said = refusal(SHOP)
    assert said.startswith("line 1: Column 'Image Src' holds image addresses. Rename it to image_url.")
    assert "`seedance batch --image-column`" in said
    assert said.endswith("If it means something else, add an empty column image_url")


def test_the_image_column_may_have_any_name() -> None:
    first, second = rows(SHOP, image_column=" image src ")
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert first.request.parameters["image_url"] == "https://cdn.example.com/shoe.jpg"
    assert second.columns == {"Handle": "hat", "Title": "Blue hat"}


@pytest.mark.parametrize(
    ("header", "image_column", "says"),
    [
        (
            "Handle,prompt",
            "Image Src",
            "image_column: there is no column 'Image Src'; the columns are Handle and prompt",
        ),
        ("image_url,photo", "photo", "image_column: only one column can be the image, not image_url and photo"),
        ("photo,Photo", "photo", "line 1: has the column image twice, as 'photo' and 'Photo'"),
    ],
)
def test_an_image_column_that_is_not_clear_is_refused(header: str, image_column: str, says: str) -> None:
    assert refusal(f"{header}\nx,y\n", image_column) == says


def test_our_own_names_may_be_given_as_the_image_column() -> None:
    (found,) = rows(f'image_url,prompt\n"{PICTURE}",x\n', image_column="image_url")
    assert isinstance(found, Row)
    assert found.request.parameters["image_url"] == PICTURE


@pytest.mark.parametrize(
    "name", ["Image Src", "image_link", "img", "photo", "Variant Image", "Picture URL", "thumb", "asset", "Foto", "x"]
)
@pytest.mark.parametrize("value", [PICTURE, f'["{PICTURE}", "https://example.com/b.png"]', f"{PICTURE}, {PICTURE}"])
def test_image_addresses_are_recognised_under_any_name(name: str, value: str) -> None:
    cell = '"' + value.replace('"', '""') + '"'
    assert f"Column {name!r} holds image addresses. Rename it to image_url." in refusal(f"prompt,{name}\nx,{cell}\n")


@pytest.mark.parametrize("name", ["Image Src", "image_link", "img", "photo", "imageLink", "Product-Image"])
def test_a_column_called_image_in_other_words_may_hold_any_address(name: str) -> None:
    said = refusal(f"prompt,{name}\nx,\ny,https://example.com/asset/17\n")
    assert f"Column {name!r} holds image addresses. Rename it to image_url." in said


@pytest.mark.parametrize("value", ["shoe.jpg", "images/red shoe.PNG", r"C:\pictures\shoe.webp", "s3://b/shoe.tiff"])
def test_names_of_image_files_are_recognised(value: str) -> None:
    assert "Column 'datei' holds names of image files. Rename it to image." in refusal(f"prompt,datei\nx,{value}\n")


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("duration_seconds", "duration"),
        ("Duration in (s)", "duration"),
        ("video duration", "duration"),
        ("videoLength", "duration"),
        ("seconds", "duration"),
        ("aspect", "aspect_ratio"),
        ("Video Ratio", "aspect_ratio"),
        ("output_resolution", "resolution"),
        ("promptText", "prompt"),
        ("video-prompt", "prompt"),
        ("AI model", "model"),
        ("seed value", "seed"),
        ("fixed camera", "camera_fixed"),
        ("with sound", "generate_audio"),
        ("end frame", "last_image"),
        ("last photo", "last_image"),
        ("photo", "image"),
        ("img", "image"),
        ("first picture", "image"),
    ],
)
def test_an_option_in_other_words_is_refused_with_the_right_name(name: str, right: str) -> None:
    there = "image" if right == "prompt" else "prompt"
    assert f"Column {name!r} means {right}. Rename it to {right}." in refusal(f"{there},{name}\nx,10\n")


@pytest.mark.parametrize(
    ("value", "holds", "right"),
    [
        ("9:16", "aspect ratios", "aspect_ratio"),
        ("1080p", "resolutions", "resolution"),
        ("SEEDANCE-PRO", "models", "model"),
    ],
)
def test_values_of_an_option_are_recognised_under_any_name(value: str, holds: str, right: str) -> None:
    said = refusal(f"prompt,format\nx,\ny,{value}\n")
    assert f"Column 'format' holds {holds}. Rename it to {right}." in said
    (found,) = rows(f"prompt,format,{right}\nx,{value},\n")
    assert isinstance(found, Row)
    assert found.columns == {"format": value}


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *(("model", model) for model in catalogue.MODELS),
        *((name, value) for name in ("aspect_ratio", "resolution") for value in sorted(values.choices(name))),
    ],
)
def test_every_value_of_these_options_is_recognised(parameter: str, value: str) -> None:
    if value != "adaptive":  # an ordinary word
        assert f"Rename it to {parameter}." in str(columns.misnamed({"own": f" {value} "}, frozenset()))


@pytest.mark.parametrize(
    "header",
    ["image", "image_url", "image_key", "Image", "first_frame_url"],
)
def test_with_an_image_column_other_images_are_the_users_own(header: str) -> None:
    (found,) = rows(f'{header},prompt,Image Src,photo,datei\n,x,"{PICTURE}",shoe,shoe.jpg\n')
    assert isinstance(found, Row)
    assert found.columns == {"Image Src": PICTURE, "photo": "shoe", "datei": "shoe.jpg"}
    assert not found.has_image


@pytest.mark.parametrize(
    "cells",
    [
        {"first_name": "Ann", "sku": "5", "Handle": "red-shoe", "Title": "Red shoe"},
        {"Image Alt Text": "a red shoe", "Image Position": "1", "photo": "", "photographer": "Ann"},
        {"link": "https://shop.example.com/shoe", "source": "feed", "file": "17", "Video URL": "https://example.com/v"},
        {"Product model": "Air", "model name": "Air", "length": "30", "size": "42", "text": "x", "color": "red"},
        {
            "note": "see https://example.com/a.jpg",
            "page": "https://example.com/a.jpg.html",
            "time": "9:17",
            "campaign": "7",
        },
        {
            "original resolution": "4k",
            "sound_file": "a.mp3",
            "created": "2026-11-30",
            "price": "5.0",
            "tone": "adaptive",
        },
    ],
)
def test_columns_of_the_users_own_are_passed_through(cells: dict[str, str]) -> None:
    line = {name: f'"{value}"' for name, value in cells.items()}
    (found,) = rows(f"prompt,{','.join(line)}\nx,{','.join(line.values())}\n")
    assert isinstance(found, Row), found
    assert found.columns == cells


def test_a_name_that_resembles_an_option_is_refused_unless_a_word_of_it_is_another() -> None:
    for name, meant in (("asprect_rato", "aspect_ratio"), ("imageUrl", "image_url"), ("xresolution", "resolution")):
        with pytest.raises(InvalidRequest, match=f"did you mean {meant}"):
            columns.option(name)
    assert columns.option("first_name") is None


def test_in_json_lines_a_misnamed_value_makes_its_row_bad() -> None:
    lines: list[dict[str, Any]] = [
        {"prompt": "x", "Image Src": PICTURE},
        {"prompt": "x", "photos": [PICTURE]},
        {"prompt": "x", "aspect": "9:16"},
        {"prompt": "x", "image": None, "photo": PICTURE},
        {"prompt": "x", "parameters": {"ratio": "9:16"}, "aspect": "9:16"},
        {"image": PICTURE, "photo": PICTURE},
    ]
    found = rows("".join(json.dumps(line) + "\n" for line in lines), "m.jsonl")
    assert [one.message.partition(". ")[0] for one in found[:3] if isinstance(one, BadRow)] == [
        "Column 'Image Src' holds image addresses",
        "Column 'photos' holds image addresses",
        "Column 'aspect' means aspect_ratio",
    ]
    assert [isinstance(one, Row) for one in found] == [False] * 3 + [True] * 3


def test_in_json_lines_the_image_column_is_required_in_every_row() -> None:
    lines = [{"Bild": "a.jpg"}, {"prompt": "x"}, {"prompt": "x", "bild": None}]
    first, second, third = rows("".join(json.dumps(line) + "\n" for line in lines), "m.jsonl", "Bild")
    assert isinstance(first, Row)
    assert first.request.image_key == "a.jpg"
    assert isinstance(second, BadRow)
    assert second.message == "the row has no 'Bild'"
    assert isinstance(third, Row)
