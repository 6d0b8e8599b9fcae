"""`make hostile`: runs all tests marked `hostile`, counts what was tried, and writes a section of docs/reliability.md.

    @pytest.mark.hostile                                    an input: one case, or one for each parameter
    @pytest.mark.hostile(kind="image", risk="paid twice")   an image, and what it would mean if the case failed

A test that tries many things in one case says how many: `record_property("tried", n)`. As a pytest plugin, this module
counts the cases of a run and writes them to the file that `--hostile-counts` names.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.sections import replaced

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/reliability.md"
SECTION = "hostile"
PROGRAMS = ("rclone", "s3cmd")

HEAD = """## A hostile world

What people, programs and attackers send, and answers that no client may trust: against single functions, against the
pipeline in one process, and against the whole local stack. Written by `make hostile` ({minutes:.0f} min); last
on {date}, with {versions}.
"""

RISKS = {
    "lost": "a job, a row or a paid video is lost",
    "paid twice": "a video is paid twice, or one that nobody asked for",
    "leaked": "a secret, a link or a file of ours gets out, or an address of ours in",
    "5xx": "an error of ours (5xx, a crash) for what somebody sent",
}
KINDS = {
    "input": ("inputs: rows, metadata, keys, request bodies, events", ("5xx", "lost")),
    "answer": ("answers of the provider", ("lost", "paid twice")),
    "address": ("addresses and links", ("leaked",)),
    "clock": ("runs with a clock that is wrong", ("lost", "paid twice")),
    "image": ("images and videos", ("lost", "5xx")),
    "stranger": ("requests of strangers and of web pages", ("leaked", "paid twice")),
    "program": ("runs of sync programs", ("lost", "paid twice")),
}
"""What was tried, as the document names it, and what a failure means unless the marker says otherwise."""

RUNS = {
    "without the stack": ["-m", "hostile and not e2e", "-n", "auto", "--maxprocesses", "8", "--dist", "worksteal"],
    "against the stack": ["-m", "hostile and e2e"],
}
LONGEST_SECONDS = 1800.0
"""Of each run. One that takes longer has failed."""


@dataclass(frozen=True)
class Case:
    """A case, and whether it passed, failed or was skipped."""

    name: str
    kind: str
    risks: tuple[str, ...]
    tried: int
    outcome: str


# the plugin -------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hostile-counts", type=Path, metavar="FILE", help="write the cases of the marker `hostile`")


def pytest_configure(config: pytest.Config) -> None:
    if (file := config.getoption("hostile_counts")) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Counting(file))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if (mark := item.get_closest_marker("hostile")) is not None and not _is_right(mark):
            raise pytest.UsageError(f"{item.nodeid}: {mark.args}, {mark.kwargs}; see tests/hostile.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if (mark := item.get_closest_marker("hostile")) is not None:
        # An attribute of the report, because that is what a worker of xdist hands over.
        report.hostile = (_kind(mark), _risks(mark))  # type: ignore[attr-defined]
    return report


def _is_right(mark: pytest.Mark) -> bool:
    known = {"kind", "risk"} >= set(mark.kwargs) and _kind(mark) in KINDS
    return known and not mark.args and set(_risks(mark)) <= set(RISKS)


def _kind(mark: pytest.Mark) -> str:
    return str(mark.kwargs.get("kind", "input"))


def _risks(mark: pytest.Mark) -> tuple[str, ...]:
    risk = mark.kwargs.get("risk")
    return KINDS[_kind(mark)][1] if risk is None else (risk,) if isinstance(risk, str) else tuple(risk)


class _Counting:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._cases: dict[str, Case] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = getattr(report, "hostile", None)
        if found is None or (report.passed and report.when != "call"):
            return
        before = self._cases.get(report.nodeid)
        if before is not None and before.outcome == "failed":  # and its teardown failed as well
            return
        tried = next((int(str(value)) for name, value in report.user_properties if name == "tried"), 1)
        self._cases[report.nodeid] = Case(report.nodeid, found[0], tuple(found[1]), tried, report.outcome)

    def pytest_sessionfinish(self) -> None:
        self._file.write_text(json.dumps([asdict(case) for case in self._cases.values()]))


# the command ------------------------------------------------------------------------------------------------------


def section(cases: Iterable[Case], minutes: float, versions: str) -> str:
    """The document's section."""
    cases = [case for case in cases if case.outcome != "skipped"]
    tried: Counter[str] = Counter()
    checked: Counter[str] = Counter()
    violated: Counter[str] = Counter()
    for case in cases:
        tried[case.kind] += case.tried
        for risk in case.risks:
            checked[risk] += case.tried
            violated[risk] += case.outcome == "failed"
    lines = [
        *HEAD.format(minutes=minutes, date=datetime.now(UTC).date(), versions=versions).splitlines(),
        "",
        "| tried | number |",
        "|---|---:|",
        *(f"| {words} | {tried[kind]} |" for kind, (words, _) in KINDS.items()),
        "",
        "| what must not happen | checked by | violations |",
        "|---|---:|---:|",
        *(f"| {words} | {checked[risk]} | {violated[risk]} |" for risk, words in RISKS.items()),
    ]
    if failed := [case.name for case in cases if case.outcome == "failed"]:
        lines += ["", "Failed:", "", *(f"- {name}" for name in failed[:20])]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run all cases and write the section. Returns 1 unless all of them pass: here, none may be skipped."""
    from tests import browser  # noqa: PLC0415 - Playwright loads slowly, and the plugin does not need it

    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        print(f"make hostile needs {' and '.join(missing)}; on Debian: apt-get install {' '.join(missing)}")
        return 1
    chromium = browser.executable()
    if chromium is None:
        print("make hostile needs a browser; install Google Chrome or Chromium")
        return 1
    cases: list[Case] = []
    began = time.monotonic()
    for name, arguments in RUNS.items():
        print(f"{name}:", flush=True)
        found = _run(arguments)
        if found is None:
            print(f"the run {name} did not come to its end; nothing is written")
            return 1
        cases += found
    text = section(cases, (time.monotonic() - began) / 60, _versions(str(chromium), browser.environment(chromium)))
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(), SECTION, text))
    print(f"\n{text}\nwritten: {DOCUMENT}")
    skipped = [case.name for case in cases if case.outcome == "skipped"]
    print("".join(f"skipped, but must run here: {name}\n" for name in skipped), end="")
    return 0 if all(case.outcome == "passed" for case in cases) else 1


def _run(arguments: list[str]) -> list[Case] | None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "counts.json"
        command = [sys.executable, "-m", "pytest", "-q", "--whole", *arguments, f"--hostile-counts={file}"]
        try:
            code = subprocess.run(command, cwd=ROOT, check=False, timeout=LONGEST_SECONDS).returncode  # noqa: S603
        except subprocess.TimeoutExpired:
            return None
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return None
        return [Case(**{**case, "risks": tuple(case["risks"])}) for case in json.loads(file.read_text())]


def _versions(browser: str, environment: dict[str, str]) -> str:
    """The programs that the tests ran, with their versions."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def says(*command: str) -> str:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            command, capture_output=True, text=True, check=True, env={**os.environ, **environment, "PATH": path}
        )
        return (done.stdout + done.stderr).strip().splitlines()[0].strip()

    cli = says("aws", "--version").partition(" ")[0].replace("aws-cli/", "AWS CLI ")
    s3cmd = says("s3cmd", "--version").replace("version ", "")
    return f"{cli}, {says('rclone', 'version')}, {s3cmd} and {says(browser, '--version')}"


if __name__ == "__main__":
    sys.exit(main())
