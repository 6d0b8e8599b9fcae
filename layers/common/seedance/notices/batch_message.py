"""The summary of a batch, as a machine message and as an email. Pure."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TypedDict

from seedance import bounds
from seedance.aws import fields
from seedance.jobs.job import ErrorFacts, State
from seedance.jobs.prefixes import readable
from seedance.jobs.tasks import BatchInput
from seedance.notices.job_message import duration


class BatchStatus(StrEnum):
    """How a batch ended. The values differ from job states so that a filter for failed jobs does not match batches."""

    DONE = "BATCH_DONE"
    """Every job has ended."""
    CANCELLED = "BATCH_CANCELLED"
    """A person cancelled it. What was bought by then was made; the results give every row's state."""
    OPEN = "BATCH_OPEN"
    """Some jobs have not ended and the batch no longer waits for them. The results give their states."""
    REFUSED = "BATCH_REFUSED"
    """Too many rows are invalid, or the file can't be read. Nothing was bought."""
    FAILED = "BATCH_FAILED"
    """An error on our side. It also raises an alarm."""


_HEADLINES = {
    BatchStatus.DONE: "Batch done",
    BatchStatus.CANCELLED: "Batch cancelled",
    BatchStatus.OPEN: "Batch not finished",
    BatchStatus.REFUSED: "Batch refused",
    BatchStatus.FAILED: "Batch failed",
}

_WHAT_TO_DO = {
    BatchStatus.DONE: "",
    BatchStatus.CANCELLED: (
        "The results file shows which videos were made. To buy the others, upload a file with their rows."
    ),
    BatchStatus.OPEN: "The results file names the open jobs. They continue; `seedance status JOB` shows each.",
    BatchStatus.REFUSED: "Correct the file and upload it again. It becomes a new batch.",
    BatchStatus.FAILED: "Fix the cause (docs/operations.md, `BatchAlarm`), then run `seedance redrive {batch}`.",
}


class BatchSummary(TypedDict):
    """The summary for machines. Like a job's notification, its shape is a contract.

    ``states`` counts the rows by their job's state; invalid rows count as REJECTED. ``results`` and ``rejected_report``
    have ``bucket``, ``key`` and a signed ``url`` that works for some hours. ``notes`` are sentences about the rows: how
    many have no image, which columns were passed through, which values were reinterpreted.
    """

    batch_id: str
    status: str
    source: str
    manifest: dict[str, str]
    rows: int
    rejected: int
    states: dict[str, int]
    estimate_usd: float | None
    cost_usd: float | None
    seconds: float | None
    results: dict[str, str] | None
    rejected_report: dict[str, str] | None
    notes: list[str]
    error: ErrorFacts | None


def batch_summary(
    batch: BatchInput,
    status: BatchStatus,
    *,
    rows: int = 0,
    rejected: int = 0,
    notes: Sequence[str] = (),
    states: dict[str, int] | None = None,
    estimate_usd: float | None = None,
    cost_usd: float | None = None,
    seconds: float | None = None,
    results: dict[str, str] | None = None,
    report: dict[str, str] | None = None,
    error: ErrorFacts | None = None,
) -> BatchSummary:
    """The summary of a batch for machines."""
    return {
        "batch_id": batch["batch_id"],
        "status": status.value,
        "source": "batch",
        "manifest": {"bucket": batch["bucket"], "key": batch["key"]},
        "rows": rows,
        "rejected": rejected,
        "states": states or {},
        "estimate_usd": None if estimate_usd is None else round(estimate_usd, 2),
        "cost_usd": None if cost_usd is None else round(cost_usd, 4),
        "seconds": seconds,
        "results": results,
        "rejected_report": report,
        "notes": list(notes),
        "error": error,
    }


def batch_email(message: BatchSummary) -> tuple[str, str]:
    """Subject and text of the email with a batch's summary."""
    name, status = readable(message["manifest"]["key"]).rpartition("/")[2], BatchStatus(message["status"])
    lines = [f"{_HEADLINES[status]}: {name}", ""]
    if message["error"]:
        lines += ["Reason", f"  {message['error']['message']}", ""]
    if _WHAT_TO_DO[status]:
        lines += ["What to do", f"  {_WHAT_TO_DO[status].replace('{batch}', message['batch_id'])}", ""]
    if message["states"]:
        made = message["states"].get(State.COMPLETED, 0)
        lines += ["Results", f"  {made} of {message['rows']} videos are ready"]
        lines += [
            f"  {count} {state}" for state, count in sorted(message["states"].items()) if state != State.COMPLETED
        ]
        lines.append("")
    if message["notes"]:
        lines += ["Notes", *(f"  {note}" for note in message["notes"]), ""]
    for title, file in (("Results file", message["results"]), ("Invalid rows", message["rejected_report"])):
        if file:
            lines += [title, f"  {file['url']}", "  (the link works for a few hours; the file stays in your bucket)"]
            lines += [f"  s3://{file['bucket']}/{file['key']}", ""]
    lines.append("Cost and time")
    if message["cost_usd"] is not None:
        lines.append(f"  Cost      ${message['cost_usd']:.2f}")
    else:
        lines.append("  Cost      nothing" if message["status"] == BatchStatus.REFUSED else "  Cost      unknown")
    if message["estimate_usd"] is not None:
        lines.append(f"  Estimate  ${message['estimate_usd']:.2f}")
    if message["seconds"] is not None:
        lines.append(f"  Time      {duration(message['seconds'])}")
    lines += ["", f"Manifest s3://{message['manifest']['bucket']}/{message['manifest']['key']}"]
    lines.append(f"Batch {message['batch_id']}")
    subject = fields.subject(f"{_HEADLINES[status]}: ", name, f" ({', '.join(_about(message))})")
    return subject, "\n".join(map(bounds.one_line, lines)) + "\n"


def _about(message: BatchSummary) -> list[str]:
    """What the subject says about the batch: its videos, its rows, and what it cost."""
    if message["status"] == BatchStatus.REFUSED:
        bad = f"{message['rejected']} of {message['rows']} rows invalid"
        return [bad if message["rejected"] else "the file can't be used"]
    if message["status"] == BatchStatus.FAILED:
        return ["internal error"]
    cost = [] if message["cost_usd"] is None else [f"${message['cost_usd']:.2f}"]
    return [f"{message['states'].get(State.COMPLETED, 0)} of {message['rows']} videos", *cost]
