"""`seedance batch`: check a manifest on this machine, upload it to a stack, and follow the batch."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text
from seedance.batches import manifest, plan_lines
from seedance.batches.manifest import BadRow, Tally
from seedance.errors import InvalidRequest
from seedance.jobs import catalogue, requests
from seedance.jobs.defaults import Defaults
from seedance.jobs.handoff import Batches
from seedance.jobs.job import State, batch_id
from seedance.jobs.prices import PRICES_OF

from cli import show
from cli.options import OutputsFile, StackName, err, out
from cli.requests import header_text, key_of
from cli.target import CommandError, Target, find
from local.options import StackError

TOLERATED_PERCENT = 20.0
"""The default of the stack parameter. A test compares the two."""

DEFAULT_MODEL = "seedance-1.0-pro-fast"
"""The default of the stack parameter, like TOLERATED_PERCENT."""

_SHOWN = 20
_READ_BYTES = 64 * 1024
_APPEARS_SECONDS = 60.0
_LOOK_SECONDS = 5.0


def batch(
    file: Annotated[Path, typer.Argument(help="A .csv or .jsonl manifest with one row per video.")],
    *,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only check and estimate the cost; without a stack, from published prices."),
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Write the invalid rows to this CSV file.")] = None,
    default_model: Annotated[
        str, typer.Option(help="The stack's DefaultModel, used for rows without a model.")
    ] = DEFAULT_MODEL,
    image_column: Annotated[
        str | None, typer.Option(help="The column of the image, if it is called otherwise.", metavar="NAME")
    ] = None,
    tolerate: Annotated[
        float, typer.Option(min=0, max=99, help="The stack's BatchToleratedFailurePercent.")
    ] = TOLERATED_PERCENT,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show progress; exit 0 only if every row has its video.")
    ] = False,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Make a video from every row of a manifest. If too many rows are invalid, nothing is bought."""
    target = _asked(stack, outputs) if dry_run else find(stack, outputs)
    _check(file, report, default_model, tolerate, image_column=image_column, target=target)
    if dry_run or target is None:
        return
    name = send(target, file, image_column)
    key = manifest.beside(requests.BATCH_PREFIX + file.name, name, requests.RESULTS_ENDING)
    where = f"s3://{target.output('UploadBucketName')}/{key}"
    out.print(f"batch {name}\nthe results will be at {where}", markup=False, soft_wrap=True)
    if not wait:
        return
    try:
        _report(follow(target, name))
    except KeyboardInterrupt:
        err.print(f"\nstopped watching; the batch continues, and its results will be at {where}", soft_wrap=True)
        raise typer.Exit(130) from None


def _asked(stack: str | None, outputs: Path | None) -> Target | None:
    """The stack whose bills a dry run uses. Only a stack that is named must exist."""
    if stack or outputs:
        return find(stack, outputs)
    try:
        return find(None, None)
    except (CommandError, StackError):
        return None


def _check(
    file: Path,
    report: Path | None,
    default_model: str,
    tolerate: float,
    *,
    image_column: str | None,
    target: Target | None,
) -> None:
    """Check the manifest as the stack does, and show the estimate. Raises CommandError if it would be refused."""
    if not requests.is_manifest(key_of(requests.BATCH_PREFIX, file)):
        raise InvalidRequest(
            "file", f"{file.name} must end in .csv or .jsonl, and must not be a results or report file"
        )
    defaults = Defaults(catalogue.find(default_model).slug, "the stack's default", "v2")
    tally, bad = Tally(target.jobs.bills.of) if target else Tally(), _BadRows(report)
    with file.open("rb") as opened, bad:
        chunks = iter(lambda: opened.read(_READ_BYTES), b"")
        for row in manifest.read(chunks, file.name, defaults, image_column):
            tally.add(row)
            if isinstance(row, BadRow):
                bad.add(row)
    out.print(_estimate(tally))
    out.print(_basis(tally, asked=target is not None))
    for note in tally.notes():
        out.print(note, markup=False)
    if bad.shown:
        out.print()
        out.print(bad.title(tally.bad))
        out.print(bad.table())
    if refusal := tally.refusal(tolerate):
        raise CommandError(refusal)
    out.print("The stack checks the images in the bucket before anything is bought.")


class _BadRows:
    """The invalid rows: the first of them are shown, all of them are written to the report."""

    def __init__(self, report: Path | None) -> None:
        self.shown: list[BadRow] = []
        self._report = report
        self._file: Any = None

    def __enter__(self) -> None:
        if self._report:
            self._file = self._report.open("wb")
            self._file.write(manifest.csv_head(manifest.REPORT_COLUMNS))

    def __exit__(self, _: object, fault: BaseException | None, __: object) -> None:
        if self._file:
            if isinstance(fault, InvalidRequest):  # about the file as a whole
                self._file.write(manifest.csv_line(("", "", fault.field, fault.message)))
            self._file.close()

    def add(self, row: BadRow) -> None:
        if len(self.shown) < _SHOWN:
            self.shown.append(row)
        if self._file:
            self._file.write(manifest.report_line(row))

    def title(self, count: int) -> str:
        return (
            f"Invalid rows: {count}" if count <= _SHOWN else f"First {_SHOWN} of {count} invalid rows (--report: all)"
        )

    def table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        table.add_column("Row", justify="right")
        table.add_column("Line", justify="right")
        table.add_column("Field")
        table.add_column("Error")
        for row in self.shown:
            table.add_row(str(row.number), str(row.line), Text(row.field), Text(row.message))
        return table


def _estimate(tally: Tally) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("Model", no_wrap=True)
    table.add_column("Videos", justify="right")
    table.add_column("Estimate", justify="right")
    for model, (videos, cost) in sorted(tally.models.items()):
        table.add_row(model, f"{videos:,}", f"${cost:,.2f}")
    table.add_row("Total", f"{tally.good:,}", f"${tally.estimate_usd:,.2f}")
    return table


def _basis(tally: Tally, *, asked: bool) -> str:
    """What the estimate is based on, in words."""
    published = f"the prices published on {PRICES_OF}"
    if not asked:
        return f"Estimated from {published}: no stack was asked what it is charged now."
    if not tally.billed:
        return f"Estimated from {published}: the stack has no bills for these settings yet."
    others = f", for the others from {published}" if tally.billed < tally.good else ""
    return f"Estimated for {show.number(tally.billed, 'video')} from the stack's last bills{others}."


def send(target: Target, file: Path, image_column: str | None = None) -> str:
    """Upload a manifest under ``batches/`` and return the batch's id."""
    bucket, key = target.output("UploadBucketName"), requests.BATCH_PREFIX + file.name
    about = {requests.IMAGE_COLUMN_METADATA: header_text(image_column)} if image_column else {}
    with file.open("rb") as body:
        answer = target.client("s3").put_object(Bucket=bucket, Key=key, Body=body, Metadata=about)
    if not answer.get("VersionId"):
        raise CommandError(f"{file.name} was uploaded, but the bucket is not versioned, so its batch's id is not known")
    return batch_id(bucket, key, answer["VersionId"])


@dataclass(frozen=True)
class Standing:
    """The status of a batch: its execution's status, the same in words, and the output once it has ended."""

    status: str
    words: str
    ended: dict[str, Any] | None = None


def look(target: Target, batch: str) -> Standing | None:
    """The status of a batch, or None if it has not begun. Read from its execution: reading every job costs money."""
    step_functions = target.client("stepfunctions")
    run = Batches(target.output("BatchStateMachineArn"), step_functions).latest(batch)
    if run is None:
        return None
    if run.status == "RUNNING":
        return Standing(run.status, _progress(step_functions, run.arn))
    if run.status != "SUCCEEDED" or run.output is None:
        why = "its execution in Step Functions shows why"
        return Standing(run.status, f"{run.status}; {why}; `seedance redrive {batch}` starts it again")
    return Standing(run.status, _words(run.output), run.output)


def follow(target: Target, batch: str) -> dict[str, Any]:
    """Show a batch's progress until it ends, and return the output of its execution.

    Raises CommandError if the batch does not begin, or crashes.
    """
    began, last = time.time(), ""
    while True:
        now = look(target, batch)
        if now is None and time.time() - began > _APPEARS_SECONDS:
            raise CommandError(f"batch {batch} did not begin within {_APPEARS_SECONDS:.0f} s; check the queues")
        now = now or Standing("RUNNING", "waiting in the queue")
        if now.ended is not None:
            return now.ended
        if now.status != "RUNNING":
            raise CommandError(f"batch {batch} {now.words}")
        if now.words != last:
            out.print(f"  {show.duration(time.time() - began):>12}  {now.words}", markup=False)
            last = now.words
        time.sleep(_LOOK_SECONDS * target.time_scale)


def _progress(step_functions: Any, arn: str) -> str:
    events = step_functions.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=100)["events"]
    entered = next((event["stateEnteredEventDetails"] for event in events if "stateEnteredEventDetails" in event), None)
    if entered is None or entered["name"] == "Plan":
        return "checking the rows"
    facts = json.loads(entered["input"])
    if entered["name"] == "TakeIn":
        return _fed(step_functions, arn, facts["rows"])
    return f"{facts['over']:,} of {facts['rows']:,} rows are finished" if "over" in facts else "finishing"


def _fed(step_functions: Any, arn: str, rows: int) -> str:
    """How many rows are in the queue. In chunks, because the map counts only those."""
    done = 0
    for run in step_functions.list_map_runs(executionArn=arn)["mapRuns"]:
        done = step_functions.describe_map_run(mapRunArn=run["mapRunArn"])["itemCounts"]["succeeded"]
    return f"about {min(rows, done * plan_lines.MOST_ROWS):,} of {rows:,} rows are in the queue"


def _words(ended: dict[str, Any]) -> str:
    if ended["status"] == "UNAPPROVED":
        return "planned; nothing is bought before it is approved with POST /batches/{batch_id}/approve"
    if ended["status"] == "REFUSED":
        return "the stack refused the manifest; the notification and the report beside the manifest say why"
    states = ", ".join(f"{count} {state}" for state, count in ended["states"].items())
    return f"{ended['status']}: {states}; cost {show.money(ended['cost_usd'])}"


def _report(ended: dict[str, Any]) -> None:
    if ended["status"] in ("REFUSED", "UNAPPROVED"):
        raise CommandError(_words(ended))
    out.print(_words(ended), markup=False)
    missing = ended["rows"] - ended["states"].get(State.COMPLETED, 0)
    if missing:
        raise CommandError(f"{missing} of {ended['rows']} rows have no video; the results file says why")
