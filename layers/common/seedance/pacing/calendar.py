"""Shares the account's requests per minute among all jobs: a calendar of one-second slots. Pure.

All times are in the provider's seconds. Submits and polls of all jobs count against one limit
(``RequestsPerMinute``), but no job sees the requests of the others. So every request takes a slot first, and any SPAN
consecutive slots together hold at most the limit. The time of a poll is known long before, so a poll plans a slot in
advance, which spreads the polls, and takes a slot when its time comes.

Submits have priority. If no submits are waiting, a submit ignores planned polls: a burst of submits can use the whole
limit, and the polls that it displaces plan again. Once submits queue, they must respect plans, because polls would
otherwise never get a turn. In return, plans leave a tenth of the limit to the submits. The number of polls per video
follows from what the arriving submits leave of the limit (``polls_affordable``).

Rows of batches are fed into the queue as there is room for them (``share``): about half of what the videos in progress
and the waiting submits leave. The other half is for single jobs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Literal, Self

from seedance.aws import checks

WINDOW_SECONDS = 60

SLACK_SECONDS = 3
"""How late after its slot a request may reach the provider, because a record is written and a connection opened first.

With 1 s, four of the first thousand requests of a burst were refused, on a busy laptop at five times the speed.
"""

SPAN = WINDOW_SECONDS + 1 + SLACK_SECONDS
"""The number of consecutive slots that share the limit. Requests further apart never fall into the same window."""

PATIENCE_SECONDS = 3.0
"""The function waits for a slot that is at most this far ahead, because coming back later costs more."""

LONGEST_CLOSURE = 2.0 * WINDOW_SECONDS
"""The longest pause of all requests after one 429."""

LONGEST_QUEUE_SECONDS = 30 * 24 * 3600.0
"""In real seconds. A turn further ahead can't be genuine: a hundred thousand submits take three days at 25 a minute."""

LONGEST_LIST = 20_000
"""The most slots in a calendar. Polls are planned at most hours ahead, and an item is at most 400 KB."""

MOST_A_SLOT = 100_000
"""More requests than are possible in a second."""

ARRIVALS_SECONDS = 150.0
"""Time constant of the submits' moving average: long enough that a burst does not look like a stream.

Simulated at 60 requests a minute: with 90, 120 and 150 s, a burst of 60 takes 13, 4 and 2% longer on average than
with polls in fixed steps and no calendar.
"""

CROWDED_POLLS = 1.1
"""Polls per video while submits are waiting. Each further poll would delay one of them."""

_TURN_REQUESTS = 2
"""The requests that a queued submit needs: its own, and the poll that finds its video."""

FED_PART = 0.5
"""The part of the room that is fed to batches."""

LEAST_PART = 0.1
"""The share of the whole capacity that batches keep while single jobs would take all of it, so that no batch stops."""

FED_ROWS = 10
"""A share has at least this many rows, unless it would be longer than LONGEST_SHARE_SECONDS. Each costs a wake-up."""

SHARE_SECONDS = float(WINDOW_SECONDS)
LONGEST_SHARE_SECONDS = 600.0
"""The length of a share, and its maximum at low limits."""

CREDIT_SECONDS = 30.0
"""A share may begin this far in the past if the calendar was idle: a small batch then starts at once."""

LONGEST_FED = 840.0
"""How far ahead shares are given away, so that several batches get theirs one after the other. A row's message is
delayed until then; SQS allows 900 s."""


@dataclass(frozen=True)
class Calendar:
    """The taken and planned requests per slot. A slot is one second, numbered from the Unix epoch."""

    first: int = 0
    """The first slot of both lists."""
    taken: tuple[int, ...] = ()
    planned: tuple[int, ...] = ()
    closed_until: float = 0.0
    """No requests before this time, because of a 429 from the provider."""
    last_turn: float = 0.0
    """The turn of the last submit in the queue. If it is in the future, submits are waiting."""
    arrivals: float = 0.0
    """Submits per minute as a moving average, at ``arrivals_at``."""
    arrivals_at: float = 0.0
    fed_until: float = 0.0
    """The end of the last share of the room that a batch got. The next share begins there."""
    crowded_until: float = 0.0
    """Until then, batches have more rows than there is room for, so their polls are kept to a minimum."""

    @classmethod
    def from_record(cls, record: Mapping[str, object], now: float, scale: float = 1.0) -> tuple[Self, list[str]]:
        """The calendar from its item (empty if there is no item), and the names of the invalid values in it.

        Invalid values are dropped: a missing value costs a 429 at worst, but one far in the future would stop all jobs.
        """
        soon = now + WINDOW_SECONDS  # the clocks of other functions may be ahead of ours
        checked: dict[str, Any] = {
            "first": checks.whole(record.get("first", 0), 0, math.floor(soon)),
            "taken": _usable_counts(record.get("taken", [])),
            "planned": _usable_counts(record.get("planned", [])),
            "closed_until": checks.number(record.get("closed_until", 0.0), 0, soon + LONGEST_CLOSURE),
            "last_turn": checks.number(record.get("last_turn", 0.0), 0, now + LONGEST_QUEUE_SECONDS / scale),
            "arrivals": checks.number(record.get("arrivals", 0.0), 0, MOST_A_SLOT),
            "arrivals_at": checks.number(record.get("arrivals_at", 0.0), 0, soon),
            "fed_until": checks.number(record.get("fed_until", 0.0), 0, soon + LONGEST_FED),
            "crowded_until": checks.number(record.get("crowded_until", 0.0), 0, soon + LONGEST_FED + WINDOW_SECONDS),
        }
        bad = [name for name, value in checked.items() if value is None]
        if "first" in bad:  # without it the lists have no time
            checked |= {"taken": (), "planned": ()}
        return cls(**{name: value for name, value in checked.items() if value is not None}), bad

    def to_record(self) -> dict[str, object]:
        """The item's attributes."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def free(self, at: float, limit: int, *, plans: bool) -> int:
        """The first slot from ``at`` on with room under ``limit``. ``plans``: whether planned polls count."""
        slot = math.floor(max(at, self.closed_until))
        offset = min(self.first, slot - SPAN + 1)
        sums = _window_sums((0,) * (self.first - offset) + (_added(self.taken, self.planned) if plans else self.taken))
        while True:
            # The last full window that contains the slot rules out every slot up to the end of that window.
            starts = range(max(0, slot - offset - SPAN + 1), min(slot - offset + 1, len(sums)))
            full = [start for start in starts if sums[start] >= limit]
            if not full:
                return slot
            slot = offset + full[-1] + SPAN

    def free_for_plan(self, at: float, now: float, limit: int) -> int:
        """The first slot from ``at`` on that a poll may plan. If submits wait, a tenth of the limit is left to them."""
        return self.free(at, limit - (limit // 10 if self.last_turn > now else 0), plans=True)

    def take(self, slot: int, now: float) -> Self:
        """The calendar with one more request in a slot."""
        return self._at(now)._with("taken", slot, 1)

    def plan(self, slot: int, now: float) -> Self:
        """The calendar with one more poll planned for a slot."""
        return self._at(now)._with("planned", slot, 1)

    def unplan(self, slot: int | None) -> Self:
        """The calendar without one poll planned for a slot, if there is one."""
        if slot is None or not 0 <= slot - self.first < len(self.planned) or not self.planned[slot - self.first]:
            return self
        return self._with("planned", slot, -1)

    def arrived(self, now: float) -> Self:
        """The calendar with one more submit in the moving average."""
        return replace(self, arrivals=self.arrivals_now(now) + 60.0 / ARRIVALS_SECONDS, arrivals_at=now)

    def arrivals_now(self, now: float) -> float:
        """Submits per minute, as of now."""
        return self.arrivals * math.exp(-max(0.0, now - self.arrivals_at) / ARRIVALS_SECONDS)

    def queued(self, earliest: float, gap: float) -> Self:
        """The calendar with one more submit in the queue, ``gap`` seconds after the last one, as ``last_turn``."""
        return replace(self, last_turn=max(self.last_turn + gap, earliest))

    def fed(self, until: float, *, more: bool) -> Self:
        """The calendar with its room for batches given away until a time. ``more``: whether rows are left over."""
        crowded = until + WINDOW_SECONDS if more else 0.0
        return replace(self, fed_until=until, crowded_until=max(self.crowded_until, crowded))

    def closed(self, until: float) -> Self:
        """The calendar closed until a time, because the provider answered that its limit is reached."""
        return replace(self, closed_until=max(self.closed_until, until))

    def _at(self, now: float) -> Self:
        """The calendar without past entries: requests that are in no window any more, and plans that were not used."""
        first = math.floor(now) - SPAN
        gone = first - self.first
        if gone >= max(len(self.taken), len(self.planned)):
            return replace(self, first=first, taken=(), planned=())
        if gone <= 0:
            return self
        kept = (0,) * SPAN + self.planned[gone + SPAN :]
        return replace(self, first=first, taken=self.taken[gone:], planned=kept if any(kept) else ())

    def _with(self, name: Literal["taken", "planned"], slot: int, change: int) -> Self:
        counts = list(self.taken if name == "taken" else self.planned)
        counts += [0] * (slot - self.first + 1 - len(counts))
        counts[slot - self.first] += change
        changed = tuple(counts)
        return replace(self, taken=changed) if name == "taken" else replace(self, planned=changed)


def turn_gap(requests_per_minute: int, max_in_flight: int, mean: float) -> float:
    """Seconds between two submits in the queue, so that neither the request limit nor MaxInFlight is exceeded."""
    return max(_TURN_REQUESTS * 60.0 / requests_per_minute, mean / max_in_flight)


@dataclass(frozen=True)
class Share:
    """A share of the room that a batch gets: from ``begins``, a row every ``gap`` seconds, at most ``rows``."""

    begins: float
    gap: float
    rows: int


def share(
    calendar: Calendar, now: float, *, limit: int, in_flight: int, max_in_flight: int, mean: float
) -> Share | None:
    """The next share of the room for batches. None if so many are given away that it would end too late.

    The room is what is left of the limit per minute after the polls of the videos in progress (they end at a rate of
    ``in_flight / mean``, Little's law) and after the queued submits, and the places that MaxInFlight leaves.
    """
    begins = max(calendar.fed_until, now - CREDIT_SECONDS)
    whole = turn_gap(limit, max_in_flight, mean)
    ending = in_flight * 60.0 / mean
    queued = max(0.0, calendar.last_turn - max(begins, now)) / whole
    requests = limit - CROWDED_POLLS * ending - _TURN_REQUESTS * queued
    places = max_in_flight - in_flight + ending - queued
    a_minute = max(LEAST_PART * 60.0 / whole, FED_PART * min(requests, places))
    seconds = min(LONGEST_SHARE_SECONDS, max(SHARE_SECONDS, FED_ROWS * 60.0 / a_minute))
    if begins + seconds > now + LONGEST_FED:
        return None
    return Share(begins, 60.0 / a_minute, max(1, math.floor(a_minute * seconds / 60.0)))


def polls_affordable(
    calendar: Calendar, now: float, *, limit: int, in_flight: int, mean: float, most: float, of_a_batch: bool = False
) -> float:
    """The number of polls that each video in progress can have, between CROWDED_POLLS and ``most``.

    ``in_flight`` videos of ``mean`` seconds each end at a rate of ``in_flight / mean`` per second (Little's law). Their
    polls get what the arriving submits leave of the limit. While submits wait for a slot, polls are kept to a minimum.
    So are those of a batch while it has rows left: its next rows and single jobs need the room more.
    """
    if calendar.last_turn > now or (of_a_batch and calendar.crowded_until > now):
        return CROWDED_POLLS
    left = limit - calendar.arrivals_now(now)
    return min(most, max(CROWDED_POLLS, left * mean / (60.0 * max(1, in_flight))))


def _usable_counts(stored: object) -> tuple[int, ...] | None:
    """The stored requests per slot, or None if invalid."""
    if not isinstance(stored, list) or len(stored) > LONGEST_LIST:
        return None
    counts = [checks.whole(value, 0, MOST_A_SLOT) for value in stored]
    return None if None in counts else tuple(value for value in counts if value is not None)


def _added(some: Sequence[int], others: Sequence[int]) -> tuple[int, ...]:
    return tuple(one + other for one, other in zip_longest(some, others, fillvalue=0))


def _window_sums(counts: Sequence[int]) -> list[int]:
    """For each position, the sum of the SPAN counts from there on."""
    sums, running = [0] * len(counts), 0
    for position in range(len(counts) - 1, -1, -1):
        running += counts[position] - (counts[position + SPAN] if position + SPAN < len(counts) else 0)
        sums[position] = running
    return sums
