"""`make contract`: schemathesis calls the API of a local stack, as its description allows and as it does not.

No answer may be a 5xx, or one that the description does not have. What is as described is understood, and the rest is
refused. Writes a section of docs/reliability.md, and exits with 1 if anything else was found.
Usage: python -m tests.contract TOOLS [OPTIONS], where TOOLS is the folder that `make contract` installs schemathesis
into, and OPTIONS are those of `st run`; with them, nothing is written.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local import stack as local_stack
from tests.e2e.deployed import Deployed
from tests.sections import replaced

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
DOCUMENT = ROOT / "docs/reliability.md"
SECTION = "contract"

SECONDS = 240
"""How long schemathesis calls. What is random is repeated until then."""

EXAMPLES = 10
"""The most for each call, before the next call's turn."""

TIME_SCALE = 0.05
DAILY_BUDGET_USD = "2"
"""Enough for some videos. The other jobs are HELD, whose answers have one more header."""

LONGEST_SECONDS = 1800.0

HEAD = """## The API and its description

schemathesis {version} calls the API of a local stack as its description allows, and as it does not: {cases} cases for
{operations} operations. No answer may be a 5xx, or have a status, media type, header or body that is not described.
What is described must be understood, and the rest refused, as must be calls without the key. (The form of that last
answer is the emulator's own.) Written by `make contract` ({minutes:.0f} min); last on {date}.
"""


def section(report: dict[str, Any], har: dict[str, Any], minutes: float) -> str:
    """The document's section, from schemathesis's report and its record of the calls."""
    statuses = Counter(entry["response"]["status"] for entry in har["log"]["entries"])
    head = HEAD.format(
        version=report["schemathesis_version"],
        cases=report["test_cases"]["generated"],
        operations=report["operations"]["tested"],
        minutes=minutes,
        date=datetime.now(UTC).date(),
    )
    lines = [
        *head.splitlines(),
        "",
        "| answer | number |",
        "|---|---:|",
        *(f"| {status or 'none'} | {count} |" for status, count in sorted(statuses.items())),
        "",
        f"Failures: {len(problems(report, har))}.",
    ]
    return "\n".join(lines) + "\n"


def problems(report: dict[str, Any], har: dict[str, Any]) -> list[str]:
    """What was found, and what was not tried, a line each."""
    found = [f"{failure['title']}: {', '.join(failure['operations'])}" for failure in report["failures"]]
    found += [f"{error['title']}: {error['count']}" for error in report["errors"]]
    if untried := report["operations"]["total"] - report["operations"]["tested"]:
        found.append(f"operations that were not tried: {untried}")
    if broken := [entry for entry in har["log"]["entries"] if not 100 <= entry["response"]["status"] < 500]:
        found.append(f"answers of 5xx, or none: {len(broken)}")
    return found


def of_the_emulator(description: dict[str, Any]) -> dict[str, Any]:
    """The description, but the answer to a call without the key is the emulator's own, whatever the template says.

    On AWS, `seedance doctor` checks that answer.
    """
    for methods in description["paths"].values():
        for operation in methods.values():
            if refused := operation["responses"].get("403"):
                refused["content"] = {"application/json": {"schema": {"type": "object"}}}
    return description


def run(tools: Path, folder: Path, deployed: Deployed, options: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let schemathesis call the stack's API. Returns its report, and its record of all calls (HAR)."""
    answer = deployed.call("GET", "/openapi.json")
    description, report, har = (folder / name for name in ("openapi.json", "report.json", "calls.har"))
    description.write_text(json.dumps(of_the_emulator(answer.raise_for_status().json())))
    command: list[str | Path] = [tools / "bin/schemathesis", "--config-file", HERE / "schemathesis.toml", "run"]
    command += [description, "--url", deployed.output("ApiUrl"), "--max-time", str(SECONDS)]
    command += ["--max-examples", str(EXAMPLES), "--no-shrink", "--continue-on-failure"]
    command += ["--report", "json,har", "--report-json-path", report, "--report-har-path", har, *options]
    environment = {**os.environ, "SEEDANCE_API_KEY": deployed.stack.api_key, "NO_PROXY": "*"}
    subprocess.run(command, cwd=folder, env=environment, check=False, timeout=LONGEST_SECONDS)  # noqa: S603
    return json.loads(report.read_text()), json.loads(har.read_text())


def main(tools: Path, options: list[str]) -> int:
    """Start a stack, run schemathesis, and write the section. Returns 1 if anything was found."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "stack"
        parameters = {"DailyBudgetUsd": DAILY_BUDGET_USD}
        wanted = local_stack.Options(
            port=0, provider="sandbox", time_scale=TIME_SCALE, home=home, parameters=parameters
        )
        try:
            stack, _ = local_stack.up(wanted, lambda _: None)
            deployed = Deployed(stack)
            deployed.configure()
            report, har = run(tools, Path(name), deployed, options)
        finally:
            local_stack.down(home)
    text = section(report, har, (time.monotonic() - began) / 60)
    found = problems(report, har)
    print(f"\n{text}", *found, sep="\n")
    if not options:
        DOCUMENT.write_text(replaced(DOCUMENT.read_text(), SECTION, text))
        print(f"written: {DOCUMENT}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
