"""The request history: every page and every format is read, and an invalid row affects only itself."""

import itertools
import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from seedance.errors import (
    KeyRejected,
    OutOfCredits,
    ProviderError,
    RateLimited,
    Refused,
    Unavailable,
    UnexpectedAnswer,
)
from seedance.provider import history
from seedance.provider.client import Provider
from seedance.provider.history import PAGE_ROWS as HISTORY_PAGE
from seedance.provider.history import Allowance
from seedance.provider.payloads import HistoryRow

pytestmark = pytest.mark.hostile(kind="answer")

LINK = "https://images.segmind.com/v.mp4"
SINCE, UNTIL = 1_763_596_799.0, 1_763_600_000.0  # 2025-11-19T23:59:59Z to the 20th


@pytest.fixture
def provider(wire: Any) -> Provider:
    return Provider(
        "https://a", "https://b", "https://history.example/", key=lambda: "SG_k", transport=httpx.MockTransport(wire)
    )


def rows(provider: Provider) -> list[HistoryRow]:
    return list(provider.history("seedance-pro", SINCE, UNTIL))


def row(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {"request_id": f"req-{number}", "model_status": "COMPLETED", **fields}


def test_a_row_is_read_completely(provider: Provider, wire: Any) -> None:
    said = row(
        request_body={"prompt": "a shoe", "seed": 7},
        generation_url=LINK,
        credits_deduction=0.25,
        created_at="2025-11-20T00:00:00Z",
        error=None,
        latency_ms=5,
    )
    wire.will(httpx.Response(200, json={"data": [said], "total": 1}))
    body = {"prompt": "a shoe", "seed": 7}
    assert rows(provider) == [HistoryRow("req-1", "COMPLETED", body, LINK, None, 0.25, 1_763_596_800.0)]
    asked = urlsplit(str(wire.requests[0].url))
    assert f"{asked.scheme}://{asked.netloc}{asked.path}" == "https://history.example/inference-request/request-history"
    assert parse_qs(asked.query) == {
        "page": ["1"],
        "per_page": ["100"],
        "from_date": ["2025-11-19"],
        "to_date": ["2025-11-20"],
        "model_name": ["seedance-pro"],
    }
    assert wire.requests[0].headers["x-api-key"] == "SG_k"


@pytest.mark.parametrize("total", [0, 1, 99, 100, 101, 250])
def test_all_pages_and_no_more_are_read(provider: Provider, wire: Any, total: int) -> None:
    all_rows = [row(number) for number in range(total)]
    pages = [all_rows[start : start + HISTORY_PAGE] for start in range(0, total + 1, HISTORY_PAGE)]
    wire.will(*(httpx.Response(200, json={"data": page}) for page in pages))
    assert [one.request_id for one in rows(provider)] == [f"req-{number}" for number in range(total)]
    assert [parse_qs(request.url.query.decode())["page"] for request in wire.requests] == [
        [str(number + 1)] for number in range(len(pages))
    ]


def test_no_further_page_is_requested_once_the_row_is_found(provider: Provider, wire: Any) -> None:
    wire.will(httpx.Response(200, json=[row(number) for number in range(HISTORY_PAGE)]))
    assert next(provider.history("seedance-pro", SINCE, UNTIL)).request_id == "req-0"


@pytest.mark.parametrize("shape", ["data", "results", "items", "requests", None])
def test_rows_are_found_under_every_likely_field(provider: Provider, wire: Any, shape: str | None) -> None:
    wire.will(httpx.Response(200, json={shape: [row()], "page": 1} if shape else [row()]))
    assert [one.request_id for one in rows(provider)] == ["req-1"]


@pytest.mark.parametrize("odd", [None, "x", 5, [], {}, {"request_id": None}, {"request_id": 5}, {"model_status": "X"}])
def test_a_row_without_an_id_still_counts_as_a_request(provider: Provider, wire: Any, odd: Any) -> None:
    wire.will(httpx.Response(200, json={"data": [odd, row()]}))
    assert [one.request_id for one in rows(provider)] == ["", "req-1"]


@pytest.mark.parametrize(
    ("said", "field", "read"),
    [
        ({"model_status": "completed"}, "status", "COMPLETED"),
        ({"model_status": "Pending"}, "status", "PENDING"),
        ({"request_body": json.dumps({"seed": 7})}, "body", {"seed": 7}),
        ({"request_body": "{"}, "body", None),
        ({"request_body": "[1]"}, "body", None),
        ({"request_body": None}, "body", None),
        ({"request_body": 5}, "body", None),
        ({"request_body": {}}, "body", None),
        (
            {"request_body": "{'seed': 7, 'audio': True, 'image': None}"},
            "body",
            {"seed": 7, "audio": True, "image": None},
        ),
        ({"request_body": json.dumps(json.dumps({"seed": 7}))}, "body", {"seed": 7}),
        ({"request_body": json.dumps("{'seed': 7}")}, "body", {"seed": 7}),
        ({"request_body": "{'seed': 7, 'prompt': 'cut"}, "body", None),
        ({"request_body": "{'a':" + "-" * 90_000 + "1}"}, "body", None),
        ({"request_body": "__import__('os')"}, "body", None),
        ({"model_name": "seedance-pro"}, "model", "seedance-pro"),
        ({"model_name": 5}, "model", None),
        ({"generation_url": None}, "url", None),
        ({"generation_url": ""}, "url", None),
        ({"generation_url": [LINK]}, "url", LINK),
        ({"credits_deduction": "much"}, "cost_usd", None),
        ({"credits_deduction": None}, "cost_usd", None),
        ({"credits_deduction": 0}, "cost_usd", 0),
        ({"error": "out of steam"}, "error", "out of steam"),
        ({"error": None}, "error", None),
        ({"created_at": "2025-11-20T00:00:00"}, "created_at", 1_763_596_800.0),  # UTC if not stated
        ({"created_at": "2025-11-20T01:00:00+01:00"}, "created_at", 1_763_596_800.0),
        ({"model_created": "2025-11-20T00:00:00Z"}, "created_at", 1_763_596_800.0),
        ({"created_at": "yesterday"}, "created_at", None),
        ({"created_at": 5}, "created_at", None),
        ({}, "created_at", None),
    ],
)
def test_each_field_is_read_or_ignored(provider: Provider, wire: Any, said: Any, field: str, read: Any) -> None:
    wire.will(httpx.Response(200, json={"data": [{**row(), **said}]}))
    (one,) = rows(provider)
    assert getattr(one, field) == read


@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": {}}, {"rows": []}, 5, "x", None])
def test_a_response_without_a_list_of_rows_is_an_error(provider: Provider, wire: Any, answer: Any) -> None:
    wire.will(httpx.Response(200, content=json.dumps(answer)))
    with pytest.raises(UnexpectedAnswer):
        rows(provider)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(500), Unavailable),
        (httpx.Response(503), Unavailable),
        (httpx.Response(429), RateLimited),
        (httpx.Response(403), Refused),
        (httpx.Response(406, json={"error": "Not enough credits"}), OutOfCredits),
        (httpx.Response(200, text="<html>"), UnexpectedAnswer),
        (httpx.ConnectError("no"), Unavailable),
        (httpx.ReadTimeout(""), Unavailable),
    ],
    ids=["500", "503", "429", "403", "406", "html", "refused", "time-out"],
)
def test_any_failure_is_a_provider_error(provider: Provider, wire: Any, answer: Any, kind: type[ProviderError]) -> None:
    wire.will(answer)
    with pytest.raises(ProviderError) as raised:
        rows(provider)
    assert type(raised.value) is kind


def test_a_failure_on_a_later_page_is_not_mistaken_for_the_end(provider: Provider, wire: Any) -> None:
    wire.will(httpx.Response(200, json=[row(number) for number in range(HISTORY_PAGE)]), httpx.Response(500))
    with pytest.raises(Unavailable):
        rows(provider)


def test_a_rejected_key_is_read_again(wire: Any) -> None:
    forgotten: list[bool] = []
    at = Provider(
        "", "", "https://h", key=lambda: "SG_k", forget_key=lambda: forgotten.append(True),
        transport=httpx.MockTransport(wire),
    )  # fmt: skip
    wire.will(httpx.Response(401))
    with pytest.raises(KeyRejected):
        rows(at)
    assert forgotten


def full(start: int) -> list[dict[str, Any]]:
    return [row(number) for number in range(start, start + HISTORY_PAGE)]


def test_a_repeated_page_is_an_error(provider: Provider, wire: Any) -> None:
    wire.will(*(httpx.Response(200, json={"data": full(0)}) for _ in range(2)))
    with pytest.raises(UnexpectedAnswer, match="page 2 repeats earlier pages"):
        rows(provider)


def test_a_short_page_is_not_the_last_if_the_history_says_so(provider: Provider, wire: Any) -> None:
    wire.will(
        *(httpx.Response(200, json={"data": [row(number)], "total_pages": 3, "page": number}) for number in (1, 2, 3))
    )
    assert [one.request_id for one in rows(provider)] == ["req-1", "req-2", "req-3"]


def test_an_empty_page_before_the_last_is_an_error(provider: Provider, wire: Any) -> None:
    wire.will(
        httpx.Response(200, json={"data": full(0), "total_pages": 3}),
        httpx.Response(200, json={"data": [], "total_pages": 3}),
    )
    with pytest.raises(UnexpectedAnswer, match="page 2 is empty"):
        rows(provider)


@pytest.mark.parametrize("said", [0, 1, None, True, "9", -1, []])
def test_an_invalid_page_count_hides_no_page(provider: Provider, wire: Any, said: Any) -> None:
    wire.will(
        httpx.Response(200, json={"data": full(0), "total_pages": said}),
        httpx.Response(200, json={"data": [row(500)], "total_pages": said}),
    )
    assert len(rows(provider)) == HISTORY_PAGE + 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=b'{"data": [' + b" " * 8_000_000 + b"]}"),
        httpx.Response(200, content='{"data": ' + "[" * 200_000),
        httpx.Response(200, content='{"data": [' + "0," * 300_000 + "0]}"),
    ],
    ids=["long", "deep", "many"],
)
def test_a_page_that_exceeds_a_limit_is_an_error(provider: Provider, wire: Any, answer: httpx.Response) -> None:
    wire.will(answer)
    with pytest.raises(UnexpectedAnswer, match="has no rows: it"):
        rows(provider)


def test_a_deeply_nested_body_in_a_row_loses_only_that_body(provider: Provider, wire: Any) -> None:
    wire.will(httpx.Response(200, json=[row(request_body="[" * 200_000), row(2, request_body='{"seed": 7}')]))
    assert [one.body for one in rows(provider)] == [None, {"seed": 7}]


# one request by its id -------------------------------------------------------------------------------------------

FRAME = "https://images.segmind.com/last.png"
DONE = row(1, generation_url=LINK, credits_deduction=0.25)


def outputs(provider: Provider, request_id: str = "req-1", seconds: float = 60.0) -> list[HistoryRow]:
    return provider.request_rows(request_id, "seedance-pro", SINCE, UNTIL, within=Allowance(seconds))


@pytest.mark.parametrize(
    "said",
    [DONE, row(1, model_status="FAILED", error="out of steam"), row(1, model_status="PENDING")],
    ids=["done", "failed", "pending"],
)
def test_a_request_found_by_its_id_needs_no_list(provider: Provider, wire: Any, said: dict[str, Any]) -> None:
    wire.will_know("req-1", said)
    (one,) = outputs(provider)
    assert (one.request_id, one.status) == ("req-1", said["model_status"])
    assert (wire.asked_by_id, wire.requests) == (["req-1"], [])


@pytest.mark.parametrize(
    "wrap", [lambda r: {"data": r}, lambda r: {"data": [r]}, lambda r: [r]], ids=["data", "list", "bare"]
)
def test_a_row_is_found_inside_a_response(provider: Provider, wire: Any, wrap: Any) -> None:
    wire.will_know("req-1", httpx.Response(200, json=wrap(DONE)))
    assert [one.url for one in outputs(provider)] == [LINK]


@pytest.mark.parametrize(
    "said",
    [
        httpx.Response(404, json={"error": "Request req-1 not found"}),
        httpx.Response(400),
        httpx.Response(403),
        httpx.Response(429),
        httpx.Response(500),
        httpx.Response(524),
        httpx.ReadTimeout(""),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"data": []}),
        row(2, generation_url=LINK),
        row(1, generation_url=None),
        row(1, generation_url=FRAME),
    ],
    ids=["404", "400", "403", "429", "500", "524", "time-out", "html", "none", "empty", "other", "no link", "frame"],
)
def test_the_list_decides_where_the_id_does_not(provider: Provider, wire: Any, said: Any) -> None:
    wire.will_know("req-1", said)
    wire.will(httpx.Response(200, json={"data": [row(3), row(1, generation_url=FRAME), DONE, row(4)]}))
    assert LINK in [one.url for one in outputs(provider)]
    assert len(wire.requests) == 1


def test_without_a_row_in_the_list_the_row_of_the_id_counts(provider: Provider, wire: Any) -> None:
    wire.will_know("req-1", row(1, credits_deduction=0.25))
    wire.will(httpx.Response(200, json={"data": []}))
    (one,) = outputs(provider)
    assert (one.status, one.url, one.cost_usd) == ("COMPLETED", None, 0.25)


def test_a_request_that_neither_knows_is_not_in_the_history(provider: Provider, wire: Any) -> None:
    wire.will(httpx.Response(200, json={"data": [row(2)]}))
    assert outputs(provider) == []


def test_if_both_fail_the_lists_error_is_raised(provider: Provider, wire: Any) -> None:
    wire.will_know("req-1", httpx.Response(500))
    wire.will(httpx.Response(502))
    with pytest.raises(Unavailable, match="502"):
        outputs(provider)


def test_the_list_gets_the_time_that_the_id_left(
    provider: Provider, wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []

    def get(url: str, most: int, seconds: float) -> Any:
        limits.append(seconds)
        return provider_get(url, most, seconds)

    provider_get = provider._get
    monkeypatch.setattr(provider, "_get", get)
    wire.will(httpx.Response(200, json={"data": []}))
    outputs(provider, seconds=12.0)
    assert limits[0] == pytest.approx(4.0, abs=0.1)
    assert 0 < limits[1] <= 10.0
    now = itertools.count(0.0, 13.0)
    monkeypatch.setattr(history, "time", SimpleNamespace(monotonic=lambda: next(now)))
    with pytest.raises(Unavailable, match="could not be read completely"):
        outputs(provider, seconds=12.0)


def test_an_id_is_escaped_in_the_address(provider: Provider, wire: Any) -> None:
    wire.will(httpx.Response(404))
    assert provider.request_row("a/../b?c") is None
    assert wire.asked == ["GET https://history.example/inference-request/request-history/a%2F..%2Fb%3Fc"]
