"""The account's requests of a minute, shared out: a calendar of one-second slots. Pure; times in provider's seconds.

Submits and polls of all jobs count against one limit (``RequestsPerMinute``), and nobody sees the others. So
each books its slot in one calendar before it asks. A window of any 60 s may hold at most the limit; since a
request leaves up to SLACK_SECONDS after its slot, the calendar holds that for SPAN slots.

Submits go first: they take any slot that is left, while polls, which are planned ahead, leave a tenth to
them. How many polls a video may have follows from what the arrivals leave of the limit (``polls_affordable``).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

WINDOW_SECONDS = 60

SLACK_SECONDS = 2
"""How late after its slot's end a request may leave without booking anew: workflow, function start, network."""

SPAN = WINDOW_SECONDS + 1 + SLACK_SECONDS
"""Consecutive slots that may hold the limit: requests of more slots never meet in one window."""

PATIENCE_SECONDS = 3.0
"""A slot that is no further off is waited for in place; to come back later costs more."""

LONGEST_CLOSURE = 2.0 * WINDOW_SECONDS
"""The longest that one 429 keeps everybody from asking."""

ARRIVALS_SECONDS = 150.0
"""Time constant of the submits' moving average: long enough that a burst does not look like a stream.

Simulated at R = 60 beside 90 and 120 s: with those a burst of 60 ends 4 to 13 % later in the mean.
"""

CROWDED_POLLS = 1.1
"""Polls a video while submits are waiting: every poll more would keep one of them out."""

_TURN_REQUESTS = 2
"""Requests that a submit in the queue stands for: itself, and the poll that will find its video."""


@dataclass(frozen=True)
class Calendar:
    """What is booked, from the slot ``first`` on; a slot is a second, numbered since 1970."""

    first: int = 0
    booked: tuple[int, ...] = ()
    closed_until: float = 0.0
    """Nothing is booked before: the provider said so in a 429."""
    last_turn: float = 0.0
    """The turn of the last submit that was told to come back; beyond now, submits are waiting."""
    arrivals: float = 0.0
    """Submits a minute as a moving average, at ``arrivals_at``."""
    arrivals_at: float = 0.0

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The calendar from its item; an empty one from none."""
        values = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
        return cls(**{**values, "booked": tuple(int(number) for number in values.get("booked", ()))})

    def to_record(self) -> dict[str, Any]:
        """The item's attributes."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"booked": list(self.booked)}

    def free(self, at: float, limit: int) -> int:
        """The first slot from ``at`` on that has room, when ``limit`` requests may be in any SPAN slots."""
        slot = math.floor(max(at, self.closed_until))
        counts, offset = self._padded(slot)
        sums = _window_sums(counts)
        while True:
            # Of the windows that hold the slot, the last that is full rules out everything up to its end.
            starts = range(max(0, slot - offset - SPAN + 1), min(slot - offset + 1, len(sums)))
            full = [start for start in starts if sums[start] >= limit]
            if not full:
                return slot
            slot = offset + full[-1] + SPAN

    def book(self, slot: int, now: float) -> Self:
        """With one more request in a slot; what is too old to matter is dropped."""
        first = math.floor(now) - SPAN
        last = max(slot, self.first + len(self.booked) - 1)
        kept = {number: count for number, count in enumerate(self.booked, start=self.first) if number >= first}
        kept[slot] = kept.get(slot, 0) + 1
        return replace(self, first=first, booked=tuple(kept.get(number, 0) for number in range(first, last + 1)))

    def arrived(self, now: float) -> Self:
        """With one more submit in the moving average."""
        return replace(self, arrivals=self.arrivals_now(now) + 60.0 / ARRIVALS_SECONDS, arrivals_at=now)

    def arrivals_now(self, now: float) -> float:
        """Submits a minute, as of now."""
        return self.arrivals * math.exp(-max(0.0, now - self.arrivals_at) / ARRIVALS_SECONDS)

    def queued(self, earliest: float, gap: float) -> Self:
        """With one more submit in the queue, ``gap`` seconds behind the one before; ``last_turn`` is its turn."""
        return replace(self, last_turn=max(self.last_turn + gap, earliest))

    def closed(self, until: float) -> Self:
        """Closed, because the provider said that its limit is reached."""
        return replace(self, closed_until=max(self.closed_until, until))

    def _padded(self, slot: int) -> tuple[Sequence[int], int]:
        """Counts that begin a window before ``slot``, and the number of their first."""
        offset = min(self.first, slot - SPAN + 1)
        return (0,) * (self.first - offset) + self.booked, offset


def turn_gap(requests_per_minute: int, max_in_flight: int, mean: float) -> float:
    """Seconds between two submits of a queue that neither the requests nor the videos under way let go faster."""
    return max(_TURN_REQUESTS * 60.0 / requests_per_minute, mean / max_in_flight)


def poll_limit(requests_per_minute: int) -> int:
    """The most that polls may fill of the limit: a tenth is left to submits."""
    return requests_per_minute - requests_per_minute // 10


def polls_affordable(calendar: Calendar, now: float, *, limit: int, in_flight: int, mean: float, most: float) -> float:
    """Polls that each video under way can have, between CROWDED_POLLS and ``most``.

    ``in_flight`` videos of ``mean`` seconds each end at ``in_flight / mean`` a second (Little's law); what the
    arrivals leave of the limit is for their polls. While submits wait for a slot, nobody polls more than need be.
    """
    if calendar.last_turn > now:
        return CROWDED_POLLS
    left = limit - calendar.arrivals_now(now)
    return min(most, max(CROWDED_POLLS, left * mean / (60.0 * max(1, in_flight))))


def _window_sums(counts: Sequence[int]) -> list[int]:
    """For each position the sum of SPAN counts from there on."""
    sums, running = [0] * len(counts), 0
    for position in range(len(counts) - 1, -1, -1):
        running += counts[position] - (counts[position + SPAN] if position + SPAN < len(counts) else 0)
        sums[position] = running
    return sums
