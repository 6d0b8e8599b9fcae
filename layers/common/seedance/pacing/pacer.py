"""Schedules requests to the provider with the calendar of requests and the count of videos in progress, in DynamoDB.

Arguments and results are in the provider's seconds (Settings.time_scale), as in pacing.calendar. The calendar is one
item that all functions change: read, decide, then write unless the item has changed in between, else start again.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from seedance.aws import checks, writes
from seedance.aws.attributes import Item, read_item, written_item
from seedance.aws.job_table import JobTable, dropped, job_table
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
    Share,
    polls_affordable,
    share,
    turn_gap,
)

MOST_VERSIONS = 10**15
"""A version above this is not genuine. The next version is then 1."""

ATTEMPTS = 8
"""Attempts at a change that conflicts with another one. With the waits between them, 1 to 2 seconds."""

EARLY_SECONDS = 5.0
"""How long before the end of its share a batch asks for the next one, because starting a function takes a while."""

FULL_SECONDS = 300.0
"""When a batch asks again if other batches have all shares of the next LONGEST_FED seconds. They last for longer."""

CROWDED_SECONDS = 10.0
"""When a batch asks again if every attempt to change the calendar lost to another change."""

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

T = TypeVar("T")


@dataclass(frozen=True)
class Traffic:
    """The calendar and the number of videos in progress, as read at one moment."""

    calendar: Calendar
    version: "AttributeValueTypeDef | None"
    """The item's version exactly as stored, valid or not. None if it has none."""
    in_flight: int


@dataclass(frozen=True)
class NextPoll:
    """A planned poll: the seconds until then, and its booked slot, or None if one must be booked then."""

    wait: float
    slot: int | None


@dataclass(frozen=True)
class Feed:
    """What a batch may put into the queue now: one row after each of these ``delays``, in real seconds.

    ``wait``: the provider's seconds after which it may ask again.
    """

    delays: tuple[float, ...]
    wait: float


class Pacer:
    """Books slots for submits and polls. ``most_polls`` is the stack's PollsPerVideo."""

    def __init__(
        self,
        table: JobTable,
        *,
        requests_per_minute: int,
        max_in_flight: int,
        most_polls: float,
        scale: float = 1.0,
    ) -> None:
        self._table = table
        self._limit = requests_per_minute
        self.max_in_flight = max_in_flight
        self._most_polls = most_polls
        self._scale = scale
        self._clock = table.clock

    def submit_turn(self, waited_for: float | None, mean: float) -> float | None:
        """Book a slot for a submit. Returns None if it may be sent now, or else its turn: when to come back.

        A turn is a time in the provider's seconds. ``waited_for`` is the turn that the job was given before, ``mean``
        the average duration of such a video. If the slot is only a short time ahead, this method waits for it.
        """
        now = self._now()
        if waited_for is not None and now + 1 < waited_for <= self.turn_in(LONGEST_WAIT_SECONDS):
            return waited_for  # the message came early, because SQS can't delay it for long enough

        def decide(traffic: Traffic, now: float) -> tuple[Calendar | None, tuple[int | None, float]]:
            calendar, full = traffic.calendar, traffic.in_flight >= self.max_in_flight
            waited = waited_for is not None
            if waited_for is not None and waited_for > now + 1:
                if waited_for <= calendar.last_turn + WINDOW_SECONDS:
                    return None, (None, waited_for)  # the queue is that long, and the submit keeps its place in it
                waited = False  # so long a wait can only come from a record of an older release
            slot = calendar.free(now, self._limit, plans=waited or calendar.last_turn > now)
            if slot <= now + PATIENCE_SECONDS and not full:
                return calendar.take(slot, now).arrived(now), (slot, 0.0)
            gap = turn_gap(self._limit, self.max_in_flight, mean)
            earliest = max(slot, now + PATIENCE_SECONDS)
            if waited:  # its turn has come but others were faster: don't move it to the end of the queue again
                return None, (None, earliest + random.uniform(0, gap))  # noqa: S311 - spreads the retries
            queue = calendar.queued(earliest, gap)
            return queue, (None, queue.last_turn)

        slot, turn = self._change(decide) or (None, now + PATIENCE_SECONDS)
        if slot is None:
            return turn
        self._wait_for(slot)
        return None

    def feed(self, rows: int, mean: float) -> Feed:
        """A share of the room for a batch that has ``rows`` left, whose videos take ``mean`` seconds on average.

        The shares of all batches follow one another, so whoever gets one does not have to wait for the others.
        """

        def decide(traffic: Traffic, now: float) -> tuple[Calendar | None, Feed]:
            calendar = traffic.calendar
            part = share(
                calendar,
                now,
                limit=self._limit,
                in_flight=traffic.in_flight,
                max_in_flight=self.max_in_flight,
                mean=mean,
            )
            if part is None:
                return None, Feed((), FULL_SECONDS)
            part = Share(part.begins, part.gap, min(rows, part.rows))
            until = part.begins + part.rows * part.gap
            delays = (max(0.0, part.begins + row * part.gap - now) * self._scale for row in range(part.rows))
            wait = max(1.0, until - now - EARLY_SECONDS)
            return calendar.fed(until, more=part.rows < rows), Feed(tuple(delays), wait)

        return self._change(decide) or Feed((), CROWDED_SECONDS)

    def plan_poll(self, wait: Callable[[float], float], mean: float, *, of_a_batch: bool = False) -> NextPoll:
        """Plan a job's next poll. ``wait`` returns the seconds until then for a number of polls per video."""

        def decide(traffic: Traffic, now: float) -> tuple[Calendar | None, NextPoll]:
            calendar = traffic.calendar
            polls = polls_affordable(
                calendar,
                now,
                limit=self._limit,
                in_flight=traffic.in_flight,
                mean=mean,
                most=self._most_polls,
                of_a_batch=of_a_batch,
            )
            # The workflow waits whole seconds, at least one.
            return self._planned(calendar, now + max(1.0, wait(polls)), now)

        return self._change_or(None, decide) or NextPoll(max(1.0, wait(CROWDED_POLLS)), None)

    def poll_turn(self, slot: int | None) -> NextPoll | None:
        """Whether a poll that was planned for ``slot`` may be sent now: None if so, else a new plan.

        If the calendar can't be read or written, the poll is sent: its video is paid for, and a 429 does no harm.
        """

        def decide(traffic: Traffic, now: float) -> tuple[Calendar | None, tuple[int, NextPoll | None]]:
            calendar = traffic.calendar.unplan(slot)
            found = calendar.free(now, self._limit, plans=False)
            if found <= now + PATIENCE_SECONDS:
                return calendar.take(found, now), (found, None)
            changed, plan = self._planned(calendar, found, now)
            return changed, (found, plan)

        crowded = NextPoll(PATIENCE_SECONDS + 1, None)
        now: tuple[int, NextPoll | None] = (0, None)
        found, plan = self._change_or(now, decide) or (0, crowded)
        if plan is None:
            self._wait_for(found)
        return plan

    def _planned(self, calendar: Calendar, at: float, now: float) -> tuple[Calendar, NextPoll]:
        slot = calendar.free_for_plan(at, now, self._limit)
        return calendar.plan(slot, now), NextPoll(max(1, math.ceil(slot - now)), slot)

    def rate_limited(self, seconds: float | None) -> None:
        """After a 429, close the calendar until the limit resets, in ``seconds`` real seconds.

        At most two minutes, so that finished videos are still found; if the reset is later, the next 429 repeats it.
        Without a reset time, a short pause; the next request then shows whether the limit is still reached.
        """
        pause = PATIENCE_SECONDS if seconds is None else min(seconds / self._scale + 1, LONGEST_CLOSURE)

        def decide(traffic: Traffic, now: float) -> tuple[Calendar | None, None]:
            return traffic.calendar.closed(now + pause), None

        self._change_or(None, decide)

    def soon(self) -> float:
        """A turn a few seconds from now, for a submit that just missed its slot."""
        return self._now() + PATIENCE_SECONDS

    def turn_in(self, seconds: float) -> float:
        """The turn that is ``seconds`` real seconds from now."""
        return self._now() + seconds / self._scale

    def seconds_until(self, turn: float) -> float:
        """Real seconds until a turn."""
        return max(0.0, turn - self._now()) * self._scale

    def _now(self) -> float:
        return self._clock() / self._scale

    def _wait_for(self, slot: int) -> None:
        if (left := slot - self._now()) > 0:
            self._clock.sleep(left * self._scale)

    def _change(self, decide: Callable[[Traffic, float], tuple[Calendar | None, T]]) -> T | None:
        """Read, decide, write. Returns the decision's result, or None if every attempt failed: it lost to another
        change, or the table was too busy to answer.
        """
        for _ in self._clock.attempts(ATTEMPTS, 0.01, longest=0.5):
            traffic = self._look()
            if traffic is None:
                continue
            calendar, answer = decide(traffic, self._now())
            if calendar is None or calendar == traffic.calendar or self._write(calendar, traffic.version):
                return answer
        return None

    def _change_or(
        self, otherwise: T | None, decide: Callable[[Traffic, float], tuple[Calendar | None, T]]
    ) -> T | None:
        """Like ``_change``, but returns ``otherwise`` if DynamoDB fails: no paid job must wait for the calendar."""
        try:
            return self._change(decide)
        except (BotoCoreError, ClientError) as trouble:
            logger().warning("the calendar can't be read or written", extra={"reason": str(trouble)})
            count("CalendarsMissed")
            return otherwise

    def _look(self) -> Traffic | None:
        """Read both items. Returns None if a throttled table left one of them unprocessed."""
        keys: list[Item] = [{"job_id": {"S": CALENDAR}}, {"job_id": {"S": IN_FLIGHT}}]
        answer = self._table.client.batch_get_item(
            RequestItems={self._table.name: {"Keys": keys, "ConsistentRead": True}}
        )
        if answer.get("UnprocessedKeys"):
            return None
        found: dict[str, Item] = {item["job_id"]["S"]: item for item in answer["Responses"].get(self._table.name, [])}
        stored = found.get(CALENDAR, {})
        calendar, bad = Calendar.from_record(read_item(stored), self._now(), self._scale)
        for name in bad:
            dropped(CALENDAR, name)
        held = read_item(found.get(IN_FLIGHT, {})).get("held", 0)
        in_flight = checks.count_or_zero(held)
        if in_flight != held:
            dropped(IN_FLIGHT, "held")
        return Traffic(calendar, stored.get("version"), in_flight)

    def _write(self, calendar: Calendar, version: "AttributeValueTypeDef | None") -> bool:
        """Write the calendar. Returns False if it was changed since it was read, or is being changed now."""
        number = checks.whole(read_item({"version": version or {"N": "0"}})["version"], 0, MOST_VERSIONS) or 0
        unchanged: Any = {"ConditionExpression": "attribute_not_exists(version)"}
        if version:
            unchanged = {"ConditionExpression": "version = :read", "ExpressionAttributeValues": {":read": version}}
        try:
            self._table.client.put_item(
                TableName=self._table.name,
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
    """The pacer with the stack's settings."""
    stack = settings()
    return Pacer(
        job_table(),
        requests_per_minute=stack.requests_per_minute,
        max_in_flight=stack.max_in_flight,
        most_polls=stack.polls_per_video,
        scale=stack.time_scale,
    )
