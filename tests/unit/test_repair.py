"""Repair: the operators' commands; none of them buys anything or takes another job's request."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from past import ID, LINK, OTHER, history, row
from seedance.errors import Conflict, InvalidRequest, ProviderError
from seedance.jobs.job import Job, State, adopted_job_id
from seedance.repair import Repair

Make = Callable[..., Job]
DONE = {"model_status": "COMPLETED", "generation_url": LINK, "credits_deduction": 0.3}


# adopting a request for a job ------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.UNCERTAIN, State.HELD])
def test_a_person_adopts_a_request(world: Any, repair: Repair, uncertain: Any, state: State) -> None:
    world.put(replace(uncertain(), state=state, notified_at=1.0))
    world.wire.will(history(row(world, "req-1", names=None), row(world, "req-9", names=None)))
    assert repair.adopt_request(ID, "req-9") == "QUEUED"
    assert (world.job(ID).request_id, world.job(ID).notified_at) == ("req-9", None)


def test_a_failed_request_is_notified_even_if_the_hold_was(world: Any, repair: Repair, uncertain: Any) -> None:
    world.put(replace(uncertain(), state=State.HELD, notified_at=1.0))
    world.wire.will(history(row(world, model_status="FAILED", error="out of steam")))
    assert repair.adopt_request(ID, "req-9") == "FAILED"
    assert [message["status"] for message in world.notified()] == ["FAILED"]


def test_a_held_result_adopts_its_link_and_is_not_polled_again(world: Any, repair: Repair, uncertain: Any) -> None:
    error = {"code": "RESULT_UNCLEAR", "message": "m"}
    before = world.put(replace(uncertain(), state=State.HELD, error=error, request_id="req-9", settled_usd=0.2))
    done = {"model_status": "COMPLETED", "credits_deduction": 0.3}
    world.wire.will(history(row(world, **done)), history(row(world, **done, generation_url=LINK)))
    with pytest.raises(InvalidRequest, match="has not ended yet"):
        repair.adopt_request(ID, "req-9")
    assert world.job(ID) == before
    assert repair.adopt_request(ID, "req-9") == "COPYING"
    assert (world.job(ID).result_url, world.job(ID).cost_usd) == (LINK, 0.3)


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED])
def test_an_ended_job_adopts_its_own_request_if_it_completed_after_all(
    world: Any, repair: Repair, put: Any, state: State
) -> None:
    before = put(state, request_id="req-1", reserved_day="d", notified_at=1.0, submitted_at=world.clock.now - 60)
    world.wire.will(history(row(world, "req-1")))
    with pytest.raises(InvalidRequest, match="has not ended yet"):
        repair.adopt_request(ID, "req-1")
    assert world.job(ID) == before
    world.wire.will(history(row(world, "req-1", model_status="COMPLETED", generation_url=LINK, credits_deduction=0.3)))
    assert repair.adopt_request(ID, "req-1") == "COPYING"
    job = world.store.close(world.job(ID), State.COMPLETED)
    # Its first reservation was released, so it gets a new one.
    assert list(job.settled_days.values()) == [0.3]
    (day,) = job.settled_days
    assert (world.store.day(day).settled, world.store.day(day).committed) == (0.3, 0.3)


@pytest.mark.parametrize("state", [s for s in State if s not in (State.UNCERTAIN, State.HELD)])
def test_only_an_uncertain_or_held_job_adopts_a_request(world: Any, repair: Repair, put: Any, state: State) -> None:
    put(state)
    with pytest.raises(InvalidRequest, match="not UNCERTAIN or HELD"):
        repair.adopt_request(ID, "req-9")


def test_an_unknown_or_unfinished_request_or_one_with_another_owner_is_refused(
    world: Any, repair: Repair, uncertain: Any, put: Any
) -> None:
    with pytest.raises(InvalidRequest, match="not UNCERTAIN or HELD"):
        repair.adopt_request("up-nobody", "req-9")
    before = uncertain(transport="v1")
    world.wire.will(history(), history(row(world)))
    with pytest.raises(InvalidRequest, match="has no request req-9"):
        repair.adopt_request(ID, "req-9")
    with pytest.raises(InvalidRequest, match="has not ended yet"):
        repair.adopt_request(ID, "req-9")
    put(State.COMPLETED, job_id=OTHER, request_id="req-9")
    with pytest.raises(Conflict, match=OTHER):
        repair.adopt_request(ID, "req-9")
    assert world.job(ID) == before


def test_a_request_is_adopted_by_its_id_whatever_its_age(world: Any, repair: Repair, uncertain: Any) -> None:
    uncertain()
    old = row(world, names=None, created_at="2025-01-01T00:00:00Z", model_name="seedance-1.0-pro-fast", **DONE)
    world.wire.will_know("req-9", old)
    assert repair.adopt_request(ID, "req-9") == "COPYING"
    assert world.job(ID).result_url == LINK
    assert world.wire.requests == []


def test_a_request_of_another_model_is_not_adopted(world: Any, repair: Repair, uncertain: Any) -> None:
    before = uncertain()
    world.wire.will_know("req-9", row(world, names=None, model_name="seedance-pro", **DONE))
    with pytest.raises(InvalidRequest, match=r"has no request req-9 of seedance-1\.0-pro-fast"):
        repair.adopt_request(ID, "req-9")
    assert world.job(ID) == before


def test_the_requests_of_a_job_are_those_it_knows_and_those_that_name_it(world: Any, repair: Repair, put: Any) -> None:
    put(State.COMPLETED, request_id="req-2", earlier_request_ids=["req-1"], submitted_at=world.clock.now - 60)
    world.wire.will_know("req-2", row(world, "req-2", **DONE))
    listed = [
        row(world, "req-1", names=None),
        row(world, "req-2"),
        row(world, "req-3"),
        row(world, "req-4", names=OTHER),
    ]
    world.wire.will(history(*listed))
    answer = repair.answer({"ask": "requests of", "job_id": ID})
    assert {one["request_id"] for one in answer["rows"]} == {"req-1", "req-2", "req-3"}
    assert answer["incomplete"] is None
    assert world.wire.asked_by_id == ["req-1", "req-2"]


def test_the_requests_of_a_job_are_shown_even_if_the_list_cannot_be_read(world: Any, repair: Repair, put: Any) -> None:
    put(State.COMPLETED, request_id="req-2", earlier_request_ids=["req-1"], submitted_at=world.clock.now - 60)
    world.wire.will_know("req-2", row(world, "req-2", **DONE))
    world.wire.will_know("req-1", httpx.Response(500))
    world.wire.will(httpx.Response(500))
    answer = repair.requests_of(ID)
    assert [one["request_id"] for one in answer["rows"]] == ["req-2"]
    assert "500" in str(answer["incomplete"])
    assert repair.answer({"ask": "requests of", "job_id": OTHER}) == {"error": f"job {OTHER} does not exist"}


def test_the_history_for_people_names_jobs_and_hides_request_bodies(world: Any, repair: Repair) -> None:
    world.wire.will(history(row(world), row(world, "req-1", names=None)))
    rows = repair.history("seedance-pro", world.clock.now - 10, world.clock.now)["rows"]
    assert [(one["job_id"], one["request_id"]) for one in rows] == [(ID, "req-9"), (None, "req-1")]
    assert all("body" not in one for one in rows)
    world.wire.will(httpx.Response(500))
    with pytest.raises(ProviderError):
        repair.history("seedance-pro", 0, 1)


# requests that have no job ---------------------------------------------------------------------------------------


def test_requests_without_an_owner_are_listed_with_the_job_they_name(world: Any, repair: Repair, put: Any) -> None:
    put(State.UNCERTAIN)
    put(State.COMPLETED, job_id=OTHER, request_id="req-3")
    rows = [
        row(world, "req-1"),
        row(world, "req-2", names="up-00000000000000000000000000000000"),  # a job whose record is gone
        row(world, "req-3"),
        row(world, "req-4", names=None, model_status="FAILED"),
    ]
    world.wire.will(history(*rows))
    found = repair.answer({"ask": "unowned", "model": "seedance-pro", "since": world.clock.now - 100})["requests"]
    assert [(one["request_id"], one["job_id"]) for one in found] == [("req-1", ID), ("req-2", None)]


@pytest.mark.parametrize(("changes", "state"), [({}, "QUEUED"), (DONE, "COPYING")])
def test_a_request_without_a_job_becomes_one_once(
    world: Any, repair: Repair, changes: dict[str, Any], state: str
) -> None:
    world.wire.will(*[history(row(world, names=None, **changes))] * 2)
    question = {"ask": "take over", "model": "seedance-pro", "request_id": "req-9"}
    job_id = adopted_job_id("req-9")
    assert repair.answer(question) == {"job_id": job_id, "state": state}
    assert world.wire.asked_by_id == ["req-9"]
    assert world.job(job_id).source == "adopted"
    assert [call["name"] for call in world.called("StartExecution")] == [f"{job_id}-2"]
    assert repair.answer(question) == {"error": f"request req-9 belongs to job {job_id}"}


def test_a_request_that_names_a_job_or_is_unknown_is_not_taken_over(world: Any, repair: Repair, uncertain: Any) -> None:
    uncertain()
    world.wire.will_know("req-9", row(world))
    world.wire.will(history(), history())
    question = {"ask": "take over", "model": "seedance-pro", "request_id": "req-9"}
    assert f"`seedance resolve {ID} --adopt req-9`" in repair.answer(question)["error"]
    assert "has no request req-9" in repair.answer(question)["error"]
    assert "has no request req-8" in repair.answer({**question, "request_id": "req-8"})["error"]
    assert "'req 9' is not a valid request id" in repair.answer({**question, "request_id": "req 9"})["error"]
    assert world.called("StartExecution") == []


def test_requests_of_a_model_with_a_longer_name_are_not_this_models(world: Any, repair: Repair) -> None:
    rows = [row(world, "req-1", names=None, model_name="seedance-pro-next"), row(world, "req-2", names=None)]
    world.wire.will(history(*rows))
    assert [one["request_id"] for one in repair.unowned("seedance-pro", world.clock.now - 100)] == ["req-2"]


# after Step Functions has lost its executions ------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(State))
def test_jobs_at_the_provider_get_an_execution_at_once(world: Any, repair: Repair, put: Any, state: State) -> None:
    put(state, request_id="req-1")
    at_provider = state in (State.QUEUED, State.PROCESSING, State.COPYING)
    for _ in range(2):
        assert repair.answer({"ask": "go on"}) == {"under_way": int(at_provider)}
    assert len(world.called("StartExecution")) == int(at_provider)


def test_a_question_of_a_later_release_is_refused_with_a_clear_message(repair: Repair) -> None:
    assert repair.answer({"ask": "sing"}) == {"error": "this release does not support the request 'sing'"}
