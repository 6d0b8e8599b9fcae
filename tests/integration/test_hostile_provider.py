"""A provider and file hosts that nobody should trust, on real sockets: bounds in bytes, seconds, memory and requests.

What players accept is stored and COMPLETED, however it is served.
"""

import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pipeline import Change, Pipeline
from seedance import poll as poll_module
from seedance import reconcile as reconcile_module
from seedance.errors import ProviderError
from seedance.jobs.job import State
from seedance.provider import client as provider_module
from seedance.provider import http as lines
from seedance.provider.client import Provider

from local.sandbox import Sandbox
from local.sandbox.inprocess import KEY

pytestmark = [pytest.mark.hostile(kind="answer"), pytest.mark.sampled(4)]

MODELS = ("seedance-pro", "seedance-1.0-pro-fast", "seedance-1.5-pro")
BODY = {"prompt": "a shoe", "duration": 5, "resolution": "480p", "aspect_ratio": "16:9"}
HISTORY = "/inference-request/request-history"


# what players accept ----------------------------------------------------------------------------------------------


TAILS = [bytes(3), b"\r\n", bytes(1000), b"<!-- cached by proxy-7 -->", b"\0\0\1\0uuid, or half of it"]
FAULTS = ["chunked", "compressed", "reset-midway", "truncated"]


@pytest.mark.parametrize(("tail", "fault"), [*((tail, None) for tail in TAILS), *((bytes(3), kind) for kind in FAULTS)])
def test_a_video_with_bytes_behind_its_last_box_is_stored(pipeline: Pipeline, tail: bytes, fault: str | None) -> None:
    pipeline.sandbox.configure(video_tail=tail.hex())
    if fault:
        pipeline.sandbox.fault("media", fault)
    job_id = pipeline.upload()
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)
    assert pipeline.read(pipeline.stored()[0]).endswith(tail)


@pytest.mark.parametrize("tail", [bytes(3), b"<!-- cached by proxy-7 -->"])
def test_a_v1_video_with_bytes_behind_its_last_box_is_stored(pipeline: Pipeline, tail: bytes) -> None:
    pipeline.sandbox.configure(video_tail=tail.hex(), time_scale=0.001)
    job_id = pipeline.upload(model="seedance-pro", transport="v1")
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


PLAIN = "{url}?moved=1"
FORMS = [
    "  {url}?moved=1\t",
    "{url}#t=0",
    "{path}?moved=1",
    "//{host}{path}",
    "HTTP://{host}{path}",
    "{path}?title=Ein schöner Schuh, 靴子",
    "?moved=1",
]


@pytest.mark.parametrize(
    ("location", "status", "times"),
    [
        *((form, 302, 1) for form in FORMS),
        *((PLAIN, status, 1) for status in (301, 302, 303, 307, 308)),
        (PLAIN, 302, 10),
    ],
)
def test_a_redirect_in_any_form_is_followed(pipeline: Pipeline, location: str, status: int, times: int) -> None:
    pipeline.sandbox.fault("media", "redirect", location=location, status=status, times=times)
    job_id = pipeline.upload()
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:1/",
        "https://10.0.0.1/v.mp4",
        "http://[::1]:1/",
        "//169.254.169.254{path}",
        "http://{host}@169.254.169.254/",
        "http://2130706433/",
        "file:///etc/passwd",
    ],
)
def test_a_redirect_to_a_private_address_is_not_followed(pipeline: Pipeline, location: str) -> None:
    pipeline.sandbox.fault("media", "redirect", location=location)
    job_id = pipeline.upload()
    pipeline.run(job_id)
    pipeline.check(job_id, State.HELD, says="is allowed")


@pytest.mark.parametrize(
    "form",
    [
        " \t{url}#t=0\r\n",
        "HTTP://{host}{path}",
        "{url}?title=Ein schöner Schuh, 靴子",
        "\u00a0{url}\u200b",
        "http://{host}/x/..{path}",
    ],
)
def test_a_link_in_any_form_is_followed(pipeline: Pipeline, form: str) -> None:
    pipeline.sandbox.fault("result", "output-written-oddly", form=form, times=0)
    job_id = pipeline.upload()
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


TYPES = ["application/octet-stream", "text/html", "application/json", "video/quicktime", "nonsense"]
LABELS = ["identity", "none", "aws-chunked", "gzip", "br", "UTF-8"]


@pytest.mark.parametrize(
    ("content_type", "encoding"), [*((name, "") for name in TYPES), *(("video/mp4", name) for name in LABELS)]
)
def test_the_headers_of_a_file_do_not_matter(pipeline: Pipeline, content_type: str, encoding: str) -> None:
    pipeline.sandbox.fault("media", "wrong-content-type", content_type=content_type, encoding=encoding)
    job_id = pipeline.upload()
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)
    assert len([call for call in pipeline.sandbox.calls("/media/") if call["fault"]]) == 1


STAGES = ["submit", "result", "history", "history-id", "upload", "v1"]
ENCODINGS = ["deflate", "gzip, gzip", "identity", "none", "br", "utf-8"]


@pytest.mark.parametrize(
    ("stage", "encoding"), [*((stage, "gzip") for stage in STAGES), *(("submit", name) for name in ENCODINGS)]
)
def test_a_response_is_read_whatever_its_encoding(
    pipeline: Pipeline, set_up: Change, stage: str, encoding: str
) -> None:
    pipeline.sandbox.fault(stage, "packed", encoding=encoding, times=0)
    options: dict[str, str] = {}
    if stage == "v1":
        pipeline.sandbox.configure(time_scale=0.001)
        options = {"model": "seedance-pro", "transport": "v1"}
    if stage == "upload":
        set_up(image_delivery="upload")
    if stage.startswith("history"):
        pipeline.sandbox.fault("submit", "504-after-accept")
        if stage == "history-id":
            pipeline.sandbox.fault("job", "vanish", seconds=10.0)
    job_id = pipeline.upload(**options)
    pipeline.run(job_id)
    if stage.startswith("history"):
        pipeline.pass_time(100)
        pipeline.reconcile()
        pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


# bytes and seconds ------------------------------------------------------------------------------------------------


@pytest.fixture
def provider(sandbox: Sandbox, one_authority: str, monkeypatch: pytest.MonkeyPatch) -> Provider:
    monkeypatch.setenv("SSL_CERT_FILE", one_authority)
    return Provider(sandbox.url, sandbox.url, sandbox.url, key=lambda: KEY)


@contextmanager
def memory(most: int) -> Iterator[None]:
    """Fails if Python allocates more. That includes the stand-in in this process, which sends 1 MB at a time."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak:,} bytes"


CALLS: dict[str, tuple[Callable[[Provider], object], int]] = {
    "submit": (lambda provider: provider.submit(MODELS[0], BODY), 10),
    "result": (lambda provider: provider.standing("0"), 10),
    "history": (lambda provider: list(provider.history("seedance-pro", time.time(), time.time())), 40),
    "history-id": (lambda provider: provider.request_row("0"), 10),
    "upload": (lambda provider: provider.upload_asset("image/png", "aGVsbG8="), 10),
}
"""A call for each stage, and the megabytes of memory that it may take."""


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """A request with the id 0, so that its stages are reached."""
    with sandbox.client() as api:
        accepted = api.post(f"/v2/{MODELS[0]}", json=BODY).json()["request_id"]
    monkeypatch.setitem(CALLS, "result", (lambda provider: provider.standing(accepted), 10))
    monkeypatch.setitem(CALLS, "history-id", (lambda provider: provider.request_row(accepted), 10))


LARGE = [("huge", {"megabytes": 400}), ("gzip-bomb", {"megabytes": 400})]


@pytest.mark.parametrize(
    ("stage", "kind", "options"),
    [*((stage, kind, options) for stage in CALLS for kind, options in LARGE), ("result", "deep", {})],
)
def test_no_response_takes_much_memory(
    *, known: None, sandbox: Sandbox, provider: Provider, stage: str, kind: str, options: dict[str, int]
) -> None:
    sandbox.fault(stage, kind, **options)
    call, megabytes = CALLS[stage]
    with memory(megabytes * 1_000_000), pytest.raises(ProviderError, match="it is"):
        call(provider)


@pytest.mark.parametrize("stage", CALLS)
@pytest.mark.parametrize("kind", ["drip", "drip-head"])
def test_no_response_takes_longer_than_its_limit(
    *, known: None, sandbox: Sandbox, provider: Provider, monkeypatch: pytest.MonkeyPatch, stage: str, kind: str
) -> None:
    for name in ("SUBMIT_SECONDS", "STATUS_SECONDS", "UPLOAD_SECONDS"):
        monkeypatch.setattr(provider_module, name, 0.3)
    sandbox.fault(stage, kind, seconds=0.05)
    began = time.monotonic()
    with pytest.raises(ProviderError, match="timed out"):
        CALLS[stage][0](provider)
    assert time.monotonic() - began < 5  # a byte every 0.05 s would take much longer


@pytest.mark.parametrize("stage", CALLS)
def test_interim_responses_are_skipped(known: None, sandbox: Sandbox, provider: Provider, stage: str) -> None:
    sandbox.fault(stage, "interim")
    assert CALLS[stage][0](provider)
    assert sandbox.calls()[-1]["fault"] == "interim"


def test_a_trickling_file_does_not_hold_the_function(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "STRIDE_SECONDS", 0.3)
    pipeline.sandbox.fault("media", "trickle", seconds=0.05)
    job_id = pipeline.upload()
    began = time.monotonic()
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)  # by the workflow's next attempt
    assert time.monotonic() - began < 20  # the file has 15 KB


# requests ---------------------------------------------------------------------------------------------------------


def history_calls(pipeline: Pipeline) -> int:
    return len(pipeline.sandbox.calls(HISTORY))


def lost(pipeline: Pipeline, model: str, number: int) -> str:
    pipeline.sandbox.fault("submit", "reset-before-accept")
    job_id = pipeline.upload(f"uploads/shoe-{number}.png", model=model)
    pipeline.run(job_id)
    assert pipeline.job(job_id).state is State.UNCERTAIN
    return job_id


def test_three_lost_jobs_and_an_endless_history_cost_one_reading(pipeline: Pipeline) -> None:
    jobs = [lost(pipeline, MODELS[0], number) for number in range(3)]
    pipeline.sandbox.fault("history", "endless", times=0)
    assert pipeline.reconcile() == {}
    assert history_calls(pipeline) == 200
    assert {pipeline.job(job_id).state for job_id in jobs} == {State.UNCERTAIN}


def test_a_round_has_a_limit_and_the_next_one_begins_with_what_is_left(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile_module, "HISTORY_REQUESTS", 5)
    jobs = [lost(pipeline, model, number) for number, model in enumerate(MODELS)]
    pipeline.pass_time(1000)
    pipeline.sandbox.fault("history", "endless", times=0, model=MODELS[0])
    assert pipeline.reconcile() == {}
    assert pipeline.reconcile() == {"resolved": 2}
    assert [pipeline.job(job_id).state for job_id in jobs] == [State.UNCERTAIN, State.HELD, State.HELD]


def test_a_slow_history_holds_one_round_for_its_allowance(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "STATUS_SECONDS", 0.4)
    monkeypatch.setattr(reconcile_module, "HISTORY_SECONDS", 1.0)
    for number in range(6):
        lost(pipeline, MODELS[number % 3], number)
    pipeline.sandbox.fault("history", "drip", seconds=0.05, times=0)
    before, began = history_calls(pipeline), time.monotonic()
    assert pipeline.reconcile() == {}
    assert history_calls(pipeline) - before == 3
    assert time.monotonic() - began < 4


def test_a_job_without_a_record_reads_a_few_pages_at_a_time(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its paid video may still appear in the history, so it is searched for an hour after the record's own hour."""
    monkeypatch.setattr(poll_module, "HISTORY_REQUESTS", 3)
    pipeline.sandbox.fault("job", "vanish", times=0)
    pipeline.sandbox.fault("history-id", "http-404", times=0)
    pipeline.sandbox.fault("history", "endless", times=0)
    job_id = pipeline.upload()
    pipeline.run(job_id)
    assert pipeline.job(job_id).state is State.EXPIRED
    asked = [
        call["path"] for call in pipeline.sandbox.calls() if call["method"] == "GET" and "/v" not in call["path"][:3]
    ]
    looks = len([path for path in asked if path != HISTORY and path.startswith(HISTORY)])
    assert 10 < looks < 40
    assert asked.count(HISTORY) == 2 * looks
