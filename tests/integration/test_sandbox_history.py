"""The stand-in's history, as strict as the provider's client documents it: rows, pages, windows, and one request."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from api_calls import HISTORY, MINI
from api_calls import ordered as submitted

from local.sandbox import Sandbox

HOUR = 3600


def test_a_history_row_has_the_request_and_its_outcome(sandbox: Sandbox, api: httpx.Client) -> None:
    sandbox.configure(history_bodies="object")
    good, bad = submitted(api)["request_id"], submitted(api, prompt="[blocked]")["request_id"]
    sandbox.finished(good)
    sandbox.finished(bad)
    newest, oldest = api.get(HISTORY).json()["data"]
    assert (newest["request_id"], oldest["request_id"]) == (bad, good)
    assert (newest["model_status"], newest["credits_deduction"], newest["generation_url"]) == ("FAILED", None, None)
    assert "moderation" in newest["error"]
    assert oldest["request_body"] == MINI
    assert oldest["model_name"] == "seedance-2.0-mini"
    assert oldest["credits_deduction"] > 0
    assert oldest["generation_url"].endswith(f"/media/{good}.mp4")
    age = datetime.now(UTC) - datetime.fromisoformat(oldest["created_at"])
    assert timedelta(0) < age < timedelta(minutes=1)
    assert oldest["updated_at"] > oldest["created_at"] == oldest["model_created"]


def test_the_history_is_paged_filtered_and_sorted(sandbox: Sandbox, api: httpx.Client) -> None:
    ids = [submitted(api, slug)["request_id"] for slug in ("seedance-pro", "seedance-2.0-fast", "seedance-2.0-mini")]
    sandbox.finished(ids[0])

    def listed(**query: object) -> list[str]:
        answer = api.get(HISTORY, params=query)
        return [row["request_id"] for row in answer.json()["data"]]

    assert listed() == ids[::-1]
    assert listed(sort_order="asc") == ids
    assert listed(page=2, per_page=2) == ids[:1]
    assert listed(model_name="2.0") == ids[:0:-1]
    assert listed(sort_by="model_name", sort_order="asc") == [ids[1], ids[2], ids[0]]
    assert ids[0] in listed(status="COMPLETED")
    assert listed(status="FAILED") == []
    today, tomorrow = datetime.now(UTC).date(), datetime.now(UTC).date() + timedelta(days=1)
    assert listed(from_date=today, to_date=today) == ids[::-1]
    assert listed(from_date=tomorrow, to_date=tomorrow) == []
    assert listed(from_date=datetime.now(UTC).isoformat()) == []
    paging = api.get(HISTORY, params={"per_page": 2}).json()
    assert (paging["page"], paging["per_page"], paging["total"], paging["total_pages"]) == (1, 2, 3, 2)


def test_a_window_of_31_days_is_allowed(api: httpx.Client) -> None:
    for query in ({"from_date": "2026-01-01", "to_date": "2026-01-31"}, {"from_date": days_ago(30)}):
        assert api.get(HISTORY, params=query).status_code == 200


def days_ago(number: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=number)).isoformat()


def test_pages_are_counted_in_rows_and_a_request_may_be_on_two(sandbox: Sandbox, api: httpx.Client) -> None:
    ids = [submitted(api, return_last_frame=True)["request_id"] for _ in range(3)]
    for request_id in ids:
        sandbox.finished(request_id)
    pages = [api.get(HISTORY, params={"page": page, "per_page": 3}).json() for page in (1, 2, 3)]
    assert [(page["total"], page["total_pages"], len(page["data"])) for page in pages] == [
        (6, 2, 3),
        (6, 2, 3),
        (6, 2, 0),
    ]
    rows = [row for page in pages for row in page["data"]]
    assert {row["request_id"] for row in rows} == set(ids)
    assert {row["credits_deduction"] for row in rows} == {sandbox.state.jobs[ids[0]].cost}
    assert sorted(row["generation_url"].rpartition(".")[2] for row in rows) == ["mp4"] * 3 + ["png"] * 3


def test_a_request_of_any_age_is_found_by_its_id_with_any_of_its_outputs(sandbox: Sandbox, api: httpx.Client) -> None:
    ends = set()
    for _ in range(20):
        request_id = submitted(api, return_last_frame=True)["request_id"]
        sandbox.finished(request_id)
        row = api.get(f"{HISTORY}/{request_id}").json()
        assert row["request_id"] == request_id
        ends.add(row["generation_url"].rpartition(".")[2])
    assert ends == {"mp4", "png"}
    sandbox.configure(clock_offset=200 * 24 * HOUR)
    assert api.get(f"{HISTORY}/{request_id}").json()["model_status"] == "COMPLETED"


def test_a_teammates_request_is_listed_but_not_found_by_its_id(sandbox: Sandbox, api: httpx.Client) -> None:
    other = {"x-api-key": "SG_aaaaaaaaaaaaaaaa"}
    sandbox.configure(teammates=[other["x-api-key"]])
    assert sandbox.control.get("/_sandbox/config").json()["teammates"] == 1
    theirs = sandbox.control.post("/v2/seedance-2.0-mini", json=MINI, headers=other).json()["request_id"]
    ours = submitted(api)["request_id"]
    assert [row["request_id"] for row in api.get(HISTORY).json()["data"]] == [ours, theirs]
    assert api.get(f"{HISTORY}/{ours}").status_code == 200
    assert api.get(f"{HISTORY}/{theirs}").status_code == 404
    assert sandbox.control.get(f"{HISTORY}/{theirs}", headers=other).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        {"per_page": 101},
        {"page": 0},
        {"page": "x"},
        {"from_date": "yesterday"},
        {"from_date": "2026-01-01", "to_date": "2026-03-01"},
        {"from_date": "2026-01-01", "to_date": "2026-02-01"},  # 32 days
        {"status": "QUEUED"},
        {"sort_order": "up"},
        {"sort_by": "prompt"},
    ],
)
def test_an_invalid_history_query_is_400(api: httpx.Client, query: dict[str, Any]) -> None:
    answer = api.get(HISTORY, params=query)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_history_has_no_unknown_request(api: httpx.Client) -> None:
    assert api.get(f"{HISTORY}/none").status_code == 404
