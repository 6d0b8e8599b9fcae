"""Hostile headers, paths and events of the API: each gets an answer of 2xx or 4xx, and only a 202 makes a job."""

import json
from typing import Any

import pytest
from hostile_calls import GOOD, ITEMS, JOB, MANIFEST, Function, event
from hostile_values import TEXTS, WRONG_TYPES
from seedance.rest.listing import PARAMETERS
from seedance.rest.routes import ROUTES

pytestmark = pytest.mark.hostile(kind="input", risk=("5xx", "paid twice"))


@pytest.mark.parametrize(
    "kind",
    [
        *("application/json", "application/json; charset=utf-16", "text/plain", "application/x-www-form-urlencoded"),
        *(
            "multipart/form-data; boundary=x",
            "application/xml",
            "image/png",
            "",
            " ",
            "\x00",
            "x" * 10_000,
            "a\r\nb: c",
        ),
        *("é", "\ud800", "*/*", ";", "application/json, text/plain"),
    ],
)
def test_the_content_type_does_not_matter(function: Function, kind: str) -> None:
    assert function.post(GOOD, headers={"Content-Type": kind})[0] == 202
    assert function.post("prompt=x", headers={"Content-Type": kind})[0] == 400


@pytest.mark.parametrize("kind", TEXTS)
def test_a_hostile_idempotency_key_is_refused_by_its_name(function: Function, kind: str) -> None:
    status, body, _ = function.post(GOOD, headers={"Idempotency-Key": TEXTS[kind]})
    assert (status, (body["error"] or {}).get("field")) in ((422, "Idempotency-Key"), (202, None))
    assert (status == 202) is (0 < len(TEXTS[kind]) <= 255 and all("!" <= letter <= "~" for letter in TEXTS[kind]))


@pytest.mark.parametrize("kind", TEXTS)
def test_a_hostile_api_key_is_a_caller_like_any_other(function: Function, kind: str) -> None:
    for where in ({"headers": {"X-API-KEY": TEXTS[kind]}, "requestContext": {}}, {"requestContext": {"identity": {}}}):
        assert function.post(GOOD, **where)[0] == 202
    assert function.post(GOOD, requestContext={"identity": {"apiKeyId": TEXTS[kind]}})[0] == 202


BATCH = "batch-0123456789abcdef0123456789abcdef"
IDS = {
    **TEXTS,
    "2048 letters": "x" * 2048,
    "2049 letters": "x" * 2049,
    "1025 wide letters": "é" * 1025,
    "slashes": "a/b//c",
    "dots": "..",
    "encoded": "api%2D1",
    **{f"item {key}": key for key in ITEMS},
    "a batch": BATCH,
}


OF_A_JOB = [tuple(route.split()) for route in ROUTES if "{job_id}" in route]


@pytest.mark.parametrize(("method", "resource"), OF_A_JOB)
@pytest.mark.parametrize("kind", IDS)
def test_a_hostile_job_id_is_not_found(function: Function, kind: str, method: str, resource: str) -> None:
    status, body, size = function.call(event(method, resource, job_id=IDS[kind]))
    assert (status, body["error"]["code"]) == (404, "NOT_FOUND")
    assert size < 3000


@pytest.mark.sampled(5)
@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("call", ["GET ", "POST approve", "POST cancel"])
def test_a_hostile_batch_id_is_not_found(function: Function, call: str, kind: str) -> None:
    method, _, verb = call.partition(" ")
    resource = f"/batches/{{batch_id}}/{verb}".rstrip("/")
    status, body, size = function.call(event(method, resource, batch_id=IDS[kind]))
    assert (status, body["code"]) == (404, "NOT_FOUND")
    assert size < 3000


GETS = {
    "video": ("/videos/{job_id}", {"job_id": JOB}, 404),
    "models": ("/models", {}, 200),
    "budget": ("/budget", {}, 200),
    "nothing": ("/nothing", {}, 404),
}
QUERIES: list[Any] = [
    {"limit": "1e400"},
    {"limit": "-1"},
    {"cursor": "\ud800"},
    {"": ""},
    {"a" * 5000: "b" * 5000},
    {"state": "%00"},
    {"state": None},
    {"a": ["b"]},
    [],
    "limit=5",
    5,
]


@pytest.mark.parametrize("query", range(len(QUERIES)))
@pytest.mark.parametrize("which", GETS)
def test_a_query_string_that_is_not_expected_changes_nothing(function: Function, which: str, query: int) -> None:
    resource, path, expected = GETS[which]
    given = {"queryStringParameters": QUERIES[query], "multiValueQueryStringParameters": QUERIES[query]}
    assert function.call({**event("GET", resource, **path), **given})[0] == expected


@pytest.mark.sampled(4)
@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("name", [*PARAMETERS, "another"])
def test_a_hostile_filter_is_refused_by_its_name_or_finds_nothing(function: Function, name: str, kind: str) -> None:
    for given in ("queryStringParameters", "multiValueQueryStringParameters"):
        value = TEXTS[kind] if given == "queryStringParameters" else [TEXTS[kind]]
        status, body, size = function.call({**event("GET", "/videos"), given: {name: value}})
        assert (status, body.get("field")) in ((422, name), (200, None))
        assert size < 6000


@pytest.mark.parametrize("kind", TEXTS)
def test_a_hostile_cursor_of_batches_is_refused(function: Function, kind: str) -> None:
    status, body, _ = function.call({**event("GET", "/batches"), "queryStringParameters": {"cursor": TEXTS[kind]}})
    assert (status, body.get("field")) == (422, "cursor")


@pytest.mark.parametrize("query", range(len(QUERIES)))
@pytest.mark.parametrize("path", ["/videos", "/batches"])
def test_a_query_that_no_list_has_is_refused_or_counts_as_none(function: Function, path: str, query: int) -> None:
    for given in ("queryStringParameters", "multiValueQueryStringParameters"):
        assert function.call({**event("GET", path), given: QUERIES[query]})[0] in (200, 422)


CALLS = {
    "POST /videos": {**event("POST", "/videos"), "body": GOOD},
    "GET /videos": event("GET", "/videos"),
    "GET /videos/{job_id}": event("GET", "/videos/{job_id}", job_id=JOB),
    "POST /videos/{job_id}/cancel": event("POST", "/videos/{job_id}/cancel", job_id=JOB),
    "POST /videos/{job_id}/retry": {**event("POST", "/videos/{job_id}/retry", job_id=JOB), "body": '{"pay": true}'},
    "GET /videos/{job_id}/timeline": event("GET", "/videos/{job_id}/timeline", job_id=JOB),
    "POST /videos/{job_id}/link": event("POST", "/videos/{job_id}/link", job_id=JOB),
    "DELETE /videos/{job_id}/link": event("DELETE", "/videos/{job_id}/link", job_id=JOB),
    "POST /uploads": {**event("POST", "/uploads"), "body": '{"name": "a.png"}'},
    "POST /estimates": {**event("POST", "/estimates"), "body": GOOD},
    "GET /budget": event("GET", "/budget"),
    "POST /pause": {**event("POST", "/pause"), "body": '{"reason": "x"}'},
    "POST /resume": event("POST", "/resume"),
    "POST /batches": {**event("POST", "/batches"), "body": json.dumps({"manifest_key": MANIFEST})},
    "GET /batches": event("GET", "/batches"),
    "GET /batches/{batch_id}": event("GET", "/batches/{batch_id}", batch_id=BATCH),
    "POST /batches/{batch_id}/approve": event("POST", "/batches/{batch_id}/approve", batch_id=BATCH),
    "POST /batches/{batch_id}/cancel": event("POST", "/batches/{batch_id}/cancel", batch_id=BATCH),
    "GET /models": event("GET", "/models"),
    "GET /openapi.json": event("GET", "/openapi.json"),
}


def test_every_call_is_tried() -> None:
    assert set(CALLS) == set(ROUTES)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("kind", ["missing", *WRONG_TYPES])
@pytest.mark.parametrize("part", CALLS["POST /videos"])
@pytest.mark.parametrize("which", CALLS)
def test_any_part_of_an_event_may_be_anything(function: Function, which: str, part: str, kind: str) -> None:
    good = CALLS[which]
    sent = {name: value for name, value in good.items() if name != part}
    if kind != "missing":
        sent[part] = WRONG_TYPES[kind]
    status, *_ = function.call(sent)
    assert status in (200, 202, 400, 404, 422)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("kind", WRONG_TYPES)
@pytest.mark.parametrize(
    ("where", "name"),
    [
        *(("headers", name) for name in ("Idempotency-Key", "x-api-key", "Content-Type", "Content-Encoding", "")),
        *(("pathParameters", name) for name in ("job_id", "", "x")),
        *(("requestContext", name) for name in ("identity", "authorizer", "httpMethod")),
    ],
)
def test_any_value_within_an_event_may_be_anything(function: Function, where: str, name: str, kind: str) -> None:
    for good in CALLS.values():
        status, *_ = function.call({**good, where: {name: WRONG_TYPES[kind]}})
        assert status in (200, 202, 404, 422)
    status, *_ = function.call(
        {**CALLS["POST /videos"], "requestContext": {"identity": {"apiKeyId": WRONG_TYPES[kind]}}}
    )
    assert status == 202


@pytest.mark.parametrize(
    ("method", "resource"),
    [
        *(("DELETE", "/videos"), ("PUT", "/videos"), ("PATCH", "/videos"), ("HEAD", "/models"), ("OPTIONS", "/videos")),
        *(("get", "/models"), ("GET ", "/models"), ("GET", "/models/"), ("GET", "//models"), ("GET", "/Models")),
        *(("TRACE", "/"), ("CONNECT", "evil.example:443"), ("", ""), ("\x00", "\x00"), ("\ud800", "\ud800")),
        *(("PUT", "/batches"), ("GET", "/batches/{batch_id}/approve"), ("POST", "/batches/{batch_id}/pay")),
        *(("POST", "/videos/{job_id}"), ("POST", "/models"), ("GET", "/{proxy+}"), ("GET", "x" * 100_000)),
    ],
)
def test_another_method_or_path_is_not_found(function: Function, method: str, resource: str) -> None:
    assert function.call({**event("GET", "/models"), "httpMethod": method, "resource": resource})[0] == 404


@pytest.mark.parametrize("kind", WRONG_TYPES)
def test_an_event_that_is_none_is_not_found(function: Function, kind: str) -> None:
    assert function.call(WRONG_TYPES[kind])[0] == 404
