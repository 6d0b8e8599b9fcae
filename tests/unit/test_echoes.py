"""A provider that repeats what it was sent: the key and our signed link appear in every text it may return.

The tests run the functions' handlers and check all their output: records, notifications, logs, errors, responses.
"""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from seedance import masking
from seedance import repair as repair_module
from seedance.errors import ConfigurationError, ProviderError, SubmitUncertain
from seedance.generate import Generate
from seedance.jobs.job import Job, State
from seedance.observability import logger
from seedance.paid_call import Verdict
from seedance.poll import Poll
from seedance.provider.client import Provider

pytestmark = pytest.mark.hostile(kind="answer", risk="leaked")

Make = Callable[..., Job]
KEY = "SG_0123456789abcdef"
IMAGE = {"bucket": "example-uploads", "key": "uploads/shoe.png", "version_id": None, "content_type": "image/png"}
LINK = "https://images.segmind.com/v.mp4"


@pytest.fixture
def link(world: Any) -> str:
    """The signed link that goes to the provider."""
    return str(world.media.image_link(IMAGE, "up-1"))


def secrets(link: str) -> set[str]:
    query = httpx.URL(link).params
    return {KEY, query["X-Amz-Signature"], query["X-Amz-Credential"], query["X-Amz-Security-Token"]}


def assert_clean(link: str, *texts: object) -> None:
    for text in texts:
        said = text if isinstance(text, str) else json.dumps(text, default=repr)
        assert not [secret for secret in secrets(link) if secret in said], said


@pytest.fixture
def log(world: Any) -> Iterator[io.StringIO]:
    """The functions' log output, as they write it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logger().registered_formatter)
    logger().addHandler(handler)
    yield text
    logger().handlers.remove(handler)


def left_behind(world: Any) -> list[object]:
    """Every item of the table, and every publish."""
    return [*world.aws["dynamodb"].scan(TableName="jobs-of-tests")["Items"], *world.called("Publish")]


def echo(link: str) -> dict[str, Any]:
    """Both secrets, in every field of a response."""
    both = f"{KEY} {link}"
    sent = {"headers": {"x-api-key": KEY}, "body": {"image_url": link}}
    return {
        "error": f"upstream failed for {both}: {json.dumps(sent)}",
        "message": both,
        "request": sent,
        "request_body": json.dumps({"image_url": link}),
        "metrics": {"cost": both, "total_time": KEY},
        KEY: both,
    }


def headers(link: str) -> dict[str, str]:
    return {"x-debug": KEY, "x-link": link, "x-request-id": KEY, "x-rate-limit-reset-at-utc": KEY}


ANSWERS: list[tuple[int, dict[str, Any]]] = [
    *((status, {}) for status in (400, 401, 403, 404, 406, 410, 422, 429, 500, 502, 504, 520, 301, 200)),
    (200, {"request_id": "SECRET"}),
    (200, {"status": "SECRET"}),
    (200, {"status": "LINK"}),
    (422, {"status": "FAILED"}),
    (200, {"status": "COMPLETED"}),
    (200, {"status": "COMPLETED", "output": "LINK"}),
    (200, {"status": "COMPLETED", "output": ["https://images.segmind.com/v.mp4?from=LINK"]}),
]


def said(status: int, fields: dict[str, Any], link: str) -> httpx.Response:
    text = json.dumps({**echo(link), **fields}).replace("SECRET", KEY).replace("LINK", json.dumps(link)[1:-1])
    return httpx.Response(status, text=text, headers={**headers(link), "content-type": "application/json"})


@pytest.mark.parametrize(("status", "fields"), ANSWERS, ids=[f"{status} {fields}" for status, fields in ANSWERS])
@pytest.mark.parametrize("call", ["submit", "poll", "generate", "history"])
def test_no_response_leaves_a_secret_behind(
    *,
    wired: Any,
    make_job: Make,
    link: str,
    log: io.StringIO,
    call: str,
    status: int,
    fields: dict[str, Any],
) -> None:
    wired.upload("uploads/shoe.png", b"png")
    answer = said(status, fields, link)
    v1 = call == "generate"
    at = State.QUEUED if call == "poll" else State.RECEIVED
    model = "seedance-pro"
    wired.put(make_job(at, image=IMAGE, transport="v1" if v1 else "v2", model=model, gone_polls=9))
    wired.wire.will(answer, answer)  # a poll may query the history as well
    told: object = None
    try:
        told = CALLS[call](wired)
    except ProviderError as error:
        told = [str(error), error.excerpt, error.args]
    wired.wire.forget()
    if wired.job().state is State.HELD:
        wired.notifier.notify(wired.job())
    assert_clean(link, told, log.getvalue(), *left_behind(wired))


def test_logs_are_masked(*, world: Any, make_job: Make, link: str, log: io.StringIO) -> None:
    world.put(make_job(State.QUEUED))
    world.wire.will(said(500, {}, link))
    _poll(world)
    assert "poll learned nothing" in log.getvalue()
    assert masking.MASK in log.getvalue()
    assert "/uploads/shoe.png?" in log.getvalue()
    assert_clean(link, log.getvalue())


def _submit(world: Any) -> object:
    begun = world.sending.begin(world.job())
    assert not isinstance(begun, Verdict)
    job, body = begun
    try:
        request_id = world.provider.submit(job.model, body)
    except ProviderError as error:
        return vars(world.sending.settle(job, world.sending.judge(job, error)))
    return vars(world.store.move(job, State.QUEUED, request_id=request_id))


def _poll(world: Any) -> object:
    return Poll(world.store, world.provider, world.pacer, world.durations, clock=world.clock)("up-1")


def _generate(world: Any) -> object:
    return Generate(world.store, world.provider, world.media, world.sending)("up-1")


def _history(_: Any) -> object:
    return repair_module.repair().history("seedance-pro", 0.0, 1.0)


CALLS: dict[str, Callable[[Any], object]] = {
    "submit": _submit,
    "poll": _poll,
    "generate": _generate,
    "history": _history,
}


def test_a_history_shown_to_a_person_is_masked(world: Any, wired: Any, link: str) -> None:
    row = {
        "request_id": "req-1",
        "model_status": f"FAILED {link}",
        "request_body": {"image_url": link},
        "generation_url": link,
        "error": {"message": f"no {link} with {KEY}"},
    }
    cut = {**row, "request_id": KEY, "request_body": f"{{'image_url': '{link}'"}
    wired.wire.will(httpx.Response(200, json={"data": [row, cut]}))
    rows = repair_module.repair().history("seedance-pro", 0.0, 1.0)["rows"]
    assert_clean(link, rows)
    assert "/uploads/shoe.png?" in rows[0]["error"]
    assert [one["url"] for one in rows] == [None, None]


def test_the_request_bodies_used_for_matching_are_not_masked(world: Any, link: str) -> None:
    world.wire.will(httpx.Response(200, json=[{"request_id": "req-1", "request_body": {"image_url": link}}]))
    (row,) = world.provider.history("seedance-pro", 0.0, 1.0)
    assert row.body["image_url"] == link


BROKEN = [
    httpx.LocalProtocolError(f"Illegal header value b'{KEY}'"),
    httpx.RemoteProtocolError(f"illegal status line: bytearray(b'{KEY} LINK')"),
    httpx.ReadError(f"at LINK with {KEY}"),
    httpx.ConnectError(f"at LINK with {KEY}"),
    httpx.InvalidURL(f"at LINK with {KEY}"),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda error: type(error).__name__)
def test_an_exception_that_quotes_a_secret_is_masked_including_its_causes(
    world: Any, link: str, broken: Exception
) -> None:
    def line(_: httpx.Request) -> httpx.Response:
        quoted = type(broken)(str(broken).replace("LINK", link))
        quoted.__cause__ = ValueError(f"h11: {KEY}", LookupError(link))
        raise quoted

    at = Provider("https://a", "https://b", "https://c", key=lambda: KEY, transport=httpx.MockTransport(line))
    for call in (lambda: at.submit("seedance-pro", {}), lambda: at.generate("seedance-pro", {}).__enter__()):
        with pytest.raises((ProviderError, ConfigurationError)) as raised:
            call()
        error: BaseException | None = raised.value
        assert error is not None
        assert_clean(link, getattr(error, "excerpt", ""))
        while error is not None:
            assert_clean(link, repr(error), str(error))
            error = error.__cause__ or error.__context__


def test_a_request_id_that_contains_the_key_is_refused(world: Any) -> None:
    world.wire.will(httpx.Response(200, json={"request_id": f"req-{KEY}"}))
    with pytest.raises(SubmitUncertain, match="no usable request id"):
        world.provider.submit("seedance-pro", {})


def test_after_a_rotation_both_keys_are_masked(world: Any) -> None:
    keys = iter([KEY, "SG_fedcba9876543210"])
    at = Provider("https://a", "", "", key=lambda: next(keys), transport=httpx.MockTransport(world.wire))
    both = {"error": f"{KEY} SG_fedcba9876543210"}
    world.wire.will(httpx.Response(401, json=both), httpx.Response(400, json=both))
    with pytest.raises(ProviderError, match=r"\*\*\* \*\*\*"):
        at.submit("seedance-pro", {})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_a_key_is_found_in_every_encoding_that_json_allows(world: Any, encoding: str) -> None:
    body = json.dumps({"status": "COMPLETED", "said": KEY}).encode(encoding)
    world.wire.will(httpx.Response(200, content=body))
    assert world.provider.standing("req-1").result.answer == '{"status":"COMPLETED","said":"***"}'
