"""What `make test` leaves out, and what `make whole` counts."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.whole import Case, cases_of, page

CASES = """
import pytest

@pytest.mark.slow
def test_slow():
    pass

@pytest.mark.sampled(3)
@pytest.mark.parametrize("number", range(7))
def test_each(number):
    assert number != 2

@pytest.mark.sampled(3)
def test_once():
    pass

def test_quick():
    pass
"""
MARKERS = "[pytest]\nmarkers =\n    slow: ours\n    sampled(one_in): ours\n"


def run(folder: Path, *options: str, node: str = "") -> list[str]:
    """Run pytest on these cases, in a folder of its own. Returns the cases that were run."""
    (folder / "test_cases.py").write_text(CASES)
    (folder / "pytest.ini").write_text(MARKERS)
    plugins = ["-p", "tests.whole", "-p", "no:cacheprovider"]
    asked = f"{folder / 'test_cases.py'}{node}"
    command = [sys.executable, "-m", "pytest", *plugins, "--rootdir", str(folder), "-rA", *options, asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    ends = [line.split(" ")[:2] for line in done.stdout.splitlines() if line.startswith(("PASSED ", "FAILED "))]
    return [name.partition("::")[2] for _, name in ends]


def test_a_sample_is_a_part_of_the_cases_and_always_the_same(tmp_path: Path) -> None:
    ran = run(tmp_path)
    assert len([name for name in ran if name.startswith("test_each[")]) == 3
    assert "test_once" in ran
    assert "test_quick" in ran
    assert "test_slow" not in ran
    assert sorted(run(tmp_path, "-n", "2")) == sorted(ran)


def test_with_the_option_all_cases_are_run(tmp_path: Path) -> None:
    ran = run(tmp_path, "--whole")
    assert len(ran) == 10
    assert "test_slow" in ran


@pytest.mark.parametrize("number", [0, 6])
def test_a_case_that_is_named_is_run(tmp_path: Path, number: int) -> None:
    assert run(tmp_path, node=f"::test_each[{number}]") == [f"test_each[{number}]"]


def test_each_test_is_counted_once_in_a_row_of_its_own(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    run(tmp_path, "--whole", f"--junitxml={report}")
    text = page(cases_of(report), minutes=2.4)
    assert "| `test_cases::test_each` | 7 | 6 | 1 | 0 |" in text
    assert "| `test_cases::test_slow` | 1 | 1 | 0 | 0 |" in text
    assert "(2 min)" in text


def test_a_skipped_case_is_not_passed() -> None:
    assert "| `test_this` | 1 | 0 | 0 | 1 |" in page([Case("test_this", "skipped")], minutes=1)
