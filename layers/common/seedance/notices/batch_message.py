"""What is told about a batch as a whole, to a machine and to a person. Pure."""

from enum import StrEnum
from typing import Any

from seedance.aws import fields
from seedance.jobs.job import State
from seedance.notices.job_message import duration

NOT_STARTED = "NOT_STARTED"
"""In the results: a row whose job was never taken in, through a fault of ours."""


class BatchStatus(StrEnum):
    """How a batch ended. Not a job's states: a filter for failed jobs must not catch batches."""

    DONE = "BATCH_DONE"
    """Every job is over."""
    OPEN = "BATCH_OPEN"
    """Some jobs are not over, and were no longer waited for; the results say where they stand."""
    REFUSED = "BATCH_REFUSED"
    """Too many rows are bad, or the file can't be read; nothing was bought."""
    FAILED = "BATCH_FAILED"
    """Our fault; an alarm goes out with it."""


_HEADLINES = {
    BatchStatus.DONE: "Your batch is done",
    BatchStatus.OPEN: "Your batch is done but for some videos",
    BatchStatus.REFUSED: "Nothing made: the batch was refused",
    BatchStatus.FAILED: "The batch failed",
}


def machine_message(
    *,
    batch_id: str,
    status: BatchStatus,
    bucket: str,
    key: str,
    rows: int = 0,
    rejected: int = 0,
    states: dict[str, int] | None = None,
    estimate_usd: float | None = None,
    cost_usd: float | None = None,
    seconds: float | None = None,
    results: dict[str, str] | None = None,
    report: dict[str, str] | None = None,
    error: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The summary as machines get it; its shape is a contract, as a job's is.

    ``states`` counts the rows by their job's state; refused rows count as REJECTED. ``results`` and ``report``
    are ``bucket``, ``key`` and a signed ``url`` that works for hours.
    """
    return {
        "batch_id": batch_id,
        "status": status.value,
        "source": "batch",
        "manifest": {"bucket": bucket, "key": key},
        "rows": rows,
        "rejected": rejected,
        "states": states or {},
        "estimate_usd": None if estimate_usd is None else round(estimate_usd, 2),
        "cost_usd": None if cost_usd is None else round(cost_usd, 4),
        "seconds": seconds,
        "results": results,
        "rejected_report": report,
        "error": error,
    }


def mail(message: dict[str, Any]) -> tuple[str, str]:
    """Subject and text of the mail for people, from the machine's message."""
    name = message["manifest"]["key"].rpartition("/")[2]
    headline = f"{_HEADLINES[BatchStatus(message['status'])]}: {name}"
    lines = [headline, ""]
    if message["error"]:
        lines += ["Why", f"  {message['error']['message']}", ""]
    if message["states"]:
        made = message["states"].get(State.COMPLETED, 0)
        lines += ["What came of it", f"  {made} of {message['rows']} videos are ready"]
        lines += [
            f"  {count} {state}" for state, count in sorted(message["states"].items()) if state != State.COMPLETED
        ]
        lines.append("")
    for title, file in (("Results", message["results"]), ("Refused rows", message["rejected_report"])):
        if file:
            lines += [title, f"  {file['url']}", "  (the link works for a few hours; the file stays)"]
            lines += [f"  s3://{file['bucket']}/{file['key']}", ""]
    lines.append("What it took")
    if message["cost_usd"] is not None:
        lines.append(f"  Cost      ${message['cost_usd']:.2f}")
    else:
        lines.append("  Cost      nothing" if message["status"] == BatchStatus.REFUSED else "  Cost      not known")
    if message["estimate_usd"] is not None:
        lines.append(f"  Estimate  ${message['estimate_usd']:.2f}")
    if message["seconds"] is not None:
        lines.append(f"  Time      {duration(message['seconds'])}")
    lines += ["", f"Manifest s3://{message['manifest']['bucket']}/{message['manifest']['key']}"]
    lines.append(f"Batch {message['batch_id']}")
    return fields.subject(headline), "\n".join(map(fields.one_line, lines)) + "\n"


def sns_body(message: dict[str, Any]) -> str:
    """The ``Message`` of a publish with ``MessageStructure=json``: JSON for machines, text for mails."""
    return fields.message(message, lambda told: mail(told)[1])
