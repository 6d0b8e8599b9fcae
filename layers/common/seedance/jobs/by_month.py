"""Lists jobs, newest first, through the index ``by_month``: month by month, a bounded number of reads per call.

DynamoDB reads an index in pages and applies filters after reading, so a page of the list may be short, or empty, while
there is more to read. The index lags behind the table, usually by less than a second: a job that was just created may
be missing, and one that has just changed may be shown as it was.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from seedance.aws.attributes import Item, read_item, written_item
from seedance.aws.checks import LATEST
from seedance.aws.job_table import JobTable, job_table
from seedance.aws.table import MONTH_INDEX
from seedance.config import settings
from seedance.jobs import records
from seedance.jobs.budget import month_of
from seedance.jobs.job import RECORD_KEPT_DAYS, ErrorFacts, State
from seedance.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef, QueryOutputTypeDef

MOST_READ = 1000
"""How many jobs one call reads at most, whether they match or not."""

STEP = 200
"""How many jobs one query reads, if some of them may not match."""

MOST_MONTHS = 16
"""How many months one call visits at most: more than the default retention has, so that one call reaches the end."""

_DAY_SECONDS = 24 * 3600.0
_CLOCKS_APART_SECONDS = 60.0
"""How far the clock of the function that created a job may be ahead of ours."""
_LONGEST_KEPT_DAYS = 3650
"""The most that RecordRetentionDays allows."""

_NEEDED = ("state", "model", "source", "name", "created_at", "updated_at")


class ListedJob(TypedDict):
    """A job as the index shows it. Times are Unix seconds."""

    job_id: str
    state: State
    model: str
    source: str
    name: str
    metadata: dict[str, str]
    created_at: float
    updated_at: float
    batch: str | None
    row: int | None
    cost_usd: float | None
    error: ErrorFacts | None


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What the listed jobs have in common. None, or no states: anything."""

    states: tuple[State, ...] = ()
    model: str | None = None
    source: str | None = None
    batch: str | None = None
    name_prefix: str | None = None
    created_since: float | None = None
    """Unix seconds, inclusive."""
    created_before: float | None = None
    """Unix seconds, exclusive."""
    updated_since: float | None = None
    """Unix seconds, inclusive."""

    @property
    def span(self) -> tuple[float, float]:
        """The first and the last moment of creation, both inclusive. Times are stored to the millisecond."""
        since = self.created_since or 0.0
        if self.created_before is None:
            return since, LATEST
        return since, math.ceil(round(self.created_before * 1000, 2) - 1) / 1000

    @property
    def plain(self) -> bool:
        """Whether only the time of creation is filtered, which the index does without reading other jobs."""
        others = (self.model, self.source, self.batch, self.name_prefix, self.updated_since)
        return not self.states and all(other is None for other in others)


@dataclass(frozen=True)
class Position:
    """Where a list continues: in this month, after the job (the text of its creation time, and its id) if given."""

    month: str
    created_at: str | None = None
    job_id: str | None = None


@dataclass(frozen=True)
class Page:
    """Some jobs of a list, and where it continues. None: this is the end."""

    jobs: list[ListedJob]
    next: Position | None


class ByMonth:
    """The index. Its key is the month and the time of creation, so one month is one partition."""

    def __init__(self, table: JobTable, kept_days: int = RECORD_KEPT_DAYS) -> None:
        self._table = table
        self._kept_days = max(kept_days, RECORD_KEPT_DAYS)  # of before the parameter was lowered

    def page(self, wanted: Filters, limit: int, position: Position | None = None) -> Page:
        """Up to ``limit`` jobs, newest first, from a position on.

        Without ``created_since``, the list goes back as far as records are kept.
        """
        since, last = wanted.span
        if since > last:
            return Page([], None)
        now = self._table.now()
        oldest = month_of(max(since, now - (_LONGEST_KEPT_DAYS if since else self._kept_days) * _DAY_SECONDS))
        position = position or Position(month_of(min(now + _CLOCKS_APART_SECONDS, last)))
        most, step = (limit, limit) if wanted.plain else (MOST_READ, max(limit, STEP))
        found: list[ListedJob] = []
        read = months = 0
        while read < most and months < MOST_MONTHS:
            answer = self._query(wanted, position, min(step, most - read))
            read += answer["ScannedCount"]
            for item in answer["Items"]:
                found += self._read(item)
                if len(found) == limit:
                    return Page(found, _at(position.month, item))
            if end := answer.get("LastEvaluatedKey"):
                position = _at(position.month, end)
            elif position.month <= oldest:
                return Page(found, None)
            else:
                position = Position(_month_before(position.month))
                months += 1
        return Page(found, position)

    def _query(self, wanted: Filters, position: Position, limit: int) -> "QueryOutputTypeDef":
        since, last = wanted.span
        names = {"#month": "month"}
        values: dict[str, object] = {":month": position.month, ":since": since, ":last": last}
        conditions = []
        for name, value in (("model", wanted.model), ("source", wanted.source), ("batch", wanted.batch)):
            if value is not None:
                names[f"#{name}"], values[f":{name}"] = name, value
                conditions.append(f"#{name} = :{name}")
        if wanted.states:
            names["#state"] = "state"
            values |= {f":state{number}": state.value for number, state in enumerate(wanted.states)}
            conditions.append(f"#state IN ({', '.join(f':state{number}' for number in range(len(wanted.states)))})")
        if wanted.name_prefix:
            names["#name"], values[":name"] = "name", wanted.name_prefix
            conditions.append("begins_with(#name, :name)")
        if wanted.updated_since is not None:
            values[":updated"] = wanted.updated_since
            conditions.append("updated_at >= :updated")
        query: QueryInputTypeDef = {
            "TableName": self._table.name,
            "IndexName": MONTH_INDEX,
            "KeyConditionExpression": "#month = :month AND created_at BETWEEN :since AND :last",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": written_item(values),
            "ScanIndexForward": False,
            "Limit": limit,
        }
        if conditions:
            query["FilterExpression"] = " AND ".join(conditions)
        month, at, job_id = position.month, position.created_at, position.job_id
        if at is not None and job_id is not None:
            query["ExclusiveStartKey"] = {"month": {"S": month}, "created_at": {"N": at}, "job_id": {"S": job_id}}
        return self._table.client.query(**query)

    def _read(self, item: Item) -> Iterator[ListedJob]:
        """The job, unless it has been edited so that it can't be shown. The others must still be listed."""
        record = read_item(item)
        values: dict[str, Any] = {name: value for name, value in record.items() if records.is_usable(name, value)}
        wrong = next((name for name in _NEEDED if values.get(name) is None), None)
        if wrong is None and values["state"] not in set(State):
            wrong = "state"
        if wrong is not None:
            logger().error("a record is skipped", extra={"job_id": record.get("job_id"), "field": wrong})
            return
        yield {
            "job_id": values["job_id"],
            "state": State(values["state"]),
            "model": values["model"],
            "source": values["source"],
            "name": values["name"],
            "metadata": values.get("metadata") or {},
            "created_at": values["created_at"],
            "updated_at": values["updated_at"],
            "batch": values.get("batch"),
            "row": values.get("row"),
            "cost_usd": values.get("cost_usd"),
            "error": values.get("error"),
        }


def _at(month: str, item: Item) -> Position:
    return Position(month, item["created_at"]["N"], item["job_id"]["S"])


def _month_before(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year - 1}-12" if number == 1 else f"{year}-{number - 1:02}"


@cache
def by_month() -> ByMonth:
    """The stack's index."""
    return ByMonth(job_table(), settings().record_retention_days)
