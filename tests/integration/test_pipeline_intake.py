"""From an upload's event to a job: accepted uploads, refused uploads, and repeated events."""

import json
import struct
import zlib
from email.header import Header
from typing import Any

import pytest
from pipeline import UPLOADS, VIDEOS, Change, Pipeline, http, png, s3_event
from seedance.jobs.job import State, upload_job_id

ODD_KEYS = {
    "uploads/red shoe+1.JPG": "videos/red shoe+1/",
    "uploads/übergröße/靴 (1).jpeg": "videos/übergröße/靴 (1)/",
    "uploads/[50%] & more = 'cheap'.png": "videos/[50%] & more = 'cheap'/",
    "uploads/a//c.tar.png": "videos/a/c.tar/",
    "uploads/.png": "videos/.png/",
    "uploads/no-extension": "videos/no-extension/",
    "uploads/100%25.png": "videos/100%25/",
}


def huge_png() -> bytes:
    """60,000 x 60,000 black pixels of one bit, in a few kilobytes: 450 MB when decoded."""
    body = png(width=1, height=1)
    row = zlib.compress(bytes(7_501) * 600)
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    data = b"".join(struct.pack(">I", len(row)) + b"IDAT" + row + bytes(4) for _ in range(100))
    return body[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + data + body[-12:]


REFUSED: dict[str, tuple[bytes, dict[str, str], str]] = {
    "text": (b"GIF? no, prose", {}, "is not an image by its content"),
    "empty": (b"", {}, "is empty"),
    "html": (b"<html>404</html>", {}, "is not an image by its content"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", {}, "is not an image by its content"),
    "json": (b'{"prompt": "The shoe turns."}', {}, "is not an image by its content"),
    "cut-off": (png()[:-24], {}, "is cut off: it ends in the middle of the image"),
    "cut-off-header": (png()[:20], {}, "is cut off"),
    "bomb": (huge_png(), {}, "is 60,000 x 60,000 pixels; at most 178,956,970 pixels in total are allowed"),
    "control-characters": (png(), {"prompt": "=?utf-8?q?turn=00_it?="}, "has control characters in it"),
    "unknown-model": (png(), {"model": "seedance-9"}, "'seedance-9' does not exist"),
    "misspelt-option": (png(), {"durration": "5"}, "did you mean duration?"),
    "value-out-of-range": (png(), {"duration": "7"}, "duration: must be 5 or 10"),
    "option-of-another-model": (png(), {"generate_audio": "true"}, "seedance-1.0-pro-fast has no such parameter"),
    "transport-of-another-model": (png(), {"transport": "v1"}, "transport: must be v2"),
    "second-first-image": (png(), {"image_url": "https://example.com/a.png"}, "is already the first image"),
    "no-charset": (png(), {"prompt": "=?nonsense?b?4pyM?="}, "could not be decoded"),
}


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(("key", "folder"), ODD_KEYS.items(), ids=range(len(ODD_KEYS)))
def test_any_key_becomes_a_video(pipeline: Pipeline, key: str, folder: str) -> None:
    job_id = pipeline.upload(key, resolution="480p")
    pipeline.run(job_id)
    job = pipeline.check(job_id, State.COMPLETED)
    assert job.video_key == f"{folder}{job_id}.mp4"
    assert pipeline.told[0]["image"]["key"] == key
    assert pipeline.client("s3").head_object(Bucket=VIDEOS, Key=job.video_key)["ContentType"] == "video/mp4"


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("prompt", ["Ein Schuh für Größe 42", "靴が回る 👟", "plain"])
def test_a_prompt_in_any_alphabet_arrives(pipeline: Pipeline, prompt: str) -> None:
    job_id = pipeline.upload(prompt=Header(prompt, None if prompt.isascii() else "utf-8").encode(), resolution="480p")
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)
    (job,) = pipeline.sandbox.state.jobs.values()
    assert job.body["prompt"] == pipeline.told[0]["prompt"] == prompt


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("case", REFUSED)
def test_an_invalid_upload_is_refused_with_a_reason(pipeline: Pipeline, case: str) -> None:
    body, metadata, says = REFUSED[case]
    job_id = pipeline.upload("uploads/shoe.png", body, **metadata)
    pipeline.run(job_id)
    pipeline.check(job_id, State.REJECTED, accepted=0, says=says)
    assert pipeline.execution(job_id) is None


@pytest.mark.sampled(4)
@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("key", ["uploads/shoe.json", "uploads/shoe.png.json", "uploads/shoe.jpg"])
@pytest.mark.parametrize("body", [b'{"prompt": "The shoe turns."}', b'{"prompt": ', b"[]", b"prompt=x"], ids=range(4))
def test_a_sidecar_file_is_refused_but_not_its_image(pipeline: Pipeline, key: str, body: bytes) -> None:
    image, sidecar = pipeline.upload("uploads/shoe.png", resolution="480p"), pipeline.upload(key, body)
    assert pipeline.run(image).state is pipeline.job(image).state is State.COMPLETED
    refused = pipeline.run(sidecar)
    assert refused.state is State.REJECTED
    assert refused.error == {
        "code": "INVALID_REQUEST",
        "message": f"image: {key} is not an image by its content; it must be JPEG, PNG or WebP, whatever its name",
    }
    assert pipeline.sandbox.summary()["accepted"] == 1
    assert sorted(message["status"] for message in pipeline.notifications()) == ["COMPLETED", "REJECTED"]


@pytest.mark.hostile(kind="input")
def test_metadata_of_other_tools_is_ignored_and_the_users_own_comes_back(pipeline: Pipeline) -> None:
    own = {"sku": "A-17", "metadata-mode": "night", "farbe": "=?utf-8?b?Z3LDvG4=?="}
    job_id = pipeline.upload(mtime="1730000000.1", mode="33188", resolution="480p", **own)
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)
    expected = {"sku": "A-17", "mode": "night", "farbe": "grün"}
    assert pipeline.job(job_id).metadata == pipeline.told[0]["metadata"] == expected
    assert pipeline.call("GET", f"/videos/{job_id}")[1]["metadata"] == expected
    assert [one["metadata"] for one in pipeline.call("GET", "/videos")[1]["videos"]] == [expected]


def test_a_camera_model_is_not_mistaken_for_our_model_option(pipeline: Pipeline) -> None:
    job_id = pipeline.upload(make="Apple", model="iPhone 14 Pro", xresolution="72", resolutionunit="2")
    pipeline.run(job_id)
    assert pipeline.check(job_id, State.COMPLETED).model == "seedance-1.0-pro-fast"


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("model", ["", " ", "sora", "x" * 1900, "=?utf-8?b?8J+Rnw==?="])
def test_a_refusal_is_notified_whatever_the_metadata(pipeline: Pipeline, model: str) -> None:
    key = "uploads/" + "nach Größe/" + "fein geschliffen " * 30 + "👟.png"
    job_id = pipeline.upload(key, model=model, duration="7")
    pipeline.run(job_id)
    says = "duration: must be 5 or 10" if not model.strip() else "model"
    job = pipeline.check(job_id, State.REJECTED, accepted=0, says=says)
    assert job.notified_at is not None
    assert pipeline.told[0]["attributes"]["model"] == (model.strip()[:256] or "seedance-1.0-pro-fast")
    assert pipeline.reconcile() == {}


def test_an_image_deleted_before_it_is_checked_is_refused(pipeline: Pipeline) -> None:
    version = pipeline.put("uploads/shoe.png", png())
    pipeline.client("s3").delete_object(Bucket=UPLOADS, Key="uploads/shoe.png", VersionId=version)
    pipeline.send(s3_event("uploads/shoe.png", version, 100))
    job_id = upload_job_id(UPLOADS, "uploads/shoe.png", version)
    pipeline.run(job_id)
    pipeline.check(job_id, State.REJECTED, accepted=0, says="is not in the bucket (any more)")


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(
    "message",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": UPLOADS},
        s3_event("uploads/folder/", None, 0),
        s3_event("uploads/gone.png", "v", 10, name="ObjectRemoved:Delete"),
        {"Records": []},
    ],
    ids=["test-event", "folder-marker", "removal", "nothing"],
)
def test_other_events_create_no_job(pipeline: Pipeline, message: dict[str, Any]) -> None:
    assert pipeline.submit(json.dumps(message))
    assert pipeline.client("dynamodb").scan(TableName="jobs")["Count"] == 0
    assert pipeline.notifications() == []


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("body", ["no JSON", "[]", "{}", '{"job_id": "up-unknown"}'], ids=range(4))
def test_an_invalid_message_is_redelivered_and_becomes_a_dead_letter(pipeline: Pipeline, body: str) -> None:
    assert not pipeline.submit(body)


def test_two_uploads_in_one_message_are_two_jobs(pipeline: Pipeline) -> None:
    versions = {key: pipeline.put(key, png()) for key in ("uploads/a.png", "uploads/b.png")}
    events = [s3_event(key, version, 100) for key, version in versions.items()]
    assert pipeline.submit(json.dumps({"Records": [event["Records"][0] for event in events]}))
    for key, version in versions.items():
        assert pipeline.run(upload_job_id(UPLOADS, key, version)).state is State.COMPLETED
    assert pipeline.sandbox.summary()["accepted"] == 2


@pytest.mark.hostile(kind="input", risk="paid twice")
@pytest.mark.parametrize("when", ["at once", "while it runs", "when it is done"])
def test_the_same_event_twice_creates_one_job(pipeline: Pipeline, when: str) -> None:
    version = pipeline.put("uploads/shoe.png", png(), {"resolution": "480p"})
    event, job_id = s3_event("uploads/shoe.png", version, 100), upload_job_id(UPLOADS, "uploads/shoe.png", version)
    pipeline.send(event)
    if when == "at once":
        pipeline.send(event)
    if when == "while it runs":
        pipeline.deliver()
        pipeline.send(event)
    pipeline.run(job_id)
    if when == "when it is done":
        pipeline.send(event)
        pipeline.deliver()
    pipeline.check(job_id, State.COMPLETED)


@pytest.mark.hostile(kind="input", risk="paid twice")
def test_a_refused_upload_that_is_delivered_twice_is_notified_once(pipeline: Pipeline) -> None:
    version = pipeline.put("uploads/shoe.txt", b"prose")
    for _ in range(2):
        pipeline.send(s3_event("uploads/shoe.txt", version, 5))
        pipeline.deliver()
    pipeline.check(upload_job_id(UPLOADS, "uploads/shoe.txt", version), State.REJECTED, accepted=0, says="content")


def test_an_upload_to_the_same_key_is_a_new_job_with_its_own_image(pipeline: Pipeline) -> None:
    pictures = {pipeline.upload("uploads/shoe.png", png((0, 0, shade))): png((0, 0, shade)) for shade in (50, 200)}
    assert len(pictures) == 2
    for job_id, picture in pictures.items():
        job = pipeline.run(job_id)
        assert job.state is State.COMPLETED
        body = pipeline.sandbox.state.jobs[str(job.request_id)].body
        assert http().get(body["image_url"]).content == picture  # the version in the event
    assert pipeline.sandbox.summary()["duplicates"] == []
    assert len(pipeline.stored()) == len(pipeline.notifications()) == 2


def test_without_versions_the_sequencer_distinguishes_uploads(pipeline: Pipeline) -> None:
    pipeline.put("uploads/shoe.png", png())
    event = s3_event("uploads/shoe.png", "null", 100)
    ids = []
    for sequencer in ("0A", "0A", "0B"):
        event["Records"][0]["s3"]["object"]["sequencer"] = sequencer
        pipeline.send(event)
        pipeline.deliver()
        ids.append(upload_job_id(UPLOADS, "uploads/shoe.png", sequencer))
    assert [pipeline.run(job_id).state for job_id in ids] == [State.COMPLETED] * 3
    assert pipeline.sandbox.summary()["accepted"] == 2


def test_the_image_can_be_uploaded_to_the_providers_own_store(pipeline: Pipeline, set_up: Change) -> None:
    set_up(image_delivery="upload")
    job_id = pipeline.upload(resolution="480p")
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)
    (job,) = pipeline.sandbox.state.jobs.values()
    assert job.body["image_url"].startswith(f"{pipeline.sandbox.url}/media/asset-")
    assert http().get(job.body["image_url"]).content == png()


@pytest.mark.hostile(kind="input")
def test_a_key_that_cannot_be_linked_is_refused_with_advice(pipeline: Pipeline) -> None:
    # HTTP clients shorten "a/../b" in a URL before they request it.
    job_id = pipeline.upload("uploads/a/../b/./c.png", resolution="480p")
    pipeline.run(job_id)
    pipeline.check(job_id, State.REJECTED, accepted=0, says="rename it")


@pytest.mark.parametrize("transport", ["v2", "v1"])
def test_an_image_that_is_missing_when_it_must_be_uploaded_ends_the_job(
    pipeline: Pipeline, set_up: Change, transport: str
) -> None:
    set_up(image_delivery="upload")
    if transport == "v2":  # a delivery does not start a v1 call
        pipeline.sandbox.fault("upload", "http-500")
    job_id = pipeline.upload(model="seedance-pro", transport=transport)
    pipeline.deliver()
    image = pipeline.job(job_id).image or {}
    pipeline.client("s3").delete_object(Bucket=UPLOADS, Key=image["key"], VersionId=image["version_id"])
    pipeline.run(job_id)
    pipeline.check(job_id, State.REJECTED, accepted=0, says="is not in the bucket (any more)")
