"""Traffic without a calendar, as a peer for the pacer."""

from collections.abc import Callable
from dataclasses import dataclass

from seedance.pacing.pacer import NextPoll

from benchmarks.virtual_time import VirtualTime


@dataclass(frozen=True)
class Blind:
    """An alternative without a calendar: submits at once, polls ``first`` seconds later, then every ``step``."""

    clock: VirtualTime
    first: float
    step: float
    max_in_flight: int | None = None

    def submit_turn(self, waited_for: float | None, mean: float) -> float | None:  # noqa: ARG002
        """Submit now, unless the provider gave a time."""
        return waited_for if waited_for is not None and waited_for > self.clock() + 1 else None

    def plan_poll(self, wait: Callable[[float], float], mean: float, **_: bool) -> NextPoll:  # noqa: ARG002
        """Always the same step."""
        return NextPoll(self.step, None)

    def poll_turn(self, slot: int | None) -> None:
        """Poll now."""

    def rate_limited(self, seconds: float | None) -> None:
        """Ignore it."""

    def turn_in(self, seconds: float) -> float:
        """The same as the pacer's."""
        return self.clock() + seconds
