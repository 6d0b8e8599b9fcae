"""The part of the world that announces changes of state: the table's stream, the event bus, and webhooks."""

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aws_limits
import shortcut
from pipeline import ASL, REGION, Pipeline, app, template
from table_stream import EventSource
from webhook_receiver import Receiver
from wire import Killed, Wire

_STATES = frozenset(name.lower() for name, state in ASL["States"].items() if state["Type"] == "Task")
_HOOKS = template()["WebhookQueue"]["Properties"]


class Calendar:
    """The time that the functions and the provider see. It starts at noon, so that no test reaches midnight."""

    noon = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.passed, self._since = 0.0, time.monotonic()

    def time(self) -> float:
        return self.noon + self.passed + time.monotonic() - self._since

    def sleep(self, seconds: float) -> None:
        """Let that much time pass without waiting."""
        self.passed += seconds


@dataclass
class Hook:
    """A message of the webhooks' queue, which moto keeps: the function changes when it is visible again."""

    message: Any
    due: float
    receives: int = 0


@dataclass
class Announcing(Pipeline):
    """An empty stack whose table has a stream."""

    wire: Wire = field(default_factory=Wire)
    calendar: Calendar = field(default_factory=Calendar)
    log: list[str] = field(default_factory=list)
    source: EventSource = field(default_factory=lambda: EventSource(template()["AnnounceStream"]["Properties"]))
    hooks: list[Hook] = field(default_factory=list)
    receiver: Receiver | None = None
    """Of the webhooks, if the stack sends any."""
    events: list[dict[str, Any]] = field(default_factory=list)
    known_events: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Events that were looked at, by id."""

    def now(self) -> float:
        return self.calendar.time()

    def beside(self, verb: str, event: dict[str, Any]) -> Any:
        """One invocation of announce or deliver, whose processes are warm. Returns its answer, None if it failed."""
        try:
            with self.wire.inside(verb):
                return self._small_enough(verb, app(verb).handler(event, None))
        except (Killed, Exception) as error:  # noqa: BLE001
            self.log.append(f"{verb} died: {error!r}")
            return None

    def _small_enough(self, verb: str, answer: Any) -> Any:
        why = aws_limits.too_large_for_lambda(answer)
        if why is None and verb in _STATES:
            why = aws_limits.too_large_for_a_state(answer)
        self.adversary.findings += [f"the answer of {verb} is too large: {why}"] if why else []
        return answer

    def collect_hooks(self) -> None:
        """Collect the webhooks that announce has put into their queue."""
        waiting = [hook.message for hook in self.hooks]
        new = [one for one in shortcut.messages(REGION, "webhooks") if one not in waiting]
        self.hooks += [Hook(message, self.now()) for message in new]

    def announce(self) -> None:
        """Pass the table's stream to announce, as far as it is due."""
        while self.source.waits(self.adversary.stream) and self.source.due <= self.now():
            self.log.append(
                self.source.deliver(self.adversary.stream, lambda event: self.beside("announce", event), self.now())
            )

    def deliver_hook(self, hook: Hook) -> None:
        """Pass a webhook to deliver. If it is not done with, it comes back when deliver, or the queue, says."""
        hook.receives += 1
        hook.message.mark_received(_HOOKS["VisibilityTimeout"])
        record = {
            "messageId": hook.message.id,
            "receiptHandle": hook.message.receipt_handle,
            "body": hook.message.body,
            "attributes": {"ApproximateReceiveCount": str(hook.receives)},
            "eventSource": "aws:sqs",
        }
        answer = self.beside("deliver", {"Records": [record]})
        done = answer is not None and not answer["batchItemFailures"]
        if not done and hook.receives >= _HOOKS["RedrivePolicy"]["maxReceiveCount"]:
            self.client("sqs").send_message(QueueUrl=self._url("webhooks-dead"), MessageBody=hook.message.body)
        elif not done:
            hook.due = self.now() + hook.message.visible_at / 1000 - time.time()
            return
        self.hooks.remove(hook)
        shortcut.delete_message(REGION, "webhooks", hook.message)

    def announced(self) -> list[dict[str, Any]]:
        """All events on the event bus so far."""
        self.events += [json.loads(body) for body, *_ in shortcut.take_messages(REGION, "announced")]
        return self.events

    def undelivered(self) -> list[str]:
        """The webhooks among the dead letters."""
        return [message.body for message in shortcut.messages(REGION, "webhooks-dead")]
