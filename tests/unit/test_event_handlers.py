"""The functions of events as Lambda runs them: announce, which reads the table's stream, and deliver."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import announcements
import pytest
from invoking import invoke
from seedance.errors import ConfigurationError
from seedance.events.endpoint import Answer, Endpoint
from seedance.events.hooks import wait

Event = Callable[[str], dict[str, Any]]
JOB = "up-0123456789abcdef0123456789abcdef"
pytestmark = pytest.mark.usefixtures("wired")


@pytest.fixture
def run(root: Path) -> Callable[[str, dict[str, Any]], Any]:
    return partial(invoke, root)


def test_announce_publishes_the_changes_of_state_in_a_batch(world: Any, run: Any, event: Event) -> None:
    assert run("announce", event("dynamodb-stream")) == {"batchItemFailures": []}
    call = world.called("PutEvents")[0]
    told = [json.loads(entry["Detail"]) for put in world.called("PutEvents") for entry in put["Entries"]]
    assert [(one["job_id"], one["previous_state"], one["state"]) for one in told] == [
        (JOB, None, "RECEIVED"),
        (JOB, "RECEIVED", "SUBMITTING"),
    ]
    assert call["Entries"][0]["Resources"] == ["arn:aws:dynamodb:eu-central-1:123456789012:table/example-jobs"]


def test_announce_is_asked_to_redrive(world: Any, run: Any, hooked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedance.redriving.WAIT_SECONDS", 0)
    world.aws["sqs"].create_queue(QueueName="intake-unannounced")
    world.aws["sqs"].send_message(QueueUrl=f"{world.arns.queue}-dead-hooks", MessageBody="{}")
    first = run("announce", {"ask": "redrive"})
    assert (first["number"], first["more"]) == (1, False)
    assert run("announce", {"ask": "redrive", "run": first["run"]}) == {**first, "number": 0}


def test_announce_names_the_record_to_start_again_from(
    world: Any, run: Any, event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = iter([[{"EventId": "1"}], [{"ErrorCode": "ThrottlingException"}]])
    monkeypatch.setattr(world.aws["events"], "put_events", lambda **_: {"Entries": next(accepted)})
    batch = event("dynamodb-stream")
    last = batch["Records"][2]["dynamodb"]["SequenceNumber"]
    assert run("announce", batch) == {"batchItemFailures": [{"itemIdentifier": last}]}


@pytest.fixture
def hooked(world: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A stack that sends webhooks; returns the URL of their queue."""
    secret = world.aws["secretsmanager"].create_secret(Name="hooks", SecretString=announcements.KEY)["ARN"]
    monkeypatch.setenv("WEBHOOKS", "yes")
    monkeypatch.setenv("WEBHOOK_URL", announcements.HOOK)
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    for name in ("intake-hooks", "intake-dead-hooks"):
        world.aws["sqs"].create_queue(QueueName=name)
    return f"{world.arns.queue}-hooks"


def test_announce_queues_a_webhook_for_each_change(world: Any, run: Any, event: Event, hooked: str) -> None:
    assert run("announce", event("dynamodb-stream")) == {"batchItemFailures": []}
    facts = world.aws["sqs"].get_queue_attributes(QueueUrl=hooked, AttributeNames=["ApproximateNumberOfMessages"])
    assert facts["Attributes"] == {"ApproximateNumberOfMessages": "2"}


@pytest.mark.parametrize(("answer", "done"), [(Answer(204, ""), True), (Answer(503, "down"), False)])
def test_deliver_reports_a_webhook_that_is_not_done_with(
    *,
    world: Any,
    run: Any,
    event: Event,
    hooked: str,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    done: bool,
) -> None:
    batch = event("sqs-webhook")
    (record,) = batch["Records"]
    world.aws["sqs"].send_message(QueueUrl=hooked, MessageBody=record["body"])
    (message,) = world.aws["sqs"].receive_message(QueueUrl=hooked)["Messages"]
    record["receiptHandle"] = message["ReceiptHandle"]
    posted: list[Any] = []
    monkeypatch.setattr(Endpoint, "post", lambda _, webhook: posted.append(webhook) or answer)
    failed = [] if done else [{"itemIdentifier": record["messageId"]}]
    assert run("deliver", batch) == {"batchItemFailures": failed}
    assert posted == [json.loads(record["body"])]
    waits = [call["VisibilityTimeout"] for call in world.called("ChangeMessageVisibility")]
    assert waits == ([] if done else [round(wait(3, posted[0]["id"]))])  # it was the third attempt


def test_deliver_crashes_at_an_unreadable_message_which_triggers_an_alarm(run: Any, event: Event, hooked: str) -> None:
    batch = event("sqs-webhook")
    batch["Records"][0]["body"] = "{"
    with pytest.raises(ValueError, match="Expecting"):
        run("deliver", batch)


def test_deliver_crashes_without_an_address(run: Any, event: Event) -> None:
    with pytest.raises(ConfigurationError, match="WebhookUrl is empty"):
        run("deliver", event("sqs-webhook"))
