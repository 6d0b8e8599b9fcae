"""The jobs' table in DynamoDB. Every write is conditional, so that two who meet can't both win."""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from seedance import aws
from seedance.config import settings
from seedance.errors import Conflict, OverBudget
from seedance.job import RECORD_KEPT_SECONDS, TRANSITIONS, Job, State

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

STATE_INDEX = "by_state"
REQUEST_INDEX = "by_request"

TURNS = 8
"""Tries of a booking that meets another one on the day's item; with the waits between, up to 5 seconds."""
_SWITCH = "switch#submits"


@dataclass(frozen=True)
class Entry:
    """A booking in a day's budget, written together with the job's own change or not at all.

    Amounts in USD. ``reserved`` opens a reservation; ``settled`` and ``released`` close one of ``closes``.
    ``limit`` refuses the booking when the day would be above it.
    """

    day: str
    reserved: float = 0.0
    closes: float = 0.0
    settled: float = 0.0
    released: float = 0.0
    limit: float | None = None


@dataclass(frozen=True)
class Day:
    """A day's budget as booked, in USD. ``committed`` is what is reserved and open, plus what is settled."""

    day: str
    reserved: float = 0.0
    settled: float = 0.0
    released: float = 0.0
    committed: float = 0.0


class JobStore:
    """Jobs by id, and by state through the index ``by_state``; the days' budgets; the switch for submits.

    Reads by id are strongly consistent: what a decision about money rests on must not be a second old.
    """

    def __init__(self, table: str, client: "DynamoDBClient", clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._client = client
        self._clock = clock

    def get(self, job_id: str) -> Job | None:
        """The job, or None."""
        record = self._get(job_id)
        return Job.from_record(record) if record and "state" in record else None

    def create(self, job: Job) -> bool:
        """Write a new job. False when its id is taken: the same event came twice."""
        now = self._now()
        job.created_at = job.created_at or now
        job.updated_at = now
        job.entered = {job.state.value: now}
        job.expires_at = int(now) + RECORD_KEPT_SECONDS
        try:
            self._client.put_item(
                TableName=self._table,
                Item=_written(job.to_record()),
                ConditionExpression="attribute_not_exists(job_id)",
            )
        except ClientError as error:
            if _is_conflict(error):
                return False
            raise
        return True

    def move(self, job: Job, target: State, *, entry: Entry | None = None, **values: Any) -> Job:
        """Bring the job from the state it was read in into another, and write ``values`` with it.

        With an ``entry`` the day's budget is booked in the same transaction. Returns the job as it is now.
        Raises Conflict when it is no longer in that state: somebody else was faster; OverBudget when the
        entry's limit forbids it; ValueError for a transition that the table in job.py does not have.
        """
        if target not in TRANSITIONS[job.state]:
            raise ValueError(f"a job does not go from {job.state} to {target}")
        if entry and entry.limit is not None and entry.reserved > entry.limit:
            raise OverBudget(f"one video of ${entry.reserved:.2f} is more than the day's ${entry.limit:.2f}")
        # A map's single entry: two writers of different states don't overwrite each other's times.
        changes = {"state": target.value, f"entered.{target.value}": self._now(), **values}
        update = self._update(job.job_id, changes, "#state = :from", {":from": job.state.value})
        if entry is None:
            return self._written_job(update, job)
        self._book(job, update, self._booking(entry))
        moved = self.get(job.job_id)
        if moved is None:
            raise Conflict(f"job {job.job_id} is gone")
        return moved

    def close(self, job: Job, target: State, **values: Any) -> Job:
        """``move`` to a state in which nothing is reserved any more, and book that.

        A reported cost (in ``values`` or on the job) is settled, else the reservation is released: the
        provider bills what it delivered and nothing else.
        """
        if job.reserved_usd is None or job.reserved_day is None:
            return self.move(job, target, **values)
        cost = values.get("cost_usd", job.cost_usd)
        if cost is None and target is State.COMPLETED:
            cost = job.reserved_usd  # delivered, and no price given: what was reserved is the best guess
        entry = Entry(
            job.reserved_day,
            closes=job.reserved_usd,
            settled=cost or 0.0,
            released=job.reserved_usd if cost is None else 0.0,
        )
        return self.move(job, target, entry=entry, reserved_usd=None, reserved_day=None, **values)

    def note(self, job: Job, **values: Any) -> Job:
        """Write facts about the job without moving it; None removes one. Raises Conflict when it is gone."""
        return self._written_job(self._update(job.job_id, values, "attribute_exists(job_id)", {}), job)

    def jobs_of_request(self, request_id: str) -> list[str]:
        """The ids of the jobs that a request of the provider belongs to; more than one would be a mistake."""
        answer = self._client.query(
            TableName=self._table,
            IndexName=REQUEST_INDEX,
            KeyConditionExpression="request_id = :id",
            ExpressionAttributeValues={":id": {"S": request_id}},
        )
        return [item["job_id"]["S"] for item in answer["Items"]]

    def newest(self, state: State, limit: int = 50) -> list[Job]:
        """Up to ``limit`` jobs of a state, latest change first, with the index's attributes only."""
        return self._by_state(state, newest_first=True, limit=limit)

    def oldest(self, state: State, limit: int = 1000, since: float = 0.0) -> list[Job]:
        """Up to ``limit`` jobs of a state that changed after ``since``, earliest change first."""
        return self._by_state(state, newest_first=False, limit=limit, since=since)

    def day(self, day: str) -> Day:
        """A day's budget as booked so far; zeros when nothing was."""
        record = self._get(f"day#{day}") or {}
        return Day(
            day, **{name: record[name] for name in ("reserved", "settled", "released", "committed") if name in record}
        )

    def pause(self, reason: str) -> bool:
        """Stop new submits. False when they were stopped already: whoever raises the alarm does it once."""
        try:
            self._client.put_item(
                TableName=self._table,
                Item=_written({"job_id": _SWITCH, "reason": reason, "paused_at": self._now()}),
                ConditionExpression="attribute_not_exists(job_id)",
            )
        except ClientError as error:
            if _is_conflict(error):
                return False
            raise
        return True

    def resume(self) -> None:
        """Let submits go on."""
        self._client.delete_item(TableName=self._table, Key={"job_id": {"S": _SWITCH}})

    def paused(self) -> str | None:
        """Why submits are stopped, or None."""
        record = self._get(_SWITCH)
        return str(record["reason"]) if record else None

    def _get(self, key: str) -> dict[str, Any] | None:
        answer = self._client.get_item(TableName=self._table, Key={"job_id": {"S": key}}, ConsistentRead=True)
        return _read(answer["Item"]) if "Item" in answer else None

    def _by_state(self, state: State, *, newest_first: bool, limit: int, since: float = 0.0) -> list[Job]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=STATE_INDEX,
            KeyConditionExpression="#state = :state AND updated_at > :since",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues=_written({":state": state.value, ":since": since}),
            ScanIndexForward=not newest_first,
            PaginationConfig={"MaxItems": limit, "PageSize": min(limit, 1000)},
        )
        blank = {"transport": "", "folder": ""}
        return [Job.from_record({**blank, **_read(item)}) for page in pages for item in page["Items"]]

    def _update(self, job_id: str, values: dict[str, Any], condition: str, extra: dict[str, Any]) -> dict[str, Any]:
        """The parameters of a conditional update; None removes an attribute, a dot steps into a map."""
        names: dict[str, str] = {"#state": "state"} if "#state" in condition else {}
        written: dict[str, Any] = _written(extra)
        sets, removes = [], []
        for number, (path, value) in enumerate({**values, "updated_at": self._now()}.items()):
            names |= {f"#{step}": step for step in path.split(".")}
            target = ".".join(f"#{step}" for step in path.split("."))
            if value is None:
                removes.append(target)
            else:
                sets.append(f"{target} = :v{number}")
                written |= _written({f":v{number}": value})
        return {
            "TableName": self._table,
            "Key": {"job_id": {"S": job_id}},
            "UpdateExpression": "SET " + ", ".join(sets) + (" REMOVE " + ", ".join(removes) if removes else ""),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": written,
        }

    def _book(self, job: Job, update: dict[str, Any], booking: dict[str, Any]) -> None:
        """Write a job's change and its booking, or neither. The day's item is everybody's: wait one's turn."""
        for turn in range(1, TURNS + 1):
            both: list[Any] = [{"Update": update}, {"Update": booking}]
            try:
                self._client.transact_write_items(TransactItems=both)
            except ClientError as error:
                reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
                if "ConditionalCheckFailed" in reasons[:1]:
                    raise Conflict(f"job {job.job_id} is no longer {job.state}") from error
                if "ConditionalCheckFailed" in reasons:
                    raise OverBudget("the day's budget is used up") from error
                if "TransactionConflict" not in reasons:
                    raise
                if turn == TURNS:
                    raise Conflict(f"job {job.job_id} could not be booked; too many others were at it") from error
                time.sleep(random.uniform(0, 0.02 * 2**turn))  # noqa: S311 - spreads writers, hides nothing
            else:
                return

    def _written_job(self, update: dict[str, Any], job: Job) -> Job:
        try:
            answer = self._client.update_item(**update, ReturnValues="ALL_NEW")
        except ClientError as error:
            if _is_conflict(error):
                raise Conflict(f"job {job.job_id} is no longer {job.state}") from error
            raise
        return Job.from_record(_read(answer["Attributes"]))

    def _booking(self, entry: Entry) -> dict[str, Any]:
        amounts = {
            "reserved": entry.reserved,
            "settled": entry.settled,
            "released": entry.released,
            "committed": entry.reserved - entry.closes + entry.settled,
        }
        booking: dict[str, Any] = {
            "TableName": self._table,
            "Key": {"job_id": {"S": f"day#{entry.day}"}},
            "UpdateExpression": "ADD " + ", ".join(f"{name} :{name}" for name in amounts),
            "ExpressionAttributeValues": _written({f":{name}": round(amount, 6) for name, amount in amounts.items()}),
        }
        if entry.limit is not None:
            booking["ConditionExpression"] = "attribute_not_exists(committed) OR committed <= :room"
            booking["ExpressionAttributeValues"] |= _written({":room": round(entry.limit - entry.reserved, 6)})
        return booking

    def _now(self) -> float:
        return round(self._clock(), 3)


@cache
def jobs() -> JobStore:
    """The stack's job table."""
    return JobStore(settings().job_table, aws.dynamodb())


def _is_conflict(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"


_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def _written(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _serialize(_to_decimal(value)) for name, value in record.items()}


def _read(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _from_decimal(_deserialize(value)) for name, value in item.items()}


def _to_decimal(value: Any) -> Any:
    # DynamoDB's numbers are decimal, and boto3 refuses floats; the shortest text of a float is exact enough.
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: _to_decimal(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_to_decimal(inner) for inner in value]
    return value


def _from_decimal(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _from_decimal(inner) for name, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [_from_decimal(inner) for inner in value]
    return value
