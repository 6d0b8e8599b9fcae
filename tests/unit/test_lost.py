"""Lost submits: found in the history and adopted, sent once more, or left to a person."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from past import ID, IMAGE, LINK, OTHER, history, iso, row
from seedance.jobs import catalogue
from seedance.jobs.job import Job, State
from seedance.reconcile import LOST_SECONDS, Reconcile

Make = Callable[..., Job]


# adoption -----------------------------------------------------------------------------------------------------


def test_a_running_request_is_adopted_and_followed(world: Any, reconcile: Reconcile, uncertain: Any) -> None:
    uncertain()
    world.wire.will(history(row(world)))
    assert reconcile() == {"resolved": 1}
    job = world.job(ID)
    assert (job.state, job.request_id, job.error, job.executions) == (State.QUEUED, "req-9", None, 1)
    assert [call["name"] for call in world.called("StartExecution")] == [f"{ID}-2"]


@pytest.mark.parametrize("transport", ["v1", "v2"])
def test_a_completed_request_is_adopted_and_copied(
    *, world: Any, reconcile: Reconcile, uncertain: Any, transport: str
) -> None:
    uncertain(transport=transport)
    world.wire.will(history(row(world, model_status="COMPLETED", generation_url=LINK, credits_deduction=0.3)))
    assert reconcile() == {"resolved": 1}
    job = world.job(ID)
    assert (job.state, job.result_url, job.cost_usd, job.request_id) == (State.COPYING, LINK, 0.3, "req-9")


def test_a_running_v1_request_is_waited_for(world: Any, reconcile: Reconcile, uncertain: Any) -> None:
    before = uncertain(transport="v1")
    world.wire.will(history(row(world)))
    assert reconcile() == {}
    assert world.job(ID) == before


def test_a_failed_request_ends_the_job(world: Any, reconcile: Reconcile, uncertain: Any) -> None:
    uncertain(reserved_usd=0.2, reserved_day="d")
    world.wire.will(history(row(world, model_status="FAILED", error="out of steam")))
    assert reconcile() == {"resolved": 1}
    assert world.job(ID).state is State.FAILED
    assert "out of steam" in world.job(ID).error["message"]
    assert [message["status"] for message in world.notified()] == ["FAILED"]
    assert world.store.day("d").released == 0.2


def test_a_job_without_a_link_is_recognised_by_seed_and_prompt(
    world: Any, reconcile: Reconcile, uncertain: Any
) -> None:
    job = uncertain(image=None)
    body = catalogue.payload(catalogue.find(job.model), job.parameters, job_id=ID, image_link=None)
    world.wire.will(history(row(world, names=None, request_body={**body, "fps": 24})))
    assert reconcile() == {"resolved": 1}
    assert world.job(ID).request_id == "req-9"


def foreign(world: Any) -> dict[str, dict[str, Any]]:
    """Rows that are not the job's, although much of them matches."""
    job = world.job(ID)
    body = catalogue.payload(catalogue.find(job.model), job.parameters, job_id=ID, image_link=None)
    link = row(world, names=OTHER)["request_body"]
    return {
        "another seed": row(world, names=None, request_body={**body, "seed": body["seed"] + 1}),
        "another prompt": row(world, names=None, request_body={**body, "prompt": "a boot turns"}),
        "no seed": row(world, names=None, request_body={k: v for k, v in body.items() if k != "seed"}),
        "no body": row(world, names=None, request_body=None),
        "a body that is no JSON": row(world, names=None, request_body="{"),
        "another job's link": row(world, names=None, request_body={**body, **link}),
        "too early": row(world, names=None, request_body=body, created_at=iso(world.clock.now - 60 - 86_401)),
        "owned": row(world, "req-owned"),
        "without an id": row(world, None),
    }


@pytest.mark.parametrize(
    "kind",
    [
        *("another seed", "another prompt", "no seed", "no body", "a body that is no JSON", "another job's link"),
        *("too early", "owned", "without an id"),
    ],
)
def test_another_jobs_request_is_not_adopted(
    *, world: Any, reconcile: Reconcile, uncertain: Any, put: Any, kind: str
) -> None:
    put(State.COMPLETED, job_id=OTHER, request_id="req-owned", notified_at=1.0)
    before = uncertain()
    world.wire.will(history(foreign(world)[kind]))
    assert reconcile() == {}
    assert world.job(ID) == before


@pytest.mark.hostile(kind="clock")
@pytest.mark.parametrize("hours", [-30, -1, 0, 1, 30, None])
def test_a_request_with_the_jobs_link_is_adopted_whatever_the_clocks_say(
    *, world: Any, reconcile: Reconcile, uncertain: Any, hours: float | None
) -> None:
    for created_at in (None if hours is None else iso(world.clock.now + hours * 3600),):
        uncertain()
        world.wire.will(history(row(world, created_at=created_at)))
        assert reconcile() == {"resolved": 1}


def test_several_matching_requests_are_left_to_a_person(world: Any, reconcile: Reconcile, uncertain: Any) -> None:
    uncertain()
    world.wire.will(history(row(world, "req-8"), row(world, "req-9")))
    assert reconcile() == {"resolved": 1}
    job = world.job(ID)
    assert (job.state, job.error["code"], job.request_id) == (State.HELD, "SUBMIT_LOST", None)
    assert "req-8, req-9" in job.error["message"]
    assert f"seedance resolve {ID}" in job.error["message"]
    assert [message["status"] for message in world.notified()] == ["HELD"]
    assert world.counted() == {"JobsHeld": 1}


@pytest.mark.parametrize(
    ("idle", "allowed", "resubmitted", "state"),
    [
        (LOST_SECONDS - 1, True, False, State.UNCERTAIN),
        (LOST_SECONDS + 1, False, False, State.HELD),
        (LOST_SECONDS + 1, True, False, State.RECEIVED),
        (LOST_SECONDS + 1, True, True, State.HELD),  # once
    ],
)
def test_a_submit_missing_from_the_history_is_held_or_resubmitted_once(
    *, world: Any, reconcile: Reconcile, uncertain: Any, idle: float, allowed: bool, resubmitted: bool, state: State
) -> None:
    uncertain(idle, resubmitted=resubmitted)
    world.wire.will(history())
    replace(reconcile, resubmit_lost=allowed)()
    job = world.job(ID)
    assert job.state is state
    assert job.resubmitted is (resubmitted or state is State.RECEIVED)
    assert world.postponed() == ([(ID, 0)] if state is State.RECEIVED else [])
    assert len(world.notified()) == int(state is State.HELD)


# what may be bought again -----------------------------------------------------------------------------------

TEXT = {"prompt": "a shoe turns", "seed": 7}


@pytest.fixture
def said(world: Any, reconcile: Reconcile, uncertain: Any) -> Callable[..., Job]:
    """Run reconcile on a lost job that is old enough to be submitted again."""

    def play(*rows: dict[str, Any], job: dict[str, Any] | None = None) -> Job:
        uncertain(LOST_SECONDS + 1, **(job or {}))
        world.wire.will(history(*rows))
        replace(reconcile, resubmit_lost=True)()
        return world.job(ID)

    return play


@pytest.mark.parametrize("kind", ["another seed", "another job's link", "owned"])
def test_a_submit_certainly_missing_from_the_history_is_resubmitted(
    *, world: Any, uncertain: Any, put: Any, said: Any, kind: str
) -> None:
    put(State.COMPLETED, job_id=OTHER, request_id="req-owned", notified_at=1.0, cost_usd=1.0)
    uncertain()
    assert said(foreign(world)[kind]).state is State.RECEIVED


@pytest.mark.parametrize(
    "kind", ["no body", "a body that is no JSON", "no seed", "another prompt", "without an id", "an id that is none"]
)
def test_a_possible_match_is_left_to_a_person(*, world: Any, uncertain: Any, said: Any, kind: str) -> None:
    uncertain()
    shown = {**foreign(world), "an id that is none": row(world, "req 9/..")}[kind]
    job = said(shown, row(world, "req-8", names=OTHER))
    assert (job.state, job.error["code"], world.postponed()) == (State.HELD, "SUBMIT_LOST", [])
    assert (shown["request_id"] or "without an id") in job.error["message"]


def test_a_request_that_matches_two_jobs_is_left_to_a_person(
    world: Any, reconcile: Reconcile, put: Any, said: Any
) -> None:
    put(State.SUBMITTING, 5, job_id=OTHER, parameters=TEXT, image=None, request_id=None)
    body = catalogue.payload(catalogue.find(world.job(OTHER).model), TEXT, job_id=ID, image_link=None)
    job = said(row(world, names=None, request_body=body), job={"parameters": TEXT, "image": None})
    assert (job.state, job.request_id) == (State.HELD, None)
    assert "req-9" in job.error["message"]


@pytest.mark.parametrize(
    "other",
    [
        {"parameters": {**TEXT, "seed": 8}},
        {"model": "seedance-pro"},
        {"state": State.HELD, "error": {"code": "OVER_BUDGET", "message": "m"}, "notified_at": 1.0},
        {"image": IMAGE, "parameters": {**TEXT, "seed": 8}},
    ],
    ids=["seed", "model", "held for the budget", "image"],
)
def test_a_job_that_does_not_match_the_request_does_not_prevent_adoption(
    *, world: Any, make_job: Make, said: Any, other: dict[str, Any]
) -> None:
    world.switch.pause("m")
    values = {"state": State.SUBMITTING, "entered": {"SUBMITTING": world.clock.now}, "request_id": None, "image": None}
    made = {**values, "parameters": TEXT, **other}
    world.put(make_job(made.pop("state"), job_id=OTHER, updated_at=world.clock.now, **made))
    body = catalogue.payload(catalogue.find("seedance-1.0-pro-fast"), TEXT, job_id=ID, image_link=None)
    job = said(row(world, names=None, request_body=body), job={"parameters": TEXT, "image": None})
    assert (job.state, job.request_id) == (State.QUEUED, "req-9")


def test_a_history_that_was_not_read_to_the_end_leads_to_no_resubmit(
    world: Any, reconcile: Reconcile, uncertain: Any
) -> None:
    before = uncertain(LOST_SECONDS + 1)
    full = [row(world, f"req-{number}", names=OTHER) for number in range(100)]
    for last in (httpx.Response(500), httpx.ReadTimeout(""), httpx.Response(200, json={"data": full})):
        world.wire.will(history(*full), last)
        assert replace(reconcile, resubmit_lost=True)() == {}
        assert world.job(ID) == before
    assert world.counted() == {"ReconcileFailures": 3}


def test_a_v1_request_without_a_link_is_left_to_a_person(world: Any, reconcile: Reconcile, uncertain: Any) -> None:
    uncertain(2 * 3600, transport="v1")
    world.wire.will(history(row(world, model_status="COMPLETED")))
    assert replace(reconcile, resubmit_lost=True)() == {"resolved": 1}
    job = world.job(ID)
    assert (job.state, job.error["code"]) == (State.HELD, "SUBMIT_LOST")
    assert "req-9 belongs to this job" in job.error["message"]


def test_several_rows_of_one_request_count_as_one(world: Any, reconcile: Reconcile, uncertain: Any) -> None:
    uncertain()
    done = {"model_status": "COMPLETED", "credits_deduction": 0.3}
    frame = LINK.replace("mp4", "png")
    world.wire.will(history(row(world, generation_url=frame, **done), row(world, generation_url=LINK, **done)))
    assert reconcile() == {"resolved": 1}
    assert (world.job(ID).state, world.job(ID).result_url) == (State.COPYING, LINK)


# a request id that is known --------------------------------------------------------------------------------


def test_a_known_request_id_alone_decides_the_match(world: Any, reconcile: Reconcile, uncertain: Any) -> None:
    # A v1 call whose transfer broke. Another request names the job too; by the provider's clock its own is older.
    uncertain(transport="v1", request_id="req-1", cost_usd=0.3)
    own = row(world, "req-1", names=None, model_status="COMPLETED", generation_url=LINK, credits_deduction=0.3)
    world.wire.will(history({**own, "created_at": iso(world.clock.now - 500)}, row(world, "req-9")))
    assert reconcile() == {"resolved": 1}
    job = world.job(ID)
    assert (job.state, job.request_id, job.earlier_request_ids) == (State.COPYING, "req-1", [])


def test_a_known_request_is_found_by_its_id_without_reading_the_list(
    world: Any, reconcile: Reconcile, uncertain: Any
) -> None:
    uncertain(transport="v1", request_id="req-1", cost_usd=0.3)
    done = {"model_status": "COMPLETED", "generation_url": LINK, "credits_deduction": 0.3}
    world.wire.will_know("req-1", row(world, "req-1", names=None, **done))
    assert reconcile() == {"resolved": 1}
    assert (world.job(ID).state, world.job(ID).result_url) == (State.COPYING, LINK)
    assert world.wire.requests == []


def test_only_the_known_request_is_adopted(world: Any, reconcile: Reconcile, uncertain: Any) -> None:
    before = uncertain(request_id="req-1")
    world.wire.will(history(row(world, "req-9")))
    assert reconcile() == {}
    assert world.job(ID) == before


@pytest.mark.parametrize("known", [{"request_id": "req-1"}, {"cost_usd": 0.3}])
def test_an_accepted_request_is_never_resubmitted_automatically(
    *, world: Any, reconcile: Reconcile, uncertain: Any, known: dict[str, Any]
) -> None:
    uncertain(LOST_SECONDS + 1, transport="v1", **known)
    world.wire.will(history())
    replace(reconcile, resubmit_lost=True)()
    job = world.job(ID)
    assert (job.state, job.error["code"]) == (State.HELD, "SUBMIT_LOST")
    assert ("accepted request req-1" in job.error["message"]) is ("request_id" in known)


def test_an_abandoned_request_is_not_adopted_again_automatically(
    world: Any, reconcile: Reconcile, uncertain: Any
) -> None:
    before = uncertain(earlier_request_ids=["req-1"])
    world.wire.will(history(row(world, "req-1"), row(world, "req-2", names=OTHER)))
    assert reconcile() == {}
    assert world.job(ID) == before
    world.wire.will(history(row(world, "req-1"), row(world, "req-2")))
    assert reconcile() == {"resolved": 1}
    assert (world.job(ID).request_id, world.job(ID).earlier_request_ids) == ("req-2", ["req-1"])
