"""The API's handler with all of AWS behind it: responses, refusals, repeated calls."""

import base64
import json
from typing import Any

import pytest
from pipeline import Pipeline, app, http, png
from seedance.jobs import catalogue
from seedance.jobs.job import State

BODY = {"prompt": "a lake", "parameters": {"resolution": "480p"}}


def headers(key: str) -> dict[str, Any]:
    return {"headers": {"Idempotency-Key": key}}


def test_a_call_leads_to_a_video_with_a_link(pipeline: Pipeline) -> None:
    status, taken = pipeline.call("POST", "/videos", BODY)
    path = f"/videos/{taken['job_id']}"
    assert (status, taken["state"], taken["video"], taken["error"]) == (202, "RECEIVED", None, None)
    pipeline.deliver()
    status, queued = pipeline.call("GET", path)
    assert (status, queued["state"], queued["video"]) == (200, "QUEUED", None)
    pipeline.run(taken["job_id"])
    job = pipeline.check(taken["job_id"], State.COMPLETED)
    status, done = pipeline.call("GET", path)
    assert (status, done["state"], done["request_id"]) == (200, "COMPLETED", job.request_id)
    assert http().get(done["video"]["url"]).content == pipeline.read(job.video_key)
    assert (done["cost_usd"], done["source"], done["parameters"]["prompt"]) == (job.cost_usd, "api", "a lake")
    assert taken.keys() == queued.keys() == done.keys()


def test_a_failed_video_says_why(pipeline: Pipeline) -> None:
    job_id = pipeline.order(prompt="a [blocked] lake")
    pipeline.run(job_id)
    pipeline.check(job_id, State.FAILED, says="content moderation")
    _, answer = pipeline.call("GET", f"/videos/{job_id}")
    assert (answer["state"], answer["video"], answer["cost_usd"]) == ("FAILED", None, None)
    assert "content moderation" in answer["error"]["message"]


REFUSALS: dict[str, tuple[Any, int, str]] = {
    "no-body": (None, 400, "must be a JSON object"),
    "no-json": ("{", 400, "must be a JSON object"),
    "a-list": ("[]", 400, "must be a JSON object"),
    "deep-nesting": ("[" * 100_000, 400, "must be a JSON object"),
    "no-prompt": ({}, 422, "prompt: is missing"),
    "empty-prompt": ({"prompt": ""}, 422, "prompt: must be text of 1 to 5000"),
    "prompt-of-10-kB": ({"prompt": "turn " * 2_000}, 422, "prompt: must be text of 1 to 5000"),
    "prompt-with-control-characters": ({"prompt": "turn\u0000it"}, 422, "prompt: has control characters in it"),
    "unknown-field": ({**BODY, "promt": "x"}, 422, "did you mean prompt?"),
    "parameter-at-the-top": ({**BODY, "duration": 5}, 422, "put it under parameters"),
    "unknown-model": ({**BODY, "model": "seedance-9"}, 422, "'seedance-9' does not exist"),
    "unknown-parameter": ({**BODY, "parameters": {"durations": 5}}, 422, "did you mean duration?"),
    "value-out-of-range": ({**BODY, "parameters": {"duration": 7}}, 422, "duration: must be 5 or 10, not 7"),
    "wrong-transport": ({**BODY, "transport": "v1"}, 422, "transport: must be v2"),
    "image-twice": ({**BODY, "image_key": "a.png", "image": "https://a.example/b.png"}, 422, "already the first image"),
    "image-of-a-file": ({**BODY, "image": "file:///etc/passwd"}, 422, "must be an http or https address"),
    "image-key-missing": ({**BODY, "image_key": "images/none.png"}, 422, "image_key: images/none.png is not in"),
    "image-key-elsewhere": (
        {**BODY, "image_key": "uploads/shoe.png"},
        422,
        "image_key: must begin with one of images/, shop/",
    ),
    "last-without-first": (
        {**BODY, "model": "seedance-pro", "parameters": {"last_frame_url": "https://a.example/b.png"}},
        422,
        "last_frame_url: requires image_url",
    ),
}


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("case", REFUSALS)
def test_an_invalid_request_is_refused_with_a_reason(pipeline: Pipeline, case: str) -> None:
    body, expected, says = REFUSALS[case]
    status, answer = pipeline.call("POST", "/videos", body)
    assert status == expected
    assert says in answer["error"]["message"]
    assert pipeline.client("dynamodb").scan(TableName="jobs")["Count"] == 0
    assert pipeline.waiting() == []


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("body", [b"prose", b""])
def test_an_image_key_of_a_file_that_is_no_image_is_refused(pipeline: Pipeline, body: bytes) -> None:
    pipeline.put("images/notes.png", body)
    status, answer = pipeline.call("POST", "/videos", {**BODY, "image_key": "images/notes.png"})
    assert (status, answer["error"]["field"]) == (422, "image_key")


def test_a_body_in_base64_is_read(pipeline: Pipeline) -> None:
    body = base64.b64encode(json.dumps({"prompt": "ein See für Größe"}).encode()).decode()
    status, answer = pipeline.call("POST", "/videos", body, isBase64Encoded=True)
    assert (status, answer["prompt"]) == (202, "ein See für Größe")


@pytest.mark.hostile(kind="input")
def test_a_body_that_is_not_utf8_is_refused(pipeline: Pipeline) -> None:
    body = base64.b64encode(b'{"prompt": "\xff"}').decode()
    assert pipeline.call("POST", "/videos", body, isBase64Encoded=True)[0] == 400


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize(("method", "path"), [("GET", "/videos/api-none"), ("GET", "/nothing"), ("DELETE", "/videos")])
def test_an_unknown_path_is_not_found(pipeline: Pipeline, method: str, path: str) -> None:
    status, answer = pipeline.call(method, path)
    assert status == 404
    assert answer["error"]["message"]


def test_the_models_are_listed_with_their_parameters(pipeline: Pipeline) -> None:
    status, answer = pipeline.call("GET", "/models")
    assert status == 200
    assert [model["model"] for model in answer["models"]] == list(catalogue.MODELS)
    assert all(model["parameters"]["properties"]["prompt"] for model in answer["models"])


def test_the_same_idempotency_key_gives_the_same_video(pipeline: Pipeline) -> None:
    answers = [pipeline.call("POST", "/videos", body, **headers("order-1")) for body in (BODY, BODY)]
    assert [status for status, _ in answers] == [202, 202]
    (job_id,) = {answer["job_id"] for _, answer in answers}
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)
    status, answer = pipeline.call("POST", "/videos", json.dumps(BODY, indent=3), **headers("order-1"))
    assert (status, answer["job_id"], answer["state"]) == (202, job_id, "COMPLETED")
    assert pipeline.waiting() == []


@pytest.mark.hostile(kind="input", risk="paid twice")
def test_an_idempotency_key_for_another_body_is_a_conflict(pipeline: Pipeline) -> None:
    pipeline.call("POST", "/videos", BODY, **headers("order-1"))
    status, answer = pipeline.call("POST", "/videos", {**BODY, "prompt": "a sea"}, **headers("order-1"))
    assert (status, answer["error"]["code"]) == (409, "CONFLICT")


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "ü"])
def test_an_invalid_idempotency_key_is_refused(pipeline: Pipeline, key: str) -> None:
    status, answer = pipeline.call("POST", "/videos", BODY, **headers(key))
    assert (status, answer["error"]["field"]) == (422, "Idempotency-Key")


def test_without_an_idempotency_key_every_call_is_a_new_video(pipeline: Pipeline) -> None:
    assert pipeline.order() != pipeline.order()


def test_two_callers_may_use_the_same_idempotency_key(pipeline: Pipeline) -> None:
    ids = set()
    for caller in ("one", "two"):
        context = {"stage": "v1", "identity": {"apiKeyId": caller}}
        status, answer = pipeline.call("POST", "/videos", BODY, **headers("order-1"), requestContext=context)
        assert status == 202
        ids.add(answer["job_id"])
    assert len(ids) == 2


def test_a_repeated_call_replaces_a_lost_message(pipeline: Pipeline) -> None:
    _, answer = pipeline.call("POST", "/videos", BODY, **headers("order-1"))
    pipeline.client("sqs").purge_queue(QueueUrl=pipeline.queue)
    assert pipeline.waiting() == []
    pipeline.call("POST", "/videos", BODY, **headers("order-1"))
    pipeline.run(answer["job_id"])
    pipeline.check(answer["job_id"], State.COMPLETED)


def test_the_checked_version_is_the_one_that_is_sent(pipeline: Pipeline) -> None:
    pipeline.put("images/hat.png", png())
    job_id = pipeline.order(image_key="images/hat.png", parameters={"resolution": "480p"})
    pipeline.put("images/hat.png", b"prose")
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


def test_an_unfinished_job_has_no_link_to_a_partial_video(pipeline: Pipeline) -> None:
    job_id = pipeline.order(parameters={"resolution": "480p"})
    pipeline.deliver()
    pipeline.pass_time(60)
    app("poll").handler({"job_id": job_id}, None)
    _, answer = pipeline.call("GET", f"/videos/{job_id}")
    assert (answer["state"], answer["video"]) == ("COPYING", None)
