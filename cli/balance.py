"""A day's balance: compares what the jobs booked with what the provider charged, according to its history."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from seedance.jobs import catalogue
from seedance.jobs.budget import Day
from seedance.jobs.job import UNDER_WAY, Job, State
from seedance.jobs.prices import PRICES_OF
from seedance.provider.matching import is_another_model

from cli.asking import history
from cli.target import Target

if TYPE_CHECKING:
    from seedance.upkeep.questions import ShownRequest

_ALL = 100_000
_CENT = 0.005


@dataclass(frozen=True)
class Ledger:
    """A UTC day's balance. The first three lists must be empty once the day's jobs have ended."""

    day: Day
    charged_usd: float
    """What the provider charged for the day's requests of our models, according to its history."""
    requests: int
    duplicates: list[str]
    """Jobs that bought several videos, and requests that several jobs own."""
    orphans: list[str]
    """Requests at the provider that no job owns. Failed requests do not count."""
    unreconciled: list[str]
    """Jobs of the day that have not ended, and amounts that differ."""
    paid_again: list[str]
    """Requests that were billed although a person had their job submitted again: paid, but with a known reason."""
    paid_again_usd: float

    @property
    def balanced(self) -> bool:
        """Whether the first three lists are empty. ``paid_again`` does not count: a person decided to pay again."""
        return not (self.duplicates or self.orphans or self.unreconciled)


def ledger(target: Target, day: date) -> Ledger:
    """Balance a day: what was reserved, settled and released, compared with the provider's history."""
    start = datetime.combine(day, datetime.min.time(), UTC)
    since, until = start.timestamp(), (start + timedelta(days=1)).timestamp()
    rows = [
        row
        for slug in catalogue.MODELS
        for row in history(target, slug, since, until - 1)
        if not is_another_model(row["model"], slug)
        and (row["created_at"] is None or since <= row["created_at"] < until)
    ]
    listed = [one for state in State for one in target.jobs.oldest(state, limit=_ALL, since=since)]
    jobs = [job for one in listed if (job := target.jobs.get(one.job_id))]
    # A row whose model's name says nothing may be returned for two models.
    return balance(target.jobs.day(day.isoformat()), jobs, list({row["request_id"]: row for row in rows}.values()))


def balance(day: Day, jobs: list[Job], rows: "list[ShownRequest]") -> Ledger:
    """The balance of a day, from its bookings, the jobs that changed since it began, and the history's rows."""
    made = [row for row in rows if row["status"] != "FAILED"]  # a request that failed cost nothing
    earlier = {request: job.job_id for job in jobs for request in job.earlier_request_ids}
    again = [row for row in made if row["request_id"] in earlier]
    owners = Counter(request for job in jobs for request in job.left_behind(None))
    costs = {row["request_id"]: row["cost_usd"] for row in rows if row["cost_usd"] is not None}
    return Ledger(
        day,
        charged_usd=round(sum(costs.values()), 4),
        requests=len(rows),
        duplicates=_duplicates(owners, [row for row in made if row not in again]),
        orphans=[f"request {row['request_id']} ({row['status']})" for row in made if row["request_id"] not in owners],
        unreconciled=[*_still_open(day, jobs), *_differing_sums(day, jobs), *_differing_prices(jobs, costs)],
        paid_again=[f"request {row['request_id']} of job {earlier[row['request_id']]}" for row in again],
        paid_again_usd=round(sum(row["cost_usd"] or 0.0 for row in again), 4),
    )


def drifts(target: Target) -> list[str]:
    """The settings for which the provider now charges clearly more than it has published."""
    return [
        f"{slug}, {setting}: {percent:.1f}% above the price published on {PRICES_OF}"
        for slug in catalogue.MODELS
        for setting, percent in sorted(target.jobs.bills.drifts(slug).items())
    ]


def _duplicates(owners: Counter[str], made: "list[ShownRequest]") -> list[str]:
    """Requests that several jobs own, and jobs that bought several videos without a person's decision."""
    bought = Counter(row["job_id"] for row in made if row["job_id"])
    return [
        *(f"request {request} belongs to {number} jobs" for request, number in owners.items() if number > 1),
        *(f"job {job_id} bought {number} videos" for job_id, number in bought.items() if number > 1),
    ]


def _still_open(day: Day, jobs: list[Job]) -> list[str]:
    """The day's jobs that have not ended."""
    return [
        f"job {job.job_id} is {job.state.value}"
        for job in jobs
        if job.reserved_day == day.day and job.state in UNDER_WAY
    ]


def _differing_sums(day: Day, jobs: list[Job]) -> list[str]:
    """Amounts that are booked in the day's item but not on its jobs."""
    reserved = sum(job.reserved_usd or 0.0 for job in jobs if job.reserved_day == day.day)
    settled = sum(job.settled_days.get(day.day, 0.0) for job in jobs)
    stray, strange = day.committed - day.settled - reserved, day.settled - settled
    return [
        *([f"${stray:.2f} is reserved by no job"] if abs(stray) > _CENT else []),
        *([f"${strange:.2f} is settled for no job"] if abs(strange) > _CENT else []),
    ]


def _differing_prices(jobs: list[Job], costs: dict[str, float]) -> list[str]:
    """Jobs that have ended and settled a different price than the provider charged."""
    found = []
    for job in jobs:
        charged, settled = costs.get(job.request_id or ""), job.settled_usd or 0.0
        if job.state not in UNDER_WAY and charged is not None and abs(settled - charged) > _CENT:
            guess = " (its estimate)" if job.settled_usd is not None and job.cost_usd is None else ""
            found.append(f"job {job.job_id} settled ${settled:.2f}{guess}; the provider charged ${charged:.2f}")
    return found
