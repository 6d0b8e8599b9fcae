"""The console's words: one file has them all, none is missing and none is left over. And the rules for its modules."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from seedance.batches.record import BatchState
from seedance.jobs import labels
from seedance.jobs.catalogue import MODELS
from seedance.jobs.job import State
from seedance.jobs.reasons import Code

WEB = Path(__file__).parents[2] / "web"
MODULES = sorted(WEB.glob("*.js"))
NODE = Path(sys.executable).parent / "node"

# Functions become "()", so that the file can be read as data.
_AS_DATA = """
import { words } from %s;
console.log(JSON.stringify(words, (_, value) => (typeof value === "function" ? "()" : value)));
"""
_DYNAMIC = (
    *("states", "advice", "fields", "fieldHelp", "nav", "timeline"),
    *("batches.states", "batches.rowStates", "batches.what"),
)
"""Objects that are read by a name that the API sends, or by a variable."""


@pytest.fixture(scope="module")
def words() -> dict[str, Any]:
    """The words, as data."""
    program = _AS_DATA % json.dumps((WEB / "words.js").as_uri())
    run = [str(NODE), "--input-type=module", "--eval", program]
    found = subprocess.run(run, capture_output=True, text=True, check=True)  # noqa: S603 - a fixed program
    return dict(json.loads(found.stdout))


def leaves(words: dict[str, Any], before: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in words.items():
        found |= leaves(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}"}
    return found


def used() -> set[str]:
    """Each name that is read as ``words.…`` in a module."""
    texts = (path.read_text(encoding="utf-8") for path in MODULES if path.name != "words.js")
    return {name for text in texts for name in re.findall(r"(?<!/)\bwords((?:\.\w+)+)", text)}


def test_every_state_and_code_has_words(words: dict[str, Any]) -> None:
    assert set(words["states"]) == set(State)
    assert set(words["batches"]["states"]) == set(BatchState)
    assert set(words["advice"]) == {code.value for code in Code}


def test_every_state_is_in_one_filter_of_the_wall() -> None:
    text = (WEB / "jobs.js").read_text(encoding="utf-8")
    groups = text[text.index("export const OPEN") : text.index("export const isOpen")]
    assert sorted(re.findall(r'"([A-Z]+)"', groups)) == sorted(State)


def test_every_parameter_has_a_label(words: dict[str, Any]) -> None:
    names = {name for model in MODELS.values() for name in model.parameters.model_fields}
    assert names - {model.parameters.first_image for model in MODELS.values()} - set(words["fields"]) == set()


def test_the_form_takes_as_many_own_values_as_the_api() -> None:
    assert f"const PAIRS = {labels.PAIRS};" in (WEB / "ownvalues.js").read_text(encoding="utf-8")


def test_every_word_that_is_read_exists(words: dict[str, Any]) -> None:
    for path in used():
        value: Any = words
        for name in path[1:].split("."):
            if not isinstance(value, dict):
                break  # a method of the text, such as at or replace
            assert name in value, f"words{path}"
            value = value[name]


def test_no_word_is_left_over(words: dict[str, Any]) -> None:
    read = {path[1:] for path in used()}
    unused = {one for one in leaves(words) if one not in read and not any(one.startswith(f"{each}.") for each in read)}
    assert {one for one in unused if not one.startswith(tuple(f"{each}." for each in _DYNAMIC))} == set()


@pytest.mark.parametrize("path", sorted(WEB.iterdir()), ids=lambda path: path.name)
def test_files_stay_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 450
    assert max(map(len, lines)) <= 120 or path.suffix == ".svg"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_module_reads_text_as_markup_or_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(
        r"\b(innerHTML|outerHTML|srcdoc|insertAdjacentHTML|DOMParser)\b|document\.write|\beval\(", text
    )
    assert "localStorage" not in text  # a key there would outlive the tab
