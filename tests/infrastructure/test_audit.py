"""What `make audit` does not report: each exception has a reason, and a tool that can't run is not a success."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.audit import __main__ as audit


def test_every_exception_of_checkov_has_a_reason(root: Path, template: dict[str, Any]) -> None:
    text = (root / "tests/audit/checkov.yaml").read_text()
    listed = yaml.safe_load(text)["skip-check"]
    assert re.findall(r"^  # .+\n(?:  # .+\n)*  - (CKV_AWS_\d+)$", text, flags=re.MULTILINE) == listed
    single = {
        (name, skipped["id"])
        for name, resource in template["Resources"].items()
        for skipped in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
        if skipped["comment"]
    }
    assert single == {("VideoBucket", "CKV_AWS_21"), ("AlarmTopic", "CKV_AWS_26")}


def answer(monkeypatch: pytest.MonkeyPatch, stdout: object, returncode: int = 0) -> None:
    """Let every tool print this."""
    text = stdout if isinstance(stdout, str) else json.dumps(stdout)
    run = subprocess.CompletedProcess([], returncode, text, "no route to the service\n")
    monkeypatch.setattr(audit, "_run", lambda command: run)


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ({"dependencies": [{"name": "a", "version": "1", "vulns": []}]}, 0),
        ({"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1"}]}]}, 1),
        ({"dependencies": [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}]}, 1),
        ({"dependencies": [{"name": "a", "skip_reason": "not found"}]}, None),
        ("", None),
    ],
)
def test_packages_that_nobody_looked_up_are_not_safe(
    monkeypatch: pytest.MonkeyPatch, printed: object, found: int | None
) -> None:
    answer(monkeypatch, printed)
    assert audit.packages(Path("tools"), Path("requirements.txt")).found == found


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ({"vulnerabilities": {}}, 0),
        ({"vulnerabilities": {"ws": {"severity": "high"}}}, 1),
        ({"message": "405 Method Not Allowed"}, None),
        ("", None),
    ],
)
def test_npms_advisories_are_counted(monkeypatch: pytest.MonkeyPatch, printed: object, found: int | None) -> None:
    answer(monkeypatch, printed)
    assert audit.node_packages(Path()).found == found


@pytest.mark.parametrize(
    ("printed", "code", "found"),
    [("✓ a is valid\n✓ b is valid\n", 0, 0), ("✓ a is valid\n✗ b is invalid\n", 1, 1), ("", 1, None)],
)
def test_invalid_workflows_are_counted(
    monkeypatch: pytest.MonkeyPatch, printed: str, code: int, found: int | None
) -> None:
    answer(monkeypatch, printed, code)
    assert audit.workflows(Path("tools")).found == found


@pytest.mark.parametrize(("found", "code", "word"), [(0, 0, "ok"), (2, 1, "FOUND"), (None, 0, "NOT RUN")])
def test_what_is_found_fails_the_audit(
    *, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: int | None, code: int, word: str
) -> None:
    monkeypatch.setattr(audit, "checks", lambda tools: [("a check", lambda: audit.Verdict(found, "text"))])
    assert audit.main(Path()) == code
    assert capsys.readouterr().out == f"{word:8}a check: text\n"
