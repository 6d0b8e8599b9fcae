"""The error codes of a job: one list, and each code is used somewhere."""

import ast
from pathlib import Path

import pytest
from seedance import errors
from seedance.jobs import reasons
from seedance.jobs.job import Hold
from seedance.jobs.reasons import Code

NEVER_ON_A_JOB = {
    *(
        "ERROR",
        "NOT_POSSIBLE",
        "NEEDS_PAYMENT",
        "CONFLICT",
        "REQUEST_TAKEN",
        "IN_PROGRESS",
        "ALL_UNDER_WAY",
        "MEDIA",
        "PROVIDER",
        "NOT_FOUND",
        "NEEDS_PAYMENT",
        "ALREADY_BOUGHT",
    ),
    # Reported differently: the job is HELD with another code, or its call is repeated.
    "NOT_ANNOUNCED",
    *("PROVIDER_OUT_OF_CREDITS", "PROVIDER_UNEXPECTED_ANSWER", "RESULT_FROM_FORBIDDEN_HOST", "RESULT_UNAVAILABLE"),
}


def test_every_code_that_a_job_can_have_is_in_the_list() -> None:
    raised = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "code")}
    assert raised - NEVER_ON_A_JOB <= set(Code)
    assert {hold.value for hold in Hold} <= set(Code)


def test_each_code_is_used_somewhere(root: Path) -> None:
    given = {
        node.attr for node in ast.walk(ast.parse(Path(reasons.__file__).read_text())) if isinstance(node, ast.Attribute)
    }
    given |= {kind.code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "code")}
    given |= {hold.value for hold in Hold}
    assert set(Code) <= given


@pytest.mark.parametrize(
    ("why", "says"), [("bad prompt", "bad prompt"), (None, "gave no reason"), ("", "gave no reason")]
)
def test_a_failure_without_a_message_says_so(why: str | None, says: str) -> None:
    reason = reasons.failed_at_the_provider(why)
    assert says in reason.message
    assert "None" not in reason.message


@pytest.mark.parametrize(
    ("committed", "estimate", "says"),
    [
        (
            4.8,
            0.25,
            "The day's budget of $5.00 has no room: $4.80 is spent or reserved, and this video costs about $0.25",
        ),
        (4.7504, 0.25, "$4.7504 is spent or reserved, and this video costs about $0.2500"),
        (6.0, 0.25, "$6.00 is spent or reserved"),
    ],
)
def test_over_the_budget_says_the_amounts_and_when_it_continues(committed: float, estimate: float, says: str) -> None:
    reason = reasons.over_budget("2026-12-31", 5.0, committed, estimate)
    assert reason.code == "OVER_BUDGET"
    assert says in reason.message
    assert "on the next day, from 2027-01-01 00:00 UTC" in reason.message


def test_no_reason_is_written_by_hand(root: Path) -> None:
    """Only Reason makes a dict with a code and a message."""
    for path in (root / "layers/common/seedance").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Dict):
                keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
                assert keys != {"code", "message"}, f"{path.name}: line {node.lineno}"


def test_each_reason_is_made_by_a_function_of_reasons(root: Path) -> None:
    made = {
        str(path.relative_to(root / "layers/common/seedance"))
        for path in (root / "layers/common/seedance").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Reason", "reasons.Reason")
    }
    assert made == {"jobs/reasons.py"}
