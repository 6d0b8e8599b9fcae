"""From a file in a bucket, or a call, to a video in a bucket: every way, all at the same time."""

import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from email.header import Header
from pathlib import Path
from typing import Any

import pytest
from deployed import SAMPLE, Deployed, until
from seedance.jobs import catalogue

from local import aws
from local.sandbox.models import MODELS

pytestmark = pytest.mark.e2e

V1 = [slug for slug, model in catalogue.MODELS.items() if "v1" in model.transports]
ODD_KEYS = ("red shoe+1.JPG", "übergröße/靴 (1).jpeg", "[50%] & more='cheap'.png", "a//b.tar.png")
PROMPT = "Der Schuh dreht sich. 靴が回る 👟"
SMALL = {"resolution": "480p"}
HEIC = b"\0\0\0\x20ftypheic\0\0\0\0heicmif1MiHEmiaf" + bytes(1000)
ICON = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(65 * 64))),
        (b"IEND", b""),
    )
)
"""A PNG of 64 x 64 pixels."""
AT_ONCE = 12
"""Jobs under way. The emulator runs 24 functions at a time; a message that it has no room for comes again only
after the queue's six minutes."""


def by_aws_cli(deployed: Deployed) -> str:
    """Upload with the AWS CLI, as a user would; returns the job's id."""
    bucket, key = deployed.output("UploadBucketName"), "uploads/by aws cli.jpg"
    command = [Path(sys.executable).parent / "aws", "s3", "cp", SAMPLE, f"s3://{bucket}/{key}"]
    command += ["--metadata", json.dumps({"prompt": "a bottle", "resolution": "480p", "aspect-ratio": "9:16"})]
    environment = {**aws.environment(deployed.stack.access), "PATH": os.environ["PATH"]}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)  # noqa: S603 - our own command
    return deployed.job_of(key, deployed.client("s3").head_object(Bucket=bucket, Key=key)["VersionId"])


def by_image_key(deployed: Deployed, model: str, **body: Any) -> str:
    deployed.put(f"images/{model}.png", SAMPLE.read_bytes())
    return deployed.order(model=model, prompt="a hat", image_key=f"images/{model}.png", parameters=SMALL, **body)


# Every request that should become a video, by name.
VIDEOS: dict[str, Callable[[Deployed], str]] = {
    **{f"upload {m}": lambda d, m=m: d.upload(f"uploads/{m}.png", model=m, **SMALL) for m in MODELS},
    **{f"call {m}": lambda d, m=m: by_image_key(d, m) for m in MODELS},
    **{f"v1 upload {m}": lambda d, m=m: d.upload("uploads/v1.png", model=m, transport="v1", **SMALL) for m in V1},
    **{f"v1 call {m}": lambda d, m=m: by_image_key(d, m, transport="v1") for m in V1},
    **{f"key {key}": lambda d, key=key: d.upload(f"uploads/{key}", **SMALL) for key in ODD_KEYS},
    "text": lambda d: d.order(prompt="a lake", parameters=SMALL),
    "alphabet": lambda d: d.upload("uploads/a.png", prompt=Header(PROMPT, "utf-8", maxlinelen=500).encode(), **SMALL),
    "again 1": lambda d: d.upload("uploads/again.png", **SMALL),
    "again 2": lambda d: d.upload("uploads/again.png", **SMALL),
    "told twice": lambda d: d.upload_twice_told("uploads/told twice.png", **SMALL),
    "asked twice": lambda d: d.order("order-1", prompt="asked twice", parameters=SMALL),
    "last frame": lambda d: d.order(
        model="seedance-2.0-mini", prompt="the end", parameters={**SMALL, "return_last_frame": True}
    ),
    "aws cli": by_aws_cli,
}

# Every request that should not: its final state, and words of the reason.
REFUSED: dict[str, tuple[Callable[[Deployed], str], str, str]] = {
    "fails": (lambda d: d.upload("uploads/x.png", prompt="[blocked] shoe"), "FAILED", "content moderation"),
    "fails in v1": (
        lambda d: d.order(model="seedance-pro", prompt="[blocked] hat", transport="v1"),
        "FAILED",
        "content moderation",
    ),
    "no image": (lambda d: d.upload("uploads/notes.jpg", b"just prose"), "REJECTED", "is not an image by its content"),
    "cut off": (lambda d: d.upload("uploads/cut.jpg", SAMPLE.read_bytes()[:20_000]), "REJECTED", "is cut off"),
    "sidecar": (lambda d: d.upload("uploads/x.json", b'{"duration": 5}'), "REJECTED", "is not an image by its content"),
    "small": (lambda d: d.upload("uploads/small.png", ICON), "REJECTED", "each side must have at least 300"),
    "phone": (lambda d: d.upload("uploads/phone.jpg", HEIC), "REJECTED", "is in HEIC format"),
    "misspelt": (lambda d: d.upload("uploads/x.png", durration="5"), "REJECTED", "did you mean duration?"),
}


@pytest.fixture(scope="session")
def jobs(deployed: Deployed) -> dict[str, str]:
    """All jobs, requested as fast as the emulator accepts them; their ids by name."""
    ids: dict[str, str] = {}
    for name, ask in {**VIDEOS, **{name: refused[0] for name, refused in REFUSED.items()}}.items():
        until(lambda: len(ids) - deployed.over(ids.values()) < AT_ONCE, "room for another job")
        ids[name] = ask(deployed)
    return ids


@pytest.mark.parametrize("name", VIDEOS)
def test_a_video_is_made_stored_and_notified(deployed: Deployed, jobs: dict[str, str], name: str) -> None:
    deployed.completed(jobs[name])


@pytest.mark.parametrize("name", REFUSED)
def test_without_a_video_the_notification_says_why(deployed: Deployed, jobs: dict[str, str], name: str) -> None:
    _, state, says = REFUSED[name]
    job = deployed.ended(jobs[name])
    assert (job["state"], job["video"]) == (state, None)
    assert says in job["error"]["message"]
    told = deployed.told(jobs[name])
    assert (told["status"], told["error"], told["attributes"]["status"]) == (state, job["error"], state)


@pytest.mark.parametrize("model", MODELS)
def test_the_provider_can_download_the_image_with_its_link(
    deployed: Deployed, jobs: dict[str, str], model: str
) -> None:
    field = MODELS[model].first_image
    job = deployed.ended(jobs[f"upload {model}"])
    body = deployed.order_at_provider(job["request_id"])["body"]
    assert deployed.api.get(body[field]).content == SAMPLE.read_bytes()
    assert deployed.api.get(body[field].replace("Expires=7200", "Expires=9999")).status_code == 403


@pytest.mark.parametrize("kind", ["upload", "call"])
@pytest.mark.parametrize("model", MODELS)
def test_the_video_has_the_shape_of_its_image(deployed: Deployed, jobs: dict[str, str], model: str, kind: str) -> None:
    job = deployed.ended(jobs[f"{kind} {model}"])
    ratio = "adaptive" if "adaptive" in MODELS[model].parameters["aspect_ratio"].choices else "4:3"
    assert deployed.order_at_provider(job["request_id"])["body"]["aspect_ratio"] == ratio
    assert job["notes"][0].startswith(f"aspect_ratio is {ratio}, ")
    assert deployed.told(jobs[f"{kind} {model}"])["notes"] == job["notes"]


def test_an_image_that_was_touched_is_no_second_order(deployed: Deployed, jobs: dict[str, str]) -> None:
    """Programs set an object's time by copying it onto itself."""
    bucket, key = deployed.output("UploadBucketName"), "uploads/seedance-1.5-pro.png"
    deployed.ended(jobs["upload seedance-1.5-pro"])
    about = {"model": "seedance-1.5-pro", **SMALL, "mtime": "1"}
    copy = deployed.client("s3").copy_object(
        Bucket=bucket,
        Key=key,
        CopySource={"Bucket": bucket, "Key": key},
        Metadata=about,
        MetadataDirective="REPLACE",
    )
    another = deployed.upload("uploads/after the touch.jpg", b"just prose")  # its event comes after the copy's
    assert deployed.ended(another)["state"] == "REJECTED"
    assert deployed.job_of(key, copy["VersionId"]) not in deployed.states()


@pytest.mark.parametrize("kind", ["upload", "call"])
@pytest.mark.parametrize("model", V1)
def test_the_blocking_transport_sends_no_request_after_its_call(
    deployed: Deployed, jobs: dict[str, str], model: str, kind: str
) -> None:
    job = deployed.ended(jobs[f"v1 {kind} {model}"])
    assert (job["transport"], job["model"]) == ("v1", model)
    assert deployed.order_at_provider(job["request_id"])["transport"] == "v1"
    assert deployed.sandbox(f"calls?path={job['request_id']}")["calls"][0]["path"].startswith("/media/")


@pytest.mark.parametrize("key", ODD_KEYS)
def test_any_key_is_kept(deployed: Deployed, jobs: dict[str, str], key: str) -> None:
    job = deployed.ended(jobs[f"key {key}"])
    assert job["image"]["key"] == f"uploads/{key}"
    assert job["name"] in key


def test_a_prompt_in_any_alphabet_arrives(deployed: Deployed, jobs: dict[str, str]) -> None:
    job = deployed.ended(jobs["alphabet"])
    assert deployed.order_at_provider(job["request_id"])["body"]["prompt"] == job["prompt"] == PROMPT


def test_metadata_of_the_aws_cli_arrives(deployed: Deployed, jobs: dict[str, str]) -> None:
    body = deployed.order_at_provider(deployed.ended(jobs["aws cli"])["request_id"])["body"]
    assert (body["prompt"], body["aspect_ratio"], body["resolution"]) == ("a bottle", "9:16", "480p")


def test_the_last_frame_is_kept_beside_the_video(deployed: Deployed, jobs: dict[str, str]) -> None:
    key = deployed.ended(jobs["last frame"])["video"]["last_frame_key"]
    frame = deployed.client("s3").get_object(Bucket=deployed.output("VideoBucketName"), Key=key)
    assert frame["Body"].read().startswith(b"\x89PNG")


def test_an_upload_to_the_same_key_is_a_new_job(deployed: Deployed, jobs: dict[str, str]) -> None:
    first, second = (deployed.ended(jobs[name]) for name in ("again 1", "again 2"))
    assert first["request_id"] != second["request_id"]
    assert first["image"]["version_id"] != second["image"]["version_id"]
    assert first["video"]["key"] != second["video"]["key"]


def test_a_subscriber_can_filter_notifications(deployed: Deployed, jobs: dict[str, str]) -> None:
    for name, (_, state, _) in REFUSED.items():
        if state == "FAILED":
            deployed.told(jobs[name])
    failed = {jobs[name] for name, (_, state, _) in REFUSED.items() if state == "FAILED"}
    heard: dict[str, Any] = {}
    until(lambda: heard.update(deployed.told_of_failures()) or failed <= heard.keys(), "the filtered messages", 10)
    assert {message["status"] for message in heard.values()} == {"FAILED"}


def test_every_video_was_ordered_once_and_nothing_is_left_over(deployed: Deployed, jobs: dict[str, str]) -> None:
    ended = {name: deployed.ended(job_id) for name, job_id in jobs.items()}
    for job_id in jobs.values():
        deployed.told(job_id)
    requests = [job["request_id"] for job in ended.values() if job["request_id"]]
    assert len(set(requests)) == len(requests)
    assert deployed.bought_twice() == set()
    bucket = deployed.output("VideoBucketName")
    assert not deployed.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads")
    stored = {item["Key"] for item in deployed.client("s3").list_objects_v2(Bucket=bucket)["Contents"]}
    assert {job["video"]["key"] for job in ended.values() if job["video"]} <= stored
    assert deployed.queued("DeadLetterQueueUrl") == [0, 0]
    # A hidden one does no harm: each job above has ended. An event that is repeated while its job is being submitted
    # comes back after six minutes, as does one whose invocation the emulator had no room for.
    waiting, _ = deployed.queued("SubmitQueueUrl")
    assert waiting == 0
    executions = deployed.client("stepfunctions").get_paginator("list_executions")
    pages = executions.paginate(stateMachineArn=deployed.output("StateMachineArn"))
    status = {execution["name"]: execution["status"] for page in pages for execution in page["executions"]}
    assert {status[job_id] for job_id in jobs.values() if job_id in status} == {"SUCCEEDED"}
