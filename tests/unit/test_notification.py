"""Notifying of a job's end: once per job, published before it is marked as notified, in the format of SNS."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from seedance.errors import Conflict
from seedance.jobs.job import Job, State
from seedance.notices.notifier import Notifier

Make = Callable[..., Job]
VIDEO = {"bucket": "example-videos", "key": "videos/shoe/up-1.mp4", "bytes": 7, "sha256": "ab" * 32}


def test_a_job_is_published_once_and_marked(world: Any, make_job: Make) -> None:
    job = world.notifier.notify(world.put(make_job(State.FAILED, error={"code": "X", "message": "why"})))
    assert job.notified_at is not None
    assert world.job().notified_at == job.notified_at
    assert world.notifier.notify(job) == job
    assert world.notifier.notify(world.job()) == job
    assert [message["job_id"] for message in world.notified()] == ["up-1"]


@pytest.mark.parametrize("state", [state for state in State if state.terminal])
def test_every_terminal_state_is_published_with_attributes_to_filter_by(
    world: Any, make_job: Make, state: State
) -> None:
    world.notifier.notify(world.put(make_job(state, source="api")))
    (call,) = world.called("Publish")
    assert call["TopicArn"] == world.arns.topic
    assert call["MessageStructure"] == "json"
    assert {name: value["StringValue"] for name, value in call["MessageAttributes"].items()} == {
        "status": state.value,
        "model": "seedance-1.0-pro-fast",
        "source": "api",
    }
    assert {value["DataType"] for value in call["MessageAttributes"].values()} == {"String"}
    assert len(call["Subject"]) <= 100


def test_a_batch_job_has_the_attribute_that_emails_are_filtered_by(world: Any, make_job: Make) -> None:
    world.notifier.notify(world.put(make_job(State.FAILED, source="batch", batch="batch-1", row=7)))
    (call,) = world.called("Publish")
    assert call["MessageAttributes"]["batch"] == {"DataType": "String", "StringValue": "batch-1"}


def test_a_queue_gets_the_message_for_programs(world: Any, make_job: Make) -> None:
    sqs, sns = world.aws["sqs"], world.aws["sns"]
    url = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=world.arns.topic, Protocol="sqs", Endpoint=arn)
    world.notifier.notify(world.put(make_job(State.COMPLETED, video=VIDEO, cost_usd=0.25)))
    (received,) = sqs.receive_message(QueueUrl=url)["Messages"]
    message = json.loads(json.loads(received["Body"])["Message"])
    assert (message["status"], message["cost_usd"]) == ("COMPLETED", 0.25)
    assert "X-Amz-Signature" in message["video"]["url"]
    assert VIDEO["key"] in message["video"]["url"]


def test_a_job_without_a_video_has_no_link(world: Any, make_job: Make) -> None:
    world.notifier.notify(world.put(make_job(State.EXPIRED, error={"code": "X", "message": "why"})))
    assert [message["video"] for message in world.notified()] == [None]


def test_it_is_published_before_it_is_marked(world: Any, make_job: Make) -> None:
    with pytest.raises(Conflict):  # the record is gone, so it cannot be marked
        world.notifier.notify(make_job(State.FAILED))
    assert len(world.notified()) == 1


def test_a_failed_publish_is_not_marked_as_notified(world: Any, make_job: Make) -> None:
    notifier = Notifier(world.arns.topic + "-gone", world.aws["sns"], world.store, world.media)
    with pytest.raises(ClientError, match="NotFound"):
        notifier.notify(world.put(make_job(State.FAILED)))
    assert world.job().notified_at is None
