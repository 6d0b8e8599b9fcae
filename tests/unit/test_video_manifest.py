"""The manifest beside a video: what it says, when it is written, and that no trouble with it costs the video."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
import seedance
from botocore.exceptions import ClientError, ReadTimeoutError
from hostile_values import TEXTS
from seedance import finalize as finalize_module
from seedance.finalize import Finalize
from seedance.jobs.job import Job, State
from seedance.video_manifest import file_of, manifest_key, video_manifest

from cli import show

Make = Callable[..., Job]
KEY, ABOUT = "videos/shoe/up-1.mp4", "videos/shoe/up-1.json"
VIDEO: Any = {"bucket": "example-videos", "key": KEY, "bytes": 7, "sha256": "ab"}
DONE = {"job_id": "up-1", "status": "COMPLETED", "error": None}
NOW = 1_763_631_060.0


@pytest.fixture
def finalize(world: Any) -> Finalize:
    return Finalize(world.store, world.downloads, world.media, world.notifier, world.clock)


@pytest.fixture
def job(make_job: Make) -> Job:
    return make_job(
        State.COPYING,
        created_at=1_763_631_000.0,
        submitted_at=1_763_631_002.0,
        entered={"RECEIVED": 1_763_631_000.0, "COPYING": 1_763_631_050.0},
        parameters={"prompt": "a shoe turns", "duration": 5, "seed": 4711},
        image={"bucket": "example-uploads", "key": "uploads/shoe.png", "version_id": "v1", "content_type": "image/png"},
        cost_usd=0.25,
        metrics={"total": 40.0},
        notes=["aspect_ratio is 4:3."],
        metadata={"sku": "S-1"},
    )


def test_a_manifest_says_how_the_video_was_made(job: Job) -> None:
    assert json.loads(file_of(video_manifest(job, {**VIDEO, "last_frame_key": "videos/shoe/f.png"}, NOW))) == {
        "ai_generated": True,
        "versions": {"manifest": 1, "pipeline": seedance.__version__},
        "job_id": "up-1",
        "name": "shoe",
        "source": "upload",
        "batch": None,
        "image": {"bucket": "example-uploads", "key": "uploads/shoe.png", "version_id": "v1"},
        "model": "seedance-1.0-pro-fast",
        "transport": "v2",
        "prompt": "a shoe turns",
        "seed": 4711,
        "parameters": {"prompt": "a shoe turns", "duration": 5, "seed": 4711},
        "request_id": "req-1",
        "video": {**VIDEO, "content_type": "video/mp4", "last_frame_key": "videos/shoe/f.png"},
        "cost_usd": 0.25,
        "created_at": "2025-11-20T09:30:00+00:00",
        "submitted_at": "2025-11-20T09:30:02+00:00",
        "stored_at": "2025-11-20T09:31:00+00:00",
        "timings": {
            "total_seconds": 60.0,
            "until_submitted_seconds": 2.0,
            "at_provider_seconds": 48.0,
            "copying_seconds": 10.0,
            "provider_total_seconds": 40.0,
        },
        "notes": ["aspect_ratio is 4:3."],
        "metadata": {"sku": "S-1"},
    }


def test_what_is_not_known_is_null(make_job: Make) -> None:
    none: dict[str, Any] = {"image": None, "request_id": None, "submitted_at": None}
    bare = make_job(State.COPYING, parameters={"seed": -1}, batch="batch-1", row=3, **none)
    about = video_manifest(bare, VIDEO, NOW)
    assert about["batch"] == {"batch_id": "batch-1", "row": 3}
    unknown = ("image", "prompt", "seed", "request_id", "cost_usd", "submitted_at")
    assert {name: about[name] for name in unknown} == dict.fromkeys(unknown)  # type: ignore[literal-required]


def test_no_signature_of_an_address_is_in_it(make_job: Make) -> None:
    signed = "https://a.example/b.png?X-Amz-Signature=5d6e7f&v=2"
    parameters = {"image_url": signed, "reference_images": [signed, "https://a.example/?v=1"], "prompt": "Turn?"}
    about = video_manifest(make_job(State.COPYING, parameters=parameters, metadata={"sig": "kept"}), VIDEO, NOW)
    assert "5d6e7f" not in json.dumps(about)
    assert about["parameters"]["reference_images"] == [about["parameters"]["image_url"], "https://a.example/?v=1"]
    assert "v=2" in about["parameters"]["image_url"]
    assert (about["prompt"], about["metadata"]) == ("Turn?", {"sig": "kept"})


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("text", [*TEXTS.values(), b"bytes", {"a", "b"}, float("nan"), {"deep": [{"x": b"y"}]}, None])
def test_any_record_has_a_manifest(make_job: Make, text: Any) -> None:
    values = {"parameters": {"prompt": text, "seed": text, "list": [text]}, "name": str(text)}
    about = json.loads(file_of(video_manifest(make_job(State.COPYING, **values), VIDEO, NOW)))
    assert (about["ai_generated"], about["job_id"]) == (True, "up-1")


@pytest.mark.parametrize(("video", "key"), [(KEY, ABOUT), ("videos/a.mp4/b.mp4", "videos/a.mp4/b.json")])
def test_it_is_beside_the_video(video: str, key: str) -> None:
    assert manifest_key(video) == key


def test_the_manifest_exists_before_the_job_is_completed_and_notified(
    *, world: Any, finalize: Finalize, job: Job, mp4: bytes
) -> None:
    world.put(job)
    world.wire.will(httpx.Response(200, content=mp4))
    assert finalize("up-1") == DONE
    about, done = json.loads(world.stored(ABOUT)), world.job()
    assert (about["video"]["sha256"], about["video"]["bytes"]) == (done.video["sha256"], len(mp4))
    assert about["timings"] == done.timings()
    assert world.aws["s3"].head_object(Bucket="example-videos", Key=ABOUT)["ContentType"] == "application/json"
    names = [name for name, _ in world.calls if name in ("PutObject", "TransactWriteItems", "Publish")]
    assert names == ["PutObject", "PutObject", "TransactWriteItems", "Publish"]
    assert world.notified()[0]["video"]["manifest_key"] == done.video["manifest_key"] == ABOUT


@pytest.mark.parametrize(
    "trouble",
    [
        ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject"),
        ReadTimeoutError(endpoint_url="https://s3"),
        OSError("odd"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_manifest_that_cannot_be_written_does_not_fail_the_video(
    *, world: Any, finalize: Finalize, job: Job, mp4: bytes, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    put = world.aws["s3"].put_object

    def fails(**call: Any) -> Any:
        if call["Key"] == ABOUT:
            raise trouble
        return put(**call)

    monkeypatch.setattr(world.aws["s3"], "put_object", fails)
    world.put(job)
    world.wire.will(httpx.Response(200, content=mp4))
    assert finalize("up-1") == DONE
    assert "manifest_key" not in world.job().video
    assert world.notified()[0]["video"]["manifest_key"] is None
    assert world.counted() == {"JobsCompleted": 1, "ManifestsLost": 1}


def test_a_run_that_died_with_the_manifest_is_repeated_with_the_same_one(
    *, world: Any, finalize: Finalize, job: Job, mp4: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    store = world.media.store_manifest

    def dies_once(body: bytes, key: str, *, name: str) -> None:
        store(body, key, name=name)
        written.append(body)
        if len(written) == 1:
            raise MemoryError

    monkeypatch.setattr(world.media, "store_manifest", dies_once)
    world.put(job)
    world.wire.will(*(httpx.Response(200, content=mp4) for _ in range(2)))
    with pytest.raises(MemoryError):
        finalize("up-1")
    assert world.job().state is State.COPYING
    assert finalize("up-1") == DONE
    assert written[0] == written[1] == world.stored(ABOUT)
    assert sorted(world.video_keys()) == [ABOUT, KEY]


def test_after_a_long_copy_a_hanging_manifest_does_not_cost_another_copy(
    *, world: Any, finalize: Finalize, job: Job, mp4: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(finalize_module, "LONG_COPY_SECONDS", 0.0)
    world.put(job)
    world.wire.will(httpx.Response(200, content=mp4))
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(world.media, "store_manifest", dies)
        finalize("up-1")
    assert (world.job().state, world.job().video["key"]) == (State.COPYING, KEY)
    assert finalize("up-1") == DONE  # and sends no further request
    assert world.job().video["manifest_key"] == ABOUT


def test_a_job_is_shown_with_its_metadata_and_its_manifest(job: Job) -> None:
    shown = show.job(replace(job, video={**VIDEO, "manifest_key": ABOUT}), 1.0)
    assert re.search(r"^Metadata +sku=S-1$", shown, re.MULTILINE)
    assert re.search(rf"^Manifest +s3://example-videos/{ABOUT}$", shown, re.MULTILINE)
    assert "Manifest" not in show.job(replace(job, video=VIDEO, metadata={}), 1.0)
