"""The job table in DynamoDB. Every write is conditional, so that of two concurrent writes only one succeeds."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Unpack

from botocore.exceptions import ClientError

from seedance.aws import fields, writes
from seedance.aws.attributes import Record, read_item, written_item
from seedance.aws.job_table import JobTable, dropped, job_table
from seedance.aws.table import REQUEST_INDEX, STATE_INDEX, day_key, request_key
from seedance.config import settings
from seedance.errors import (
    AllUnderWay,
    BadRecord,
    Conflict,
    DearerThanBudget,
    OverBudget,
    RequestTaken,
    SeedanceError,
)
from seedance.jobs import budget, lasting, timeline
from seedance.jobs.bills import Bills
from seedance.jobs.budget import Booking, Day, month_of, settlement
from seedance.jobs.job import (
    RECORD_KEPT_DAYS,
    TRANSITIONS,
    ErrorFacts,
    ImageFacts,
    Job,
    ResultFacts,
    Retry,
    State,
    VideoFacts,
)
from seedance.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import PutTypeDef, TransactWriteItemTypeDef, UpdateTypeDef

PAGE = 200
"""The page size when all jobs of a state are read."""

MOST_COUNTED = 10_000
"""How many jobs of a state are counted at most."""


class JobChanges(ResultFacts, total=False):
    """The fields of a job that a write may change, with the types of Job. None removes one."""

    image: ImageFacts | None
    updated_at: float
    expected_seconds: float
    sigma: float
    attempts: int
    turn_at: float | None
    executions: int
    reserved_usd: float | None
    reserved_day: str | None
    held_day: str | None
    settled_usd: float | None
    settled_days: dict[str, float]
    resubmitted: bool
    submitted_at: float | None
    earlier_request_ids: list[str]
    gone_polls: int
    result_url: str | None
    result_at: float | None
    copied_again: bool
    answer: str | None
    video: VideoFacts | None
    error: ErrorFacts | None
    retry: Retry | None
    notified_at: float | None
    link_token: str | None
    link_until: float | None


class JobStore:
    """Jobs by id, and by state through the index ``by_state``, the days' bookings, and the bills learned from them.

    Reads by id are strongly consistent, because decisions about money must not use stale data. DynamoDB deletes a new
    job's record after ``kept_days``. A finished video gets a lasting link for ``link_days``; 0 means none.
    """

    def __init__(self, table: JobTable, kept_days: int = RECORD_KEPT_DAYS, link_days: int = 0) -> None:
        self._table = table
        self._kept_seconds = kept_days * 24 * 3600
        self._link_days = link_days
        self.bills = Bills(table)

    def get(self, job_id: str) -> Job | None:
        """The job, or None."""
        record = self._table.get(job_id)
        if record is None or ("state" not in record and "#" in job_id):
            return None  # another kind of item
        return _job(record)

    def create(self, job: Job) -> bool:
        """Write a new job. Returns False if its id exists, because the same event was delivered twice."""
        now = self._table.now()
        job.created_at = job.created_at or now
        job.month = month_of(job.created_at)
        job.updated_at = now
        job.entered = {job.state.value: now}
        job.expires_at = int(now) + self._kept_seconds
        return self._table.put_new(job.to_record())

    def move(self, job: Job, target: State, *, booking: Booking | None = None, **values: Unpack[JobChanges]) -> Job:
        """Move the job from the state in which it was read to another, and write ``values`` with it.

        A ``booking`` is booked in the day's budget in the same transaction, and the job becomes the owner of a new
        ``request_id``. Returns the updated job.
        Raises Conflict if it has left that state, or has entered it again, since it was read; RequestTaken if the
        request belongs to another job; OverBudget if the booking does not fit in the day's budget; DearerThanBudget if
        it does not fit in any day; AllUnderWay if the maximum number of videos is in progress; ValueError for a
        transition that the table in job.py does not have.
        """
        if target not in TRANSITIONS[job.state]:
            raise ValueError(f"a job can't move from {job.state} to {target}")
        if booking and booking.limit is not None and booking.reserved > booking.limit:
            raise DearerThanBudget(f"{booking.reserved} exceeds a whole day's budget of {booking.limit}")
        update = self._update(job, values, target)
        shared = lasting.share_part(self._table.name, job, values)
        return self._written(job, update, booking, values.get("request_id"), also=shared)

    def share(self, job: Job) -> Job:
        """Give a COMPLETED job's video a new lasting link instead of the one that it has, if any.

        Raises Conflict if the job's link has changed in the meantime.
        """
        values = lasting.new_share(self._table.now(), self._link_days)
        part = lasting.share_part(self._table.name, job, values)
        return self._linked(job, values, part)

    def unshare(self, job: Job) -> Job:
        """Revoke the job's lasting link, for good. Raises Conflict if it has changed in the meantime."""
        if job.link_token is None:
            return job
        part = lasting.unshare_part(self._table.name, job.link_token, self._table.now())
        return self._linked(job, {"link_token": None, "link_until": None}, part)

    def _linked(self, job: Job, values: JobChanges, part: "list[TransactWriteItemTypeDef]") -> Job:
        old: Record = {":old": job.link_token} if job.link_token else {}
        same = "link_token = :old" if old else "attribute_not_exists(link_token)"
        return self._written(job, self._update(job, values, also=same, extra=old), also=part)

    def close(self, job: Job, target: State, *, made: bool = False, **values: Unpack[JobChanges]) -> Job:
        """``move`` to a state without a reservation, and book its end.

        A reported cost (in ``values`` or on the job) is settled. Otherwise the reservation is released, because the
        provider only bills what it delivered. ``made``: the provider made the video, whatever the target state is. A
        COMPLETED job's lasting link is written in the same transaction.
        """
        reported = cost = values.get("cost_usd", job.cost_usd)
        if cost is None and (made or target is State.COMPLETED):
            cost = job.reserved_usd  # delivered without a price: the reservation is the best estimate
        booking, facts = settlement(job, cost)
        there = target is State.COMPLETED and (values.get("video") or job.video)
        share: JobChanges = lasting.new_share(self._table.now(), self._link_days) if there else {}
        changes: JobChanges = {**facts, **share, **values}
        closed = self.move(job, target, booking=booking, **changes)
        # A job that is held and completed later is closed twice, at the same cost.
        if reported is not None and reported != job.settled_usd:
            self.bills.learn(job.model, job.parameters, reported)
        return closed

    def price(self, job: Job, cost_usd: float) -> Job:
        """Write the cost of a job that ended without a price, and book the difference to its settlement.

        Both happen in one transaction, and only once. Raises Conflict if the job has a price, or has changed its state.
        """
        booking, facts = settlement(job, cost_usd)
        update = self._update(job, {"cost_usd": cost_usd, **facts}, also="attribute_not_exists(cost_usd)")
        priced = self._written(job, update, booking)
        self.bills.learn(job.model, job.parameters, cost_usd)
        return priced

    def note(self, job: Job, *, unchanged: str | None = None, **values: Unpack[JobChanges]) -> Job:
        """Write fields of the job without changing its state; None removes a field.

        Raises Conflict like ``move``: what was decided for one state says nothing about the next. ``unchanged`` names
        a field that must also be as it was read.
        """
        also: str | None = None
        extra: Record = {}
        if unchanged is not None:
            read = getattr(job, unchanged)
            also = f"attribute_not_exists(#{unchanged})" if read is None else f"#{unchanged} = :unchanged"
            extra = {} if read is None else {":unchanged": read}
        return self._written(
            job, self._update(job, values, also=also, extra=extra), request_id=values.get("request_id")
        )

    def owner_of(self, request_id: str) -> str | None:
        """The id of the job that owns a provider request; None if no job does. Strongly consistent.

        A job owns a request from the write that added it to the job's record, even after the job abandons it. Records
        of releases that did not store owners are found through the index, which may lag by a second.
        """
        if record := self._table.get(request_key(request_id)):
            return str(record["owner"])
        return next(iter(self.jobs_of_request(request_id)), None)

    def jobs_of_request(self, request_id: str) -> list[str]:
        """The ids of the jobs whose records have a request, read from the index, which may lag by a second."""
        if not fields.is_table_key(request_id):
            return []
        answer = self._table.client.query(
            TableName=self._table.name,
            IndexName=REQUEST_INDEX,
            KeyConditionExpression="request_id = :id",
            ExpressionAttributeValues={":id": {"S": request_id}},
        )
        return [item["job_id"]["S"] for item in answer["Items"]]

    def newest(self, state: State, limit: int = 50) -> list[Job]:
        """Up to ``limit`` jobs of a state, latest change first, with only the index's attributes."""
        return self._by_state(state, newest_first=True, limit=limit)

    def oldest(self, state: State, limit: int = 1000, since: float = 0.0) -> list[Job]:
        """Up to ``limit`` jobs of a state that changed after ``since``, earliest change first."""
        return self._by_state(state, newest_first=False, limit=limit, since=since)

    def each(self, state: State, since: float = 0.0) -> Iterator[Job]:
        """Every job of a state that changed after ``since``, earliest change first, read page by page."""
        return self._pages(state, newest_first=False, since=since, limits={"PageSize": PAGE})

    def number(self, state: State) -> int:
        """How many jobs are in a state, by the index. From MOST_COUNTED on, no more are counted."""
        pages = self._table.client.get_paginator("query").paginate(
            TableName=self._table.name,
            IndexName=STATE_INDEX,
            KeyConditionExpression="#state = :state",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues=written_item({":state": state.value}),
            Select="COUNT",
        )
        counted = 0
        for page in pages:
            counted += page["Count"]
            if counted >= MOST_COUNTED:
                break
        return min(counted, MOST_COUNTED)

    def index(self, job: Job) -> bool:
        """Add a job of an earlier release to the index ``by_month``. Returns False if there was nothing to do.

        Nothing else is written, not even the time of the change, and nothing at all if the job is in the index, was
        deleted, or was created at another time than ``job`` says.
        """
        try:
            writes.insist(
                lambda: self._table.client.update_item(
                    TableName=self._table.name,
                    Key={"job_id": {"S": job.job_id}},
                    UpdateExpression="SET #month = :month",
                    ConditionExpression="attribute_not_exists(#month) AND created_at = :created_at",
                    ExpressionAttributeNames={"#month": "month"},
                    ExpressionAttributeValues=written_item(
                        {":month": month_of(job.created_at), ":created_at": job.created_at}
                    ),
                ),
                self._table.clock,
            )
        except ClientError as error:
            if not writes.failed_condition(error):
                raise
            return False
        return True

    def day(self, day: str) -> Day:
        """A day's bookings so far; zeros if there are none."""
        found, bad = budget.read_day(day, self._table.get(day_key(day)) or {})
        for name in bad:
            dropped(day_key(day), name)
        return found

    def _by_state(self, state: State, *, newest_first: bool, limit: int, since: float = 0.0) -> list[Job]:
        limits = {"MaxItems": limit, "PageSize": min(limit, 1000)}
        return list(self._pages(state, newest_first=newest_first, since=since, limits=limits))

    def _pages(self, state: State, *, newest_first: bool, since: float, limits: Any) -> Iterator[Job]:
        pages = self._table.client.get_paginator("query").paginate(
            TableName=self._table.name,
            IndexName=STATE_INDEX,
            KeyConditionExpression="#state = :state AND updated_at > :since",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues=written_item({":state": state.value, ":since": since}),
            ScanIndexForward=not newest_first,
            PaginationConfig=limits,
        )
        blank = {"transport": "", "folder": ""}
        for page in pages:
            for item in page["Items"]:
                try:
                    yield _job({**blank, **read_item(item)})
                except BadRecord as error:  # the other jobs must still be returned
                    facts = {"job_id": error.job_id, "field": error.field, "reason": str(error)}
                    logger().error("a record is skipped", extra=facts)

    def _update(
        self,
        job: Job,
        values: JobChanges,
        target: State | None = None,
        *,
        also: str | None = None,
        extra: Record | None = None,
    ) -> "UpdateTypeDef":
        """The update of a job that is still in the state in which it was read, and has not left it in between.

        ``target``: the state that it moves to. ``also``: another condition, with its values in ``extra``.
        """
        now = self._table.now()
        changes: dict[str, object] = {**values, "updated_at": now}
        if target is not None:  # only this entry of the map is written, and the times of other states are kept
            changes |= {"state": target.value, f"entered.{target.value}": now}
        if job.month is None and job.created_at > 0:  # of an earlier release: from now on, by_month finds it
            changes["month"] = month_of(job.created_at)
        if (url := values.get("result_url")) is not None and url != job.result_url:
            changes = {"result_at": now, "copied_again": False, **changes}
        if (error := values.get("error")) is not None:
            changes["past_reasons"] = timeline.with_reason(job, now, target or job.state, error)
        conditions = ["#state = :from"]
        read: Record = {":from": job.state.value, **(extra or {})}
        if (entered := job.entered.get(job.state.value)) is not None:
            conditions.append(f"#entered.#{job.state.value} = :entered")
            read[":entered"] = entered
        conditions += [also] if also else []
        return writes.update(self._table.name, job.job_id, changes, " AND ".join(conditions), read)

    def _written(
        self,
        job: Job,
        update: "UpdateTypeDef",
        booking: Booking | None = None,
        request_id: str | None = None,
        also: "Sequence[TransactWriteItemTypeDef]" = (),
    ) -> Job:
        """Write a job's change, its booking, its new request and its link in one transaction. Returns the new job."""
        claim = request_id if request_id != job.request_id else None
        moved_on = Conflict(f"job {job.job_id} is no longer {job.state}")
        if booking is None and not claim and not also:
            return self._updated(update, moved_on)
        parts: list[tuple[TransactWriteItemTypeDef, SeedanceError]] = [({"Update": update}, moved_on)]
        counts: list[TransactWriteItemTypeDef] = []
        if booking:
            counts.append({"Update": budget.day_update(self._table.name, booking)})
            parts.append((counts[0], OverBudget("the day's budget is used up")))
            if booking.lease:
                counts.append({"Update": budget.lease_update(self._table.name, booking)})
                parts.append((counts[1], AllUnderWay(f"the maximum of {booking.max_in_flight} videos is in progress")))
        if claim:
            taken = RequestTaken(f"request {claim} does not belong to job {job.job_id} but to another job")
            parts.append(({"Put": self._claim(job, claim)}, taken))
        parts += [(part, moved_on) for part in also]
        # If nothing can be added to the day's item or the count, it is left out: a paid video must not wait for it.
        for left_out in ([], counts[:1], counts[1:], counts):
            try:
                self._transact([part for part in parts if part[0] not in left_out])
                break
            except ClientError as error:
                if not writes.is_invalid(error) or left_out == counts or (booking and booking.limit is not None):
                    raise
                logger().error(
                    "not booked", extra={"job_id": job.job_id, "booking": repr(booking), "reason": str(error)}
                )
        written = self.get(job.job_id)
        if written is None:
            raise Conflict(f"job {job.job_id} no longer exists")
        return written

    def _transact(self, parts: "list[tuple[TransactWriteItemTypeDef, SeedanceError]]") -> None:
        """Write all parts in one transaction. Raises the error of the first part whose condition fails."""
        try:
            writes.insist(
                lambda: self._table.client.transact_write_items(TransactItems=[part for part, _ in parts]),
                self._table.clock,
            )
        except ClientError as error:
            for reason, (_, refusal) in zip(writes.reasons(error), parts, strict=False):
                if reason == writes.FAILED_CONDITION:
                    raise refusal from error
            raise

    def _updated(self, update: "UpdateTypeDef", moved_on: Conflict) -> Job:
        update["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            client, clock = self._table.client, self._table.clock
            answer = writes.insist(lambda: client.update_item(**update, ReturnValues="ALL_NEW"), clock)
        except ClientError as error:
            if not writes.failed_condition(error):
                raise
            if not writes.is_ours(error, update):
                raise moved_on from error
            return _job(writes.record_found(error))
        return _job(read_item(answer["Attributes"]))

    def _claim(self, job: Job, request_id: str) -> "PutTypeDef":
        """The item that makes a job the owner of a request. It expires with the job's record."""
        expires_at = job.expires_at or int(self._table.clock()) + self._kept_seconds
        item = {"job_id": request_key(request_id), "owner": job.job_id, "expires_at": expires_at}
        return {
            "TableName": self._table.name,
            "Item": written_item(item),
            "ConditionExpression": "attribute_not_exists(job_id) OR #owner = :me",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": written_item({":me": job.job_id}),
        }


@cache
def jobs() -> JobStore:
    """The stack's job table."""
    return JobStore(job_table(), settings().record_retention_days, settings().video_link_days)


def _job(record: Record) -> Job:
    return Job.from_record(record, lambda name: dropped(str(record["job_id"]), name))
