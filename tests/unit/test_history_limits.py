"""Limits on reading the history: requests, seconds, memory and repeated pages; and one reading for several jobs."""

import itertools
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from pool import Pool
from seedance.errors import ProviderError, Unavailable, UnexpectedAnswer
from seedance.provider import history, http
from seedance.provider.client import Provider
from seedance.provider.history import MOST_ROWS, PAGE_ROWS, PAGES, Allowance, SharedHistory
from seedance.provider.payloads import HistoryRow

SINCE, UNTIL = 1_763_596_799.0, 1_763_600_000.0  # 2025-11-19T23:59:59Z to the 20th


@pytest.fixture
def provider(wire: Any) -> Provider:
    return Provider("https://a", "https://b", "https://history.example/", key=lambda: "SG_k")


def rows(provider: Provider) -> list[HistoryRow]:
    return list(provider.history("seedance-pro", SINCE, UNTIL))


def row(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {"request_id": f"req-{number}", "model_status": "COMPLETED", **fields}


def full(start: int) -> list[dict[str, Any]]:
    return [row(number) for number in range(start, start + PAGE_ROWS)]


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A history without an end, and the pages that were requested."""
    asked: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if "page" not in request.url.params:
            return httpx.Response(404)
        page = int(request.url.params["page"])
        asked.append(page)
        return httpx.Response(200, json={"data": full(page * PAGE_ROWS)})

    monkeypatch.setattr(http, "_pool", lambda _: Pool(answer))
    return asked


def test_an_endless_history_is_an_error(provider: Provider, endless: list[int]) -> None:
    with pytest.raises(Unavailable, match="could not be read completely"):
        rows(provider)
    assert endless == list(range(1, PAGES + 1))


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize(
    "within", [Allowance(seconds=26), Allowance(pages=5), Allowance(most=350_000)], ids=["seconds", "pages", "bytes"]
)
def test_a_history_that_exceeds_the_allowance_is_an_error(
    *, provider: Provider, endless: list[int], monkeypatch: pytest.MonkeyPatch, within: Allowance
) -> None:
    now = itertools.count(0.0, 6.0)  # the clock is read before and after each request
    monkeypatch.setattr(history, "time", SimpleNamespace(monotonic=lambda: next(now)))
    with pytest.raises(Unavailable, match="after page 5"):
        list(provider.history("seedance-pro", SINCE, UNTIL, within))
    assert len(endless) == 5
    assert within.used_up
    with pytest.raises(Unavailable, match="after page 0"):
        list(provider.history("seedance-pro", SINCE, UNTIL, within))
    with pytest.raises(Unavailable, match="was not asked"):
        provider.request_row("req-1", within)
    assert len(endless) == 5


@pytest.mark.hostile(kind="answer")
def test_a_page_of_too_many_rows_is_an_error(provider: Provider, wire: Any) -> None:
    wire.will(httpx.Response(200, json={"data": [row(number) for number in range(MOST_ROWS)]}))
    wire.will(httpx.Response(200, json={"data": []}))
    assert len(rows(provider)) == MOST_ROWS  # more than were requested
    wire.will(httpx.Response(200, json={"data": [row(number) for number in range(MOST_ROWS + 1)]}))
    with pytest.raises(UnexpectedAnswer, match="has 1,001 rows; 100 were requested"):
        rows(provider)


@pytest.mark.hostile(kind="answer")
def test_rows_count_against_the_allowance(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        page = int(parse_qs(request.url.query.decode())["page"][0])
        return httpx.Response(200, json={"data": [row(page * MOST_ROWS + number) for number in range(MOST_ROWS)]})

    monkeypatch.setattr(http, "_pool", lambda _: Pool(answer))
    with pytest.raises(Unavailable, match="it continues after page 3"):
        list(provider.history("seedance-pro", SINCE, UNTIL, Allowance(pages=30)))


@pytest.mark.hostile(kind="answer")
@pytest.mark.parametrize("every", [1, 2, 3])
def test_pages_that_come_again_are_an_error(*, provider: Provider, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """A history may also repeat itself after some pages, or in another order."""
    asked: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        page = int(parse_qs(request.url.query.decode())["page"][0])
        asked.append(page)
        listed = full(page % every * PAGE_ROWS)
        return httpx.Response(200, json={"data": listed[::-1] if page % 2 else listed, "total_pages": 10**9})

    monkeypatch.setattr(http, "_pool", lambda _: Pool(answer))
    with pytest.raises(UnexpectedAnswer, match=f"page {every + 1} repeats earlier pages"):
        rows(provider)
    assert len(asked) == every + 1


def test_rows_that_new_requests_push_to_the_next_page_are_not_mistaken_for_a_repeated_page(
    provider: Provider, wire: Any
) -> None:
    wire.will(
        httpx.Response(200, json={"data": full(0)}),
        httpx.Response(200, json={"data": full(0)[-2:]}),
    )
    assert len(rows(provider)) == PAGE_ROWS + 2


# one reading for several jobs -------------------------------------------------------------------------------------


DAY = 24 * 3600.0


def test_a_list_is_read_once_for_all_jobs_of_its_days(provider: Provider, wire: Any) -> None:
    shared = SharedHistory(provider, Allowance())
    wire.will(httpx.Response(200, json={"data": [row(1, credits_deduction=0.25), row(2)]}))
    assert len(shared.history("seedance-pro", SINCE - DAY, UNTIL)) == 2
    assert len(shared.history("seedance-pro", SINCE, UNTIL)) == 2
    assert [one.request_id for one in shared.request_rows("req-2", "seedance-pro", SINCE, UNTIL)] == ["req-2"]
    assert shared.price("req-1", "seedance-pro", SINCE, UNTIL) == 0.25
    assert len(wire.requests) == 1
    wire.will(*(httpx.Response(200, json={"data": []}) for _ in range(3)))
    assert shared.history("seedance-1.5-pro", SINCE, UNTIL) == []
    assert shared.history("seedance-pro", SINCE - 2 * DAY, UNTIL) == []
    assert shared.history("seedance-pro", SINCE, UNTIL + DAY) == []


def test_a_list_that_could_not_be_read_is_not_asked_for_again(provider: Provider, wire: Any) -> None:
    shared = SharedHistory(provider, Allowance())
    wire.will(httpx.Response(200, json={"data": full(0)}), httpx.Response(500))
    for _ in range(3):
        with pytest.raises(Unavailable, match="500"):
            shared.history("seedance-pro", SINCE, UNTIL)
    assert shared.price("req-1", "seedance-pro", SINCE, UNTIL) is None  # not from half of it
    assert len(wire.requests) == 2
    wire.will(httpx.Response(200, json={"data": [row(1)]}))
    assert len(shared.history("seedance-pro", SINCE, UNTIL + DAY)) == 1


@pytest.mark.hostile(kind="answer")
def test_three_jobs_read_an_endless_history_once(provider: Provider, endless: list[int]) -> None:
    shared = SharedHistory(provider, Allowance(pages=300))
    for number in range(3):
        with pytest.raises(ProviderError):
            shared.request_rows(f"mine-{number}", "seedance-pro", SINCE, UNTIL)
    assert len(endless) == PAGES
    assert not shared.within.used_up
