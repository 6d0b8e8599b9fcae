"""Prints a benchmark's table, and writes it to its section of docs/benchmarks.md."""

import os
import platform
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

Name = TypeVar("Name")
Sample = TypeVar("Sample")

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
_HEAD = """# Benchmarks

Each table is the output of its command's last run; `make bench` runs all of them. The contenders of a table are
measured in turns in the same run, so other load on the machine affects all of them equally. Ratios are medians of the
ratios of each round. Seconds and bytes are specific to this machine; only the ratios apply to Lambda.
"""


@dataclass(frozen=True)
class Table:
    """A benchmark's result. ``name`` is the name of its module; ``notes`` are paragraphs below the table."""

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    @property
    def text(self) -> str:
        """The table, in Markdown with aligned columns."""
        lines = [list(self.header), *map(list, self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        # The first column is a name, all others are numbers.
        padded = [
            [
                cell.rjust(width) if column else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            for line in lines
        ]
        rule = ["-" * width if not column else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
        return "\n".join(f"| {' | '.join(line)} |" for line in [padded[0], rule, *padded[1:]])


def in_turns(rounds: int, contenders: Mapping[Name, Callable[[], Sample]]) -> dict[Name, list[Sample]]:
    """Each contender's samples, one per round."""
    samples: dict[Name, list[Sample]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            samples[name].append(measure())
    return samples


def median_ratio(samples: Sequence[float], base: Sequence[float]) -> float:
    """The median of the ratios of each round, because other load affects both samples of a round."""
    return statistics.median(one / other for one, other in zip(samples, base, strict=True))


def publish(table: Table, page: Path = PAGE) -> None:
    """Print the table, and replace its section of the page."""
    text = table.text + "".join(f"\n\n{note}" for note in table.notes)
    print(f"{table.title}\n\n{text}\n", flush=True)
    write_section(table.name, table.title, text, page)


def write_section(name: str, title: str, text: str, page: Path = PAGE) -> None:
    """Replace a benchmark's section of the page. ``name`` is the name of its module."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = (
        f"{begin}\n## {title}\n\n"
        f"`python -m benchmarks.{name}`, {datetime.now(UTC):%Y-%m-%d}, {_machine()}\n\n"
        f"{text}\n{end}\n"
    )
    whole = page.read_text() if page.exists() else _HEAD
    old = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}\n", re.DOTALL)
    page.write_text(old.sub(lambda _: section, whole) if old.search(whole) else f"{whole}\n{section}")


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{memory:.0f} GiB, load {load:.1f}"
    )
