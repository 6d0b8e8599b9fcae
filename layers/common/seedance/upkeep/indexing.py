"""Indexing: add the jobs of earlier releases to the index by_month, which GET /videos reads.

CloudFormation creates an index from what the items have, and items of earlier releases have no month. Every job that
changes gets one, so after one pass over all states no job is missing.
"""

from dataclasses import dataclass

from seedance.clock import CLOCK, Clock
from seedance.jobs.job import State
from seedance.jobs.store import JobStore
from seedance.upkeep.holding import WORK_SECONDS


@dataclass(frozen=True)
class Indexed:
    """What one call did: how many jobs it added, and where the next call continues, if there is more to do."""

    number: int
    more: bool
    step: int = 0
    """The state, by its place in the order of states."""
    since: float = 0.0
    """Later than this Unix time of the last change."""


@dataclass(frozen=True)
class Indexing:
    """The use case and its dependencies."""

    store: JobStore
    clock: Clock = CLOCK

    def run(self, step: int = 0, since: float = 0.0) -> Indexed:
        """Add jobs for a while, from a place on. It may be repeated: what is in the index is left as it is."""
        until, number = self.clock() + WORK_SECONDS, 0
        for place, state in list(enumerate(State))[step:]:
            for job in self.store.each(state, since):
                if self.clock() > until:
                    return Indexed(number, more=True, step=place, since=job.updated_at - 0.0005)  # to the millisecond
                number += self.store.index(job)
            since = 0.0
        return Indexed(number, more=False)
