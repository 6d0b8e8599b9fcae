"""The day's budget: what a video will probably cost, what is booked for it, and the writes that book it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from seedance.aws import checks
from seedance.aws.attributes import written_item
from seedance.aws.table import IN_FLIGHT, day_key
from seedance.jobs import catalogue
from seedance.jobs.job import Job

PRICES_OF = "2026-11-20"
"""When the published averages in the catalogue were read; a model that got dearer settles above its estimate."""

_RESOLUTION_FACTOR = {"480p": 0.5, "720p": 1.0, "1080p": 2.25}
"""Relative number of pixels, to 720p: what the provider's averages are taken to be for."""

_AVERAGE_SECONDS_OF_VIDEO = 5

MOST_A_DAY_USD = 1e9
"""More than a day can cost."""


@dataclass(frozen=True)
class Entry:
    """A booking in a day's budget, written together with the job's own change or not at all.

    Amounts in USD. ``reserved`` opens a reservation; ``settled`` and ``released`` close one of ``closes``.
    ``limit`` refuses the booking when the day would be above it. ``lease`` is 1 to count the job among those
    under way, -1 to count it out; ``max_in_flight`` refuses the first when as many are under way.
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
    """A day's budget as booked, in USD. ``committed`` is what is reserved and open, plus what is settled."""

    day: str
    reserved: float = 0.0
    settled: float = 0.0
    released: float = 0.0
    committed: float = 0.0


def estimate_usd(average_usd: float, parameters: dict[str, Any]) -> float:
    """A reservation for one video, in USD: the published average, scaled by length and pixels.

    The provider publishes one average a model and says that costs vary with duration and resolution. The
    estimate only has to be of the right size: it is replaced by the provider's own ``cost`` at the end. A
    duration of -1 (automatic) is taken for 5 s, the models' default.
    """
    duration = parameters.get("duration", _AVERAGE_SECONDS_OF_VIDEO)
    length = max(1, duration) if duration != -1 else _AVERAGE_SECONDS_OF_VIDEO
    pixels = _RESOLUTION_FACTOR.get(str(parameters.get("resolution", "720p")), 1.0)
    return round(average_usd * length / _AVERAGE_SECONDS_OF_VIDEO * pixels, 4)


def day_of(moment: float) -> str:
    """The UTC day of a Unix time, as the ledger names it: ``2026-11-20``."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def read_day(day: str, record: Mapping[str, Any]) -> tuple[Day, list[str]]:
    """A day's budget from its item, and the names of the amounts in it that can not be; they count as 0."""
    names = [of.name for of in fields(Day) if of.name in record and of.name != "day"]
    amounts = {name: checks.number(record[name], -MOST_A_DAY_USD, MOST_A_DAY_USD) for name in names}
    return Day(day, **{name: value for name, value in amounts.items() if value is not None}), [
        name for name, value in amounts.items() if value is None
    ]


def reservation(
    job: Job, now: float, *, limit: float | None = None, max_in_flight: int | None = None
) -> tuple[Entry | None, dict[str, Any]]:
    """What books the job's probable cost on today's budget and counts it in, and what its record then says.

    Nothing when the job has a reservation already, or its request is settled.
    """
    if job.reserved_usd is not None or job.settled_usd is not None:
        return None, {}
    estimate = estimate_usd(catalogue.find(job.model).average_usd, job.parameters)
    day = day_of(now)
    entry = Entry(day, reserved=estimate, limit=limit, lease=1, max_in_flight=max_in_flight)
    return entry, {"reserved_usd": estimate, "reserved_day": day}


def settlement(job: Job, cost: float | None) -> tuple[Entry | None, dict[str, Any]]:
    """What books ``cost`` for a job's request (None releases its reservation), and what its record then says.

    Only what differs from what is settled already is booked: a job may end more than once.
    """
    held = job.reserved_usd or 0.0
    due = 0.0 if cost is None else cost - (job.settled_usd or 0.0)
    if job.reserved_day is None or (job.reserved_usd is None and not due):
        return None, {}
    lease = 0 if job.reserved_usd is None else -1
    entry = Entry(job.reserved_day, closes=held, settled=due, released=held if cost is None else 0.0, lease=lease)
    facts: dict[str, Any] = {"reserved_usd": None}
    if cost is not None:
        booked = round(job.settled_days.get(job.reserved_day, 0.0) + due, 6)
        facts |= {"settled_usd": cost, "settled_days": {**job.settled_days, job.reserved_day: booked}}
    return entry, facts


def booking(table: str, entry: Entry) -> dict[str, Any]:
    """The update of the day's item that books an entry, as a part of a transaction."""
    amounts = {
        "reserved": entry.reserved,
        "settled": entry.settled,
        "released": entry.released,
        "committed": entry.reserved - entry.closes + entry.settled,
    }
    values = {f":{name}": round(amount, 6) for name, amount in amounts.items()}
    update: dict[str, Any] = {
        "TableName": table,
        "Key": {"job_id": {"S": day_key(entry.day)}},
        "UpdateExpression": "ADD " + ", ".join(f"{name} :{name}" for name in amounts),
        "ExpressionAttributeValues": written_item(values),
    }
    if entry.limit is not None:
        # A day that can't be right has no room: `committed` is there as soon as anything is booked, and is never
        # below 0 but for rounding. Without this an amount of -1000 would be leave to spend.
        right = ["attribute_type(committed, :number)", "committed >= :least", "committed <= :room"]
        for name in ("reserved", "settled", "released"):  # or else nothing could be added to them
            right.append(f"(attribute_not_exists({name}) OR attribute_type({name}, :number))")
        room = {":number": "N", ":least": -0.01, ":room": round(entry.limit - entry.reserved, 6)}
        update["ConditionExpression"] = f"attribute_not_exists(job_id) OR ({' AND '.join(right)})"
        update["ExpressionAttributeValues"] |= written_item(room)
    return update


def lease(table: str, entry: Entry) -> dict[str, Any]:
    """The update of the count of videos under way that an entry makes, as a part of a transaction."""
    update: dict[str, Any] = {
        "TableName": table,
        "Key": {"job_id": {"S": IN_FLIGHT}},
        "UpdateExpression": "ADD held :one",
        "ExpressionAttributeValues": written_item({":one": entry.lease}),
    }
    if entry.lease > 0 and entry.max_in_flight is not None:
        # What is no number counts as full until reconcile has counted anew.
        update["ConditionExpression"] = "attribute_not_exists(held) OR (attribute_type(held, :number) AND held < :most)"
        update["ExpressionAttributeValues"] |= written_item({":number": "N", ":most": entry.max_in_flight})
    return update
