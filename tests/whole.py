"""`make whole`: runs all that `make test` leaves out or samples, and writes docs/left-out.md.

    @pytest.mark.slow          left out by `make test`
    @pytest.mark.sampled(5)    a fifth of its cases are run by `make test`, always the same ones

As a pytest plugin, this module does that selection. With `--whole`, every case is run.
"""

import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/left-out.md"

HEAD = """# What `make test` leaves out

Tests that take long, and all cases of those that `make test` runs a sample of. Written by `make whole`
({minutes:.0f} min); last on {date}.
"""

RUNS = {
    "without the stack": ["-m", "(slow or sampled) and not e2e", "-n", "auto", "--maxprocesses", "8"],
    "against the stack": ["-m", "(slow or sampled) and e2e"],
}


@dataclass(frozen=True)
class Case:
    """A case of a test, and whether it passed, failed or was skipped."""

    test: str
    outcome: str


# the plugin -------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="run the slow tests, and every case of the sampled ones")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what this run leaves out. A case that is asked for by its full name is always run."""
    if config.getoption("whole"):
        return
    named = {argument.replace("\\", "/").rpartition("/")[2] for argument in config.args if "[" in argument}
    left_out = _left_out(items, named)
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]


def _left_out(items: Iterable[pytest.Item], named: set[str]) -> set[pytest.Item]:
    sampled: dict[tuple[str, int], list[pytest.Item]] = defaultdict(list)
    left_out: set[pytest.Item] = set()
    for item in items:
        if item.nodeid.rpartition("/")[2] in named:
            continue
        if item.get_closest_marker("slow"):
            left_out.add(item)
        elif mark := item.get_closest_marker("sampled"):
            sampled[item.nodeid.partition("[")[0], mark.args[0]].append(item)
    for (_, one_in), cases in sampled.items():
        # By a checksum of the name: neighbours are alike, so every fifth could always be the same fault.
        ordered = sorted(cases, key=lambda item: zlib.crc32(item.nodeid.encode()))
        left_out.update(ordered[-(-len(ordered) // one_in) :])
    return left_out


# the command ------------------------------------------------------------------------------------------------------


def page(cases: Iterable[Case], minutes: float) -> str:
    """The document."""
    outcomes: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        outcomes[case.test].append(case.outcome)
    lines = [
        *HEAD.format(minutes=minutes, date=datetime.now(UTC).date()).splitlines(),
        "",
        "| test | cases | passed | failed | skipped |",
        "|---|---:|---:|---:|---:|",
    ]
    for test, ends in sorted(outcomes.items()):
        counts = " | ".join(str(ends.count(outcome)) for outcome in ("passed", "failed", "skipped"))
        lines.append(f"| `{test}` | {len(ends)} | {counts} |")
    return "\n".join(lines) + "\n"


def cases_of(report: Path) -> list[Case]:
    """The cases in a report in JUnit's format."""
    return [
        Case(
            f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name', '').partition('[')[0]}", _outcome(case)
        )
        for case in ElementTree.parse(report).iter("testcase")  # noqa: S314 - pytest wrote it
    ]


def _outcome(case: ElementTree.Element) -> str:
    parts = {part.tag for part in case}
    return "failed" if parts & {"failure", "error"} else "skipped" if "skipped" in parts else "passed"


def main() -> int:
    """Run them and write the page. Returns 1 unless all pass."""
    cases: list[Case] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, arguments) in enumerate(RUNS.items()):
            print(f"{name}:", flush=True)
            report = Path(folder) / f"{number}.xml"
            command = [sys.executable, "-m", "pytest", "-q", "--whole", *arguments, f"--junitxml={report}"]
            code = subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603
            if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
                print(f"the run {name} did not come to its end; nothing is written")
                return 1
            cases += cases_of(report)
    text = page(cases, (time.monotonic() - began) / 60)
    DOCUMENT.write_text(text)
    print(f"\n{text}\nwritten: {DOCUMENT}")
    return 0 if all(case.outcome == "passed" for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
