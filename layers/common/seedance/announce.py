"""Announce: publish every change of a job's state, from the table's stream, to EventBridge and as a webhook."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from botocore.exceptions import BotoCoreError, ClientError

from seedance.aws import clients
from seedance.config import announce_settings
from seedance.errors import NotAnnounced
from seedance.events.bus import DETAIL_BYTES_A_REQUEST, ENTRIES_A_REQUEST, Bus
from seedance.events.change import Change, StreamRecord, change_in
from seedance.events.hooks import HookQueue
from seedance.observability import logger


@dataclass(frozen=True)
class Announce:
    """The use case and its dependencies. ``hooks`` is None if the stack sends no webhooks."""

    bus: Bus
    hooks: HookQueue | None

    def __call__(self, records: Iterable[StreamRecord]) -> str | None:
        """Announce the changes of state among records of the stream, in their order.

        Returns the sequence number of the first record that could not be announced, None if all were: it and all
        later ones must be delivered again, so some may be announced twice, with the same id. If not even the first
        change could be announced, this raises NotAnnounced, ClientError or BotoCoreError, which triggers an alarm.
        """
        changes = [change for record in records if (change := change_in(record))]
        done = 0
        for some in groups(changes):
            try:
                told = min(self.bus.publish(some), self.hooks.send(some) if self.hooks else len(some))
            except (BotoCoreError, ClientError):
                if not done:
                    raise
                logger().exception("a change could not be announced", extra={"announced": done})
                told = 0
            done += told
            if told < len(some):
                break
        if done == len(changes):
            return None
        if not done:
            first = changes[0].detail
            raise NotAnnounced(f"the change of job {first['job_id']} to {first['state']} was refused")
        return changes[done].number


def groups(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """The changes in groups for one request each, which is small enough for EventBridge and for SQS.

    A group has at most one change of a job, and the first request that fails is the last, so the changes of a job are
    announced in their order.
    """
    group: list[Change] = []
    jobs: set[str] = set()
    size = 0
    for change in changes:
        job_id, more = change.detail["job_id"], len(change.event.encode())
        full = len(group) == ENTRIES_A_REQUEST or size + more > DETAIL_BYTES_A_REQUEST
        if group and (full or job_id in jobs):
            yield group
            group, jobs, size = [], set(), 0
        group.append(change)
        jobs.add(job_id)
        size += more
    if group:
        yield group


@cache
def announce() -> Announce:
    """The use case, configured for this stack."""
    stack = announce_settings()
    hooks = HookQueue(stack.webhook_queue, clients.sqs()) if stack.webhooks else None
    return Announce(Bus(stack.event_bus, clients.events()), hooks)
