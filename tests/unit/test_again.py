"""POST /videos/{job_id}/retry: what it refuses, the request that it writes, and how submit carries it out."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from past import LINK, history, row
from seedance.errors import Conflict, InvalidRequest, NotFound
from seedance.jobs.job import Hold, Job, State
from seedance.repair import Repair
from seedance.rest.answers import refusal
from seedance.rest.retries import Retries
from seedance.rest.views import describe
from seedance.submit import Submit
from seedance.upkeep import again as again_module
from seedance.upkeep.again import Again

Make = Callable[..., Job]
DONE = {"model_status": "COMPLETED", "generation_url": LINK, "credits_deduction": 0.3}
BROKEN = {"code": "PROVIDER_JOB_FAILED", "message": "m"}
LATE = {"code": "DEADLINE", "message": "m"}
PAY = '{"pay": true}'


@pytest.fixture
def retries(world: Any) -> Retries:
    return Retries(world.store, world.queue, 25.0, world.clock)


@pytest.fixture
def deliver(world: Any, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Delivers the last message of the queue to submit."""
    at = Again(world.store, world.provider, world.notifier, world.workflow, world.queue, 30.0, world.clock)
    monkeypatch.setattr(again_module, "again", lambda: at)
    return lambda: world.intake(submit).message(world.called("SendMessage")[-1]["MessageBody"])


def refused(retries: Retries, body: str | None = None) -> dict[str, Any]:
    """The problem with which the call is refused."""
    with pytest.raises(Exception) as caught:
        retries.ask("up-1", body)
    answer = refusal(caught.value)  # type: ignore[arg-type]
    assert answer is not None
    return {"status": answer["statusCode"], **json.loads(answer["body"])}


# what the record alone decides ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED])
@pytest.mark.parametrize("body", [None, "", "{}", '{"pay": false}', '{"pay": null, "max_usd": null}'])
def test_a_known_result_is_copied_at_no_cost(
    *, world: Any, retries: Retries, deliver: Any, make_job: Make, state: State, body: str | None
) -> None:
    world.put(make_job(state, result_url=LINK, error=LATE, notified_at=1.0))
    asked = retries.ask("up-1", body)
    assert (asked.state, asked.retry_waits) == (state, True)
    assert json.loads(world.called("SendMessage")[0]["MessageBody"]) == {"job_id": "up-1", "retry": True}
    deliver()
    job = world.job()
    assert (job.state, job.executions, job.error, job.notified_at) == (State.COPYING, 1, None, None)
    assert job.retry == {
        **{"asked_at": world.clock.now, "pay": False, "ended_at": world.clock.now},
        "said": "copying the video again; this costs nothing",
    }
    assert [call["name"] for call in world.called("StartExecution")] == ["up-1-2"]
    assert world.wire.requests == []


def test_only_a_purchase_helps(world: Any, retries: Retries, make_job: Make) -> None:
    job = world.put(make_job(State.FAILED, request_id="req-1", error=BROKEN))
    problem = refused(retries)
    assert (problem["status"], problem["code"], problem["estimate_usd"]) == (409, "NEEDS_PAYMENT", 0.25)
    assert problem["detail"].endswith("with pay, the video is bought again, for about $0.25")
    problem = refused(retries, '{"pay": true, "max_usd": 0.2499}')
    assert (problem["status"], problem["code"], problem["estimate_usd"]) == (409, "DEARER_THAN_ALLOWED", 0.25)
    assert world.job() == job
    assert world.postponed() == []


def test_a_video_that_fits_in_no_day_is_refused_at_once(world: Any, make_job: Make) -> None:
    world.put(make_job(State.FAILED, error=BROKEN))
    problem = refused(Retries(world.store, world.queue, 0.2, world.clock), PAY)
    assert (problem["status"], problem["code"]) == (409, "DEARER_THAN_BUDGET")


@pytest.mark.parametrize("state", [s for s in State if s not in (State.FAILED, State.EXPIRED)])
def test_no_other_state_can_be_retried(world: Any, retries: Retries, make_job: Make, state: State) -> None:
    job = world.put(make_job(state))
    problem = refused(retries, PAY)
    assert (problem["status"], problem["code"]) == (409, "NOT_POSSIBLE")
    assert f"job up-1 is {'being copied' if state is State.COPYING else state}" in problem["detail"]
    assert world.job() == job
    assert world.postponed() == []


@pytest.mark.parametrize("code", [Hold.LOST, Hold.BUDGET, Hold.PAUSED])
def test_a_held_job_is_retried_only_for_its_result(world: Any, retries: Retries, make_job: Make, code: Hold) -> None:
    world.put(make_job(State.HELD, error={"code": code.value, "message": "m"}, request_id="req-1"))
    assert refused(retries, PAY)["code"] == "NOT_POSSIBLE"
    world.put(make_job(State.HELD, error={"code": "RESULT_UNCLEAR", "message": "m"}, request_id="req-1"))
    assert retries.ask("up-1", None).retry_waits


@pytest.mark.parametrize("most", [0.0001, 0.1, 1000])
def test_any_allowed_limit_is_stored_as_it_is(world: Any, retries: Retries, make_job: Make, most: float) -> None:
    world.put(make_job(State.FAILED, result_url=LINK, error=LATE))
    assert retries.ask("up-1", f'{{"pay": true, "max_usd": {most}}}').max_usd == world.job().max_usd == most


def test_an_unknown_job_is_not_found(world: Any, retries: Retries) -> None:
    for job_id in ("up-9", "", "switch#submits"):
        with pytest.raises(NotFound):
            retries.ask(job_id, PAY)
    assert world.postponed() == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        *((f'{{"pay": {value}}}', "pay") for value in ('"yes"', "1", "[]", '"true"')),
        *(
            (f'{{"pay": true, "max_usd": {value}}}', "max_usd")
            for value in ('"1"', "true", "0", "-1", "1e-200", "0.00009", "1001", "1e400", "NaN", "[]")
        ),
        ('{"max_usd": 1}', "max_usd"),
        ('{"pay": false, "max_usd": 1}', "max_usd"),
        ('{"pay": true, "max": 1}', "max"),
        *((body, "body") for body in ("[]", "true", "{", '{"pay": true, "pay": false}')),
    ],
)
def test_a_bad_body_is_refused_by_its_field(
    world: Any, retries: Retries, make_job: Make, body: str, field: str
) -> None:
    job = world.put(make_job(State.FAILED, result_url=LINK, error=BROKEN))
    with pytest.raises(InvalidRequest) as caught:
        retries.ask("up-1", body)
    assert caught.value.field == field
    assert world.job() == job


# a result that can't be copied any more --------------------------------------------------------------------------

DAY = 24 * 3600.0
NO_VIDEO = {"code": "RESULT_NOT_A_VIDEO", "message": "m"}
GONE = {"code": "RESULT_GONE", "message": "m"}


def test_a_result_that_is_no_video_is_copied_once_more_and_then_bought(
    *, world: Any, retries: Retries, deliver: Any, make_job: Make
) -> None:
    seen = world.clock.now - DAY
    values = {"result_url": LINK, "result_at": seen, "request_id": "req-1", "error": NO_VIDEO}
    world.put(make_job(State.FAILED, **values))
    for body in (PAY, None):  # with pay too: nothing is bought before that
        world.put(make_job(State.FAILED, **values))
        retries.ask("up-1", body)
        deliver()
        job = world.job()
        assert (job.state, job.copied_again, job.result_at) == (State.COPYING, True, seen)
    world.store.close(job, State.FAILED, error=NO_VIDEO)
    problem = refused(retries)
    assert (problem["status"], problem["code"], problem["estimate_usd"]) == (409, "NEEDS_PAYMENT", 0.25)
    assert "has a result that was copied again and is not a complete video; with pay" in problem["detail"]
    assert refused(retries, '{"pay": true, "max_usd": 0.2}')["code"] == "DEARER_THAN_ALLOWED"
    retries.ask("up-1", '{"pay": true, "max_usd": 0.40}')
    deliver()
    job = world.job()
    assert (job.state, job.result_url, job.result_at, job.copied_again) == (State.RECEIVED, None, None, False)
    assert (job.retry or {})["said"] == "submitting again, which will be billed"


@pytest.mark.parametrize(
    "ended",
    [
        {"error": GONE},
        {"error": NO_VIDEO, "result_at": -7 * DAY - 1},
        {"error": LATE, "result_at": -7 * DAY - 1},
        {"error": NO_VIDEO, "submitted_at": -7 * DAY - 1},
        {"error": NO_VIDEO, "entered": {"COPYING": -7 * DAY - 1}},
    ],
)
@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED])
def test_a_result_that_the_provider_has_deleted_is_bought_again(
    *, world: Any, retries: Retries, deliver: Any, make_job: Make, ended: dict[str, Any], state: State
) -> None:
    ago = {name: value + world.clock.now for name, value in ended.items() if name in ("result_at", "submitted_at")}
    entered = {at: value + world.clock.now for at, value in ended.get("entered", {}).items()}
    facts = {"result_url": LINK, "request_id": "req-1", "error": ended["error"], "entered": entered, **ago}
    world.put(make_job(state, **facts))
    problem = refused(retries)
    assert (problem["code"], problem["estimate_usd"]) == ("NEEDS_PAYMENT", 0.25)
    assert "has a result that the provider no longer keeps; with pay" in problem["detail"]
    retries.ask("up-1", PAY)
    deliver()
    assert (world.job().state, world.job().earlier_request_ids) == (State.RECEIVED, ["req-1"])
    assert world.wire.requests == []  # the history would show the same result


@pytest.mark.parametrize(("days", "code"), [(7.9, None), (8.1, "NEEDS_PAYMENT")])
def test_the_history_is_asked_only_while_a_late_video_may_be_there(
    *, world: Any, retries: Retries, make_job: Make, days: float, code: str | None
) -> None:
    world.put(make_job(State.EXPIRED, request_id="req-1", submitted_at=world.clock.now - days * DAY, error=GONE))
    if code:
        assert refused(retries)["code"] == code
    else:
        assert retries.ask("up-1", None).retry_waits


def test_a_found_result_is_kept_from_when_it_was_made(
    *, world: Any, retries: Retries, deliver: Any, make_job: Make
) -> None:
    sent = world.clock.now - 5 * DAY
    world.put(make_job(State.EXPIRED, request_id="req-1", submitted_at=sent, error=LATE))
    retries.ask("up-1", None)
    world.wire.will_know("req-1", row(world, "req-1", names=None, **DONE))
    deliver()
    assert (world.job().state, world.job().result_at) == (State.COPYING, sent + DAY)


@pytest.mark.parametrize("code", ["RESULT_UNCLEAR", "GIVEN_UP"])
def test_a_result_that_was_never_copied_is_not_bought_again(
    *, world: Any, retries: Retries, repair: Repair, make_job: Make, code: str
) -> None:
    state = State.HELD if code == "RESULT_UNCLEAR" else State.FAILED
    error = {"code": code, "message": "m"}
    world.put(make_job(state, result_url=LINK, request_id="req-1", error=error, copied_again=state is State.FAILED))
    assert retries.ask("up-1", PAY).retry_waits
    assert "this costs nothing" in repair.retry("up-1", pay=True)
    assert world.job().copied_again is (state is State.FAILED)


def test_the_command_goes_the_same_way(world: Any, repair: Repair, make_job: Make) -> None:
    world.put(make_job(State.FAILED, result_url=LINK, request_id="req-1", error=NO_VIDEO))
    assert "this costs nothing" in repair.retry("up-1", pay=True)
    world.store.close(world.job(), State.FAILED, error=NO_VIDEO)
    answer = repair.answer({"ask": "retry", "job_id": "up-1", "pay": False})
    assert (answer["needs_usd"], "use --pay to buy the video again" in answer["error"]) == (0.25, True)
    assert world.job().state is State.FAILED
    assert "billed" in repair.retry("up-1", pay=True)


def test_another_link_is_another_result(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.HELD, result_url=LINK, result_at=1.0, copied_again=True, error=NO_VIDEO))
    job = world.store.move(job, State.COPYING, result_url="https://images.segmind.com/w.mp4")
    assert (job.result_at, job.copied_again) == (world.clock.now, False)
    same = world.store.note(job, result_url=job.result_url, copied_again=True)
    assert (same.result_at, same.copied_again) == (job.result_at, True)


# carried out by submit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [None, PAY])
def test_a_video_made_after_all_is_copied_and_not_bought(
    *, world: Any, retries: Retries, deliver: Any, make_job: Make, body: str | None
) -> None:
    world.put(make_job(State.EXPIRED, request_id="req-1", error=LATE))
    retries.ask("up-1", body)
    world.wire.will_know("req-1", row(world, "req-1", names=None, **DONE))
    deliver()
    job = world.job()
    assert (job.state, job.result_url, job.cost_usd, job.retry_waits) == (State.COPYING, LINK, 0.3, False)
    assert "this costs nothing" in (job.retry or {})["said"]
    assert world.wire.requests == []


def test_an_outcome_without_a_video_is_on_the_job(world: Any, retries: Retries, deliver: Any, make_job: Make) -> None:
    before = world.put(make_job(State.EXPIRED, request_id="req-1", error=LATE, notified_at=1.0))
    retries.ask("up-1", None)
    world.wire.will(history())
    deliver()
    job = world.job()
    assert (job.state, job.error, job.notified_at) == (State.EXPIRED, before.error, 1.0)
    shown = describe(job, None)["retry"]
    assert shown is not None
    assert (shown["pay"], shown["max_usd"], shown["estimate_usd"]) == (False, None, 0.25)
    assert "has no result to copy" in str(shown["said"])
    assert retries.ask("up-1", None).retry_waits  # it may be asked again, for the history may have changed


def test_while_the_history_cannot_be_read_nothing_is_bought(
    world: Any, retries: Retries, deliver: Any, make_job: Make
) -> None:
    world.put(make_job(State.EXPIRED, request_id="req-1", error=LATE))
    retries.ask("up-1", PAY)
    world.wire.will_know("req-1", httpx.Response(500))
    world.wire.will(httpx.Response(500))
    deliver()
    assert (world.job().state, world.job().retry_waits) == (State.EXPIRED, False)
    assert "can't check whether request req-1 has a video by now" in (world.job().retry or {})["said"]


def test_a_request_of_another_job_is_not_copied(world: Any, retries: Retries, deliver: Any, make_job: Make) -> None:
    world.put(make_job(State.COMPLETED, job_id="up-2", request_id="req-1"))
    world.put(make_job(State.EXPIRED, request_id="req-1", error=LATE))
    world.aws["dynamodb"].put_item(
        TableName="jobs-of-tests", Item={"job_id": {"S": "request#req-1"}, "owner": {"S": "up-2"}}
    )
    retries.ask("up-1", PAY)
    deliver()
    assert (world.job().state, (world.job().retry or {})["said"]) == (
        State.EXPIRED,
        "request req-1 belongs to job up-2",
    )


def test_it_is_bought_again_within_the_limit(
    *, world: Any, retries: Retries, deliver: Any, submit: Submit, make_job: Make
) -> None:
    world.put(make_job(State.FAILED, request_id="req-1", error=BROKEN, attempts=1, notified_at=1.0))
    retries.ask("up-1", '{"pay": true, "max_usd": 0.25}')
    deliver()
    job = world.job()
    assert (job.state, job.request_id, job.earlier_request_ids) == (State.RECEIVED, None, ["req-1"])
    assert (job.retry or {})["said"] == "submitting again, which will be billed"
    assert world.wire.requests == []  # that is for the next message
    world.wire.will(httpx.Response(200, json={"request_id": "req-2"}))
    deliver()
    assert (world.job().state, world.job().request_id, world.job().reserved_usd) == (State.QUEUED, "req-2", 0.25)


def test_a_price_that_has_risen_since_is_not_paid(
    world: Any, retries: Retries, deliver: Any, submit: Submit, make_job: Make
) -> None:
    job = world.put(make_job(State.FAILED, request_id="req-1", error=BROKEN))
    retries.ask("up-1", '{"pay": true, "max_usd": 0.3}')
    deliver()
    for _ in range(3):
        world.store.bills.learn(job.model, job.parameters, 0.31)
    world.clock.now += 61  # estimates are read once a minute
    deliver()
    job = world.job()
    assert (job.state, job.code) == (State.FAILED, "DEARER_THAN_ALLOWED")
    assert "would cost about $0.31, and at most $0.30 was allowed" in (job.error or {})["message"]
    assert world.wire.requests == []
    assert [message["status"] for message in world.notified()] == ["FAILED"]


def test_a_person_who_retries_by_command_is_not_bound_by_an_earlier_limit(
    world: Any, retries: Retries, repair: Repair, make_job: Make
) -> None:
    world.put(make_job(State.FAILED, error=BROKEN))
    retries.ask("up-1", '{"pay": true, "max_usd": 0.25}')
    assert "billed" in repair.retry("up-1", pay=True)
    assert (world.job().retry, world.job().max_usd) == (None, None)


# repeated, and at the same time --------------------------------------------------------------------------------------


def test_a_repeated_call_waits_for_the_same_outcome_and_replaces_a_lost_message(
    world: Any, retries: Retries, make_job: Make
) -> None:
    world.put(make_job(State.FAILED, error=BROKEN))
    first = retries.ask("up-1", PAY)
    world.clock.now += 5
    assert retries.ask("up-1", PAY) == first
    assert len(world.called("SendMessage")) == 2
    with pytest.raises(Conflict, match="another retry of job up-1 is pending"):
        retries.ask("up-1", '{"pay": true, "max_usd": 0.5}')
    assert world.job() == first


def test_a_call_that_is_repeated_while_the_job_is_in_progress_buys_nothing_more(
    world: Any, retries: Retries, deliver: Any, make_job: Make
) -> None:
    world.put(make_job(State.FAILED, error=BROKEN))
    retries.ask("up-1", PAY)
    deliver()
    sent = len(world.called("SendMessage"))
    assert retries.ask("up-1", PAY).state is State.RECEIVED
    assert len(world.called("SendMessage")) == sent
    assert refused(retries)["code"] == "NOT_POSSIBLE"  # another retry than that one


def test_a_message_delivered_twice_carries_out_a_retry_once(
    world: Any, retries: Retries, deliver: Any, submit: Submit, make_job: Make
) -> None:
    world.put(make_job(State.FAILED, request_id="req-1", error=BROKEN))
    retries.ask("up-1", PAY)
    wish = world.called("SendMessage")[-1]["MessageBody"]
    deliver()
    world.wire.will(httpx.Response(200, json={"request_id": "req-2"}))
    # Its own message to submit may have been lost: the repeated one submits the job in its place.
    world.intake(submit).message(wish)
    assert world.job().request_id == "req-2"
    deliver()
    assert len([url for url in world.wire.asked if url.startswith("POST")]) == 1


def test_a_job_that_went_on_before_the_message_came_is_left_alone(
    world: Any, retries: Retries, deliver: Any, repair: Repair, make_job: Make
) -> None:
    world.put(make_job(State.FAILED, result_url=LINK, error=BROKEN))
    retries.ask("up-1", PAY)
    wish = world.called("SendMessage")[-1]["MessageBody"]
    repair.retry("up-1", pay=False)
    before = world.job()
    assert before.state is State.COPYING
    deliver()
    assert world.job() == before
    assert json.loads(wish)["retry"] is True


def test_an_outcome_does_not_overwrite_a_later_retry(world: Any, make_job: Make, retries: Retries) -> None:
    world.put(make_job(State.EXPIRED, request_id="req-1", error=LATE))
    first = retries.ask("up-1", None)
    world.clock.now += 1
    world.store.note(first, retry={"asked_at": world.clock.now, "pay": True})
    with pytest.raises(Conflict):
        world.store.note(first, unchanged="retry", retry={**(first.retry or {}), "ended_at": world.clock.now})
    assert world.job().retry == {"asked_at": world.clock.now, "pay": True}


def test_two_calls_at_once_leave_one_retry(world: Any, make_job: Make) -> None:
    job = world.put(make_job(State.EXPIRED, request_id="req-1", error=LATE))
    world.store.note(job, unchanged="retry", retry={"asked_at": 1.0, "pay": True})
    with pytest.raises(Conflict):
        world.store.note(job, unchanged="retry", retry={"asked_at": 2.0, "pay": False})


@pytest.mark.parametrize(
    "edited",
    [
        {"pay": True},
        {"asked_at": "now", "pay": True},
        {"asked_at": 1.0, "pay": "yes"},
        {"asked_at": 1.0, "pay": 1},
        {"asked_at": 1.0, "pay": True, "max_usd": "0.4"},
        {"asked_at": 1.0, "pay": True, "max_usd": -1},
        {"asked_at": 1.0, "pay": True, "ended_at": None},
        [],
        "pay",
    ],
)
def test_a_retry_that_was_edited_buys_nothing(
    world: Any, deliver: Any, submit: Submit, make_job: Make, edited: Any
) -> None:
    world.put(make_job(State.FAILED, error=BROKEN, notified_at=1.0, retry=edited))
    world.intake(submit).message('{"job_id": "up-1", "retry": true}')
    assert (world.job().state, world.job().retry) == (State.FAILED, None)
    assert (world.wire.requests, world.postponed()) == ([], [])
