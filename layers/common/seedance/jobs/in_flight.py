"""The count of videos in progress. It is changed in the transactions of the jobs' changes (jobs.budget)."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from seedance.aws import checks, writes
from seedance.aws.attributes import Item, read_item, written_item
from seedance.aws.job_table import JobTable, job_table
from seedance.aws.table import IN_FLIGHT, READING, STATE_INDEX
from seedance.errors import Conflict
from seedance.jobs.job import UNDER_WAY, State

SETTLED_SECONDS = 240.0
"""The least time between two readings: less than from one round to the next, and far more than an index lags."""

READINGS = 6
"""The number of readings that must agree. The queries of an index miss a job that has just changed its state, because
each state's entries lag on their own. A job with a reservation is new in the index once and changes its state at most
four times (SUBMITTING, UNCERTAIN, QUEUED, PROCESSING, COPYING), so no job is missed six times."""


class InFlight:
    """The stored count, and its correction."""

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def count(self) -> int:
        """The stored count; 0 if it is not a number."""
        return checks.count_or_zero((self._table.get(IN_FLIGHT) or {}).get("held"))

    def recount(self) -> bool:
        """Correct the count from the jobs' records. Returns whether it was wrong.

        It is only wrong if somebody edited a record, or if the stack is older than the count. The jobs are listed by
        an index, which lags: jobs that have just started are missing, and those that have just ended are still there.
        So a difference is only noted in the item, as a reading, which the next change of the count removes. Once
        READINGS rounds in a row have listed the same jobs, the records of these jobs are read, and the count is
        corrected. A stored value that is not a number is replaced at once, because it admits no job.
        """
        # The raw stored value: it may not be a number, and it must be unchanged when it is replaced.
        key: Item = {"job_id": {"S": IN_FLIGHT}}
        answer = self._table.client.get_item(TableName=self._table.name, Key=key, ConsistentRead=True)
        stored = answer.get("Item", {})
        held = read_item(stored).get("held", 0)
        listed = [job_id for state in sorted(UNDER_WAY) for job_id in self._in(state)]
        if held == len(listed):
            return False
        if not checks.is_count(held):
            return self._replace(stored, self._confirmed(listed))
        now, seen = self._table.now(), _digest(listed)
        reading = read_item(stored).get(READING)
        number, noted_at = _agreeing(reading, seen, now)
        if number and now - noted_at < SETTLED_SECONDS:
            return False
        if number + 1 < READINGS:
            self._replace(stored, held, {"listed": seen, "number": number + 1, "noted_at": now})
            return False
        counted = self._confirmed(listed)
        return self._replace(stored, counted) and counted != held

    def _replace(self, stored: Item, held: object, reading: Mapping[str, object] | None = None) -> bool:
        """Write the item if it is unchanged since it was read. Returns whether it was."""
        conditions: list[str] = []
        values: Item = {}
        for name in ("held", READING):
            if name in stored:
                conditions.append(f"{name} = :{name}")
                values[f":{name}"] = stored[name]
            else:
                conditions.append(f"attribute_not_exists({name})")
        unchanged: Any = {"ConditionExpression": " AND ".join(conditions)}
        if values:
            unchanged["ExpressionAttributeValues"] = values
        record: dict[str, object] = {"job_id": IN_FLIGHT, "held": held}
        try:
            self._table.put(record if reading is None else {**record, READING: reading}, **unchanged)
        except Conflict:
            return False
        except ClientError as error:
            if writes.failed_condition(error):
                return False
            raise
        return True

    def _confirmed(self, listed: list[str]) -> int:
        """How many of these jobs have a reservation, by their records: a transaction that ends one removes it."""
        records = (self._table.get(job_id) for job_id in dict.fromkeys(listed))
        return sum(record is not None and record.get("reserved_usd") is not None for record in records)

    def _in(self, state: State) -> Iterator[str]:
        pages = self._table.client.get_paginator("query").paginate(
            TableName=self._table.name,
            IndexName=STATE_INDEX,
            KeyConditionExpression="#state = :state",
            ProjectionExpression="job_id",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues=written_item({":state": state.value}),
        )
        return (item["job_id"]["S"] for page in pages for item in page["Items"])


def _digest(job_ids: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(set(job_ids))).encode()).hexdigest()[:16]


def _agreeing(reading: object, seen: str, now: float) -> tuple[int, float]:
    """How many readings in a row have listed these jobs, and when the last one was noted. People may have edited it."""
    if not isinstance(reading, dict) or reading.get("listed") != seen:
        return 0, 0.0
    noted_at = checks.number(reading.get("noted_at"), 0, now)
    return (0, 0.0) if noted_at is None else (checks.count_or_zero(reading.get("number")), noted_at)


@cache
def in_flight() -> InFlight:
    """The stack's count."""
    return InFlight(job_table())
