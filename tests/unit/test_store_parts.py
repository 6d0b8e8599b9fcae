"""A change of a job, its bookings and its new request are one transaction. What happens if a part can't be written."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from seedance.aws.table import IN_FLIGHT
from seedance.errors import BadRecord
from seedance.jobs.job import RECORD_KEPT_DAYS, Job, State
from seedance.jobs.store import written_item

Make = Callable[..., Job]
DAY = "2026-11-20"
TABLE = "jobs-of-tests"


def paid(world: Any, make_job: Make) -> Job:
    """A job that is about to end, and that is counted as one in progress."""
    world.aws["dynamodb"].put_item(TableName=TABLE, Item=written_item({"job_id": IN_FLIGHT, "held": 1}))
    return world.put(make_job(State.COPYING, reserved_usd=0.25, reserved_day=DAY))


def test_a_count_that_takes_no_number_is_left_out_and_the_day_is_booked(world: Any, make_job: Make) -> None:
    job = paid(world, make_job)
    world.aws["dynamodb"].put_item(TableName=TABLE, Item=written_item({"job_id": IN_FLIGHT, "held": "abc"}))
    assert world.store.close(job, State.COMPLETED, cost_usd=0.3).state is State.COMPLETED
    assert world.store.day(DAY).settled == 0.3


@pytest.mark.parametrize(("code", "sizes"), [("InternalServerError", {3}), ("ValidationException", {3, 2, 1})])
def test_only_for_an_invalid_write_are_bookings_left_out_and_the_job_never_is(
    world: Any, make_job: Make, monkeypatch: pytest.MonkeyPatch, code: str, sizes: set[int]
) -> None:
    job = paid(world, make_job)
    tried = []

    def fail(**parameters: Any) -> None:
        tried.append(len(parameters["TransactItems"]))
        raise ClientError({"Error": {"Code": code, "Message": ""}}, "TransactWriteItems")

    monkeypatch.setattr(world.table.client, "transact_write_items", fail)
    with pytest.raises(ClientError, match=code):
        world.store.close(job, State.COMPLETED, cost_usd=0.3)
    assert set(tried) == sizes
    assert world.job().state is State.COPYING


def test_the_request_of_a_record_without_an_expiry_is_kept_as_long_as_a_new_record(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.SUBMITTING, expires_at=None))
    world.store.move(job, State.QUEUED, request_id="req-1")
    until = int(world.clock.now) + RECORD_KEPT_DAYS * 24 * 3600
    assert world.table.get("request#req-1")["expires_at"] == until


def test_an_item_without_a_state_is_no_job_only_if_its_key_says_so(world: Any, make_job: Make) -> None:
    for key in ("up-damaged", "up#damaged"):
        world.aws["dynamodb"].put_item(TableName=TABLE, Item=written_item({"job_id": key}))
    assert world.store.get("up#damaged") is None
    with pytest.raises(BadRecord):
        world.store.get("up-damaged")
    assert world.store.get(world.put(make_job(job_id="call#1")).job_id).job_id == "call#1"
