"""How much of the provider's history is read: limits, and one reading for several jobs.

The history answers with as many pages as it likes, and each page costs a request of the account's rate limit.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from seedance.errors import ProviderError, Unavailable
from seedance.provider.payloads import HistoryRow, day_of

if TYPE_CHECKING:
    from seedance.provider.client import Provider

SECONDS = 60.0
"""For all requests of one call."""

PAGES = 200
"""20,000 requests of one model: more than anybody makes in the days that are read."""

PAGE_ROWS = 100
"""Rows per page: the maximum that the provider returns. It is asked for so many."""

MOST_ROWS = 1000
"""Rows of a page that are read, in case that the provider does not follow."""

MEMORY_BYTES = 150_000_000
"""For all rows of one call, as objects: 20,000 requests with prompts of 3000 characters. A function has 512 MB. The
length of the responses would not limit it: a value of four characters can take 64 bytes."""


class Allowance:
    """How much of the history may be read, by one call or by several that share it: requests, seconds and memory."""

    def __init__(self, seconds: float = SECONDS, pages: int = PAGES, most: int = MEMORY_BYTES) -> None:
        self._seconds = seconds
        self._pages = pages
        self._bytes = most
        self._rows = pages * PAGE_ROWS

    @property
    def seconds(self) -> float:
        """The seconds left. The time that callers take between two requests does not count."""
        return self._seconds

    @property
    def used_up(self) -> bool:
        """Whether nothing more may be read."""
        return self._seconds <= 0 or self._pages <= 0 or self._bytes <= 0 or self._rows <= 0

    @contextmanager
    def spend(self) -> Iterator[None]:
        """One request and the processing of its response."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds -= time.monotonic() - began
            self._pages -= 1

    def count(self, rows: list[HistoryRow]) -> None:
        """Count the rows of a response, which are kept."""
        self._rows -= len(rows)
        self._bytes -= sum(_size(vars(row)) for row in rows)


def _size(value: object) -> int:
    """The memory that a value takes, in bytes."""
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(_size(name) + _size(inner) for name, inner in value.items())
    if isinstance(value, (list, tuple, set)):
        return size + sum(map(_size, value))
    return size


@dataclass
class _Listed:
    """The history's list of a model on some days, or why it could not be read."""

    model: str
    days: tuple[str, str]
    rows: list[HistoryRow] = field(default_factory=list)
    trouble: str = ""

    @cached_property
    def prices(self) -> dict[str, float | None]:
        return {row.request_id: row.cost_usd for row in self.rows}


class SharedHistory:
    """The history for several jobs: each list is read once, and everything within one allowance.

    Has the methods of Provider that read the history. They raise the same errors, also for a list that could not be
    read before.
    """

    def __init__(self, provider: "Provider", within: Allowance) -> None:
        self.within = within
        self._provider = provider
        self._lists: list[_Listed] = []

    def history(self, model: str, since: float, until: float) -> list[HistoryRow]:
        """As Provider.history, but perhaps with rows of more days."""
        known = self._known(model, (day_of(since), day_of(until)))
        if known and known.trouble:
            raise Unavailable(known.trouble)
        return (known or self._read(model, since, until)).rows

    def request_rows(self, request_id: str, model: str, since: float, until: float) -> list[HistoryRow]:
        """As Provider.request_rows."""
        return self._provider.request_rows(request_id, model, since, until, within=self.within, listed=self.history)

    def price(self, request_id: str, model: str, since: float, until: float) -> float | None:
        """What the list of these days says that a request cost. None if it does not say, or was not readable before."""
        days = day_of(since), day_of(until)
        listed = self._known(model, days) or self._read(model, since, until)
        return listed.prices.get(request_id)

    def _known(self, model: str, days: tuple[str, str]) -> _Listed | None:
        for known in self._lists:
            covered = known.days[0] <= days[0] and days[1] <= known.days[1]
            if known.model == model and (known.days == days if known.trouble else covered):
                return known
        return None

    def _read(self, model: str, since: float, until: float) -> _Listed:
        listed = _Listed(model, (day_of(since), day_of(until)))
        self._lists.append(listed)
        try:
            listed.rows += self._provider.history(model, since, until, self.within)
        except ProviderError as error:
            listed.trouble, listed.rows = str(error), []
            raise
        return listed
