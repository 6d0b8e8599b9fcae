"""Submit: one upload or call makes at most one request at the provider, whatever is repeated or breaks."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from seedance.errors import ConfigurationError, InProgress
from seedance.jobs.job import SUBMITTING_SECONDS, Job, State, upload_job_id
from seedance.media import buckets as media_module
from seedance.paid_call import MAX_ATTEMPTS
from seedance.provider.client import Provider
from seedance.submit import Submit

Make = Callable[..., Job]
SUBMITTED = "POST https://api.segmind.com/v2/seedance-1.0-pro-fast"
TROUBLE = {"error": "trouble"}


def accepted(request_id: str = "req-9") -> httpx.Response:
    return httpx.Response(200, json={"request_id": request_id, "status": "QUEUED"})


def sending_by(submit: Submit, **changes: Any) -> Submit:
    """The same use case with another provider, image delivery or time scale."""
    provider = changes.get("provider", submit.provider)
    return replace(submit, provider=provider, sending=replace(submit.sending, **changes))


@pytest.fixture
def take(world: Any, submit: Submit) -> Callable[[dict[str, Any]], None]:
    """Process one message."""
    return lambda content: world.intake(submit).message(json.dumps(content))


def the_job(world: Any) -> Job:
    items = world.aws["dynamodb"].scan(TableName="jobs-of-tests")["Items"]
    (job_id,) = (item["job_id"]["S"] for item in items if "state" in item)
    return world.job(job_id)


def test_an_upload_becomes_a_job_that_is_queued_and_followed(world: Any, take: Any, png: bytes) -> None:
    notification = world.upload("uploads/sale/red shoe.png", png, prompt="a shoe turns", duration="10")
    world.wire.will(accepted())
    take(notification)
    job = the_job(world)
    version = notification["Records"][0]["s3"]["object"]["versionId"]
    assert job.job_id == upload_job_id("example-uploads", "uploads/sale/red shoe.png", version)
    assert (job.state, job.request_id, job.attempts) == (State.QUEUED, "req-9", 1)
    assert (job.source, job.folder, job.name) == ("upload", "sale/red shoe", "red shoe")
    assert job.parameters.items() >= {"prompt": "a shoe turns", "duration": 10}.items()
    assert job.image == {
        "bucket": "example-uploads",
        "key": "uploads/sale/red shoe.png",
        "version_id": version,
        "content_type": "image/png",
        "bytes": len(png),
        "width": 400,
        "height": 300,
    }
    assert (job.submitted_at, job.expected_seconds) == (world.clock.now, 49)
    assert set(job.entered) == {"RECEIVED", "SUBMITTING", "QUEUED"}
    assert world.wire.asked == [SUBMITTED]
    assert world.executions() == [
        {"job_id": job.job_id, "transport": "v2", "wait_seconds": 29, "slot": world.clock.now + 29}
    ]
    assert world.notified() == []
    assert world.counted() == {"JobsSubmitted": 1}


def test_the_image_is_sent_as_a_link_to_its_version(world: Any, take: Any, png: bytes) -> None:
    world.wire.will(accepted())
    take(world.upload("uploads/shoe.png", png))
    sent = world.wire.body()
    job = the_job(world)
    assert f"versionId={job.image['version_id']}" in sent["image_url"]
    assert job.job_id in sent["image_url"]
    assert sent | {"image_url": None} == {**job.parameters, "image_url": None}
    assert sent["seed"] == job.parameters["seed"]
    assert "image_url" not in job.parameters


def test_the_intent_is_recorded_before_the_post(world: Any, submit: Submit, make_job: Make) -> None:
    seen: list[Job] = []

    def look(request: httpx.Request) -> httpx.Response:
        seen.append(world.job())
        return accepted()

    at = Provider("https://api.segmind.com", "", "", key=lambda: "key", transport=httpx.MockTransport(look))
    sending_by(submit, provider=at).advance(world.put(make_job()))
    assert [(job.state, job.attempts, job.submitted_at) for job in seen] == [("SUBMITTING", 1, world.clock.now)]


def test_the_same_upload_delivered_again_is_not_submitted_again(world: Any, take: Any, png: bytes) -> None:
    notification = world.upload("uploads/shoe.png", png)
    world.wire.will(accepted())
    take(notification)
    take(notification)
    assert world.wire.asked == [SUBMITTED]
    assert the_job(world).attempts == 1


def test_a_new_upload_under_the_same_key_is_a_new_job(world: Any, take: Any, png: bytes) -> None:
    world.wire.will(accepted("req-1"), accepted("req-2"))
    for _ in range(2):
        take(world.upload("uploads/shoe.png", png))
    assert len(world.wire.requests) == 2
    assert len(world.store.newest(State.QUEUED)) == 2


def test_all_records_of_a_message_are_submitted_except_folders(world: Any, take: Any, png: bytes) -> None:
    records = [world.upload(f"uploads/{n}.png", png)["Records"][0] for n in range(2)]
    records += world.upload("uploads/folder/", b"")["Records"]
    world.wire.will(accepted("req-1"), accepted("req-2"))
    take({"Records": records})
    assert {job.name for job in world.store.newest(State.QUEUED)} == {"0", "1"}


@pytest.mark.parametrize(
    ("body", "metadata", "words"),
    [
        (b"%PDF-1.7", {}, "not an image by its content"),
        (None, {"duration": "7"}, "duration: must be 5 or 10"),
        (None, {"promt": "x"}, "did you mean prompt?"),
        (None, {"model": "sora"}, "'sora' does not exist"),
    ],
)
def test_an_invalid_upload_is_rejected_with_a_reason_and_never_sent(
    *, world: Any, take: Any, png: bytes, body: bytes | None, metadata: dict[str, str], words: str
) -> None:
    notification = world.upload("uploads/x", png if body is None else body, **metadata)
    take(notification)
    job = the_job(world)
    assert (job.state, job.error["code"]) == (State.REJECTED, "INVALID_REQUEST")
    assert words in job.error["message"]
    assert job.notified_at is not None
    assert [message["status"] for message in world.notified()] == ["REJECTED"]
    assert world.wire.requests == []
    take(notification)
    assert len(world.notified()) == 1


def test_an_upload_deleted_before_it_was_checked_is_rejected(world: Any, take: Any, png: bytes) -> None:
    notification = world.upload("uploads/x.png", png)
    version = notification["Records"][0]["s3"]["object"]["versionId"]
    world.aws["s3"].delete_object(Bucket="example-uploads", Key="uploads/x.png", VersionId=version)
    take(notification)
    assert the_job(world).state is State.REJECTED


@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING, State.COPYING])
def test_a_job_under_way_is_followed_not_submitted(world: Any, take: Any, make_job: Make, state: State) -> None:
    before = world.put(make_job(state))
    take({"job_id": "up-1"})
    assert world.job() == before
    assert [execution["job_id"] for execution in world.executions()] == ["up-1"]


@pytest.mark.parametrize("state", [state for state in State if state.terminal])
def test_an_ended_job_is_notified_once(world: Any, take: Any, make_job: Make, state: State) -> None:
    world.put(make_job(state))
    take({"job_id": "up-1"})
    take({"job_id": "up-1"})
    assert [message["status"] for message in world.notified()] == [state.value]
    assert world.executions() == []


@pytest.mark.parametrize("state", [State.HELD, State.UNCERTAIN])
def test_a_job_that_waits_for_a_person_is_left_alone(world: Any, take: Any, make_job: Make, state: State) -> None:
    before = world.put(make_job(state))
    take({"job_id": "up-1"})
    assert world.job() == before
    assert (world.executions(), world.notified(), world.postponed()) == ([], [], [])


def test_a_submit_that_may_still_be_running_is_waited_for(world: Any, take: Any, make_job: Make) -> None:
    world.put(make_job(State.SUBMITTING, entered={"SUBMITTING": world.clock.now - SUBMITTING_SECONDS + 1}))
    with pytest.raises(InProgress):
        take({"job_id": "up-1"})
    assert world.job().state is State.SUBMITTING


def test_an_interrupted_submit_is_uncertain_and_not_sent_again(world: Any, take: Any, make_job: Make) -> None:
    world.put(make_job(State.SUBMITTING, entered={"SUBMITTING": world.clock.now - SUBMITTING_SECONDS}))
    take({"job_id": "up-1"})
    assert (world.job().state, world.job().error["code"]) == (State.UNCERTAIN, "SUBMIT_UNCERTAIN")
    assert world.counted() == {"JobsUncertain": 1}
    assert (world.executions(), world.notified()) == ([], [])


def test_a_submit_is_uncertain_only_after_the_functions_timeout(template: dict[str, Any]) -> None:
    assert template["Resources"]["SubmitFunction"]["Properties"]["Timeout"] < SUBMITTING_SECONDS


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ReadTimeout("silence"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("gone"),
        httpx.WriteTimeout("stuck"),
        *(httpx.Response(status) for status in (301, 504, 520, 522, 524, 527, 530)),
        httpx.Response(200, json={}),
    ],
    ids=["time-out", "reset", "closed", "write", "301", "504", "520", "522", "524", "527", "530", "no id"],
)
def test_an_ambiguous_outcome_is_uncertain_and_never_resubmitted(
    world: Any, take: Any, make_job: Make, answer: Any
) -> None:
    world.put(make_job())
    world.wire.will(answer)
    take({"job_id": "up-1"})
    job = world.job()
    assert (job.state, job.error["code"], job.attempts) == (State.UNCERTAIN, "SUBMIT_UNCERTAIN", 1)
    take({"job_id": "up-1"})
    assert len(world.wire.requests) == 1
    assert (world.executions(), world.notified(), world.postponed()) == ([], [], [])
    assert world.counted() == {"JobsUncertain": 1}


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "PROVIDER_REFUSED", "bad duration"),
        (401, "PROVIDER_KEY_REJECTED", "bad duration"),
        (403, "PROVIDER_REFUSED", "may not use this model"),
        (404, "PROVIDER_REFUSED", "no such model"),
        (410, "PROVIDER_REFUSED", "retired"),
        (422, "PROVIDER_REFUSED", "bad duration"),
    ],
)
def test_a_refusal_fails_the_job_with_the_providers_message(
    *, world: Any, take: Any, make_job: Make, status: int, code: str, words: str
) -> None:
    world.put(make_job())
    world.wire.will(httpx.Response(status, json={"error": "bad duration"}))
    take({"job_id": "up-1"})
    assert (world.job().state, world.job().error["code"]) == (State.FAILED, code)
    assert words in world.job().error["message"]
    assert [message["status"] for message in world.notified()] == ["FAILED"]
    assert world.counted() == {"JobsFailed": 1}


def test_an_empty_account_holds_this_job_and_the_next_without_a_call(world: Any, take: Any, make_job: Make) -> None:
    for job_id in ("up-1", "up-2"):
        world.put(make_job(job_id=job_id))
    world.wire.will(httpx.Response(406, json={"error": "Not enough credits"}))
    for job_id in ("up-1", "up-2"):
        take({"job_id": job_id})
        job = world.job(job_id)
        assert (job.state, job.error["code"], job.reserved_usd) == (State.HELD, "SUBMITS_PAUSED", None)
        assert "Not enough credits" in job.error["message"]
    assert world.wire.asked == [SUBMITTED]
    assert [message["status"] for message in world.notified()] == ["HELD", "HELD"]
    assert world.counted() == {"SubmitsPaused": 1, "JobsHeld": 2}


def test_over_the_days_budget_a_job_is_held_and_notified(world: Any, submit: Submit, make_job: Make) -> None:
    world.wire.will(accepted())
    sending_by(submit, budget=0.3).advance(world.put(make_job(job_id="up-before")))
    sending_by(submit, budget=0.3).advance(world.put(make_job()))
    assert (world.job().state, world.job().error["code"]) == (State.HELD, "OVER_BUDGET")
    assert "budget of $0.30 has no room: $0.25 is spent or reserved" in world.job().error["message"]
    assert [message["status"] for message in world.notified()] == ["HELD"]
    assert world.wire.asked == [SUBMITTED]


@pytest.mark.parametrize(
    "answer",
    [
        *(httpx.Response(status, json=TROUBLE) for status in (500, 502, 503, 521, 523, 525, 526)),
        httpx.ConnectError("no"),
        httpx.ConnectTimeout(""),
    ],
    ids=["500", "502", "503", "521", "523", "525", "526", "refused", "no connection"],
)
def test_an_error_before_anything_was_queued_is_retried_later(
    world: Any, take: Any, make_job: Make, answer: Any
) -> None:
    world.put(make_job())
    world.wire.will(answer)
    take({"job_id": "up-1"})
    job = world.job()
    assert (job.state, job.attempts, job.submitted_at) == (State.RECEIVED, 1, None)
    assert world.postponed() == [("up-1", 15)]
    assert world.counted() == {"SubmitsPostponed": 1}
    world.clock.now += 15
    world.wire.will(accepted())
    take({"job_id": "up-1"})
    assert (world.job().state, world.job().attempts) == (State.QUEUED, 2)


def test_a_lasting_error_fails_the_job_after_six_attempts(world: Any, take: Any, make_job: Make) -> None:
    world.put(make_job())
    world.wire.will(*(httpx.Response(500, json=TROUBLE) for _ in range(MAX_ATTEMPTS)))
    for _ in range(MAX_ATTEMPTS):
        take({"job_id": "up-1"})
        world.clock.now += 240
    assert [delay for _, delay in world.postponed()] == [15, 30, 60, 120, 240]
    assert (world.job().state, world.job().error["code"]) == (State.FAILED, "PROVIDER_UNAVAILABLE")
    assert [message["status"] for message in world.notified()] == ["FAILED"]


@pytest.mark.parametrize(
    ("reset_in", "delay"), [(None, 15), (40, 40), (-100, 1), (86_400, 900)], ids=["unknown", "soon", "over", "tomorrow"]
)
def test_a_rate_limited_job_is_retried_after_the_reset_and_loses_no_attempt(
    *, world: Any, take: Any, make_job: Make, rate_limited: Any, reset_in: float | None, delay: int
) -> None:
    world.put(make_job(attempts=0))
    for _ in range(MAX_ATTEMPTS + 2):
        world.wire.will(rate_limited(reset_in))
        take({"job_id": "up-1"})
        assert (world.job().state, world.job().attempts) == (State.RECEIVED, 0)
        world.clock.now += 86_400
    assert all(delay - 2 <= seconds <= delay + 1 for _, seconds in world.postponed())
    assert all(seconds >= 1 for _, seconds in world.postponed())
    assert len(world.postponed()) == MAX_ATTEMPTS + 2


def test_a_missing_key_leaves_the_job_unchanged_and_the_message_in_the_queue(
    world: Any, submit: Submit, make_job: Make
) -> None:
    def no_key() -> str:
        raise ConfigurationError("the secret is empty")

    before = world.put(make_job())
    at = Provider("https://api.segmind.com", "", "", key=no_key, transport=httpx.MockTransport(world.wire))
    with pytest.raises(ConfigurationError):
        world.intake(sending_by(submit, provider=at)).message('{"job_id": "up-1"}')
    assert world.job() == before
    assert world.wire.requests == []


def test_a_job_taken_by_another_invocation_is_in_progress(world: Any, submit: Submit, make_job: Make) -> None:
    stale = make_job()
    world.put(make_job(State.SUBMITTING))
    with pytest.raises(InProgress):
        submit.advance(stale)
    assert world.wire.requests == []


@pytest.mark.parametrize("delivery", ["link", "upload"])
def test_a_missing_image_rejects_the_job_only_if_it_has_to_be_read(
    world: Any, submit: Submit, make_job: Make, delivery: str
) -> None:
    image = {"bucket": "example-uploads", "key": "uploads/gone.png", "version_id": "v", "content_type": "image/png"}
    job = world.put(make_job(image=image))
    if delivery == "link":  # the provider will notice; checking first would only narrow the gap
        world.wire.will(accepted())
    sending_by(submit, image_delivery=delivery).advance(job)
    assert world.job().state is (State.QUEUED if delivery == "link" else State.REJECTED)
    assert [message["status"] for message in world.notified()] == ([] if delivery == "link" else ["REJECTED"])


def test_with_upload_delivery_the_image_goes_to_the_providers_store(
    world: Any, submit: Submit, make_job: Make, png: bytes
) -> None:
    world.upload("uploads/shoe.png", png)
    image = {"bucket": "example-uploads", "key": "uploads/shoe.png", "version_id": None, "content_type": "image/png"}
    world.wire.will(httpx.Response(200, json={"file_urls": ["https://images.segmind.com/a.png"]}), accepted())
    sending_by(submit, image_delivery="upload").advance(world.put(make_job(image=image)))
    assert world.wire.asked == ["POST https://workflows-api.segmind.com/upload-asset", SUBMITTED]
    assert world.wire.body()["image_url"] == "https://images.segmind.com/a.png"


@pytest.mark.parametrize(
    ("answer", "state", "attempts"),
    [
        (httpx.Response(500), State.RECEIVED, 1),
        (httpx.ReadTimeout(""), State.RECEIVED, 1),  # an asset upload is not billed
        (httpx.Response(413), State.FAILED, 0),
    ],
    ids=["500", "time-out", "413"],
)
def test_a_failed_asset_upload_is_no_submit(
    *, world: Any, submit: Submit, make_job: Make, png: bytes, answer: Any, state: State, attempts: int
) -> None:
    world.upload("uploads/shoe.png", png)
    image = {"bucket": "example-uploads", "key": "uploads/shoe.png", "version_id": None, "content_type": "image/png"}
    world.wire.will(answer)
    sending_by(submit, image_delivery="upload").advance(world.put(make_job(image=image, attempts=0)))
    assert (world.job().state, world.job().attempts) == (state, attempts)
    assert bool(world.postponed()) is (state is State.RECEIVED)


@pytest.mark.parametrize("state", [State.RECEIVED, State.SUBMITTING])
def test_a_job_of_v1_is_left_to_the_workflow(world: Any, take: Any, make_job: Make, state: State) -> None:
    before = world.put(make_job(state, transport="v1", model="seedance-pro", expected_seconds=62))
    take({"job_id": "up-1"})
    assert world.job() == before
    assert world.executions() == [{"job_id": "up-1", "transport": "v1", "wait_seconds": 1, "slot": None}]


def test_a_message_for_an_unknown_job_is_redelivered(take: Any) -> None:
    with pytest.raises(LookupError, match="up-nobody"):
        take({"job_id": "up-nobody"})


@pytest.mark.parametrize("body", ["", "{", "5", "{}", '{"Records": [{"eventSource": "aws:s3"}]}'])
def test_an_invalid_message_is_redelivered_until_it_is_a_dead_letter(world: Any, submit: Submit, body: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        world.intake(submit).message(body)


def test_a_postponement_is_in_our_own_seconds(world: Any, submit: Submit, make_job: Make) -> None:
    world.wire.will(httpx.Response(500))
    sending_by(submit, scale=0.1).advance(world.put(make_job()))
    assert world.postponed() == [("up-1", 2)]


def test_two_deliveries_at_once_make_one_job(
    world: Any, submit: Submit, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    notification = world.upload("uploads/shoe.png", png)
    look = media_module.Media.look_at

    def meanwhile(self: Any, *args: Any) -> Any:
        monkeypatch.setattr(media_module.Media, "look_at", look)
        world.intake(submit).message(json.dumps(notification))  # the other delivery is faster
        return look(self, *args)

    monkeypatch.setattr(media_module.Media, "look_at", meanwhile)
    world.wire.will(accepted())
    world.intake(submit).message(json.dumps(notification))
    assert the_job(world).state is State.QUEUED
    assert len(world.wire.requests) == 1
