"""Records that somebody has edited: the API shows them or names the field, and notifications can be sent."""

import json
from dataclasses import fields
from typing import Any

import pytest
from hostile_calls import TABLE, Function, event
from seedance.aws import fields as of_aws
from seedance.aws.attributes import read_item, written_item
from seedance.errors import BadRecord
from seedance.jobs.job import Job, State
from seedance.notices.job_message import job_email, job_notification
from seedance.rest.answers import MOST_RESPONSE_CHARACTERS

pytestmark = pytest.mark.hostile(kind="input", risk=("5xx", "lost", "paid twice"))

STORED: dict[str, Any] = {
    "null": {"NULL": True},
    "empty": {"S": ""},
    "text": {"S": "abc"},
    "NUL": {"S": "\x00"},
    "long": {"S": "x" * 300_000},
    "negative": {"N": "-5"},
    "zero": {"N": "0"},
    "fraction": {"N": "0.5"},
    "huge": {"N": "9.9e125"},
    "tiny": {"N": "1e-130"},
    "true": {"BOOL": True},
    "list": {"L": [{"S": "abc"}, {"NULL": True}]},
    "map": {"M": {"a": {"N": "1"}}},
    "empty map": {"M": {}},
    "bytes": {"B": b"abc\xff"},
    "set": {"SS": ["abc"]},
    "set of numbers": {"NS": ["1"]},
    "set of bytes": {"BS": [b"\xff"]},
}
JOB = "api-0123456789abcdef0123456789abcdef"
VIDEO = {"bucket": "example-videos", "key": "videos/api/a.mp4", "bytes": 7, "sha256": "ab"}
IMAGE = {"bucket": "example-uploads", "key": "images/a.png", "version_id": "v", "content_type": "image/png"}
GOOD = Job(
    job_id=JOB,
    state=State.COMPLETED,
    source="api",
    name="a",
    folder="api",
    model="seedance-pro",
    transport="v2",
    parameters={"prompt": "x", "reference_images": ["https://example.com/a"]},
    image=IMAGE,  # type: ignore[arg-type]
    video=VIDEO,  # type: ignore[arg-type]
    error={"code": "WAITS", "message": "waits"},
    created_at=1.0,
    submitted_at=2.0,
    metrics={"inference_time": 1.0},
    entered={"COMPLETED": 3.0},
    past_reasons=[{"at": 2.5, "state": "RECEIVED", "code": "WAITS", "message": "waits", "times": 2, "last_at": 2.6}],
    retry={"asked_at": 2.7, "pay": True, "max_usd": 0.4, "ended_at": 2.8, "said": "copied", "estimate_usd": 0.3},
)
NESTED = [
    *("parameters.prompt", "parameters.seed", "parameters.reference_images", "image.key", "image.version_id"),
    *("video.bucket", "video.key", "video.bytes", "video.sha256", "video.last_frame_key"),
    "video.manifest_key",
    *("error.code", "error.message", "metrics.inference_time", "entered.COMPLETED"),
    *(f"retry.{name}" for name in ("asked_at", "pay", "max_usd", "ended_at", "said", "estimate_usd")),
]


def edited(path: str, kind: str) -> dict[str, Any]:
    item = written_item(GOOD.to_record())
    *outer, last = path.split(".")
    (item[outer[0]]["M"] if outer else item)[last] = STORED[kind]
    return item


PATHS = [*(of.name for of in fields(Job) if of.name != "job_id"), *NESTED]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("path", PATHS)
def test_an_edited_record_is_shown_or_its_field_named(
    function: Function, clients: dict[str, Any], path: str, kind: str
) -> None:
    try:
        clients["dynamodb"].put_item(TableName=TABLE, Item=edited(path, kind))
    except clients["dynamodb"].exceptions.ClientError:
        return  # the key of an index: DynamoDB keeps its type
    for resource in ("/videos/{job_id}", "/videos/{job_id}/timeline"):
        status, body, size = function.answer(event("GET", resource, job_id=JOB))
        assert size <= MOST_RESPONSE_CHARACTERS
        if status != 200:
            # 500, since no client has sent this; but an answer, which names the field, and no crash.
            assert (status, body["error"]["code"]) == (500, "RECORD_UNREADABLE")
            assert body["error"]["field"] == path.partition(".")[0]
            assert size < 1000


@pytest.mark.parametrize("letter", ["\x01", "\\", '"', "é", "👟"])
def test_the_largest_record_fits_into_a_response(function: Function, clients: dict[str, Any], letter: str) -> None:
    text = letter * (390_000 // len(letter.encode()))
    item = written_item({**GOOD.to_record(), "parameters": {"prompt": text}})
    clients["dynamodb"].put_item(TableName=TABLE, Item=item)
    status, body, size = function.answer(event("GET", "/videos/{job_id}", job_id=JOB))
    assert status == 200
    assert size <= MOST_RESPONSE_CHARACTERS
    assert body["prompt"].startswith(text[:500])


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("path", PATHS)
def test_a_notification_about_an_edited_record_can_be_sent(path: str, kind: str) -> None:
    try:
        job = Job.from_record(read_item(edited(path, kind)))
        message = job_notification(job, None)
        text = of_aws.message(message, lambda told: job_email(told)[1])
    except (BadRecord, KeyError):
        # KeyError: a state for which there is no notification.
        assert path.partition(".")[0] in (*(of.name for of in fields(Job)),)
        return
    assert len(text) <= of_aws.MESSAGE_BYTES
    assert json.loads(json.loads(text)["default"])["job_id"] == JOB
