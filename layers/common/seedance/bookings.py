"""What is booked in a day's budget, and what a job's end books there. Pure."""

from dataclasses import dataclass
from typing import Any

from seedance.job import Job


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
