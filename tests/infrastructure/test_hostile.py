"""`make hostile` counts what was really tried, and the two commands that write docs/reliability.md keep out of each
other's way.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import hostile
from tests.hostile import KINDS, RISKS, Case
from tests.sections import replaced, section

CASES = """
import pytest

@pytest.mark.hostile
@pytest.mark.parametrize("number", [1, 2, 3])
def test_each(number):
    assert number != 2

@pytest.mark.hostile(kind="address", risk="lost")
def test_many(record_property):
    record_property("tried", 40)

@pytest.mark.hostile(kind="clock", risk=("leaked", "5xx"))
def test_skipped():
    pytest.skip("not here")

@pytest.fixture
def broken():
    yield
    raise AssertionError

@pytest.mark.hostile(kind="image")
def test_whose_teardown_fails(broken):
    pass

def test_of_another_kind():
    pass
"""


def counted(folder: Path, cases: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run pytest on these cases, in a folder of its own."""
    (folder / "test_cases.py").write_text(cases)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = hostile(kind, risk): ours\n")
    plugins = ["-p", "tests.hostile", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plugins, "--rootdir", str(folder), *options, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "workers"])
def test_every_case_is_counted_with_its_kind_and_its_risk(tmp_path: Path, options: list[str]) -> None:
    done = counted(tmp_path, CASES, f"--hostile-counts={tmp_path / 'counts.json'}", *options)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    found = json.loads((tmp_path / "counts.json").read_text())
    told = {case["name"].partition("::")[2]: (case["kind"], case["tried"], case["outcome"]) for case in found}
    assert told == {
        "test_each[1]": ("input", 1, "passed"),
        "test_each[2]": ("input", 1, "failed"),
        "test_each[3]": ("input", 1, "passed"),
        "test_many": ("address", 40, "passed"),
        "test_skipped": ("clock", 1, "skipped"),
        "test_whose_teardown_fails": ("image", 1, "failed"),
    }
    risks = {tuple(case["risks"]) for case in found}
    assert risks == {KINDS["input"][1], KINDS["image"][1], ("lost",), ("leaked", "5xx")}


@pytest.mark.parametrize("mark", ['kind="typo"', 'kind="input", risk="typo"', '"input"', 'kind="input", other=1'])
def test_an_unknown_kind_is_an_error(tmp_path: Path, mark: str) -> None:
    done = counted(tmp_path, f"import pytest\n\n@pytest.mark.hostile({mark})\ndef test(): pass\n")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "see tests/hostile.py" in done.stderr + done.stdout


def test_the_section_counts_failures_by_what_they_mean() -> None:
    cases = [
        Case("a", "input", ("5xx", "lost"), 3, "passed"),
        Case("b", "input", ("5xx",), 1, "failed"),
        Case("c", "clock", ("lost",), 1, "skipped"),
    ]
    text = hostile.section(cases, 2.0, "nothing")
    assert f"| {KINDS['input'][0]} | 4 |" in text
    assert f"| {KINDS['clock'][0]} | 0 |" in text
    assert f"| {RISKS['5xx']} | 4 | 1 |" in text
    assert f"| {RISKS['lost']} | 3 | 0 |" in text
    assert text.endswith("Failed:\n\n- b\n")


def test_a_section_is_replaced_where_it_stands() -> None:
    page = replaced("# Page\n\ntext\n", "hostile", "## First\n")
    assert page == "# Page\n\ntext\n\n<!-- hostile -->\n## First\n<!-- end of hostile -->\n"
    assert section(page, "hostile") == page.partition("text\n\n")[2]
    assert section(page, "other") == ""
    assert replaced(page + "more\n", "hostile", "## Second\n") == page.replace("First", "Second") + "more\n"


def test_make_reliability_keeps_the_sections(root: Path, tmp_path: Path) -> None:
    """It writes the whole page anew."""
    page = replaced("# Old\n", "hostile", "## A hostile world\n")
    page = replaced(page, "contract", "## The API and its description\n")
    (tmp_path / "page.md").write_text(page)
    code = "import pathlib, sys, report; report.DOCUMENT = pathlib.Path(sys.argv[1]); "
    code += "print(report._with_the_other_sections('# New\\n'), end='')"
    path = f"{root / 'tests/crash'}:{root / 'tests'}:{root}:{root / 'layers/common'}"
    said = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code, str(tmp_path / "page.md")],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": path},
        cwd=root,
    ).stdout
    assert said == page.replace("Old", "New")
