"""Each change of state arrives: on the event bus, and at the receiver of webhooks, through the real functions."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pipeline import VIDEOS, WEBHOOK_KEY, Change, Pipeline, app, png, template
from seedance.events.hooks import ATTEMPTS
from seedance.jobs.job import State
from standardwebhooks import Webhook
from table_stream import STREAM, EventSource, number_of
from webhook_receiver import Receiver, receiving

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/video-state-changed.schema.json").read_text())
MADE = ["RECEIVED", "SUBMITTING", "QUEUED", "COPYING", "COMPLETED"]


@pytest.fixture
def source() -> EventSource:
    """The mapping from the table's stream to announce."""
    return EventSource(template()["AnnounceStream"]["Properties"])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def hooked(receiver: Receiver, set_up: Change) -> Receiver:
    """The receiver of a stack that sends webhooks."""
    set_up(webhooks="yes", webhook_url=receiver.url)
    return receiver


def announce(pipeline: Pipeline, source: EventSource) -> list[dict[str, Any]]:
    """Pass the stream to announce until it is empty; returns what is on the event bus, each event once."""
    stream = pipeline.adversary.stream

    def invoke(event: dict[str, Any]) -> Any:
        return app("announce").handler(event, None)

    for _ in range(100):
        if not source.waits(stream):
            break
        source.deliver(stream, invoke, 0.0)
    assert source.findings == []
    events = [json.loads(body) for body in taken(pipeline, "announced")]
    assert all(event["detail-type"] == "Video State Changed" for event in events)
    details = {event["detail"]["id"]: event["detail"] for event in events}
    for detail in details.values():
        Draft202012Validator(SCHEMA).validate(detail)
    return list(details.values())


def taken(pipeline: Pipeline, queue: str) -> list[str]:
    """The messages of a queue, which is empty then."""
    sqs, url, found = pipeline.client("sqs"), pipeline._url(queue), []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def deliver(pipeline: Pipeline, attempt: int = 1) -> int:
    """Pass every webhook in the queue to deliver, once; returns how many are not done with."""
    sqs, url, failed = pipeline.client("sqs"), pipeline._url("webhooks"), 0
    for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        record = {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": {"ApproximateReceiveCount": str(attempt)},
        }
        if app("deliver").handler({"Records": [record]}, None)["batchItemFailures"]:
            failed += 1
        else:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return failed


def two_refused(pipeline: Pipeline) -> None:
    """Two uploads that are refused: two changes of state."""
    for name in ("one", "two"):
        pipeline.upload(f"uploads/{name}.png", body=b"words")
    pipeline.deliver()


def test_a_video_is_announced_from_its_upload_to_its_place(pipeline: Pipeline, source: EventSource) -> None:
    job_id = pipeline.upload(resolution="480p", sku="S-1")
    pipeline.run(job_id)
    job = pipeline.check(job_id, State.COMPLETED)
    details = announce(pipeline, source)
    states = [detail["state"] for detail in details if detail["state"] != "PROCESSING"]
    assert states == MADE
    assert [detail["previous_state"] for detail in details] == [None, *(detail["state"] for detail in details[:-1])]
    last = details[-1]
    assert {detail["job_id"] for detail in details} == {job_id}
    assert (last["source"], last["name"], last["model"], last["cost_usd"]) == (
        "upload",
        "shoe",
        job.model,
        job.cost_usd,
    )
    manifest = (job.video or {}).get("manifest_key")
    assert last["video"] == {"bucket": VIDEOS, "key": job.video_key, "manifest_key": manifest}
    assert pipeline.stored() == [last["video"]["key"]]
    assert [detail["metadata"] for detail in details] == [{"sku": "S-1"}] * len(details)
    assert {detail["video"] and "too early" for detail in details[:-1]} == {None}
    assert announce(pipeline, source) == []


def test_a_refused_upload_is_announced_with_the_reason(pipeline: Pipeline, source: EventSource) -> None:
    job_id = pipeline.upload(body=b"words")
    pipeline.run(job_id)
    *_, last = announce(pipeline, source)
    assert (last["state"], last["error"]["code"], last["cost_usd"]) == ("REJECTED", "INVALID_REQUEST", None)
    assert last["error"] == pipeline.job(job_id).error


def test_what_changes_no_state_is_not_announced(pipeline: Pipeline, source: EventSource) -> None:
    pipeline.run(pipeline.upload(resolution="480p"))
    assert announce(pipeline, source)
    invocations = source.invocations
    pipeline.pass_time(300)  # moves the records' times
    pipeline.client("dynamodb").put_item(TableName="jobs", Item={"job_id": {"S": "day#x"}, "state": {"S": "odd"}})
    assert announce(pipeline, source) == []
    assert source.invocations > invocations  # the filter lets writes of jobs through


def test_webhooks_arrive_signed_and_say_the_same(pipeline: Pipeline, source: EventSource, hooked: Receiver) -> None:
    pipeline.run(pipeline.upload(body=png(), resolution="480p"))
    details = {detail["id"]: detail for detail in announce(pipeline, source)}
    assert deliver(pipeline) == 0
    received = [Webhook(WEBHOOK_KEY).verify(one.body, one.headers) for one in hooked.received]
    assert {one["type"] for one in received} == {"video.state_changed"}
    assert {one["data"]["id"]: one["data"] for one in received} == details
    assert {one.headers["webhook-id"] for one in hooked.received} == set(details)


def test_a_webhook_that_fails_comes_back_and_is_given_up_in_the_end(
    *, pipeline: Pipeline, source: EventSource, hooked: Receiver
) -> None:
    two_refused(pipeline)
    assert len(announce(pipeline, source)) == 2
    hooked.will(500, 302)
    assert deliver(pipeline) == 2
    assert deliver(pipeline) == 0  # they are invisible for some seconds
    queue = pipeline.client("sqs").get_queue_attributes(QueueUrl=pipeline._url("webhooks"), AttributeNames=["All"])
    assert queue["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "2"


def test_a_receiver_that_is_gone_is_tried_again_after_a_redrive(
    *, pipeline: Pipeline, source: EventSource, hooked: Receiver
) -> None:
    two_refused(pipeline)
    announce(pipeline, source)
    hooked.will(410)
    assert deliver(pipeline, ATTEMPTS) == 2
    assert len(hooked.received) == 1
    for body in taken(pipeline, "webhooks"):  # SQS makes them dead letters
        pipeline.client("sqs").send_message(QueueUrl=pipeline._url("webhooks-dead"), MessageBody=body)
    assert app("announce").handler({"ask": "redrive"}, None)["number"] == 2
    assert deliver(pipeline) == 0
    assert len(hooked.accepted) == 2


def test_the_stream_reader_of_the_tests_refuses_what_lambda_refuses(pipeline: Pipeline, source: EventSource) -> None:
    pipeline.upload(body=b"words")
    pipeline.deliver()
    stream = pipeline.adversary.stream
    assert source.waits(stream)
    source.deliver(stream, lambda _: {"batchItemFailures": [{"itemIdentifier": "7"}]}, 0.0)
    assert source.findings == ["announce returned ['7'], which is not a record of its batch"]
    assert [STREAM.rpartition("/stream/")[0], number_of(0) < number_of(1)] == [
        "arn:aws:dynamodb:us-east-1:123456789012:table/jobs",
        True,
    ]
