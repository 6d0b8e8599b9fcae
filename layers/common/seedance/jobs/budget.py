"""The day's budget: a job's reservation, its settlement, and the writes that book them. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from seedance.aws import checks
from seedance.aws.attributes import written_item
from seedance.aws.table import IN_FLIGHT, READING, day_key
from seedance.jobs.job import Job, ParameterValues

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import UpdateTypeDef

    from seedance.jobs.store import JobChanges

MOST_A_DAY_USD = 1e9
"""More than any day can cost."""

Estimate = Callable[[str, ParameterValues], float]
"""The estimated cost of a video in USD, from its model and parameters (jobs.bills)."""


@dataclass(frozen=True)
class Booking:
    """A booking in a day's budget, written in the same transaction as the job's change.

    Amounts are in USD. ``reserved`` opens a reservation; ``settled`` and ``released`` close one of the amount
    ``closes``. The booking is refused if the day would exceed ``limit``. ``lease`` is 1 to add the job to the count of
    jobs in progress, -1 to remove it. A lease of 1 is refused if ``max_in_flight`` jobs are in progress.
    """

    day: str
    reserved: float = 0.0
    closes: float = 0.0
    settled: float = 0.0
    released: float = 0.0
    limit: float | None = None
    lease: int = 0
    max_in_flight: int | None = None


@dataclass(frozen=True)
class Day:
    """A day's bookings in USD. ``committed`` is the open reservations plus what is settled."""

    day: str
    reserved: float = 0.0
    settled: float = 0.0
    released: float = 0.0
    committed: float = 0.0


def day_of(moment: float) -> str:
    """The UTC day of a Unix time, such as ``2026-11-20``."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def month_of(moment: float) -> str:
    """The UTC month of a Unix time, such as ``2026-11``: a job's part of the index ``by_month``."""
    return day_of(moment)[:-3]


def read_day(day: str, record: Mapping[str, object]) -> tuple[Day, list[str]]:
    """A day's bookings from its item, and the names of the invalid amounts in it, which count as 0."""
    names = [of.name for of in fields(Day) if of.name in record and of.name != "day"]
    amounts = {name: checks.number(record[name], -MOST_A_DAY_USD, MOST_A_DAY_USD) for name in names}
    return Day(day, **{name: value for name, value in amounts.items() if value is not None}), [
        name for name, value in amounts.items() if value is None
    ]


def reservation(
    job: Job, now: float, estimate: Estimate, *, limit: float | None = None, max_in_flight: int | None = None
) -> "tuple[Booking | None, JobChanges]":
    """The booking that reserves the job's estimate in today's budget, and the fields for its record.

    Both are empty if the job already has a reservation, or its request is settled. Then ``estimate`` is not called.
    """
    if job.reserved_usd is not None or job.settled_usd is not None:
        return None, {}
    usd = estimate(job.model, job.parameters)
    day = day_of(now)
    booking = Booking(day, reserved=usd, limit=limit, lease=1, max_in_flight=max_in_flight)
    return booking, {"reserved_usd": usd, "reserved_day": day}


def settlement(job: Job, cost: float | None) -> "tuple[Booking | None, JobChanges]":
    """The booking that settles ``cost`` for a job's request (None: releases it), and the fields for its record.

    Only the difference to what is already settled is booked, because a job may end more than once.
    """
    held = job.reserved_usd or 0.0
    due = 0.0 if cost is None else cost - (job.settled_usd or 0.0)
    if job.reserved_day is None or (job.reserved_usd is None and not due):
        return None, {}
    lease = 0 if job.reserved_usd is None else -1
    booking = Booking(job.reserved_day, closes=held, settled=due, released=held if cost is None else 0.0, lease=lease)
    facts: JobChanges = {"reserved_usd": None}
    if cost is not None:
        booked = round(job.settled_days.get(job.reserved_day, 0.0) + due, 6)
        facts |= {"settled_usd": cost, "settled_days": {**job.settled_days, job.reserved_day: booked}}
    return booking, facts


def day_update(table: str, booking: Booking) -> "UpdateTypeDef":
    """The update of the day's item that books a booking, as part of a transaction."""
    amounts = {
        "reserved": booking.reserved,
        "settled": booking.settled,
        "released": booking.released,
        "committed": booking.reserved - booking.closes + booking.settled,
    }
    values: dict[str, object] = {f":{name}": round(amount, 6) for name, amount in amounts.items()}
    update: UpdateTypeDef = {
        "TableName": table,
        "Key": {"job_id": {"S": day_key(booking.day)}},
        "UpdateExpression": "ADD " + ", ".join(f"{name} :{name}" for name in amounts),
    }
    if booking.limit is not None:
        # A day with invalid amounts has no room. `committed` exists as soon as anything is booked, and is never below
        # 0 except by rounding. Without this check, an amount of -1000 would allow spending that much more.
        right = ["attribute_type(committed, :number)", "committed >= :least", "committed <= :room"]
        for name in ("reserved", "settled", "released"):  # otherwise nothing could be added to them
            right.append(f"(attribute_not_exists({name}) OR attribute_type({name}, :number))")
        values |= {":number": "N", ":least": -0.01, ":room": round(booking.limit - booking.reserved, 6)}
        update["ConditionExpression"] = f"attribute_not_exists(job_id) OR ({' AND '.join(right)})"
    update["ExpressionAttributeValues"] = written_item(values)
    return update


def lease_update(table: str, booking: Booking) -> "UpdateTypeDef":
    """The update of the count of videos in progress for a booking, as part of a transaction."""
    values: dict[str, object] = {":one": booking.lease}
    update: UpdateTypeDef = {
        "TableName": table,
        "Key": {"job_id": {"S": IN_FLIGHT}},
        # A reading of reconcile's counts only as long as nothing changes (jobs.in_flight).
        "UpdateExpression": f"ADD held :one REMOVE {READING}",
    }
    if booking.lease > 0 and booking.max_in_flight is not None:
        # If the count is not a number, nothing is allowed until reconcile has counted again.
        update["ConditionExpression"] = "attribute_not_exists(held) OR (attribute_type(held, :number) AND held < :most)"
        values |= {":number": "N", ":most": booking.max_in_flight}
    update["ExpressionAttributeValues"] = written_item(values)
    return update
