"""`seedance costs`: what was spent, by model, day, source or batch."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

import typer
from rich.text import Text
from seedance.batches.job_states import JOBS_A_READ
from seedance.bounds import shown
from seedance.jobs import records
from seedance.jobs.job import State

from cli import progress, show
from cli.options import OutputsFile, StackName, out
from cli.output import emit, say
from cli.target import CommandError, Target, find

USUAL_DAYS = 30

_FIELDS = ("model", "source", "batch", "settled_days")
_NO_BATCH = "no batch"


class By(StrEnum):
    """What the costs are grouped by."""

    MODEL = "model"
    DAY = "day"
    SOURCE = "source"
    BATCH = "batch"


@dataclass
class Costs:
    """The costs of a period of UTC days, by key: the number of videos and their sum in USD."""

    since: date
    until: date
    by: By
    videos: Counter[str] = field(default_factory=Counter)
    usd: dict[str, float] = field(default_factory=dict)

    def add(self, record: dict[str, Any]) -> None:
        """Add a job's settlements in the period. One that was bought twice has two, perhaps on two days."""
        days = record.get("settled_days")
        if not isinstance(days, dict) or not records.is_usable("settled_days", days):
            return
        counted = set()
        for day, usd in days.items():
            if self.since.isoformat() <= day <= self.until.isoformat() and usd:
                key = day if self.by is By.DAY else str(record.get(self.by.value) or _NO_BATCH)
                self.usd[key] = self.usd.get(key, 0.0) + usd
                counted.add(key)
        self.videos.update(counted)

    def rows(self) -> list[tuple[str, int, float]]:
        """Key, videos and sum: days in order, the others from the most expensive down."""
        keys = sorted(self.usd) if self.by is By.DAY else sorted(self.usd, key=lambda key: (-self.usd[key], key))
        return [(key, self.videos[key], round(self.usd[key], 4)) for key in keys]


def costs(
    *,
    by: Annotated[By, typer.Option(help="What to group the costs by.")] = By.MODEL,
    since: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help=f"The first UTC day; default: {USUAL_DAYS} days ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="The last UTC day; default: today.")] = None,
    stack: StackName = None,
    outputs: OutputsFile = None,
) -> None:
    """Show what was spent, by the provider's prices, or by the estimate where it has not reported one.

    These are the same bookings as in `seedance ledger`. Videos in progress are not included.
    """
    today = datetime.now(UTC).date()
    last = _day("--until", until, today)
    first = _day("--since", since, last - timedelta(days=USUAL_DAYS))
    if first > last:
        raise CommandError(f"--since {first} is after --until {last}")
    found = spent(find(stack, outputs), first, last, by)
    rows = found.rows()
    total = round(sum(usd for _, _, usd in rows), 4)
    emit(
        {
            "since": first.isoformat(),
            "until": last.isoformat(),
            "by": by.value,
            "costs": [{by.value: _key(key), "videos": videos, "usd": usd} for key, videos, usd in rows],
            "total_usd": total,
        }
    )
    if not rows:
        say(f"nothing was spent from {first} to {last} (UTC)")
        return
    table = show.grid(by.value.capitalize(), "Videos", "USD", right=("Videos", "USD"), whole=("Videos", "USD"))
    for key, videos, usd in rows:
        table.add_row(Text(key), f"{videos:,}", f"{usd:,.2f}")
    table.add_row("Total", "", f"{total:,.2f}")
    out.print(table)
    say(f"{first} to {last} (UTC)")


def spent(target: Target, since: date, until: date, by: By) -> Costs:
    """The costs of a period. Jobs that did not change since it began have no settlement in it."""
    begin = datetime.combine(since, datetime.min.time(), UTC).timestamp()
    costs = Costs(since, until, by)
    with progress.working("reading the jobs") as tell:
        read = 0
        for some in _hundreds(_changed(target, begin)):
            for record in target.register.records(some, _FIELDS):
                costs.add(record)
            read += len(some)
            tell(f"reading the jobs: {read:,}")
    return costs


def _changed(target: Target, since: float) -> Iterator[str]:
    """The ids of the jobs that changed after a Unix time, each once: one may change its state meanwhile."""
    seen: set[str] = set()
    for state in State:
        for job in target.jobs.each(state, since):
            if job.job_id not in seen:
                seen.add(job.job_id)
                yield job.job_id


def _hundreds(things: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(things)
    while some := list(islice(rest, JOBS_A_READ)):
        yield some


def _key(key: str) -> str | None:
    return None if key == _NO_BATCH else key


def _day(option: str, text: str | None, usual: date) -> date:
    try:
        return date.fromisoformat(text) if text else usual
    except ValueError:
        raise CommandError(f"{option} must be a day like 2026-11-20, not {shown(text)}") from None
