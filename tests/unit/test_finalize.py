"""Finalize: copy the video to the bucket, complete the record once, send the notification. Safe to repeat."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from seedance.errors import SourceUnavailable
from seedance.finalize import FRAME_SECONDS, TRIES, Finalize
from seedance.jobs.job import Hold, Job, State
from seedance.provider.download import DOWNLOAD_SECONDS, Downloads
from seedance.provider.http import Limit
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, ProtocolError

Make = Callable[..., Job]
LINK = "https://images.segmind.com/v.mp4"
FRAME = "https://images.segmind.com/f.png"
KEY = "videos/shoe/up-1.mp4"
DONE = {"job_id": "up-1", "status": "COMPLETED", "error": None}


@pytest.fixture
def finalize(world: Any) -> Finalize:
    return Finalize(world.store, world.downloads, world.media, world.notifier, world.clock)


def test_a_video_is_copied_and_its_job_completed_and_notified(
    world: Any, finalize: Finalize, make_job: Make, mp4: bytes
) -> None:
    world.put(make_job(State.COPYING, cost_usd=0.25))
    world.wire.will(httpx.Response(200, content=mp4))
    assert finalize("up-1") == DONE
    job = world.job()
    assert (job.state, job.cost_usd) == (State.COMPLETED, 0.25)
    digest = hashlib.sha256(mp4).hexdigest()
    facts = {"bucket": "example-videos", "key": KEY, "bytes": len(mp4), "sha256": digest}
    assert job.video == {**facts, "manifest_key": "videos/shoe/up-1.json"}
    assert world.stored(KEY) == mp4
    head = world.aws["s3"].head_object(Bucket="example-videos", Key=KEY)
    assert head["Metadata"] == {"job-id": "up-1", "model": "seedance-1.0-pro-fast", "request-id": "req-1"}
    (message,) = world.notified()
    assert (message["status"], message["video"]["sha256"]) == ("COMPLETED", digest)
    assert world.counted() == {"JobsCompleted": 1}


def test_finalizing_twice_has_the_effect_of_once(world: Any, finalize: Finalize, make_job: Make, mp4: bytes) -> None:
    world.put(make_job(State.COPYING))
    world.wire.will(httpx.Response(200, content=mp4))
    assert [finalize("up-1"), finalize("up-1")] == [DONE, DONE]
    assert len(world.notified()) == 1
    assert len(world.wire.requests) == 1


def test_a_crash_before_the_notification_is_repaired_by_the_next_run(
    world: Any, finalize: Finalize, make_job: Make
) -> None:
    video = {"bucket": "example-videos", "key": KEY, "bytes": 7, "sha256": "ab"}
    world.put(make_job(State.COMPLETED, video=video, notified_at=None))
    assert finalize("up-1") == DONE
    assert len(world.notified()) == 1


def test_a_video_that_v1_has_stored_is_not_downloaded(world: Any, finalize: Finalize, make_job: Make) -> None:
    video = {"bucket": "example-videos", "key": KEY, "bytes": 7, "sha256": "ab"}
    world.put(make_job(State.COPYING, video=video, result_url=None))
    assert finalize("up-1") == DONE
    assert world.job().video == {**video, "manifest_key": "videos/shoe/up-1.json"}
    assert world.wire.requests == []


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(403), httpx.Response(404), httpx.Response(503), ConnectTimeoutError(), ProtocolError()],
)
def test_an_unavailable_host_is_retried_by_the_workflow(
    world: Any, finalize: Finalize, make_job: Make, answer: Any
) -> None:
    world.put(make_job(State.COPYING))
    world.wire.will(answer)
    with pytest.raises(SourceUnavailable):
        finalize("up-1")
    assert world.job().state is State.COPYING
    assert (world.video_keys(), world.notified()) == ([], [])


def test_an_incomplete_file_is_retried_by_the_workflow(
    world: Any, finalize: Finalize, make_job: Make, mp4: bytes
) -> None:
    world.put(make_job(State.COPYING))
    world.wire.will(httpx.Response(200, content=iter([mp4]), headers={"content-length": str(len(mp4) + 1)}))
    with pytest.raises(SourceUnavailable, match=r"expected \d+ bytes, received"):
        finalize("up-1")
    assert world.video_keys() == []


def test_an_invalid_video_is_downloaded_twice_before_the_job_fails(
    world: Any, finalize: Finalize, make_job: Make, mp4: bytes
) -> None:
    world.put(make_job(State.COPYING))
    world.wire.will(*(httpx.Response(200, content=mp4[:-1]) for _ in range(TRIES)))
    outcome = finalize("up-1")
    assert (outcome["status"], outcome["error"]["code"]) == ("FAILED", "RESULT_NOT_A_VIDEO")
    assert outcome["error"]["message"].startswith("The result is not a complete MP4: it is cut off")
    assert outcome["error"]["message"].endswith(".")
    assert world.job().state is State.COPYING  # Fail closes the record
    assert world.video_keys() == []


def test_a_video_that_is_complete_the_second_time_is_accepted(
    world: Any, finalize: Finalize, make_job: Make, mp4: bytes
) -> None:
    world.put(make_job(State.COPYING))
    world.wire.will(httpx.Response(200, text="<html>"), httpx.Response(200, content=mp4))
    assert finalize("up-1") == DONE


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize(
    "url", ["https://evil.com/v.mp4", "http://images.segmind.com/v.mp4", "http://169.254.169.254/"]
)
def test_a_result_on_another_host_is_not_downloaded(world: Any, finalize: Finalize, make_job: Make, url: str) -> None:
    world.put(make_job(State.COPYING, result_url=url))
    outcome = finalize("up-1")
    job = world.job()
    assert (outcome["status"], outcome["error"], outcome["error"]["code"]) == ("HELD", job.error, Hold.RESULT)
    assert (job.state, job.result_url) == (State.HELD, url)
    assert "SegmindMediaHosts, then `seedance retry up-1`" in job.error["message"]
    assert (world.wire.requests, world.counted()) == ([], {"JobsHeld": 1})


def test_a_held_result_is_settled_with_its_estimate(world: Any, finalize: Finalize, make_job: Make) -> None:
    world.put(make_job(State.COPYING, reserved_usd=0.2, reserved_day="2026-11-20", result_url="https://evil.com/v.mp4"))
    assert finalize("up-1")["status"] == "HELD"
    assert (world.job().reserved_usd, world.job().settled_usd) == (None, 0.2)


def test_a_held_result_is_copied_once_its_host_is_allowed(
    world: Any, finalize: Finalize, make_job: Make, mp4: bytes
) -> None:
    world.put(make_job(State.COPYING, result_url="https://new.example/v.mp4"))
    assert finalize("up-1")["status"] == "HELD"
    world.store.move(world.job(), State.COPYING, error=None)
    allowing = replace(finalize, downloads=Downloads({"new.example"}))
    world.wire.will(httpx.Response(200, content=mp4))
    assert allowing("up-1") == DONE


@pytest.mark.hostile(kind="address")
def test_a_redirect_to_an_unlisted_host_is_reported_with_the_host(
    world: Any, finalize: Finalize, make_job: Make
) -> None:
    world.put(make_job(State.COPYING))
    world.wire.will(httpx.Response(302, headers={"location": "https://new.example/v.mp4?X-Amz-Signature=5d6e"}))
    message = finalize("up-1")["error"]["message"]
    assert "is on new.example" in message
    assert "5d6e" not in message


def test_a_record_without_a_link_fails_with_a_clear_message(world: Any, finalize: Finalize, make_job: Make) -> None:
    world.put(make_job(State.COPYING, result_url=None))
    outcome = finalize("up-1")
    assert (outcome["status"], outcome["error"]["code"]) == ("FAILED", "RESULT_NOT_A_VIDEO")


def test_a_last_frame_is_stored_beside_the_video(
    *, world: Any, finalize: Finalize, make_job: Make, mp4: bytes, png: bytes
) -> None:
    world.put(make_job(State.COPYING, last_frame_url=FRAME))
    world.wire.will(httpx.Response(200, content=mp4), httpx.Response(200, content=png))
    assert finalize("up-1") == DONE
    assert world.job().video["last_frame_key"] == "videos/shoe/up-1-last-frame.png"
    assert world.stored("videos/shoe/up-1-last-frame.png") == png
    assert world.wire.asked == [f"GET {LINK}", f"GET {FRAME}"]


@pytest.mark.parametrize(
    ("url", "answer", "lost"),
    [
        (FRAME, httpx.Response(404), 1),
        (FRAME, ConnectTimeoutError(), 1),
        ("https://evil.com/f.png", None, 1),
        (FRAME, httpx.Response(200, text="<html>"), 1),
        (FRAME, httpx.Response(200, content=b"x", headers={"content-length": "9" * 5000}), 1),
        (FRAME, httpx.Response(302), 1),
        (FRAME, httpx.Response(302, headers={"location": "http://["}), 1),
        (FRAME, httpx.Response(302, headers={"location": "https://169.254.169.254/"}), 1),
        (FRAME, LocationParseError("x"), 1),
        (FRAME, ValueError("odd"), 1),
        (FRAME, OSError("odd"), 1),
        ("https://[", None, 1),
    ],
    ids=lambda value: str(getattr(value, "headers", value))[:60],
)
def test_an_unavailable_last_frame_does_not_fail_the_video(
    *, world: Any, finalize: Finalize, make_job: Make, mp4: bytes, url: str, answer: Any, lost: int
) -> None:
    world.put(make_job(State.COPYING, last_frame_url=url))
    world.wire.will(httpx.Response(200, content=mp4), *([answer] if answer else []))
    assert finalize("up-1") == DONE
    assert "last_frame_key" not in world.job().video
    assert world.counted().get("LastFramesLost", 0) == lost


def test_the_video_is_recorded_before_the_last_frame_is_requested(
    *, world: Any, finalize: Finalize, make_job: Make, mp4: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(world.media, "store_frame", dies)
    world.put(make_job(State.COPYING, last_frame_url=FRAME))
    world.wire.will(httpx.Response(200, content=mp4), httpx.Response(200, content=b"x"))
    with pytest.raises(MemoryError):
        finalize("up-1")
    assert (world.job().state, world.job().video["key"]) == (State.COPYING, KEY)
    assert finalize("up-1") == DONE  # and sends no further request


def test_a_last_frame_that_cannot_be_stored_does_not_fail_the_video(
    *, world: Any, finalize: Finalize, make_job: Make, mp4: bytes, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = world.aws["s3"].put_object

    def fails(**call: Any) -> Any:
        if "last-frame" in call["Key"]:
            raise ClientError({"Error": {"Code": "SlowDown"}}, "PutObject")
        return put(**call)

    monkeypatch.setattr(world.aws["s3"], "put_object", fails)
    world.put(make_job(State.COPYING, last_frame_url=FRAME))
    world.wire.will(httpx.Response(200, content=mp4), httpx.Response(200, content=png))
    assert finalize("up-1") == DONE
    assert world.counted() == {"JobsCompleted": 1, "LastFramesLost": 1}


def test_a_last_frame_has_a_limit_for_its_whole_download(
    *, world: Any, finalize: Finalize, make_job: Make, mp4: bytes, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[Limit] = []

    def drip() -> Iterator[bytes]:
        yield png[:10]
        limits[-1].over = True  # time is up, and the connection ends without an error
        yield b""

    enter = Limit.__enter__
    monkeypatch.setattr(Limit, "__enter__", lambda self: limits.append(self) or enter(self))
    world.put(make_job(State.COPYING, last_frame_url=FRAME))
    world.wire.will(httpx.Response(200, content=mp4), httpx.Response(200, content=drip()))
    assert finalize("up-1") == DONE
    assert "last_frame_key" not in world.job().video
    assert [limit.seconds for limit in limits] == [pytest.approx(DOWNLOAD_SECONDS, abs=5), FRAME_SECONDS]


def test_a_job_is_completed_even_when_its_notification_fails(
    *, world: Any, finalize: Finalize, make_job: Make, mp4: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "InvalidParameter"}}, "Publish")

    monkeypatch.setattr(world.aws["sns"], "publish", fails)
    world.put(make_job(State.COPYING))
    world.wire.will(httpx.Response(200, content=mp4))
    assert finalize("up-1") == DONE
    assert (world.job().state, world.job().notified_at) == (State.COMPLETED, None)
    assert world.counted() == {"JobsCompleted": 1, "NotificationsPutOff": 1}


@pytest.mark.parametrize("state", [s for s in State if s not in (State.COPYING, State.COMPLETED)])
def test_in_any_other_state_there_is_no_video_to_copy(
    world: Any, finalize: Finalize, make_job: Make, state: State
) -> None:
    before = world.put(make_job(state))
    outcome = finalize("up-1")
    assert (outcome["status"], outcome["error"]["code"]) == ("NOT_READY", "NOT_READY")
    assert world.job() == before
    assert world.notified() == []


def test_a_missing_record_is_an_error(finalize: Finalize) -> None:
    with pytest.raises(LookupError, match="up-1"):
        finalize("up-1")
