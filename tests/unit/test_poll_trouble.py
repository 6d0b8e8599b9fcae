"""Poll: our own errors around the request do not affect its response, and never end a paid job."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from seedance.jobs.job import Job, State
from seedance.poll import Poll

Make = Callable[..., Job]
LINK = "https://images.segmind.com/v.mp4"


def answer(status: str, **fields: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": status, "request_id": "req-1", **fields})


def history() -> httpx.Response:
    return httpx.Response(200, json={"data": []})


@pytest.mark.parametrize(
    "trouble", [ClientError({"Error": {"Code": "Throttling"}}, "x"), EndpointConnectionError(endpoint_url="x")]
)
@pytest.mark.parametrize(
    ("said", "status"),
    [
        (answer("QUEUED"), "RUNNING"),
        (answer("COMPLETED", output=LINK), "COMPLETED"),
        (answer("FAILED"), "FAILED"),
        (httpx.Response(429), "RUNNING"),
        (httpx.Response(500), "RUNNING"),
    ],
    ids=["queued", "completed", "failed", "429", "500"],
)
def test_a_paid_job_is_polled_even_without_a_calendar(
    *, world: Any, poll: Poll, running: Any, monkeypatch: pytest.MonkeyPatch, trouble: Exception, said: Any, status: str
) -> None:
    def fails(**_: Any) -> Any:
        raise trouble

    running()
    monkeypatch.setattr(world.aws["dynamodb"], "batch_get_item", fails)
    world.wire.will(said)
    outcome = poll("up-1")
    assert outcome["status"] == status
    assert (status == "RUNNING") is (outcome.get("wait_seconds", 0) >= 1)
    assert world.counted()["CalendarsMissed"] >= 1


@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING])
def test_a_running_job_without_a_request_id_is_not_ended(world: Any, poll: Poll, running: Any, state: State) -> None:
    before = running(state=state, request_id=None)
    with pytest.raises(LookupError, match="no request_id"):
        poll("up-1")
    assert world.job() == before


@pytest.mark.parametrize("said", [answer("FAILED"), httpx.Response(404)], ids=["failed", "gone"])
def test_an_outcome_names_the_request_that_ended(world: Any, poll: Poll, running: Any, said: Any) -> None:
    running(age=7200, gone_polls=6)
    world.wire.will(said, *([history()] if said.status_code == 404 else []))
    assert poll("up-1")["request_id"] == "req-1"
