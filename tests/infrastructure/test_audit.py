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
    assert single == {("VideoBucket", "CKV_AWS_21"), ("AlarmTopic", "CKV_AWS_26"), ("LinkApi", "CKV_AWS_73")}


VALID = '✓ State machine definition "a" is valid\n'


def answer(monkeypatch: pytest.MonkeyPatch, stdout: object, stderr: str = "no route to the service\n") -> None:
    """Let every tool print this."""
    text = stdout if isinstance(stdout, str) else json.dumps(stdout)
    run = subprocess.CompletedProcess([], 1, text, stderr)
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
    ("printed", "complained", "found"),
    [
        (VALID + VALID, "", 0),
        (VALID, '✕ State machine definition "b" is invalid:\n SCHEMA_VALIDATION_FAILED: /States\n', 1),
        (VALID, "", None),
        ("", "command not found", None),
    ],
)
def test_invalid_workflows_are_counted(
    *, monkeypatch: pytest.MonkeyPatch, printed: str, complained: str, found: int | None
) -> None:
    answer(monkeypatch, printed, complained)
    assert audit.workflows(Path("tools")).found == found


@pytest.mark.parametrize(
    ("name", "found", "code", "word"),
    [
        ("checkov", 0, 0, "ok"),
        ("checkov", 2, 1, "FOUND"),
        ("checkov", None, 1, "NOT RUN"),
        ("npm audit", 1, 1, "FOUND"),
        ("npm audit", None, 0, "NOT RUN"),
    ],
)
def test_what_is_found_fails_the_audit(
    *,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    found: int | None,
    code: int,
    word: str,
) -> None:
    monkeypatch.setattr(audit, "checks", lambda tools: [(name, lambda: audit.Verdict(found, "text"))])
    assert audit.main(Path()) == code
    assert capsys.readouterr().out == f"{word:8}{name}: text\n"
