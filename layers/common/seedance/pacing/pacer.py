"""Who may ask the provider when: the calendar of requests and the count of videos under way, in DynamoDB.

Seconds that go in and out are the provider's (Settings.scale), as everything in pacing.calendar. The calendar is one
item that everybody changes: read, decide, write if nobody else has; whoever lost looks again.
"""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from seedance.aws import checks, clients, writes
from seedance.aws.attributes import read_item, written_item
from seedance.aws.table import CALENDAR, IN_FLIGHT
from seedance.config import settings
from seedance.errors import LONGEST_WAIT_SECONDS
from seedance.observability import count, logger
from seedance.pacing.calendar import (
    CROWDED_POLLS,
    LONGEST_CLOSURE,
    PATIENCE_SECONDS,
    WINDOW_SECONDS,
    Calendar,
    polls_affordable,
    turn_gap,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MOST_VERSIONS = 10**15
"""A version beyond this was not counted up to; the next one is 1."""

TURNS = 8
"""Tries of a change that meets another one; with the waits between, 1 to 2 seconds."""

T = TypeVar("T")


@dataclass(frozen=True)
class Traffic:
    """What is booked and how many videos are under way, as read at one moment."""

    calendar: Calendar
    version: dict[str, Any] | None
    """The item's version as it is stored, whatever that is; None when it has none."""
    in_flight: int


@dataclass(frozen=True)
class Plan:
    """A poll to come: seconds until then, and the slot that is booked for it (None: it must book when it comes)."""

    wait: float
    slot: int | None


class Pacer:
    """Books slots for submits and polls. ``most_polls`` is the stack's PollsPerVideo."""

    def __init__(
        self,
        table: str,
        client: "DynamoDBClient",
        *,
        requests_per_minute: int,
        max_in_flight: int,
        most_polls: float,
        scale: float = 1.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table = table
        self._client = client
        self._limit = requests_per_minute
        self.max_in_flight = max_in_flight
        self._most_polls = most_polls
        self._scale = scale
        self._clock = clock
        self._sleep = sleep

    def submit_turn(self, waited_for: float | None, mean: float) -> float | None:
        """The turn of a submit: None when it is now, with a slot booked, or else when to come back.

        A turn is a time by the provider's clock. ``waited_for`` is the turn that the job was given before,
        ``mean`` how long such a video takes. A short wait for a slot is spent here.
        """
        now = self._now()
        if waited_for is not None and now + 1 < waited_for <= self.turn_in(LONGEST_WAIT_SECONDS):
            return waited_for  # the queue can't delay for long enough

        def decide(traffic: Traffic, now: float) -> tuple[Calendar | None, tuple[int | None, float]]:
            calendar, full = traffic.calendar, traffic.in_flight >= self.max_in_flight
            waited = waited_for is not None
            if waited_for is not None and waited_for > now + 1:
                if waited_for <= calendar.last_turn + WINDOW_SECONDS:
                    return None, (None, waited_for)  # the queue is that long, and this is its place there
                waited = False  # nobody waits for so long but by a record that an older release wrote
            slot = calendar.free(now, self._limit, plans=waited or calendar.last_turn > now)
            if slot <= now + PATIENCE_SECONDS and not full:
                return calendar.take(slot, now).arrived(now), (slot, 0.0)
            gap = turn_gap(self._limit, self.max_in_flight, mean)
            earliest = max(slot, now + PATIENCE_SECONDS)
            if waited:  # its turn has come, and others were faster: not to the end of the queue again
                return None, (None, earliest + random.uniform(0, gap))  # noqa: S311 - spreads who comes back
            queue = calendar.queued(earliest, gap)
            return queue, (None, queue.last_turn)

        slot, turn = self._change(decide) or (None, now + PATIENCE_SECONDS)
        if slot is None:
            return turn
        self._wait_for(slot)
        return None

    def plan_poll(self, wait: Callable[[float], float], mean: float) -> Plan:
        """Plan a job's next poll. ``wait`` gives the seconds until then for a number of polls a video."""

        def decide(traffic: Traffic, now: float) -> tuple[Calendar | None, Plan]:
            calendar = traffic.calendar
            polls = polls_affordable(
                calendar, now, limit=self._limit, in_flight=traffic.in_flight, mean=mean, most=self._most_polls
            )
            # The workflow waits whole seconds, and at least one.
            return self._planned(calendar, now + max(1.0, wait(polls)), now)

        return self._change_or(None, decide) or Plan(max(1.0, wait(CROWDED_POLLS)), None)

    def poll_turn(self, slot: int | None) -> Plan | None:
        """Whether a poll that was planned for ``slot`` may ask now: None when it may, else a new plan.

        It may where the calendar is out of reach: what is asked after is paid for, and a 429 would be no harm.
        """

        def decide(traffic: Traffic, now: float) -> tuple[Calendar | None, tuple[int, Plan | None]]:
            calendar = traffic.calendar.unplan(slot)
            found = calendar.free(now, self._limit, plans=False)
            if found <= now + PATIENCE_SECONDS:
                return calendar.take(found, now), (found, None)
            changed, plan = self._planned(calendar, found, now)
            return changed, (found, plan)

        crowded = Plan(PATIENCE_SECONDS + 1, None)
        now: tuple[int, Plan | None] = (0, None)
        found, plan = self._change_or(now, decide) or (0, crowded)
        if plan is None:
            self._wait_for(found)
        return plan

    def _planned(self, calendar: Calendar, at: float, now: float) -> tuple[Calendar, Plan]:
        slot = calendar.free_for_plan(at, now, self._limit)
        return calendar.plan(slot, now), Plan(max(1, math.ceil(slot - now)), slot)

    def rate_limited(self, seconds: float | None) -> None:
        """The provider answered 429: nobody asks until its reset, ``seconds`` by the clock on the wall from now.

        Two minutes at most: a reset that is further off is for the next 429 to repeat, and videos must be found.
        Without a reset a moment's pause; whoever is next will find out.
        """
        pause = PATIENCE_SECONDS if seconds is None else min(seconds / self._scale + 1, LONGEST_CLOSURE)

        def decide(traffic: Traffic, now: float) -> tuple[Calendar | None, None]:
            return traffic.calendar.closed(now + pause), None

        self._change_or(None, decide)

    def soon(self) -> float:
        """A turn just ahead, for who was too late by a moment."""
        return self._now() + PATIENCE_SECONDS

    def turn_in(self, seconds: float) -> float:
        """The turn that is so many seconds by the clock on the wall from now."""
        return self._now() + seconds / self._scale

    def seconds_until(self, turn: float) -> float:
        """Seconds by the clock on the wall until a turn."""
        return max(0.0, turn - self._now()) * self._scale

    def _now(self) -> float:
        return self._clock() / self._scale

    def _wait_for(self, slot: int) -> None:
        if (left := slot - self._now()) > 0:
            self._sleep(left * self._scale)

    def _change(self, decide: Callable[[Traffic, float], tuple[Calendar | None, T]]) -> T | None:
        """Read, decide, write; the decision's answer, or None when others were faster every time."""
        for turn in range(1, TURNS + 1):
            traffic = self._look()
            calendar, answer = decide(traffic, self._now())
            if calendar is None or calendar == traffic.calendar or self._write(calendar, traffic.version):
                return answer
            self._sleep(random.uniform(0, min(0.5, 0.01 * 2**turn)))  # noqa: S311 - spreads writers, hides nothing
        return None

    def _change_or(
        self, otherwise: T | None, decide: Callable[[Traffic, float], tuple[Calendar | None, T]]
    ) -> T | None:
        """``_change``, or else ``otherwise`` where the table is in trouble: no paid job waits for a calendar."""
        try:
            return self._change(decide)
        except (BotoCoreError, ClientError) as trouble:
            logger().warning("the calendar is out of reach", extra={"reason": str(trouble)})
            count("CalendarsMissed")
            return otherwise

    def _look(self) -> Traffic:
        keys: list[Any] = [{"job_id": {"S": CALENDAR}}, {"job_id": {"S": IN_FLIGHT}}]
        found: dict[str, dict[str, Any]] = {}
        while keys:
            answer = self._client.batch_get_item(RequestItems={self._table: {"Keys": keys, "ConsistentRead": True}})
            found |= {item["job_id"]["S"]: item for item in answer["Responses"].get(self._table, [])}
            left = answer.get("UnprocessedKeys", {})  # a throttled table gives what it can
            keys = list(left[self._table]["Keys"]) if self._table in left else []
        stored = found.get(CALENDAR, {})
        calendar, bad = Calendar.from_record(read_item(stored), self._now(), self._scale)
        for name in bad:
            logger().warning("a stored value is dropped", extra={"item": CALENDAR, "field": name})
        held = read_item(found.get(IN_FLIGHT, {})).get("held", 0)
        in_flight = checks.count_or_zero(held)
        if in_flight != held:
            logger().warning("a stored value is dropped", extra={"item": IN_FLIGHT, "field": "held"})
        return Traffic(calendar, stored.get("version"), in_flight)

    def _write(self, calendar: Calendar, version: dict[str, Any] | None) -> bool:
        """Write the calendar, unless somebody else has since it was read: False, also while somebody else is at it."""
        number = checks.whole(read_item({"version": version or {"N": "0"}})["version"], 0, MOST_VERSIONS) or 0
        unchanged: Any = {"ConditionExpression": "attribute_not_exists(version)"}
        if version:
            unchanged = {"ConditionExpression": "version = :read", "ExpressionAttributeValues": {":read": version}}
        try:
            self._client.put_item(
                TableName=self._table,
                Item=written_item({"job_id": CALENDAR, "version": number + 1, **calendar.to_record()}),
                **unchanged,
            )
        except ClientError as error:
            if writes.failed_condition(error) or writes.met_a_transaction(error):
                return False
            raise
        return True


@cache
def pacer() -> Pacer:
    """The stack's."""
    stack = settings()
    return Pacer(
        stack.job_table,
        clients.dynamodb(),
        requests_per_minute=int(stack.requests_per_minute),
        max_in_flight=int(stack.max_in_flight),
        most_polls=float(stack.polls_per_video),
        scale=stack.scale,
    )
