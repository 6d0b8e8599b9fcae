"""The status of a batch, from its record and its execution, and following it to its end."""

import csv
import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError
from rich.table import Table
from rich.text import Text
from seedance.batches import manifest, plan_lines
from seedance.batches.record import STOPPED, BatchState
from seedance.batches.store import BatchStore
from seedance.clock import CLOCK
from seedance.errors import BadRecord
from seedance.jobs import requests
from seedance.jobs.handoff import Batches
from seedance.jobs.job import State
from seedance.jobs.tasks import TaskStatus

from cli import show
from cli.options import out
from cli.output import for_progress, say
from cli.target import CommandError, Target

SHOWN = 20
"""Invalid rows that are shown."""

_APPEARS_SECONDS = 60.0
_LOOK_SECONDS = 5.0
_READ_BYTES = 64 * 1024
"""The beginning of a report that is read: more than SHOWN rows of it."""


@dataclass(frozen=True)
class Standing:
    """The status of a batch: its execution's status, the same in words, and the output once it has ended.

    ``rows``: how many rows it has, None before they are counted. ``given``: its manifest (tasks.BatchInput).
    ``state``: as the API tells it; None for a batch of release 0.1.0, which has no record.
    """

    status: str
    words: str
    ended: dict[str, Any] | None = None
    rows: int | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    state: BatchState | None = None

    @property
    def refused(self) -> bool:
        """Whether the stack refused the manifest."""
        return self.ended is not None and self.ended["status"] == TaskStatus.REFUSED

    @property
    def unapproved(self) -> bool:
        """Whether it was planned through the API, and not approved: not yet, or not in time, or it was cancelled."""
        return self.ended is not None and self.ended["status"] == TaskStatus.UNAPPROVED


_NOT_BOUGHT = {
    BatchState.CANCELLED: "CANCELLED before it was approved; nothing was bought",
    BatchState.EXPIRED: "EXPIRED: not approved in time; nothing was bought. Upload the manifest again to plan it",
}
"""A plan that was not bought. Its execution had ended before, so only the record shows it."""


def look(target: Target, batch: str) -> Standing | None:
    """The status of a batch, or None if it has not begun.

    Read from its record and its execution: reading every job costs money.
    """
    found = _look(target, batch)
    if found is None or (state := _state(target, batch)) is None:
        return found
    words = found.words
    if found.unapproved:
        words = _NOT_BOUGHT.get(state, words)
    elif found.status == "RUNNING" and state in STOPPED:
        words = f"{state}; {words}"
    return replace(found, state=state, words=words)


def _state(target: Target, batch: str) -> BatchState | None:
    try:
        record = BatchStore(target.job_table).get(batch)
    except BadRecord:  # it was edited by hand; the execution still shows most
        return None
    return record.state(CLOCK()) if record else None


def _look(target: Target, batch: str) -> Standing | None:
    step_functions = target.client("stepfunctions")
    run = Batches(target.output("BatchStateMachineArn"), step_functions).latest(batch)
    if run is None:
        return None
    given = run.given if isinstance(run.given, dict) else {}
    if run.status == "RUNNING":
        words, rows = _progress(step_functions, run.arn)
        return Standing(run.status, words, rows=rows, given=given)
    if run.status != "SUCCEEDED" or run.output is None:
        why = "its execution in Step Functions shows why"
        words = f"{run.status}; {why}; `seedance redrive {batch}` starts it again"
        return Standing(run.status, words, given=given)
    return Standing(run.status, in_words(run.output), run.output, run.output.get("rows"), given)


def follow(target: Target, batch: str) -> Standing:
    """Show a batch's progress until it ends. Raises CommandError if the batch does not begin, or crashes."""
    began, last = time.time(), ""
    while True:
        now = look(target, batch)
        if now is None and time.time() - began > _APPEARS_SECONDS:
            raise CommandError(f"batch {batch} did not begin within {_APPEARS_SECONDS:.0f} s; check the queues")
        now = now or Standing("RUNNING", "waiting in the queue")
        if now.ended is not None:
            return now
        if now.status != "RUNNING":
            raise CommandError(f"batch {batch} {now.words}")
        if now.words != last:
            for_progress().print(f"  {show.duration(time.time() - began):>12}  {now.words}", markup=False)
            last = now.words
        time.sleep(_LOOK_SECONDS * target.time_scale)


def _progress(step_functions: Any, arn: str) -> tuple[str, int | None]:
    """What a running batch does, in words, and its number of rows if it is known."""
    events = step_functions.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=100)["events"]
    entered = next((event["stateEnteredEventDetails"] for event in events if "stateEnteredEventDetails" in event), None)
    if entered is None or entered["name"] == "Plan":
        return "checking the rows", None
    facts = json.loads(entered["input"])
    rows = facts.get("rows")
    if entered["name"] == "TakeIn":
        return _fed(step_functions, arn, facts["rows"]), rows
    return f"{facts['over']:,} of {facts['rows']:,} rows are finished" if "over" in facts else "finishing", rows


def _fed(step_functions: Any, arn: str, rows: int) -> str:
    """How many rows are in the queue. In chunks, because the map counts only those."""
    done = 0
    for run in step_functions.list_map_runs(executionArn=arn)["mapRuns"]:
        done = step_functions.describe_map_run(mapRunArn=run["mapRunArn"])["itemCounts"]["succeeded"]
    return f"about {min(rows, done * plan_lines.MOST_ROWS):,} of {rows:,} rows are in the queue"


def in_words(ended: Mapping[str, Any]) -> str:
    """How a batch ended."""
    if ended["status"] == TaskStatus.REFUSED:
        return "the stack refused the manifest; nothing was bought"
    if ended["status"] == TaskStatus.UNAPPROVED:
        good, price = show.number(ended["rows"] - ended["rejected"], "video"), show.money(ended["estimate_usd"])
        call = f"POST /batches/{ended['batch_id']}/approve"
        return f"planned: {good}, about {price}; nothing was bought. To buy them: {call}"
    states = ", ".join(f"{count} {state}" for state, count in ended["states"].items())
    return f"{ended['status']}: {states}; cost {show.money(ended['cost_usd'])}"


def facts(target: Target, batch: str, now: Standing) -> dict[str, Any]:
    """A batch for machines."""
    ended = {name: value for name, value in (now.ended or {}).items() if name not in ("chunks", "exception")}
    if now.unapproved:  # the rest is internal to the workflow
        ended = {name: ended[name] for name in ("status", "rejected", "estimate_usd", "report_key", "notes")}
        if now.state in _NOT_BOUGHT:
            ended["status"] = now.state
    bad = {"invalid_rows": report(target, batch, now)} if now.refused else {}
    return {"batch_id": batch, "state": now.state, "status": now.status, "rows": now.rows, **ended, **bad}


def tell(target: Target, batch: str, now: Standing) -> None:
    """Print how a batch ended. Raises CommandError unless every row has its video."""
    if now.refused:
        print_report(target, batch, now)
    if now.refused or now.unapproved:
        raise CommandError(now.words)
    ended: dict[str, Any] = now.ended or {}
    say(now.words)
    missing = ended["rows"] - ended["states"].get(State.COMPLETED, 0)
    if missing:
        raise CommandError(
            f"{missing} of {ended['rows']} rows have no video; the results file says why. "
            f"`seedance batch {batch} --retry-failed` tries them again"
        )


def report_key(batch: str, now: Standing) -> str:
    """The key of the report on a batch's invalid rows."""
    return manifest.beside(now.given["key"], batch, requests.REJECTED_ENDING)


def report(target: Target, batch: str, now: Standing) -> list[dict[str, str]]:
    """The first invalid rows of a batch: ``row``, ``line``, ``field`` and ``error``. Empty if there is no report."""
    key = report_key(batch, now)
    try:
        found = target.client("s3").get_object(Bucket=now.given["bucket"], Key=key, Range=f"bytes=0-{_READ_BYTES - 1}")
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "404", "InvalidRange"):
            raise
        return []
    text = found["Body"].read().decode("utf-8-sig", errors="replace")
    return list(csv.DictReader(io.StringIO(text)))[:SHOWN]


def print_report(target: Target, batch: str, now: Standing) -> None:
    """Print the first invalid rows of a batch, and where the others are."""
    rows = report(target, batch, now)
    if not rows:
        return
    out.print(rows_table([(row["row"], row["line"], row["field"], row["error"]) for row in rows]))
    say(f"all invalid rows: s3://{now.given['bucket']}/{report_key(batch, now)}")


def rows_table(rows: list[tuple[str, str, str, str]]) -> Table:
    """A table of invalid rows."""
    table = show.grid("Row", "Line", "Field", "Error", right=("Row", "Line"), whole=("Row", "Line"))
    for number, line, name, message in rows:
        table.add_row(str(number or ""), str(line or ""), Text(name or ""), Text(message or ""))
    return table
