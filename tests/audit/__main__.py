"""`make audit`: what other people's tools say about the template, the workflows and the pinned packages.

Exits with 1 if one of them finds something, or does not run. Only advisories may be out of reach: they come from
services that not every network reaches, and are then listed as not run, with the reason.
Usage: python -m tests.audit TOOLS, where TOOLS is the folder that `make audit` installs them into.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
BUILT = ROOT / ".aws-sam/build/template.yaml"
MACHINES = sorted((ROOT / "statemachine").glob("*.asl.json"))
PINS = [
    ROOT / "requirements.txt",
    ROOT / "layers/common/requirements.txt",
    *sorted(HERE.parent.glob("*/requirements.txt")),
]
LOCKS = [HERE, ROOT / "tests/chromium", *sorted((ROOT / "layers/common/pyodide").iterdir())]
LONGEST_SECONDS = 600


@dataclass(frozen=True)
class Verdict:
    """What a check said: ``found`` is None if it could not be made."""

    found: int | None
    text: str


def checkov(tools: Path) -> Verdict:
    """The built template against checkov's rules for CloudFormation. Exceptions are in checkov.yaml.

    It is what is deployed, and it has none of the YAML anchors of ours, which not every tool follows.
    """
    command = [tools / "bin/checkov", "--file", BUILT, "--config-file", HERE / "checkov.yaml"]
    run = _run([*command, "--framework", "cloudformation", "--output", "json", "--quiet"])
    try:
        report = json.loads(run.stdout)
    except ValueError:
        return Verdict(None, _last(run))
    failed = report["results"]["failed_checks"]
    text = "\n".join(f"{each['check_id']} {each['resource']}: {each['check_name']}" for each in failed)
    summary = report["summary"]
    return Verdict(len(failed), text or f"{summary['passed']} passed, {summary['skipped']} exceptions")


def workflows(tools: Path) -> Verdict:
    """Both state machines against the Amazon States Language."""
    paths = [part for machine in MACHINES for part in ("--json-path", machine)]
    run = _run([tools / "node_modules/.bin/asl-validator", *paths])
    text = run.stdout + run.stderr
    wrong, valid = text.count('" is invalid:'), text.count('" is valid')
    if wrong + valid != len(MACHINES):
        return Verdict(None, _last(run))
    return Verdict(wrong, text.strip() if wrong else f"{valid} valid")


def packages(tools: Path, pins: Path) -> Verdict:
    """The packages of a requirements file against the advisories for Python packages."""
    run = _run([tools / "bin/pip-audit", "--requirement", pins, "--disable-pip", "--format", "json"])
    try:
        listed = json.loads(run.stdout)["dependencies"]
    except ValueError:
        return Verdict(None, _last(run))
    unknown = [each["name"] for each in listed if "skip_reason" in each]
    if len(unknown) == len(listed):
        return Verdict(None, listed[0]["skip_reason"])
    known = [f"{each['name']} {each['version']}: {bug['id']}" for each in listed for bug in each.get("vulns", [])]
    known += [f"not looked up: {', '.join(unknown)}"] if unknown else []
    return Verdict(len(known), "\n".join(known) or f"{len(listed)} packages")


def node_packages(folder: Path) -> Verdict:
    """The packages of a package-lock.json against npm's advisories."""
    run = _run(["npm", "audit", "--package-lock-only", "--json", "--prefix", folder])
    try:
        report = json.loads(run.stdout)
    except ValueError:
        return Verdict(None, _last(run))
    if "vulnerabilities" not in report:
        return Verdict(None, str(report.get("message", _last(run))))
    known = [f"{name}: {about['severity']}" for name, about in report["vulnerabilities"].items()]
    return Verdict(len(known), "\n".join(known) or "no known vulnerability")


def _run(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - fixed arguments
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
    )


def _last(run: subprocess.CompletedProcess[str]) -> str:
    """The last line that a tool wrote."""
    return (run.stderr.strip() or run.stdout.strip() or f"exit code {run.returncode}").splitlines()[-1][:200]


ADVISORIES = ("pip-audit", "npm audit")


def checks(tools: Path) -> Iterator[tuple[str, Callable[[], Verdict]]]:
    """The checks, by name."""
    yield "checkov, the built template", lambda: checkov(tools)
    yield "asl-validator, statemachine/", lambda: workflows(tools)
    for pins in PINS:
        yield f"pip-audit, {pins.relative_to(ROOT)}", lambda pins=pins: packages(tools, pins)  # type: ignore[misc]
    for folder in LOCKS:
        yield f"npm audit, {folder.relative_to(ROOT)}", lambda folder=folder: node_packages(folder)  # type: ignore[misc]


def main(tools: Path) -> int:
    """Run all checks and print what they say."""
    good = True
    for name, check in checks(tools):
        verdict = check()
        good &= verdict.found == 0 or (verdict.found is None and name.startswith(ADVISORIES))
        word = "NOT RUN" if verdict.found is None else "FOUND" if verdict.found else "ok"
        print(f"{word:8}{name}: {verdict.text}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
