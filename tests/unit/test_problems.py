"""What the API answers when it refuses a call, and the headers that say where and when to continue."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

import pytest
from described import check
from seedance import bounds
from seedance.api import Api
from seedance.errors import BadRecord, Conflict, InvalidRequest, NotFound, OverBudget
from seedance.jobs.defaults import Defaults
from seedance.jobs.job import Hold, Job, State
from seedance.rest import answers
from seedance.rest.views import PERSON_SECONDS, ROUND_SECONDS, retry_after

Make = Callable[..., Job]
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def api(world: Any) -> Api:
    defaults = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")
    return Api(world.store, world.media, world.queue, "example-uploads", defaults, ("images/",), world.clock)


def call(api: Api, method: str, resource: str, body: Any = None, **event: Any) -> dict[str, Any]:
    text = body if body is None or isinstance(body, str) else json.dumps(body)
    answer: Any = api.respond({"httpMethod": method, "resource": resource, "body": text, **event})
    check(method, resource, answer)
    return dict(answer)


def problem(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    found = json.loads(answer["body"])
    assert found["status"] == answer["statusCode"]
    assert found["type"] == "about:blank"
    # The error of release 0.1.0 says the same.
    assert found["error"]["message"] == found["detail"]
    assert found["error"]["code"] == found["code"]
    assert found["error"].get("field") == found.get("field")
    return dict(found)


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (InvalidRequest("body", "must be JSON"), 400, "Bad Request"),
        (InvalidRequest("duration", "must be 5 or 10", allowed=[5, 10]), 422, "Unprocessable Content"),
        (Conflict("used"), 409, "Conflict"),
        (NotFound("no such job"), 404, "Not Found"),
        (BadRecord("up-1", "reserved_usd", "a lot"), 500, "Internal Server Error"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_refusal_is_a_problem(error: Any, status: int, title: str) -> None:
    answer = answers.refusal(error)
    assert answer is not None
    found = problem(dict(answer))
    assert (found["status"], found["title"], found["detail"], found["code"]) == (status, title, str(error), error.code)
    assert found.get("field") == getattr(error, "field", None)
    assert found.get("allowed") == getattr(error, "allowed", None)


def test_an_error_that_no_call_can_cause_is_not_answered() -> None:
    assert answers.refusal(OverBudget("full")) is None


def test_an_unexpected_error_is_raised(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: str) -> Job:
        raise OverBudget("full")

    monkeypatch.setattr(api.store, "get", full)
    with pytest.raises(OverBudget):
        call(api, "GET", "/videos/{job_id}", pathParameters={"job_id": "up-1"})


@pytest.mark.parametrize(
    ("body", "field", "allowed"),
    [
        (
            {"prompt": "x", "model": "seedance-9"},
            "model",
            ["seedance-pro", "seedance-1.0-pro-fast", "seedance-1.5-pro"],
        ),
        ({"prompt": "x", "parameters": {"duration": 7}}, "duration", [5, 10]),
        ({"prompt": "x", "parameters": {"ratio": "2:1"}}, "ratio", ["16:9", "4:3", "1:1", "3:4", "9:16"]),
        ({"prompt": "x", "parameters": {"camera_fixed": "maybe"}}, "camera_fixed", [True, False]),
        ({"prompt": "x", "parameters": {"seed": 0}}, "seed", "a whole number from 1 to 999999"),
        ({"prompt": ""}, "prompt", "text of 1 to 5000 characters"),
        ({}, "prompt", "text of 1 to 5000 characters"),
        ({"prompt": "x", "transport": "v1"}, "transport", ["v2"]),
        ({"prompt": "x", "promt": "y"}, "promt", ["model", "prompt", "parameters"]),
        ({"prompt": "x", "parameters": {"durations": 5}}, "durations", ["prompt", "aspect_ratio", "duration"]),
        ({"prompt": "x", "parameters": {"generate_audio": True}}, "generate_audio", ["prompt", "aspect_ratio"]),
        ({"prompt": "x", "image_key": "uploads/a.png"}, "image_key", "a key that begins with images/"),
        ({"prompt": "x", "image": "https://a/", "parameters": {"image_url": "https://b/"}}, "image_url", None),
    ],
    ids=repr,
)
def test_a_refused_value_comes_with_what_is_allowed(api: Api, body: Any, field: str, allowed: Any) -> None:
    found = problem(call(api, "POST", "/videos", body))
    assert found["field"] == field
    if isinstance(allowed, list):
        assert found["allowed"][: len(allowed)] == allowed
    else:
        assert found.get("allowed") == allowed


@pytest.mark.hostile(kind="input")
def test_a_field_name_as_long_as_a_request_is_cut(api: Api) -> None:
    answer = call(api, "POST", "/videos", {"prompt": "x", "é" * 30_000: 1})
    found = problem(answer)
    assert len(found["field"]) <= bounds.LONGEST_ECHO
    assert len(found["detail"]) <= bounds.LONGEST_MESSAGE
    assert len(answer["body"]) < 10_000


def test_a_path_without_a_call_names_those_that_there_are(api: Api) -> None:
    assert "GET /videos/{job_id}, POST /videos/{job_id}/cancel" in problem(call(api, "DELETE", "/videos"))["detail"]


@pytest.mark.parametrize(
    "base",
    [
        "https://x.execute-api.eu-central-1.amazonaws.com/v1/videos",
        "http://127.0.0.1:4566/_aws/execute-api/a/v1/videos",
    ],
)
def test_a_new_job_is_located_relative_to_the_call_wherever_the_api_is(api: Api, base: str) -> None:
    answer = call(api, "POST", "/videos", {"prompt": "x"})
    assert answer["statusCode"] == 202
    assert urljoin(base, answer["headers"]["Location"]) == f"{base}/{json.loads(answer['body'])['job_id']}"


# HELD -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "held_day", "seconds"),
    [
        (Hold.BUDGET, "2026-11-30", 12 * 3600 + ROUND_SECONDS),
        (Hold.BUDGET, None, 12 * 3600 + ROUND_SECONDS),
        (Hold.BUDGET, "2026-11-29", ROUND_SECONDS),
        (Hold.PAUSED, None, ROUND_SECONDS),
        (Hold.LOST, None, PERSON_SECONDS),
        (Hold.RESULT, None, PERSON_SECONDS),
    ],
)
def test_a_held_job_says_when_to_ask_again(make_job: Make, code: Hold, held_day: str | None, seconds: int) -> None:
    job = make_job(State.HELD, error={"code": code.value, "message": "m"}, held_day=held_day)
    assert retry_after(job, NOON) == {"Retry_After": str(seconds)}


@pytest.mark.parametrize("state", [state for state in State if state is not State.HELD])
def test_any_other_job_does_not(make_job: Make, state: State) -> None:
    assert retry_after(make_job(state), NOON) == {}


def test_the_header_comes_with_the_job_however_it_is_asked_for(world: Any, api: Api, make_job: Make) -> None:
    headers = {"Idempotency-Key": "order-1"}
    first = call(api, "POST", "/videos", {"prompt": "x"}, headers=headers)
    assert "Retry-After" not in first["headers"]
    job = world.job(json.loads(first["body"])["job_id"])
    world.store.move(job, State.HELD, error={"code": Hold.PAUSED.value, "message": "m"})
    again = call(api, "POST", "/videos", {"prompt": "x"}, headers=headers)
    asked = call(api, "GET", "/videos/{job_id}", pathParameters={"job_id": job.job_id})
    assert [answer["headers"]["Retry-After"] for answer in (again, asked)] == [str(ROUND_SECONDS)] * 2
