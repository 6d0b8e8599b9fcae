"""The API through its gateway: keys, refusals, repeated calls."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from deployed import Deployed
from seedance.jobs import catalogue
from seedance.rest.routes import ROUTES

pytestmark = pytest.mark.e2e

BODY = {"prompt": "a lake", "parameters": {"resolution": "480p"}}
CALLS = [tuple(route.replace("{job_id}", "api-none").split()) for route in ROUTES]


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_call_without_the_key_is_refused(deployed: Deployed, method: str, path: str, key: str | None) -> None:
    assert deployed.call(method, path, key=key, json=BODY if method == "POST" else None).status_code == 403


REFUSALS: dict[str, tuple[dict[str, Any], int, str]] = {
    "malformed": ({"content": b'{"prompt": '}, 400, "must be a JSON object"),
    "no body": ({}, 400, "must be a JSON object"),
    "unknown model": ({"json": {**BODY, "model": "seedance-9"}}, 422, "'seedance-9' does not exist"),
    "unknown parameter": ({"json": {**BODY, "parameters": {"durations": 5}}}, 422, "did you mean duration?"),
    "unknown field": ({"json": {**BODY, "duration": 5}}, 422, "put it under parameters"),
    "image key missing": ({"json": {**BODY, "image_key": "images/none.png"}}, 422, "images/none.png is not in"),
    "idempotency key": ({"json": BODY, "headers": {"Idempotency-Key": "two words"}}, 422, "1 to 255 visible"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_an_invalid_request_is_refused_with_a_reason(deployed: Deployed, case: str) -> None:
    options, status, says = REFUSALS[case]
    answer = deployed.call("POST", "/videos", **options)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]


def test_an_unknown_job_is_not_found(deployed: Deployed) -> None:
    answer = deployed.call("GET", "/videos/api-none")
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "job api-none does not exist")


def test_the_models_are_listed_with_their_parameters(deployed: Deployed) -> None:
    answer = deployed.call("GET", "/models")
    assert answer.status_code == 200
    assert [model["model"] for model in answer.json()["models"]] == list(catalogue.MODELS)
    assert answer.headers["content-type"] == "application/json"


def test_identical_concurrent_calls_make_one_video(deployed: Deployed) -> None:
    body = {**BODY, "prompt": "asked by many"}

    def ask(_: int) -> Any:
        return deployed.call("POST", "/videos", json=body, headers={"Idempotency-Key": "many"})

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(ask, range(4)))
    assert {answer.status_code for answer in answers} == {202}
    (job_id,) = {answer.json()["job_id"] for answer in answers}
    assert deployed.completed(job_id)["source"] == "api"
    prompts = [job["body"]["prompt"] for job in deployed.sandbox("jobs")["jobs"]]
    assert prompts.count("asked by many") == 1


def test_an_idempotency_key_for_another_body_is_a_conflict(deployed: Deployed) -> None:
    headers = {"Idempotency-Key": "reused"}
    deployed.call("POST", "/videos", json={**BODY, "prompt": "a [blocked] lake"}, headers=headers)
    answer = deployed.call("POST", "/videos", json={**BODY, "prompt": "a sea"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "CONFLICT")


def test_a_new_job_is_located_and_listed(deployed: Deployed) -> None:
    answer = deployed.call("POST", "/videos", json={**BODY, "prompt": "listed"})
    job_id = answer.json()["job_id"]
    found = httpx.get(answer.url.join(answer.headers["location"]), headers={"x-api-key": deployed.stack.api_key})
    assert found.json()["job_id"] == job_id
    listed = deployed.call("GET", "/videos?source=api&limit=100").json()
    assert job_id in [video["job_id"] for video in listed["videos"]]
    pages, cursor = [], ""
    while cursor is not None:
        page = deployed.call("GET", f"/videos?limit=1{cursor and f'&cursor={cursor}'}").json()
        pages.append(page["videos"])
        cursor = page["next_cursor"]
    ids = [video["job_id"] for page in pages for video in page]
    assert len(ids) == len(set(ids))
    assert {video["job_id"] for video in listed["videos"]} <= set(ids)


def test_a_price_is_asked_for_before_anything_is_bought(deployed: Deployed) -> None:
    answer = deployed.call("POST", "/estimates", json={"model": "seedance-2.0-mini", "parameters": {"duration": 8}})
    assert answer.status_code == 200
    assert answer.json()["estimate_usd"] > 0
    assert 0 < answer.json()["seconds"]["p50"] < answer.json()["seconds"]["p90"]


def test_submits_are_paused_and_resumed(deployed: Deployed) -> None:
    try:
        paused = deployed.call("POST", "/pause", json={"reason": "a test"})
        assert (paused.status_code, paused.json()["paused_reason"]) == (200, "a test")
        assert deployed.call("GET", "/budget").json()["paused"] is True
    finally:
        resumed = deployed.call("POST", "/resume")
    assert (resumed.status_code, resumed.json()["paused"]) == (200, False)
    assert deployed.call("GET", "/budget").json()["paused"] is False


def test_the_description_is_served(deployed: Deployed) -> None:
    answer = deployed.call("GET", "/openapi.json")
    assert answer.status_code == 200
    assert {
        f"{method.upper()} {path}" for path, methods in answer.json()["paths"].items() for method in methods
    } == set(ROUTES)
