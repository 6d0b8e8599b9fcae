"""The account's requests of a minute, shared out: a calendar of one-second slots. Pure. Provider's seconds.

Submits and polls of all jobs count against one limit (``RequestsPerMinute``), and nobody sees the others. So
whoever asks takes a slot first, and any SPAN slots together hold the limit at most. A poll knows long before when it
wants to ask; it plans a slot then, so that polls don't all come at once, and takes one when it comes.

Submits go first. A submit that nobody waits before passes over plans: a burst gets its minute, and the polls that it
pushed away plan anew. Once submits queue, plans count for them too, or else polls would never get a turn; and
plans leave a tenth of the limit to them. How many polls a video may have follows from what the arrivals leave of
the limit (``polls_affordable``).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Self

from seedance.aws import checks

WINDOW_SECONDS = 60

SLACK_SECONDS = 3
"""How long after its slot a request may reach the provider: the record is written and a line opened in between.

With 1 s, four of the first thousand requests of a burst on a busy laptop at five times the speed were refused.
"""

SPAN = WINDOW_SECONDS + 1 + SLACK_SECONDS
"""Consecutive slots that may hold the limit: requests of more slots never meet in one window."""

PATIENCE_SECONDS = 3.0
"""A slot that is no further off is waited for in place; to come back later costs more."""

LONGEST_CLOSURE = 2.0 * WINDOW_SECONDS
"""The longest that one 429 keeps everybody from asking."""

LONGEST_QUEUE_SECONDS = 30 * 24 * 3600.0
"""By the clock on the wall. A turn that is further off was given to nobody: a hundred thousand submits take three days
at 25 a minute."""

LONGEST_LIST = 20_000
"""Slots of a calendar. Polls are planned hours ahead at most, and the item has 400 KB at most."""

MOST_A_SLOT = 100_000
"""More requests than any second has."""

ARRIVALS_SECONDS = 150.0
"""Time constant of the submits' moving average: long enough that a burst does not look like a stream.

Simulated at R = 60: with 90, 120 and 150 s a burst of 60 takes 13, 4 and 2 % longer, in the mean, than blind polling.
"""

CROWDED_POLLS = 1.1
"""Polls a video while submits are waiting: every poll more would keep one of them out."""

_TURN_REQUESTS = 2
"""Requests that a submit in the queue stands for: itself, and the poll that will find its video."""


@dataclass(frozen=True)
class Calendar:
    """What was taken and what is planned, by slots; a slot is a second, numbered since 1970."""

    first: int = 0
    """The slot that both lists begin with."""
    taken: tuple[int, ...] = ()
    planned: tuple[int, ...] = ()
    closed_until: float = 0.0
    """Nobody asks before: the provider said so in a 429."""
    last_turn: float = 0.0
    """The turn of the last submit that was told to come back; beyond now, submits are waiting."""
    arrivals: float = 0.0
    """Submits a minute as a moving average, at ``arrivals_at``."""
    arrivals_at: float = 0.0

    @classmethod
    def from_record(cls, record: Mapping[str, Any], now: float, scale: float = 1.0) -> tuple[Self, list[str]]:
        """The calendar from its item, an empty one from none, and the names of values in it that can not be.

        They are dropped: what is forgotten costs a 429 at worst, and what is far ahead would keep everybody waiting.
        """
        soon = now + WINDOW_SECONDS  # others' clocks may be ahead of ours
        checked: dict[str, Any] = {
            "first": checks.whole(record.get("first", 0), 0, math.floor(soon)),
            "taken": _usable_counts(record.get("taken", [])),
            "planned": _usable_counts(record.get("planned", [])),
            "closed_until": checks.number(record.get("closed_until", 0.0), 0, soon + LONGEST_CLOSURE),
            "last_turn": checks.number(record.get("last_turn", 0.0), 0, now + LONGEST_QUEUE_SECONDS / scale),
            "arrivals": checks.number(record.get("arrivals", 0.0), 0, MOST_A_SLOT),
            "arrivals_at": checks.number(record.get("arrivals_at", 0.0), 0, soon),
        }
        bad = [name for name, value in checked.items() if value is None]
        if "first" in bad:  # the lists don't say when
            checked |= {"taken": (), "planned": ()}
        return cls(**{name: value for name, value in checked.items() if value is not None}), bad

    def to_record(self) -> dict[str, Any]:
        """The item's attributes."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def free(self, at: float, limit: int, *, plans: bool) -> int:
        """The first slot from ``at`` on with room under ``limit``, whether what is planned counts or not."""
        slot = math.floor(max(at, self.closed_until))
        offset = min(self.first, slot - SPAN + 1)
        sums = _window_sums((0,) * (self.first - offset) + (_added(self.taken, self.planned) if plans else self.taken))
        while True:
            # Of the windows that hold the slot, the last that is full rules out everything up to its end.
            starts = range(max(0, slot - offset - SPAN + 1), min(slot - offset + 1, len(sums)))
            full = [start for start in starts if sums[start] >= limit]
            if not full:
                return slot
            slot = offset + full[-1] + SPAN

    def free_for_plan(self, at: float, now: float, limit: int) -> int:
        """The first slot from ``at`` on that a poll may plan: with a tenth of the limit left to submits that wait."""
        return self.free(at, limit - (limit // 10 if self.last_turn > now else 0), plans=True)

    def take(self, slot: int, now: float) -> Self:
        """With one more request in a slot."""
        return self._at(now)._with("taken", slot, 1)

    def plan(self, slot: int, now: float) -> Self:
        """With one more poll planned for a slot."""
        return self._at(now)._with("planned", slot, 1)

    def unplan(self, slot: int | None) -> Self:
        """Without a poll that was planned for a slot, if it is still there."""
        if slot is None or not 0 <= slot - self.first < len(self.planned) or not self.planned[slot - self.first]:
            return self
        return self._with("planned", slot, -1)

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

    def _at(self, now: float) -> Self:
        """Without what is past: requests that no window holds any more, and plans that nobody kept."""
        first = math.floor(now) - SPAN
        gone = first - self.first
        if gone >= max(len(self.taken), len(self.planned)):
            return replace(self, first=first, taken=(), planned=())
        if gone <= 0:
            return self
        kept = (0,) * SPAN + self.planned[gone + SPAN :]
        return replace(self, first=first, taken=self.taken[gone:], planned=kept if any(kept) else ())

    def _with(self, name: str, slot: int, change: int) -> Self:
        counts = list(getattr(self, name))
        counts += [0] * (slot - self.first + 1 - len(counts))
        counts[slot - self.first] += change
        changed: dict[str, Any] = {name: tuple(counts)}
        return replace(self, **changed)


def turn_gap(requests_per_minute: int, max_in_flight: int, mean: float) -> float:
    """Seconds between two submits of a queue that neither the requests nor the videos under way let go faster."""
    return max(_TURN_REQUESTS * 60.0 / requests_per_minute, mean / max_in_flight)


def polls_affordable(calendar: Calendar, now: float, *, limit: int, in_flight: int, mean: float, most: float) -> float:
    """Polls that each video under way can have, between CROWDED_POLLS and ``most``.

    ``in_flight`` videos of ``mean`` seconds each end at ``in_flight / mean`` a second (Little's law); what the
    arrivals leave of the limit is for their polls. While submits wait for a slot, nobody polls more than need be.
    """
    if calendar.last_turn > now:
        return CROWDED_POLLS
    left = limit - calendar.arrivals_now(now)
    return min(most, max(CROWDED_POLLS, left * mean / (60.0 * max(1, in_flight))))


def _usable_counts(stored: object) -> tuple[int, ...] | None:
    """Requests by slot, if that is what they are."""
    if not isinstance(stored, list) or len(stored) > LONGEST_LIST:
        return None
    counts = [checks.whole(value, 0, MOST_A_SLOT) for value in stored]
    return None if None in counts else tuple(value for value in counts if value is not None)


def _added(some: Sequence[int], others: Sequence[int]) -> tuple[int, ...]:
    return tuple(one + other for one, other in zip_longest(some, others, fillvalue=0))


def _window_sums(counts: Sequence[int]) -> list[int]:
    """For each position the sum of SPAN counts from there on."""
    sums, running = [0] * len(counts), 0
    for position in range(len(counts) - 1, -1, -1):
        running += counts[position] - (counts[position + SPAN] if position + SPAN < len(counts) else 0)
        sums[position] = running
    return sums
