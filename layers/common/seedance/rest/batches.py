"""POST /batches and the calls about one batch: plan a manifest, approve its plan, cancel it, and see how it goes.

An approval starts the execution that buys the planned rows. It has one name for each batch, so a repeated approval
starts nothing, and it marks the batch as RUNNING itself if this function is killed before it can. So no order of calls
and crashes buys a row twice, or leaves an approved batch behind.
"""

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, TypedDict

from seedance import bounds
from seedance.aws import gateway
from seedance.aws.fields import is_table_key
from seedance.aws.gateway import Response
from seedance.batches.job_states import JOBS_A_READ, JobFacts, Register, register
from seedance.batches.links import SheetLinks, sheet_links
from seedance.batches.record import BatchRecord, BatchState, ModelShare, RefusedRow, tallied
from seedance.batches.stopping import Stopping, stopping
from seedance.batches.store import BatchStore, batch_store
from seedance.clock import CLOCK, Clock
from seedance.config import api_settings
from seedance.errors import Conflict, InvalidRequest, NotFound
from seedance.jobs.budget import day_of
from seedance.jobs.handoff import Batches, batches
from seedance.jobs.job import ErrorFacts, batch_id, batch_job_id
from seedance.jobs.store import JobStore, jobs
from seedance.jobs.tasks import BatchInput
from seedance.notices.job_message import iso
from seedance.rest.answers import answer
from seedance.rest.listing import LONGEST_CURSOR, PARAMETERS, USUAL, check_names

LIVE_ROWS = 2000
"""In batches with more rows, the jobs are not read for each call: 20 reads of 100 jobs take about a second."""

CANCEL_SECONDS = 15.0
"""After this time, a cancellation leaves the other jobs to collect, because API Gateway waits 29 s for an answer."""

BODY_FIELDS = ("manifest_key", "approve")
LIST_PARAMETERS = ("limit", "cursor")

_NUMBER = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")
_LIVE = frozenset({BatchState.RUNNING, BatchState.CANCELLING, BatchState.OPEN})
"""States in which jobs may change."""
_BUYING = frozenset({BatchState.PLANNED, BatchState.RUNNING})
_APPROVED = frozenset({BatchState.RUNNING, BatchState.DONE, BatchState.OPEN})


class ManifestFile(TypedDict):
    """A batch's manifest in the upload bucket."""

    bucket: str
    key: str
    version_id: str | None


class FileLink(TypedDict):
    """A file in the upload bucket, with a link to it that works for some hours."""

    bucket: str
    key: str
    url: str


class ListedBatch(TypedDict):
    """A batch in a list. GET /batches/{batch_id} has the rest."""

    batch_id: str
    state: BatchState
    manifest: ManifestFile
    created_at: str
    updated_at: str
    rows: int | None
    """null until all rows are checked."""
    rejected: int
    estimate_usd: float | None


class BatchList(TypedDict):
    """A page of batches, newest first."""

    batches: list[ListedBatch]
    next_cursor: str | None
    """The `cursor` of the next page. null: this was the last page."""


class Batch(TypedDict):
    """A batch: the videos of a manifest's rows."""

    batch_id: str
    state: BatchState
    manifest: ManifestFile
    created_at: str
    updated_at: str
    planned_at: str | None
    """When all rows were checked."""
    approve_by: str | None
    """Until when a batch that needs an approval may be approved. null: it needs none."""
    approved_at: str | None
    ended_at: str | None
    rows: int | None
    """null until all rows are checked."""
    rejected: int
    """Invalid rows, from which no video is made."""
    rows_fed: int
    """How many rows, in the manifest's order, are jobs or were rejected."""
    states: dict[str, int]
    """The rows by the state of their jobs. REJECTED has the invalid rows too. A row that is not a job is PLANNED,
    CANCELLED or NOT_STARTED. Empty until all rows are checked, and in a batch of over 2000 rows until all are fed."""
    counted_at: str | None
    """When `states` and `spent_usd` were counted."""
    estimate_usd: float | None
    """What the valid rows would cost."""
    estimate_by_model: list[ModelShare]
    spent_usd: float
    """What its ended videos cost."""
    budget_note: str | None
    """A sentence if the estimate exceeds the day's budget."""
    bad_rows: list[RefusedRow]
    """The first 20 invalid rows. `rejected_report` has all."""
    rejected_report: FileLink | None
    """The invalid rows, as CSV."""
    results: FileLink | None
    """The result of each row, as CSV, once the batch has ended."""
    notes: list[str]
    """What a person should know about the rows, in sentences."""
    error: ErrorFacts | None
    """Why the batch was refused or failed."""


@dataclass(frozen=True)
class BatchCalls:
    """The use cases and their dependencies."""

    store: BatchStore
    machine: Batches
    register: Register
    links: SheetLinks
    jobs: JobStore
    stopping: Stopping
    limit_usd: float | None
    clock: Clock = CLOCK

    def respond(self, method: str, path: str, event: Mapping[str, Any]) -> Response | None:
        """The response to a call. None if there is no such call."""
        batch = gateway.path_parameter(event, "batch_id")
        match method, path:
            case "POST", "/batches":
                created = self.create(gateway.body(event))
                return answer(HTTPStatus.ACCEPTED, created, Location=f"./batches/{created['batch_id']}")
            case "GET", "/batches":
                return answer(HTTPStatus.OK, self.page(gateway.query(event)))
            case "GET", "/batches/{batch_id}":
                return answer(HTTPStatus.OK, self.look(batch))
            case "POST", "/batches/{batch_id}/approve":
                return answer(HTTPStatus.OK, self.approve(batch))
            case "POST", "/batches/{batch_id}/cancel":
                return answer(HTTPStatus.OK, self.cancel(batch))
        return None

    def create(self, body: str | None) -> Batch:
        """Plan a manifest under ``staged/``. Its latest version is one batch, however often this is called.

        The execution is started before the record is written, and writes it too, so a crash in between loses nothing.
        """
        from seedance.jobs.requests import check_staged  # noqa: PLC0415 - loads pydantic, which reading does not need

        given = _json_object(body)
        key, approve = given.get("manifest_key"), given.get("approve", False)
        key = check_staged(key if isinstance(key, str) else "")
        if not isinstance(approve, bool):
            raise InvalidRequest("approve", "must be true or false", allowed=[True, False])
        version_id, version = self.links.version(key, "manifest_key")
        batch = batch_id(self.links.bucket, key, version)
        record = self.store.get(batch)
        if record is None:
            asked: BatchInput = {
                "batch_id": batch,
                "bucket": self.links.bucket,
                "key": key,
                "version_id": version_id,
                "approve": approve,
            }
            self.machine.plan(asked)
            self.store.open(asked)
            record = self._found(batch)
        if record.approve is not approve:
            hint = f"approve it with POST /batches/{batch}/approve" if approve else "it is bought without an approval"
            raise Conflict(f"this version of {key} is batch {batch} already, with another value of approve; {hint}")
        return self._shown(record)

    def page(self, given: Mapping[str, str]) -> BatchList:
        """Batches, newest first. Raises InvalidRequest."""
        check_names(given, LIST_PARAMETERS)
        limit = PARAMETERS["limit"].read("limit", given["limit"]) if "limit" in given else USUAL
        found, after = self.store.page(limit, _position(given["cursor"]) if "cursor" in given else None)
        now = self.clock()
        return {
            "batches": [_listed(record, record.state(now)) for record in found],
            "next_cursor": None if after is None else _cursor(after),
        }

    def look(self, batch: str) -> Batch:
        """A batch. Raises NotFound."""
        return self._shown(self._found(batch))

    def approve(self, batch: str) -> Batch:
        """Start to buy a planned batch. If it was approved before, nothing changes. Raises NotFound and Conflict."""
        record, now = self._found(batch), self.clock()
        state = record.state(now)
        if state is BatchState.PLANNED:
            # In this order: whatever happens after the start, the execution marks the batch itself (may_feed).
            self.machine.approve(self.store.plan(batch), round(now, 3))
            self.store.move(batch, {BatchState.PLANNED}, BatchState.RUNNING, approved_at=round(now, 3))
            record = self._found(batch)
            state = record.state(now)
        if state in _APPROVED:
            return self._shown(record)
        raise Conflict(f"batch {batch} can't be approved: {_WHY_NOT[state]}")

    def cancel(self, batch: str) -> Batch:
        """Stop a batch: no more of its rows become jobs, and its jobs that are not bought yet are cancelled.

        Repeating it cancels those that are left, if there were too many for one call; collect does that too. Raises
        NotFound and Conflict.
        """
        record = self._found(batch)
        if record.standing is BatchState.PLANNED or (record.standing is BatchState.PLANNING and not record.approve):
            # Nothing runs that would end it. If an approval is faster, or has only just started it, nothing is fed.
            self.store.move(batch, {record.standing}, BatchState.CANCELLED, ended_at=round(self.clock(), 3))
        elif record.standing in (BatchState.PLANNING, BatchState.RUNNING):
            self.store.move(batch, {BatchState.PLANNING, BatchState.RUNNING}, BatchState.CANCELLING)
        else:
            return self._cancelled(record)
        return self._cancelled(self._found(batch))

    def _cancelled(self, record: BatchRecord) -> Batch:
        if record.standing is BatchState.CANCELLING:
            self._cancel_jobs(record)
        if record.standing in (BatchState.CANCELLING, BatchState.CANCELLED):
            return self._shown(record)
        if record.standing in (BatchState.PLANNING, BatchState.PLANNED, BatchState.RUNNING):
            raise Conflict(f"batch {record.batch_id} changed at the same moment; repeat the call")
        raise Conflict(f"batch {record.batch_id} can't be cancelled: it has ended and is {record.standing}")

    def _cancel_jobs(self, record: BatchRecord) -> None:
        """Cancel the jobs that are not bought, the last first. Enqueue sends no messages for jobs that this misses."""
        until = self.clock() + CANCEL_SECONDS
        # The rows of a chunk, at most as many as one read returns, are counted after they became jobs.
        last = min(record.rows or 0, record.fed + JOBS_A_READ)
        while last > 0 and self.clock() < until:
            first = max(1, last - JOBS_A_READ + 1)
            self.stopping(self._jobs(record, first, last, []))
            last = first - 1

    def _jobs(self, record: BatchRecord, first: int, last: int, names: Sequence[str]) -> Collection[JobFacts]:
        ids = [batch_job_id(record.batch_id, row) for row in range(first, last + 1)]
        return self.register.read(ids, names).values()

    def _found(self, batch: str) -> BatchRecord:
        record = self.store.get(batch)
        if record is None:
            raise NotFound(f"batch {bounds.shown(batch)} does not exist")
        return record

    def _shown(self, record: BatchRecord) -> Batch:
        now = self.clock()
        state = record.state(now)
        states, spent, counted_at = self._counted(record, state, now)
        return {
            **_listed(record, state),
            "planned_at": iso(record.planned_at),
            "approve_by": iso(record.approve_by),
            "approved_at": iso(record.approved_at),
            "ended_at": iso(record.ended_at),
            "rows_fed": record.fed,
            "states": states,
            "counted_at": iso(counted_at),
            "estimate_by_model": record.models,
            "spent_usd": round(spent, 4),
            "budget_note": self._budget_note(record, state, now),
            "bad_rows": record.bad_rows,
            "rejected_report": self._link(record.report_key),
            "results": self._link(record.results_key),
            "notes": record.notes,
            "error": record.error,
        }

    def _counted(
        self, record: BatchRecord, state: BatchState, now: float
    ) -> tuple[dict[str, int], float, float | None]:
        """The rows by state, what they cost, and when that was so."""
        if state not in _LIVE:
            return tallied(record, state, record.states), record.spent_usd, record.counted_at or record.planned_at
        if (record.rows or 0) > LIVE_ROWS:
            states = {} if record.counted_at is None else tallied(record, state, record.states)
            return states, record.spent_usd, record.counted_at
        found: Counter[str] = Counter()
        spent = 0.0
        for first in range(1, (record.rows or 0) + 1, JOBS_A_READ):
            last = min(first + JOBS_A_READ - 1, record.rows or 0)
            for job in self._jobs(record, first, last, ["cost_usd"]):
                found[job.state.value] += 1
                spent += job.cost_usd or 0.0
        return tallied(record, state, found), spent, now

    def _budget_note(self, record: BatchRecord, state: BatchState, now: float) -> str | None:
        if self.limit_usd is None or record.estimate_usd is None or state not in _BUYING:
            return None
        estimate, limit = record.estimate_usd, self.limit_usd
        if estimate > limit:
            return (
                f"The estimate of ${estimate:,.2f} exceeds the day's budget of ${limit:,.2f} (DailyBudgetUsd): the "
                f"batch takes at least {math.ceil(estimate / limit):,} days. Rows that do not fit in a day wait."
            )
        if state is not BatchState.PLANNED:
            return None
        left = max(0.0, limit - self.jobs.day(day_of(now)).committed)
        if estimate > left:
            return (
                f"The estimate of ${estimate:,.2f} exceeds the ${left:,.2f} that are left of today's budget. Rows that "
                "do not fit wait for the next day."
            )
        return None

    def _link(self, key: str | None) -> FileLink | None:
        if key is None:
            return None
        found = self.links.link(key)
        return {"bucket": found["bucket"], "key": found["key"], "url": found["url"]}


_WHY_NOT = {
    BatchState.PLANNING: "its rows are still being checked; repeat the call when it is PLANNED",
    BatchState.EXPIRED: "its plan was not approved in time; upload the manifest again and plan that",
    BatchState.REFUSED: "it was refused, and nothing was planned; its error says why",
    BatchState.CANCELLING: "it was cancelled",
    BatchState.CANCELLED: "it was cancelled",
    BatchState.FAILED: "it failed; `seedance redrive` starts it again",
}


def _listed(record: BatchRecord, state: BatchState) -> ListedBatch:
    return {
        "batch_id": record.batch_id,
        "state": state,
        "manifest": {"bucket": record.bucket, "key": record.key, "version_id": record.version_id},
        "created_at": iso(record.created_at) or "",
        "updated_at": iso(record.updated_at) or "",
        "rows": record.rows,
        "rejected": record.rejected,
        "estimate_usd": record.estimate_usd,
    }


def _json_object(body: str | None) -> dict[str, object]:
    """The body of POST /batches. Raises InvalidRequest."""
    wanted = 'must be a JSON object, such as {"manifest_key": "staged/spring.csv"}'
    try:
        given = bounds.read_json(body or "")
    except ValueError as error:
        raise InvalidRequest("body", f"{wanted}, but it {error}") from None
    if not isinstance(given, dict):
        raise InvalidRequest("body", wanted)
    for name in given:
        if name not in BODY_FIELDS:
            what = f"is not a field of this request; allowed: {', '.join(BODY_FIELDS)}"
            raise InvalidRequest(name, what, allowed=BODY_FIELDS)
    return given


def _cursor(after: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(after).encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[str, str]:
    """The position in a cursor. Raises InvalidRequest if we can't have made it."""
    wrong = InvalidRequest("cursor", "must be next_cursor of the page before, unchanged")
    try:
        parts = json.loads(base64.b64decode(cursor[:LONGEST_CURSOR] + "===", altchars=b"-_", validate=False))
    except (ValueError, RecursionError):
        raise wrong from None
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise wrong
    created_at, batch = parts
    if not _NUMBER.fullmatch(created_at) or not is_table_key(batch) or len(batch) > 200:
        raise wrong
    return created_at, batch


@cache
def batch_calls() -> BatchCalls:
    """The use cases, configured for this stack."""
    stack = api_settings()
    machine = batches(stack.batch_state_machine)
    stops = stopping(stack.intake_queue)
    return BatchCalls(batch_store(), machine, register(), sheet_links(), jobs(), stops, stack.daily_budget_usd)
