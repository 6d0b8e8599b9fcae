"""`make contract` fails for anything that schemathesis finds, does not try, or can't see."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from described import description

from tests.contract import __main__ as contract

FINE: dict[str, Any] = {
    "schemathesis_version": "4.32.5",
    "test_cases": {"generated": 900},
    "operations": {"total": 9, "tested": 9},
    "failures": [],
    "errors": [],
}


def har(*statuses: int) -> dict[str, Any]:
    return {"log": {"entries": [{"response": {"status": status}} for status in statuses]}}


@pytest.mark.parametrize(
    ("changes", "statuses", "words"),
    [
        ({}, (200, 422, 403), ""),
        ({"failures": [{"title": "Undocumented HTTP status code", "operations": ["GET /videos"]}]}, (), "GET /videos"),
        ({"errors": [{"title": "Schema Loading Error", "count": 1}]}, (), "Schema Loading Error"),
        ({"operations": {"total": 9, "tested": 8}}, (), "not tried: 1"),
        ({}, (200, 502), "5xx, or none: 1"),
        ({}, (0, 200), "5xx, or none: 1"),
    ],
)
def test_everything_but_a_clean_run_is_a_failure(
    changes: dict[str, Any], statuses: tuple[int, ...], words: str
) -> None:
    report = {**FINE, **changes}
    found = contract.problems(report, har(*statuses))
    assert (len(found) == 1 and words in found[0]) if words else found == []
    assert f"Failures: {len(found)}." in contract.section(report, har(*statuses), 2.0)


def test_the_section_counts_the_answers() -> None:
    text = contract.section(FINE, har(200, 200, 422), 2.0)
    assert "| 200 | 2 |" in text
    assert "| 422 | 1 |" in text
    assert "900 cases for\n9 operations" in text


def test_only_what_api_gateway_decides_is_not_checked(root: Path) -> None:
    checks = tomllib.loads((root / "tests/contract/schemathesis.toml").read_text())["checks"]
    off = {name for name, check in checks.items() if not check.get("enabled", True)}
    assert off == {"unsupported_method", "allow_header_conformance"}
    assert 400 not in checks["positive_data_acceptance"]["expected-statuses"]


def test_only_the_answer_without_a_key_is_described_otherwise() -> None:
    ours, theirs = (json.loads(json.dumps(description())) for _ in range(2))
    contract.of_the_emulator(theirs)
    for path, methods in ours["paths"].items():
        for method, operation in methods.items():
            del operation["responses"]["403"], theirs["paths"][path][method]["responses"]["403"]
    assert ours == theirs
