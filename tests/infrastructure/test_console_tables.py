"""The console replaces the names of pictures in a CSV file by their keys, and nothing else.

A row is compared as the pipeline reads it, before and after.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from seedance.batches import manifest
from seedance.batches.manifest import Row
from seedance.jobs.defaults import Defaults

WEB = Path(__file__).parents[2] / "web"
NODE = Path(sys.executable).parent / "node"
DEFAULTS = Defaults("seedance-1.0-pro-fast", "it turns", "v2")
KEYS = {"red.jpg": "images/posted/1.jpg", "blue, light.jpg": "images/posted/2.jpg", 'a "b".png': "images/posted/3.png"}

_PROGRAM = """
import { pictureCells, withKeys } from %s;
const { text, keys } = JSON.parse(process.argv[1]);
process.stdout.write(withKeys(text, pictureCells(text), (name) => keys[name]));
"""

ROWS = 'red.jpg,"It turns, slowly",S-1\n"blue, light.jpg","two\nlines",red.jpg\n"a ""b"".png",x,\n'
TABLES = {
    "plain": f"image,prompt,sku\n{ROWS}",
    "Windows": f"image,prompt,sku\n{ROWS}".replace("\n", "\r\n"),
    "no end of line": f"image,prompt,sku\n{ROWS}".rstrip("\n"),
    "the column's other name": f"Image-Key,prompt,sku\n{ROWS}",
    "said separator": "sep=;\nimage;prompt\nred.jpg;a, b\n",
    "semicolons": 'image;prompt\n red.jpg ;a, b\n"a ""b"".png";x\n',
    "tabs": "prompt\timage\na\tred.jpg\n",
    "bars": "prompt|image\na|red.jpg\n",
    "one column": "image\nred.jpg\n\n",
    "empty lines": "\n,,\nimage,prompt,\n,,\nred.jpg,a,\n",
    "an index": ",image,prompt\n0,red.jpg,a\n",
    "other images": "image,prompt\nimages/there.jpg,a\nhttps://example.com/red.jpg,b\n,c\nred.jpg\n",
}


def replaced(text: str, keys: dict[str, str]) -> str:
    """The file as the console uploads it."""
    program = _PROGRAM % json.dumps((WEB / "cells.js").as_uri())
    given = json.dumps({"text": text, "keys": keys})
    run = [str(NODE), "--input-type=module", "--eval", program, "--", given]
    return subprocess.run(run, capture_output=True, check=True).stdout.decode()  # noqa: S603 - a fixed program


def rows(text: str) -> list[Row]:
    """The rows as the pipeline reads them; all are valid."""
    found = [row for row in manifest.read([text.encode()], "spring.csv", DEFAULTS) if isinstance(row, Row)]
    assert found
    return found


@pytest.mark.parametrize("name", TABLES)
def test_the_pipeline_reads_the_keys_and_all_else_as_before(name: str) -> None:
    before, after = rows(TABLES[name]), rows(replaced(TABLES[name], KEYS))
    images = [row.request.image_key for row in before]
    assert set(KEYS) & set(filter(None, images))
    assert [row.request.image_key for row in after] == [KEYS.get(image or "", image) for image in images]
    for one, other in zip(before, after, strict=True):
        assert (one.number, one.line, one.columns, one.notes) == (other.number, other.line, other.columns, other.notes)
        assert one.request.parameters == other.request.parameters


@pytest.mark.parametrize("text", [*TABLES.values(), "", "\n", 'image\n"open', "sku\nred.jpg\n", 'image\n"red.jpg"x\n'])
def test_a_file_without_known_pictures_stays_as_it_is(text: str) -> None:
    assert replaced(text, {}) == text
