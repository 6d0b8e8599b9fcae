"""The records of batches, in the job table.

The plan of a batch that waits for approval is a separate item, because it may have 128 KB.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from botocore.exceptions import ClientError

from seedance import bounds
from seedance.aws import writes
from seedance.aws.attributes import Record, read_item, written_item
from seedance.aws.job_table import JobTable, dropped, job_table
from seedance.aws.table import BATCHES, MONTH_INDEX, batch_key, plan_key
from seedance.batches.record import APPROVAL_SECONDS, STOPPED, BatchRecord, BatchState, ModelShare, RefusedRow
from seedance.config import settings
from seedance.errors import BadRecord
from seedance.jobs.job import RECORD_KEPT_DAYS, ErrorFacts
from seedance.jobs.tasks import BatchInput, PlannedBatch
from seedance.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef

_DAY_SECONDS = 24 * 3600
_EXISTS = "attribute_exists(job_id)"
_PLANNED_AGAIN = frozenset({BatchState.PLANNING, BatchState.REFUSED, BatchState.FAILED, BatchState.CANCELLED})
ATTEMPTS = 8
"""Attempts to read the records that a busy table left unprocessed."""


class Found(TypedDict):
    """What planning found, as fields of the batch."""

    rows: int
    rejected: int
    estimate_usd: float
    models: Sequence[ModelShare]
    bad_rows: Sequence[RefusedRow]
    notes: Sequence[str]
    report_key: str | None


class BatchChanges(TypedDict, total=False):
    """The fields of a batch that others may change, with the types of BatchRecord. None removes one."""

    approved_at: float | None
    ended_at: float | None
    fed: int
    states: dict[str, int]
    spent_usd: float
    counted_at: float | None
    results_key: str | None
    error: ErrorFacts | None


class BatchStore:
    """Batches by id, and newest first. Every change of the state is conditional on the state before."""

    def __init__(self, table: JobTable, kept_days: int = RECORD_KEPT_DAYS) -> None:
        self._table = table
        self._kept_seconds = kept_days * _DAY_SECONDS

    def get(self, batch_id: str) -> BatchRecord | None:
        """The batch, or None. Raises BadRecord."""
        item = None if "#" in batch_id else self._table.get(batch_key(batch_id))
        return None if item is None else _record(item)

    def open(self, batch: BatchInput) -> None:
        """Write a batch that is to be planned, or planned again after it failed. Otherwise, nothing changes."""
        now = self._table.now()
        record = BatchRecord(
            batch_id=batch["batch_id"],
            standing=BatchState.PLANNING,
            bucket=batch["bucket"],
            key=batch["key"],
            version_id=batch["version_id"],
            approve=batch.get("approve", True),
            created_at=now,
            updated_at=now,
        )
        keys = {"job_id": batch_key(record.batch_id), "month": BATCHES, "expires_at": int(now) + self._kept_seconds}
        if not self._table.put_new({**record.to_item(), **keys}):
            self.move(record.batch_id, {BatchState.FAILED}, BatchState.PLANNING, ended_at=None, error=None)

    def planned(self, batch: BatchInput, found: Found, plan: PlannedBatch) -> None:
        """Write what planning found, and keep the plan if it needs an approval."""
        batch_id, approve = batch["batch_id"], batch.get("approve", True)
        now = self._table.now()
        if not approve:
            expires_at = int(now + APPROVAL_SECONDS) + _DAY_SECONDS
            self._table.put({"job_id": plan_key(batch_id), "plan": json.dumps(plan), "expires_at": expires_at})
        approve_by = None if approve else round(now + APPROVAL_SECONDS, 3)
        self._write(batch_id, {**found, "approve": approve, "planned_at": now, "approve_by": approve_by})
        self.move(batch_id, {BatchState.PLANNING}, BatchState.RUNNING if approve else BatchState.PLANNED)

    def refused(self, batch_id: str, found: Found, error: ErrorFacts) -> None:
        """Write why a manifest can't be used."""
        ended = {**found, "error": error, "ended_at": self._table.now()}
        if not self._move(batch_id, set(BatchState) - STOPPED, BatchState.REFUSED, ended):
            self._move(batch_id, STOPPED, BatchState.CANCELLED, ended)

    def plan(self, batch_id: str) -> PlannedBatch:
        """The plan of a batch that waits for approval. Raises BadRecord if it is not there or was damaged."""
        text = (self._table.get(plan_key(batch_id)) or {}).get("plan")
        try:
            plan = bounds.read_json(text, finite=True) if isinstance(text, str) else None
        except ValueError:
            plan = None
        if not isinstance(plan, dict) or plan.get("batch_id") != batch_id or not isinstance(plan.get("chunks"), list):
            raise BadRecord(batch_id, "plan")
        found: Any = plan
        return found  # type: ignore[no-any-return]

    def plan_shown(self, batch_id: str) -> PlannedBatch | None:
        """The plan of a batch that a person has seen, and may have approved. It must not be written again."""
        record = self.get(batch_id)
        seen = record is not None and not record.approve and record.standing not in _PLANNED_AGAIN
        return self.plan(batch_id) if seen else None

    def may_feed(self, batch_id: str) -> bool:
        """Whether rows may become jobs: not after the batch was cancelled.

        Only an approved batch gets here, so one that is still PLANNED, or FAILED before, is RUNNING from now on. One
        without a record was started by release 0.1.0. Raises BadRecord.
        """
        record = self.get(batch_id)
        if record and record.standing is BatchState.PLANNED:
            self.move(batch_id, {BatchState.PLANNED}, BatchState.RUNNING, approved_at=self._table.now())
            record = self.get(batch_id)
        elif record and record.standing is BatchState.FAILED:
            self.move(batch_id, {BatchState.FAILED}, BatchState.RUNNING, ended_at=None, error=None)
            record = self.get(batch_id)
        return record is None or record.standing not in STOPPED

    def is_stopped(self, batch_id: str) -> bool:
        """Whether the batch was cancelled. A record that can't be read is logged, and counts as one that was not."""
        try:
            record = self.get(batch_id)
        except BadRecord as error:
            logger().error("a batch's record can't be read", extra={"batch": batch_id, "field": error.field})
            return False
        return record is not None and record.standing in STOPPED

    def end(self, batch_id: str, state: BatchState, **values: Unpack[BatchChanges]) -> None:
        """Write how a batch ended. Repeating it changes nothing but the time."""
        self._write(batch_id, {"standing": state, "ended_at": self._table.now(), **values})

    def note(self, batch_id: str, **values: Unpack[BatchChanges]) -> bool:
        """Write fields of a batch; None removes one. Returns False if it has no record, which release 0.1.0 did not
        write."""
        return self._write(batch_id, values)

    def move(
        self, batch_id: str, sources: Collection[BatchState], target: BatchState, **values: Unpack[BatchChanges]
    ) -> bool:
        """Move a batch from one of some states to another. Returns False if it is in none of them."""
        return self._move(batch_id, sources, target, values)

    def _move(
        self, batch_id: str, sources: Collection[BatchState], target: BatchState, values: Mapping[str, object]
    ) -> bool:
        names: Record = {f":from{number}": state.value for number, state in enumerate(sorted(sources))}
        return self._write(batch_id, {"standing": target, **values}, f"#standing IN ({', '.join(names)})", names)

    def _write(
        self, batch_id: str, values: Mapping[str, object], condition: str = _EXISTS, extra: Record | None = None
    ) -> bool:
        changes = {**values, "updated_at": self._table.now()}
        update = writes.update(self._table.name, batch_key(batch_id), changes, condition, extra or {})
        update["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            writes.insist(lambda: self._table.client.update_item(**update), self._table.clock)
        except ClientError as error:
            if not writes.failed_condition(error):
                raise
            return writes.is_ours(error, update)
        return True

    def page(self, limit: int, after: tuple[str, str] | None) -> tuple[list[BatchRecord], tuple[str, str] | None]:
        """Up to ``limit`` batches, newest first, and where the list continues; None at its end.

        ``after``: the time of creation, as text, and the id of the batch before. All batches are one partition of the
        index: there are far fewer of them than jobs.
        """
        query: QueryInputTypeDef = {
            "TableName": self._table.name,
            "IndexName": MONTH_INDEX,
            "KeyConditionExpression": "#month = :month",
            "ExpressionAttributeNames": {"#month": "month"},
            "ExpressionAttributeValues": written_item({":month": BATCHES}),
            "ScanIndexForward": False,
            "Limit": limit,
        }
        if after:
            month, created_at, key = BATCHES, after[0], batch_key(after[1])
            query["ExclusiveStartKey"] = {"month": {"S": month}, "created_at": {"N": created_at}, "job_id": {"S": key}}
        answer = self._table.client.query(**query)
        keys = [item["job_id"]["S"] for item in answer["Items"]]
        found = self._read(keys)
        end = answer.get("LastEvaluatedKey")
        after = None if end is None else (end["created_at"]["N"], end["job_id"]["S"].removeprefix(batch_key("")))
        return [found[key] for key in keys if key in found], after

    def _read(self, keys: Sequence[str]) -> dict[str, BatchRecord]:
        """Up to 100 records. One that can't be read is logged and left out."""
        found: dict[str, BatchRecord] = {}
        wanted: Any = {self._table.name: {"Keys": [{"job_id": {"S": key}} for key in keys]}}
        for _ in self._table.clock.attempts(ATTEMPTS, 0.04) if keys else ():
            answer = self._table.client.batch_get_item(RequestItems=wanted)
            for item in answer["Responses"].get(self._table.name, []):
                read = read_item(item)
                try:
                    found[item["job_id"]["S"]] = _record(read)
                except BadRecord as error:
                    logger().error("a record is skipped", extra={"batch": read["job_id"], "field": error.field})
            wanted = answer.get("UnprocessedKeys")
            if not wanted:
                return found
        if keys:
            raise TimeoutError(f"the table did not return {len(keys)} batches in {ATTEMPTS} attempts")
        return found


def _record(item: Record) -> BatchRecord:
    return BatchRecord.from_item(item, lambda name: dropped(str(item.get("job_id")), name))


@cache
def batch_store() -> BatchStore:
    """The stack's job table."""
    return BatchStore(job_table(), settings().record_retention_days)
