"""Webhooks are delivered, tried again later, or stopped because their receiver is gone."""

import json
from typing import Any

import pytest
from announcements import HOOK
from seedance.config import Hook
from seedance.deliver import Deliver
from seedance.errors import ConfigurationError
from seedance.events.endpoint import Answer, Gone
from seedance.events.hooks import ATTEMPTS, HookQueue, wait

WEBHOOK = {"id": "evt_1", "payload": '{"type": "video.state_changed"}'}
BODY = json.dumps(WEBHOOK)


class Receiver:
    """An endpoint that answers as it is told."""

    url = Hook(HOOK)

    def __init__(self) -> None:
        self.posted: list[Any] = []
        self.answers: list[Answer] = []

    def post(self, webhook: Any) -> Answer:
        self.posted.append(webhook)
        return self.answers.pop(0) if self.answers else Answer(200, "")


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def queue(world: Any) -> str:
    return str(world.aws["sqs"].create_queue(QueueName="hooks")["QueueUrl"])


@pytest.fixture
def deliver(world: Any, receiver: Receiver, queue: str) -> Deliver:
    return Deliver(receiver, Gone(world.table), HookQueue(queue, world.aws["sqs"]))  # type: ignore[arg-type]


@pytest.fixture
def receipt(world: Any, queue: str) -> str:
    """Of a webhook that was received from the queue."""
    world.aws["sqs"].send_message(QueueUrl=queue, MessageBody=BODY)
    (message,) = world.aws["sqs"].receive_message(QueueUrl=queue)["Messages"]
    return str(message["ReceiptHandle"])


def waits(world: Any) -> list[int]:
    return [call["VisibilityTimeout"] for call in world.called("ChangeMessageVisibility")]


def test_a_webhook_is_delivered_as_it_was_announced(world: Any, deliver: Deliver, receiver: Receiver) -> None:
    assert deliver.message(BODY, "receipt", 1)
    assert receiver.posted == [WEBHOOK]
    assert waits(world) == []


@pytest.mark.parametrize("answer", [Answer(500, ""), Answer(404, ""), Answer(302, ""), Answer(None, "timed out")])
def test_a_failed_one_comes_back_later_and_later(
    *, world: Any, deliver: Deliver, receiver: Receiver, receipt: str, answer: Answer
) -> None:
    for attempt in (1, 4, ATTEMPTS):
        receiver.answers = [answer]
        assert not deliver.message(BODY, receipt, attempt)
    assert waits(world) == [round(wait(1, "evt_1")), round(wait(4, "evt_1")), 0]
    assert waits(world)[0] < 10
    assert waits(world)[1] >= 1800


def test_the_receiver_may_ask_for_a_later_attempt(
    *, world: Any, deliver: Deliver, receiver: Receiver, receipt: str
) -> None:
    receiver.answers = [Answer(429, "", 700.0)]
    assert not deliver.message(BODY, receipt, 1)
    assert waits(world) == [700]


def test_a_receiver_that_is_gone_gets_nothing_more(
    *, world: Any, deliver: Deliver, receiver: Receiver, receipt: str
) -> None:
    """SQS makes the webhooks dead letters as soon as they have been received often enough."""
    receiver.answers = [Answer(410, "")]
    assert not deliver.message(BODY, receipt, 1)
    assert not deliver.message(BODY, receipt, 2)
    assert len(receiver.posted) == 1
    assert waits(world) == [0, 0]
    deliver.gone.forget()
    assert deliver.message(BODY, receipt, 3)
    assert len(receiver.posted) == 2


def test_without_a_usable_key_it_raises_and_comes_back_as_late_as_after_a_failed_attempt(
    *, world: Any, deliver: Deliver, receiver: Receiver, receipt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine receipts after the queue's own visibility timeout would be over in half an hour."""

    def no_key(_: Any) -> Answer:
        raise ConfigurationError("the secret can't be read")

    monkeypatch.setattr(receiver, "post", no_key)
    for attempt in (1, 5):
        with pytest.raises(ConfigurationError):
            deliver.message(BODY, receipt, attempt)
    assert waits(world) == [round(wait(1, "evt_1")), round(wait(5, "evt_1"))]


def test_an_unreadable_message_raises(deliver: Deliver, receiver: Receiver) -> None:
    for body in ("", "[]", "{}"):
        with pytest.raises((ValueError, TypeError, KeyError)):
            deliver.message(body, "receipt", 1)
    assert receiver.posted == []
