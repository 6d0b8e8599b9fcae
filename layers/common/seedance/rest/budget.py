"""GET /budget, POST /pause and POST /resume: what is spent and waits, and the switch that stops submits.

Pausing writes one item and resuming deletes it; the role of the API may delete no other. Reconcile releases the jobs
that were held in the meantime, in its next round: the API itself submits nothing and buys nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TypedDict

from seedance import bounds
from seedance.clock import CLOCK, Clock
from seedance.config import settings
from seedance.errors import InvalidRequest
from seedance.jobs.budget import day_of
from seedance.jobs.in_flight import InFlight, in_flight
from seedance.jobs.job import State
from seedance.jobs.store import JobStore, jobs
from seedance.jobs.switch import Pause, Switch, switch
from seedance.notices.job_message import iso

USUAL_REASON = "paused through the API"
LONGEST_REASON = 500
"""Characters. The reason is shown on held jobs and in their notifications."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class PauseState(TypedDict):
    """Whether submits are paused. Videos in progress at the provider are still polled and copied."""

    paused: bool
    paused_reason: str | None
    """Why submits are paused: what a person said, or that the provider's account has no credits."""
    paused_at: str | None


class Budget(TypedDict):
    """The day's budget, in USD, whether submits are paused, and what is in progress."""

    day: str
    """The UTC day."""
    limit_usd: float | None
    """DailyBudgetUsd. null: no limit."""
    reserved_usd: float
    """The estimates of the videos in progress."""
    spent_usd: float
    """What ended videos cost."""
    left_usd: float | None
    """What may still be reserved today. null: no limit."""
    in_flight: int
    """Videos in progress."""
    max_in_flight: int
    """MaxInFlight."""
    waiting: int
    """Jobs that are RECEIVED and wait to be submitted. At most 10000 are counted."""
    held: int
    """Jobs that are HELD for the budget, a pause or a person. At most 10000 are counted."""
    paused: bool
    paused_reason: str | None
    """Why submits are paused: what a person said, or that the provider's account has no credits."""
    paused_at: str | None


@dataclass(frozen=True)
class Spending:
    """The use cases and their dependencies."""

    store: JobStore
    switch: Switch
    in_flight: InFlight
    limit_usd: float | None
    max_in_flight: int
    clock: Clock = CLOCK

    def look(self) -> Budget:
        """The day's budget and the switch."""
        day = self.store.day(day_of(self.clock()))
        left = None if self.limit_usd is None else max(0.0, self.limit_usd - day.committed)
        return {
            "day": day.day,
            "limit_usd": self.limit_usd,
            "reserved_usd": _usd(day.committed - day.settled),
            "spent_usd": _usd(day.settled),
            "left_usd": None if left is None else _usd(left),
            "in_flight": self.in_flight.count(),
            "max_in_flight": self.max_in_flight,
            "waiting": self.store.number(State.RECEIVED),
            "held": self.store.number(State.HELD),
            **_shown(self.switch.pause_now()),
        }

    def pause(self, body: str | None) -> PauseState:
        """Stop new submits. If they are stopped already, that pause is returned, with its reason."""
        reason = _reason(body)
        self.switch.pause(reason)
        return _shown(self.switch.pause_now())

    def resume(self) -> PauseState:
        """Allow submits again."""
        self.switch.resume()
        return _shown(None)


def _reason(body: str | None) -> str:
    """The reason in the body of a call, which may be missing. Raises InvalidRequest."""
    if not (body or "").strip():
        return USUAL_REASON
    try:
        given = bounds.read_json(body or "")
    except ValueError as error:
        raise InvalidRequest("body", str(error)) from None
    if not isinstance(given, dict):
        raise InvalidRequest("body", 'must be empty or a JSON object, such as {"reason": "prices are being checked"}')
    _check_names(given, ("reason",))
    reason = given.get("reason")
    if reason is None:
        return USUAL_REASON
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= LONGEST_REASON or _CONTROL.search(reason):
        words = f"text of 1 to {LONGEST_REASON} characters, in one line"
        raise InvalidRequest("reason", f"must be {words}", allowed=words)
    return reason.strip()


def _check_names(given: Iterable[str], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            what = f"is not a field of this request; allowed: {', '.join(known)}"
            raise InvalidRequest(name, what, allowed=known)


def _shown(pause: Pause | None) -> PauseState:
    if pause is None:
        return {"paused": False, "paused_reason": None, "paused_at": None}
    return {"paused": True, "paused_reason": pause.reason, "paused_at": iso(pause.paused_at)}


def _usd(amount: float) -> float:
    return round(max(0.0, amount), 4)


@cache
def spending() -> Spending:
    """The use cases, configured for this stack."""
    stack = settings()
    return Spending(jobs(), switch(), in_flight(), stack.daily_budget_usd, stack.max_in_flight)
