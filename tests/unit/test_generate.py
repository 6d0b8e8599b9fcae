"""Generate: v1's single call. It stores the video, leaves a link for Finalize, or says whether money was spent."""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from seedance.errors import ConfigurationError
from seedance.generate import Generate
from seedance.jobs.job import Hold, Job, State
from seedance.paid_call import MAX_ATTEMPTS
from seedance.provider.client import Provider

Make = Callable[..., Job]
MONEY = 406
KEY = "SG_0123456789abcdef"
LINK = "https://images.segmind.com/v.mp4"
POSTED = "POST https://api.segmind.com/v1/seedance-pro"
HEADERS = {"x-request-id": "req-7", "x-cost": "0.35", "x-generation-time": "61.5", "content-type": "video/mp4"}


@pytest.fixture
def generate(world: Any) -> Generate:
    return Generate(world.store, world.provider, world.media, world.sending)


def sending_by(generate: Generate, **changes: Any) -> Generate:
    """The same use case with another provider, image delivery or time scale."""
    provider = changes.get("provider", generate.provider)
    return replace(generate, provider=provider, sending=replace(generate.sending, **changes))


@pytest.fixture
def job(world: Any, make_job: Make) -> Callable[..., Job]:
    """A job of v1 in the table."""

    def put(state: State = State.RECEIVED, **changes: Any) -> Job:
        return world.put(make_job(state, **{"model": "seedance-pro", "transport": "v1", **changes}))

    return put


def chunks(body: bytes, then: Exception | None = None) -> Iterator[bytes]:
    yield body
    if then:
        raise then


def test_bytes_are_streamed_into_the_bucket(*, world: Any, generate: Generate, job: Any, mp4: bytes) -> None:
    job()
    world.wire.will(httpx.Response(200, content=mp4, headers=HEADERS))
    assert generate("up-1") == {"job_id": "up-1", "transport": "v1", "status": "COMPLETED", "error": None}
    after = world.job()
    assert (after.state, after.request_id, after.cost_usd, after.metrics) == ("COPYING", "req-7", 0.35, {"total": 61.5})
    assert (after.video["key"], after.video["bytes"]) == ("videos/shoe/up-1.mp4", len(mp4))
    assert (after.attempts, after.submitted_at) == (1, world.clock.now)
    assert world.stored("videos/shoe/up-1.mp4") == mp4
    assert world.wire.asked == [POSTED]
    assert world.wire.body()["seed"] in range(1, 1_000_000)
    assert world.counted() == {"JobsSubmitted": 1}


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
def test_a_link_is_left_to_finalize(*, world: Any, generate: Generate, job: Any, content_type: str) -> None:
    job()
    world.wire.will(httpx.Response(200, json={"output": [LINK]}, headers={**HEADERS, "content-type": content_type}))
    assert generate("up-1")["status"] == "COMPLETED"
    assert (world.job().state, world.job().result_url, world.job().video) == (State.COPYING, LINK, None)
    assert world.job().cost_usd == 0.35


def test_the_intent_is_recorded_before_the_post(*, world: Any, generate: Generate, job: Any) -> None:
    seen: list[Job] = []

    def look(request: httpx.Request) -> httpx.Response:
        seen.append(world.job())
        return httpx.Response(200, json={"output": LINK})

    job()
    at = Provider("https://api.segmind.com", "", "", key=lambda: "key", transport=httpx.MockTransport(look))
    sending_by(generate, provider=at)("up-1")
    assert [(job.state, job.attempts, job.submitted_at) for job in seen] == [("SUBMITTING", 1, world.clock.now)]


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("odd", ["", "soon", "nan", "inf", "-inf", "1e999"])
def test_invalid_headers_do_not_lose_the_video(
    *, world: Any, generate: Generate, job: Any, mp4: bytes, odd: str
) -> None:
    job()
    headers = {"content-type": "video/mp4", "x-cost": odd, "x-generation-time": odd}
    world.wire.will(httpx.Response(200, content=mp4, headers=headers))
    assert generate("up-1")["status"] == "COMPLETED"
    assert (world.job().cost_usd, world.job().metrics, world.job().request_id) == (None, {}, None)


def broken_video(mp4: bytes) -> dict[str, httpx.Response]:
    full = {**HEADERS, "content-length": str(len(mp4))}
    return {
        "cut off": httpx.Response(200, content=chunks(mp4[:-9]), headers=HEADERS),
        "shorter than announced": httpx.Response(200, content=chunks(mp4[:-9]), headers=full),
        "line broke": httpx.Response(200, content=chunks(mp4, httpx.ReadError("gone")), headers=HEADERS),
        "web page": httpx.Response(200, text="<html>", headers={**HEADERS, "content-type": "text/html"}),
        "nothing": httpx.Response(200, content=b"", headers=HEADERS),
    }


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("damage", ["cut off", "shorter than announced", "line broke", "web page", "nothing"])
def test_an_incomplete_video_is_uncertain_and_can_be_found_again(
    *, world: Any, generate: Generate, job: Any, mp4: bytes, damage: str
) -> None:
    job()
    world.wire.will(broken_video(mp4)[damage])
    assert generate("up-1")["status"] == "UNCERTAIN"
    after = world.job()
    assert (after.state, after.request_id, after.cost_usd) == (State.UNCERTAIN, "req-7", 0.35)
    assert "transfer failed" in after.error["message"]
    assert world.video_keys() == []


JSON = {**HEADERS, "content-type": "application/json"}


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("body", ["{}", "null", "{", '{"output":null}', '{"status":"QUEUED"}'])
def test_a_response_without_a_link_is_uncertain_and_is_kept(
    *, world: Any, generate: Generate, job: Any, body: str
) -> None:
    job()
    world.wire.will(httpx.Response(200, text=body, headers=JSON))
    assert generate("up-1")["status"] == "UNCERTAIN"
    after = world.job()
    assert (after.state, after.request_id, after.answer) == (State.UNCERTAIN, "req-7", body)


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize(
    ("output", "says", "link"),
    [
        ([LINK, "https://images.segmind.com/w.mp4"], "2 different videos", None),
        ("https://new.example/v.mp4", "is on new.example", "https://new.example/v.mp4"),
    ],
)
def test_an_ambiguous_link_is_held_for_a_person(
    *, world: Any, generate: Generate, job: Any, output: Any, says: str, link: str | None
) -> None:
    job()
    world.wire.will(httpx.Response(200, json={"output": output}, headers=JSON))
    outcome = generate("up-1")
    after = world.job()
    assert (outcome["status"], outcome["error"], after.state) == ("FAILED", after.error, State.HELD)
    assert (after.error["code"], after.result_url, after.request_id) == (Hold.RESULT, link, "req-7")
    assert says in after.error["message"]
    assert (after.cost_usd, after.settled_usd, after.reserved_usd) == (0.35, 0.35, None)
    assert world.counted()["JobsHeld"] == 1
    assert len(world.wire.requests) == 1


@pytest.mark.parametrize("body", [{"video_url": LINK}, {"data": {"videos": [{"url": LINK}]}}, LINK])
def test_a_link_is_found_in_any_shape(*, world: Any, generate: Generate, job: Any, body: Any) -> None:
    job()
    world.wire.will(httpx.Response(200, json=body, headers=JSON))
    assert generate("up-1")["status"] == "COMPLETED"
    assert world.job().result_url == LINK


@pytest.mark.hostile(kind="answer", risk="leaked")
def test_a_key_in_the_response_is_not_stored(*, world: Any, generate: Generate, job: Any) -> None:
    job()
    headers = {**JSON, "x-request-id": f"req {KEY}", "x-cost": "0.35"}
    world.wire.will(httpx.Response(200, json={"said": KEY}, headers=headers))
    assert generate("up-1")["status"] == "UNCERTAIN"
    assert (world.job().request_id, world.job().answer, world.job().cost_usd) == (None, '{"said":"***"}', 0.35)


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize(
    "answer",
    [
        *(httpx.Response(status) for status in (301, 504, 520)),
        *(httpx.ReadTimeout(""), httpx.ReadError("reset"), httpx.RemoteProtocolError("closed")),
    ],
    ids=["301", "504", "520", "time-out", "reset", "closed"],
)
def test_an_ambiguous_outcome_is_uncertain_and_never_resubmitted(
    *, world: Any, generate: Generate, job: Any, answer: Any
) -> None:
    job()
    world.wire.will(answer)
    assert [generate("up-1")["status"] for _ in range(2)] == ["UNCERTAIN", "UNCERTAIN"]
    assert (world.job().state, world.job().error["code"]) == (State.UNCERTAIN, "SUBMIT_UNCERTAIN")
    assert len(world.wire.requests) == 1
    assert world.counted()["JobsUncertain"] == 1


def test_an_interrupted_call_is_uncertain(*, world: Any, generate: Generate, job: Any) -> None:
    job(State.SUBMITTING)
    assert generate("up-1")["status"] == "UNCERTAIN"
    assert world.job().state is State.UNCERTAIN
    assert world.wire.requests == []


@pytest.mark.parametrize(
    ("answer", "wait"),
    [(httpx.Response(500), 15), (httpx.Response(502), 15), (httpx.Response(503), 15), (httpx.ConnectError("no"), 15)],
    ids=["500", "502", "503", "no connection"],
)
def test_an_error_before_anything_started_is_retried_later(
    *, world: Any, generate: Generate, job: Any, answer: Any, wait: int
) -> None:
    job()
    world.wire.will(answer)
    outcome = generate("up-1")
    assert (outcome["status"], outcome["wait_seconds"]) == ("POSTPONED", wait + 1)
    assert (world.job().state, world.job().attempts, world.job().submitted_at) == (State.RECEIVED, 1, None)


def test_a_lasting_error_fails_after_six_attempts(*, world: Any, generate: Generate, job: Any) -> None:
    job()
    world.wire.will(*(httpx.Response(500) for _ in range(MAX_ATTEMPTS)))
    outcomes = []
    for _ in range(MAX_ATTEMPTS):
        outcomes.append(generate("up-1"))
        world.clock.now += 241
    assert [outcome["status"] for outcome in outcomes] == ["POSTPONED"] * (MAX_ATTEMPTS - 1) + ["FAILED"]
    assert [outcome.get("wait_seconds") for outcome in outcomes] == [16, 31, 61, 121, 241, None]
    assert outcomes[-1]["error"]["code"] == "PROVIDER_UNAVAILABLE"
    assert world.job().state is State.FAILED


@pytest.mark.parametrize(
    ("reset_in", "scale", "wait"), [(None, 1.0, 16), (40, 1.0, 41), (40, 0.5, 81), (-9, 1.0, 1), (4e7, 1.0, 901)]
)
def test_a_rate_limit_is_waited_for_and_costs_no_attempt(
    *, world: Any, generate: Generate, job: Any, rate_limited: Any, reset_in: float | None, scale: float, wait: int
) -> None:
    job()
    limited = sending_by(generate, scale=scale)
    for _ in range(MAX_ATTEMPTS + 1):
        world.wire.will(rate_limited(reset_in))
        outcome = limited("up-1")
        assert outcome["status"] == "POSTPONED"
        assert outcome["wait_seconds"] == pytest.approx(wait, abs=1 / scale)
        assert (world.job().state, world.job().attempts) == (State.RECEIVED, 0)
        world.clock.now += 1000


@pytest.mark.parametrize(("turn_in", "wait"), [(30.0, 31), (800.0, 801), (50_000.0, 901)])
@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_a_wait_is_in_whole_seconds_and_valid_in_a_workflow(
    *, world: Any, generate: Generate, job: Any, make_pacer: Any, turn_in: float, wait: int, scale: float
) -> None:
    pacer = make_pacer(scale=scale)
    job(turn_at=pacer.turn_in(turn_in))
    slow = make_pacer(scale=scale, requests_per_minute=1, max_in_flight=1)
    for _ in range(3):
        slow.submit_turn(None, 60_000.0 / scale)  # each waits for a video that takes this long
    outcome = sending_by(generate, pacer=pacer, scale=scale)("up-1")
    assert outcome["status"] == "POSTPONED"
    assert outcome["wait_seconds"] == (wait if scale == 1 else 99_999_999)
    assert world.job().turn_at == pytest.approx(pacer.turn_in(turn_in))


HOSTILE = {
    "deep": httpx.Response(200, content='{"output": ' + "[" * 200_000, headers=HEADERS),
    "long": httpx.Response(200, content=b'{"output": "' + b"x" * 2_000_000 + b'"}', headers=HEADERS),
    "bomb": httpx.Response(
        200, content=gzip.compress(bytes(50_000_000)), headers={**HEADERS, "content-encoding": "gzip"}
    ),
    "broken": httpx.Response(200, content=chunks(b'{"output": "', httpx.ReadError("gone")), headers=HEADERS),
}


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("kind", HOSTILE)
def test_unreadable_json_is_uncertain_and_the_request_id_is_kept(
    *, world: Any, generate: Generate, job: Any, kind: str
) -> None:
    job()
    answer = HOSTILE[kind]
    answer.headers["content-type"] = "application/json"
    world.wire.will(answer)
    assert generate("up-1")["status"] == "UNCERTAIN"
    after = world.job()
    assert (after.state, after.request_id, after.cost_usd) == (State.UNCERTAIN, "req-7", 0.35)


@pytest.mark.parametrize("status", [400, 401, 403, 404, MONEY, 410, 422])
def test_a_refusal_fails_with_the_providers_message(*, world: Any, generate: Generate, job: Any, status: int) -> None:
    job()
    world.wire.will(httpx.Response(status, json={"error": "no credits, said the provider"}))
    outcome = generate("up-1")
    assert outcome["status"] == "FAILED"
    assert "said the provider" in outcome["error"]["message"]
    assert world.job().state is (State.HELD if status == MONEY else State.FAILED)


@pytest.mark.parametrize("state", [State.COPYING, State.COMPLETED])
def test_a_repeated_call_continues_to_finalize(*, world: Any, generate: Generate, job: Any, state: State) -> None:
    before = job(state)
    assert generate("up-1")["status"] == "COMPLETED"
    assert world.job() == before
    assert world.wire.requests == []


@pytest.mark.parametrize("state", [State.FAILED, State.REJECTED, State.EXPIRED, State.HELD])
def test_an_ended_or_held_job_is_not_generated(*, world: Any, generate: Generate, job: Any, state: State) -> None:
    before = job(state, error={"code": "X", "message": "because"})
    outcome = generate("up-1")
    assert (outcome["status"], outcome["error"]) == ("FAILED", {"code": "X", "message": "because"})
    assert world.job() == before
    assert world.wire.requests == []


def test_a_missing_key_leaves_the_job_unchanged(*, world: Any, generate: Generate, job: Any) -> None:
    def no_key() -> str:
        raise ConfigurationError("the secret is empty")

    before = job()
    at = Provider("https://api.segmind.com", "", "", key=no_key, transport=httpx.MockTransport(world.wire))
    with pytest.raises(ConfigurationError):
        sending_by(generate, provider=at)("up-1")
    assert world.job() == before


@pytest.mark.parametrize(
    ("gone", "answer", "status", "attempts", "state"),
    [
        (True, None, "FAILED", 0, State.REJECTED),
        (False, httpx.Response(500), "POSTPONED", 1, State.RECEIVED),
        (False, httpx.ReadTimeout(""), "POSTPONED", 1, State.RECEIVED),
        (False, httpx.Response(413), "FAILED", 0, State.FAILED),
    ],
    ids=["image gone", "500", "time-out", "413"],
)
def test_a_failed_asset_upload_makes_no_call(
    *,
    world: Any,
    generate: Generate,
    job: Any,
    png: bytes,
    gone: bool,
    answer: Any,
    status: str,
    attempts: int,
    state: State,
) -> None:
    if not gone:
        world.upload("uploads/shoe.png", png)
        world.wire.will(answer)
    image = {"bucket": "example-uploads", "key": "uploads/shoe.png", "version_id": None, "content_type": "image/png"}
    job(image=image)
    assert sending_by(generate, image_delivery="upload")("up-1")["status"] == status
    assert (world.job().state, world.job().attempts) == (state, attempts)
    assert POSTED not in world.wire.asked


def test_a_job_taken_by_another_invocation_is_read_again(
    *, world: Any, generate: Generate, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = job()
    world.put(Job(**{**vars(stale), "state": State.SUBMITTING}))
    monkeypatch.setattr(world.store, "get", lambda _: stale)
    outcome = generate("up-1")
    assert (outcome["status"], outcome["wait_seconds"]) == ("POSTPONED", 10)
    assert world.wire.requests == []


def test_a_missing_record_is_an_error(generate: Generate) -> None:
    with pytest.raises(LookupError, match="up-1"):
        generate("up-1")


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("found", ["", " ", "a b", "x" * 129, "a/b", "..", "a\tb"])
def test_a_request_id_that_cannot_be_stored_does_not_lose_the_video(
    *, world: Any, generate: Generate, job: Any, mp4: bytes, found: str
) -> None:
    job()
    world.wire.will(httpx.Response(200, content=mp4, headers={**HEADERS, "x-request-id": found}))
    assert generate("up-1")["status"] == "COMPLETED"
    assert (world.job().state, world.job().request_id, world.job().cost_usd) == (State.COPYING, None, 0.35)


@pytest.mark.parametrize("by_link", [False, True])
def test_a_failed_write_during_the_call_does_not_lose_the_video(
    *, world: Any, generate: Generate, job: Any, mp4: bytes, monkeypatch: pytest.MonkeyPatch, by_link: bool
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ClientError({"Error": {"Code": "Throttled"}}, "UpdateItem")

    job()
    monkeypatch.setattr(world.store, "note", fails)
    link = {"output": "https://images.segmind.com/v.mp4"}
    json = {**HEADERS, "content-type": "application/json"}
    linked, whole = httpx.Response(200, json=link, headers=json), httpx.Response(200, content=mp4, headers=HEADERS)
    world.wire.will(linked if by_link else whole)
    assert generate("up-1")["status"] == "COMPLETED"
    assert (world.job().state, world.job().request_id) == (State.COPYING, "req-7")


@pytest.mark.parametrize("link", [True, False])
def test_another_jobs_request_is_uncertain_and_its_video_is_not_stored(
    *, world: Any, generate: Generate, job: Any, mp4: bytes, link: bool
) -> None:
    world.store.move(job(State.SUBMITTING, job_id="up-2"), State.QUEUED, request_id="req-7")
    job()
    as_link = httpx.Response(200, json={"output": LINK}, headers={**HEADERS, "content-type": "application/json"})
    world.wire.will(as_link if link else httpx.Response(200, content=mp4, headers=HEADERS))
    assert generate("up-1")["status"] == "UNCERTAIN"
    assert (world.job().state, world.job().request_id) == (State.UNCERTAIN, None)
    assert "req-7" in world.job().error["message"]
    assert world.video_keys() == []
    assert world.store.owner_of("req-7") == "up-2"
