"""Plan: read a batch's manifest, check every row, and write the plan, before anything is bought.

The plan is a file with one line per row, valid or invalid. It is divided into chunks for the map's child executions.
Repeating plan writes the same files again; it writes none that wait for an approval, or were approved.
"""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from seedance import bounds
from seedance.aws.job_table import job_table
from seedance.aws.upload import Upload
from seedance.batches import manifest
from seedance.batches.files import Sheets, sheets
from seedance.batches.manifest import BadRow, Row, Tally
from seedance.batches.plan_lines import PlanLine
from seedance.batches.record import BAD_ROWS_KEPT, RefusedRow
from seedance.batches.store import BatchStore, Found, batch_store
from seedance.clock import CLOCK, Clock
from seedance.config import plan_settings
from seedance.errors import InvalidRequest
from seedance.jobs import reasons, requests, shapes
from seedance.jobs.bills import Bills
from seedance.jobs.defaults import Defaults
from seedance.jobs.job import ImageFacts
from seedance.jobs.tasks import BatchInput, PlannedBatch, RefusedBatch, TaskStatus
from seedance.media.buckets import Media, media
from seedance.notices.batch_message import BatchStatus, batch_summary
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import count, logger

CHUNK_ROWS = 100
CHUNK_BYTES = 1024 * 1024
"""All lines of a chunk are in memory at once. A chunk ends with the row that reaches either limit."""

LOOKS_AT_ONCE = 10
"""The number of images checked in parallel, as many as a client has connections."""

LONGEST_SECONDS = 780.0
"""The time limit of planning, in real seconds: the function's 15 minutes, minus two for slow images in progress and for
the report. A manifest that takes longer is refused with a message, instead of a timeout and a restart."""

FIRST_WAIT_SECONDS = 30
"""The shortest wait before the first check of the jobs' states, in the provider's seconds."""

_ERROR_KEPT = 300
"""Characters of an invalid row's error that the batch's record keeps."""

LookedAt = tuple[Row | BadRow, ImageFacts | None]
"""A row, and its image if it has one in the bucket."""


@dataclass(frozen=True)
class Plan:
    """The use case and its dependencies. ``tolerated_percent`` of the rows may be invalid."""

    sheets: Sheets
    media: Media
    notifier: Notifier
    bills: Bills
    batches: BatchStore
    defaults: Defaults
    tolerated_percent: float
    clock: Clock = CLOCK

    def __call__(self, event: BatchInput) -> PlannedBatch | RefusedBatch:
        """Plan the batch of a manifest."""
        if event["bucket"] != self.sheets.bucket:
            raise ValueError(
                f"the batch is in bucket {bounds.shown(event['bucket'])}, "
                f"but manifests are only read from {self.sheets.bucket}"
            )
        batch_id, key = event["batch_id"], event["key"]
        self.batches.open(event)
        if shown := self.batches.plan_shown(batch_id):
            return shown  # the answer of an earlier attempt was lost
        tally, bad_rows = Tally(self.bills.of), list[RefusedRow]()
        plan_key, began_at = manifest.plan_key(batch_id), round(self.clock(), 3)
        report_key = manifest.beside(key, batch_id, requests.REJECTED_ENDING)
        chunks: list[list[int]] = []
        with self.sheets.write(report_key) as report:
            try:
                with self.sheets.write(plan_key) as sheet:
                    hints = self.sheets.hints(key, event["version_id"])
                    sheet_in = self.sheets.manifest(key, event["version_id"])
                    rows = manifest.read(sheet_in, key, self.defaults, hints.image_column)
                    looked_at = self._looked_at(rows, began_at + LONGEST_SECONDS, hints.image_folder)
                    chunks = self._write(looked_at, tally, bad_rows, sheet, report)
                    refusal = tally.refusal(self.tolerated_percent)
            except InvalidRequest as unreadable:
                refusal = f"The manifest can't be used: {unreadable}."
                report.write(b"" if report.size else manifest.csv_head(manifest.REPORT_COLUMNS))
                report.write(manifest.csv_line(("", "", unreadable.field, unreadable.message)))
        found = _found(tally, bad_rows, report_key if report.size else None)
        if refusal:
            self._tell(event, found, refusal)
            return {**event, "plan_key": plan_key, "began_at": began_at, "status": TaskStatus.REFUSED}
        count("BatchesPlanned")
        logger().info("planned", extra={"batch": batch_id, "rows": tally.rows, "bad": tally.bad})
        planned: PlannedBatch = {
            "batch_id": batch_id,
            "bucket": event["bucket"],
            "key": key,
            "version_id": event["version_id"],
            "plan_key": plan_key,
            "began_at": began_at,
            "status": TaskStatus.PLANNED if event.get("approve", True) else TaskStatus.UNAPPROVED,
            "rows": tally.rows,
            "rejected": tally.bad,
            "report_key": report_key if tally.bad else None,
            "columns": list(tally.columns),
            "notes": tally.notes(),
            "estimate_usd": round(tally.estimate_usd, 4),
            "tolerated_percent": self.tolerated_percent,
            "plan_bytes": sheet.size,
            "chunks": chunks,
            "over": 0,
            "progressed_at": began_at,
            "wait_seconds": max(FIRST_WAIT_SECONDS, round(tally.expected_seconds / tally.good)),
        }
        # Last of all: whoever sees that it is planned may approve it.
        self.batches.planned(event, found, planned)
        return planned

    def _write(
        self, rows: Iterable[LookedAt], tally: Tally, bad_rows: list[RefusedRow], plan: Upload, report: Upload
    ) -> list[list[int]]:
        """Write plan and report. Returns the chunks as in PlannedBatch."""
        chunks: list[list[int]] = []
        begins, first = 0, 1
        for checked, image in rows:
            row, notes = _shaped(checked, image)
            tally.add(row)
            if isinstance(row, BadRow):
                report.write(b"" if report.size else manifest.csv_head(manifest.REPORT_COLUMNS))
                report.write(manifest.report_line(row))
                if len(bad_rows) < BAD_ROWS_KEPT:
                    why = row.message[:_ERROR_KEPT]
                    bad_rows.append({"row": row.number, "line": row.line, "field": row.field, "error": why})
            plan.write(json.dumps(_planned(row, image, notes), ensure_ascii=False).encode() + b"\n")
            if row.number - first + 1 == CHUNK_ROWS or plan.size - begins >= CHUNK_BYTES:
                chunks.append([begins, plan.size, first, row.number])
                begins, first = plan.size, row.number + 1
        if plan.size > begins:
            chunks.append([begins, plan.size, first, tally.rows])
        return chunks

    def _looked_at(self, rows: Iterable[Row | BadRow], deadline: float, folder: str) -> Iterator[LookedAt]:
        """Each row with the facts of its image. A row whose image is invalid becomes an invalid row.

        ``folder``: see Media.find_image. Raises InvalidRequest if the deadline passes before all rows are checked.
        """

        @lru_cache(maxsize=4096)  # many rows often use the same product image
        def look(key: str) -> ImageFacts | InvalidRequest:
            try:
                return self.media.find_image(self.sheets.bucket, key, folder=folder).facts
            except InvalidRequest as refusal:
                return refusal

        def looked_at(row: Row | BadRow) -> LookedAt:
            if isinstance(row, BadRow) or not row.request.image_key:
                return row, None
            found = look(row.request.image_key)
            if isinstance(found, InvalidRequest):
                return BadRow(row.number, row.line, found.field, found.message, row.columns, row.notes), None
            return row, found

        some: list[Row | BadRow] = []
        with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
            try:
                for row in self._in_time(rows, deadline):
                    some.append(row)
                    if len(some) == CHUNK_ROWS:
                        yield from pool.map(looked_at, some)
                        some.clear()
            except InvalidRequest:
                yield from pool.map(looked_at, some)  # the report has the rows before the file's error
                raise
            yield from pool.map(looked_at, some)

    def _in_time(self, rows: Iterable[Row | BadRow], deadline: float) -> Iterator[Row | BadRow]:
        for row in rows:
            if self.clock() > deadline:
                where = f"line {row.line}"
                raise InvalidRequest(where, "was not reached in the time allowed for checking images; split here")
            yield row

    def _tell(self, event: BatchInput, found: Found, why: str) -> None:
        count("BatchesRefused")
        error = reasons.refused_rows(why, event.get("restarts", 0)).error
        self.batches.refused(event["batch_id"], found, error)
        message = batch_summary(
            event,
            BatchStatus.REFUSED,
            rows=found["rows"],
            rejected=found["rejected"],
            notes=found["notes"],
            report=self.sheets.link(found["report_key"]) if found["report_key"] else None,
            error=error,
        )
        self.notifier.summarise(message)


def _found(tally: Tally, bad_rows: list[RefusedRow], report_key: str | None) -> Found:
    """What the batch's record keeps."""
    return Found(
        rows=tally.rows,
        rejected=tally.bad,
        estimate_usd=round(tally.estimate_usd, 4),
        models=[
            {"model": slug, "videos": videos, "estimate_usd": round(usd, 4)}
            for slug, (videos, usd) in sorted(tally.models.items())
        ],
        bad_rows=bad_rows,
        notes=tally.notes(),
        report_key=report_key,
    )


def _shaped(row: Row | BadRow, image: ImageFacts | None) -> tuple[Row | BadRow, list[str]]:
    """A row whose video has the shape of its image, unless it asks for another one. And notes about the image."""
    if isinstance(row, BadRow):
        return row, []
    request, notes = shapes.shaped(row.request, image)
    return replace(row, request=request), notes


def _planned(row: Row | BadRow, image: ImageFacts | None, notes: list[str]) -> PlanLine:
    """A row's line in the plan."""
    if isinstance(row, BadRow):
        return {"row": row.number, "columns": row.columns, "error": f"{row.field}: {row.message}"}
    request = row.request
    return {
        "row": row.number,
        "columns": row.columns,
        "model": request.model.slug,
        "transport": request.transport,
        "parameters": request.parameters,
        "image": image,
        "notes": notes,
        "metadata": request.metadata,
    }


@cache
def plan() -> Plan:
    """The use case, configured for this stack."""
    stack = plan_settings()
    defaults = Defaults(stack.default_model, stack.default_prompt, stack.default_transport)
    bills, tolerated = Bills(job_table()), stack.batch_tolerated_failure_percent
    return Plan(sheets(), media(), notifier(), bills, batch_store(), defaults, tolerated)
