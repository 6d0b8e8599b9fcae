"""A batch's summary: the fixed format for programs, and the text for people."""

import json
from typing import Any

import pytest
from seedance.aws import fields
from seedance.aws.fields import SUBJECT_CHARACTERS
from seedance.jobs.job import State
from seedance.notices.batch_message import BatchStatus, batch_email, batch_summary

RESULTS = {"bucket": "b", "key": "batches/spring-01234567.results.csv", "url": "https://b.example/results?sig"}
REPORT = {"bucket": "b", "key": "batches/spring-01234567.rejected.csv", "url": "https://b.example/rejected?sig"}
# The contract; see test_messages.
FIELDS = {
    *("batch_id", "status", "source", "manifest", "rows", "rejected", "states", "estimate_usd", "cost_usd"),
    *("seconds", "results", "rejected_report", "notes", "error"),
}


def summary(status: BatchStatus, key: str = "batches/shop/spring.csv", **changes: Any) -> Any:
    values: dict[str, Any] = {}
    if status in (BatchStatus.DONE, BatchStatus.OPEN):
        values |= {"rows": 12, "rejected": 2, "states": {"COMPLETED": 9, "FAILED": 1, "REJECTED": 2}}
        values |= {"notes": ["2 of 12 rows have no image (rows 3 and 4).", "duration: 5.0 is read as 5."]}
        values |= {"estimate_usd": 3.004, "cost_usd": 2.512345, "seconds": 75.2, "results": RESULTS, "report": REPORT}
    else:
        values |= {"error": {"code": "X", "message": "Half of it is bad. Nothing was bought."}}
    batch: Any = {"batch_id": "batch-1", "bucket": "b", "key": key, "version_id": "v1"}
    return batch_summary(batch, status, **{**values, **changes})


@pytest.mark.parametrize("status", BatchStatus)
def test_the_message_for_programs_always_has_the_same_fields(status: BatchStatus) -> None:
    message = summary(status)
    assert set(message) == FIELDS
    assert json.loads(json.loads(fields.message(message, lambda told: batch_email(told)[1]))["default"]) == message
    assert message["manifest"] == {"bucket": "b", "key": "batches/shop/spring.csv"}


def test_no_batch_status_is_also_a_job_status() -> None:
    assert not set(BatchStatus) & {state.value for state in State}


def test_an_email_gives_the_outcome_and_the_location_of_the_results() -> None:
    subject, text = batch_email(summary(BatchStatus.DONE))
    assert subject == "Batch done: spring.csv (9 of 12 videos, $2.51)"
    for words in (
        "9 of 12 videos are ready",
        "  1 FAILED",
        "  2 REJECTED",
        "Notes\n  2 of 12 rows have no image (rows 3 and 4).\n  duration: 5.0 is read as 5.\n",
        RESULTS["url"],
        "s3://b/batches/spring-01234567.rejected.csv",
        "Cost      $2.51",
        "Estimate  $3.00",
        "1 min 15 s",
        "Manifest s3://b/batches/shop/spring.csv",
        "Batch batch-1",
    ):
        assert words in text


def test_the_email_of_a_refusal_says_why_and_that_nothing_was_bought() -> None:
    subject, text = batch_email(summary(BatchStatus.REFUSED, report=REPORT))
    assert subject == "Batch refused: spring.csv (the file can't be used)"
    assert "Half of it is bad. Nothing was bought." in text
    assert "Cost      nothing" in text
    assert REPORT["url"] in text
    assert "None" not in text
    assert "Notes" not in text


@pytest.mark.parametrize(
    ("status", "changes", "subject", "advice"),
    [
        (BatchStatus.OPEN, {}, "Batch not finished: spring.csv (9 of 12 videos, $2.51)", "They continue"),
        (BatchStatus.OPEN, {"cost_usd": None}, "Batch not finished: spring.csv (9 of 12 videos)", "They continue"),
        (
            BatchStatus.CANCELLED,
            {"rows": 12, "states": {"COMPLETED": 5, "CANCELLED": 7}, "cost_usd": 1.25, "error": None},
            "Batch cancelled: spring.csv (5 of 12 videos, $1.25)",
            "upload a file with their rows",
        ),
        (
            BatchStatus.REFUSED,
            {"rows": 12, "rejected": 4},
            "Batch refused: spring.csv (4 of 12 rows invalid)",
            "Correct the file and upload it again",
        ),
        (BatchStatus.FAILED, {}, "Batch failed: spring.csv (internal error)", "`seedance redrive batch-1`"),
    ],
)
def test_an_email_says_what_to_do(status: BatchStatus, changes: Any, subject: str, advice: str) -> None:
    said, text = batch_email(summary(status, **changes))
    assert said == subject
    assert "What to do\n" in text
    assert advice in text


def test_a_finished_batch_asks_for_nothing() -> None:
    assert "What to do" not in batch_email(summary(BatchStatus.DONE))[1]


def test_the_email_of_a_failure_says_that_the_cost_is_unknown() -> None:
    assert "Cost      unknown" in batch_email(summary(BatchStatus.FAILED))[1]


def test_any_name_gives_a_subject_that_sns_accepts() -> None:
    subject, _ = batch_email(summary(BatchStatus.DONE, key="batches/größe\n" + "x" * 200 + ".csv"))
    assert len(subject) <= SUBJECT_CHARACTERS
    assert subject.isascii()
    assert subject.isprintable()
