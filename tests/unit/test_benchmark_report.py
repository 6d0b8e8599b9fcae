"""Tables of the benchmarks: each is written to its own section of the page, and replaces the previous table."""

from pathlib import Path

import pytest

from benchmarks.report import Table, in_turns, median_ratio, publish


def table(name: str, value: str) -> Table:
    return Table(name, name.title(), ("what", "ratio"), [("ours", value)], ["A note."])


def test_a_table_replaces_its_own_section_and_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "benchmarks.md"
    publish(table("first", "0.40"), page)
    publish(table("second", "0.50"), page)
    publish(table("first", r"0.30\1"), page)
    text = page.read_text()
    assert text.startswith("# Benchmarks\n")
    assert text.count("<!-- first -->") == text.count("<!-- end of first -->") == text.count("## First\n") == 1
    assert r"0.30\1" in text
    assert "0.40" not in text
    assert "0.50" in text
    assert text.index("## First") < text.index("## Second")
    assert "0.40" in capsys.readouterr().out


def test_a_page_names_the_command_but_no_local_path(tmp_path: Path) -> None:
    publish(table("first", "1"), tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "`python -m benchmarks.first`" in text
    assert str(Path.home()) not in text
    assert str(Path(__file__).parents[2]) not in text


def test_numbers_are_right_aligned() -> None:
    assert table("x", "0.40").text.splitlines() == ["| what | ratio |", "| ---- | ----: |", "| ours |  0.40 |"]


def test_contenders_take_turns() -> None:
    order: list[str] = []
    samples = in_turns(2, {name: lambda name=name: order.append(name) or len(order) for name in ("a", "b")})  # type: ignore[misc]
    assert order == ["a", "b", "a", "b"]
    assert samples == {"a": [1, 3], "b": [2, 4]}


def test_ratios_compare_runs_of_the_same_round() -> None:
    assert median_ratio([1.0, 20.0, 3.0], [2.0, 40.0, 3.0]) == 0.5
