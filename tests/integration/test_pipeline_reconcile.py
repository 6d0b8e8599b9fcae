"""Jobs stuck between two steps, on real sockets: a round of reconcile finds each, and nothing is bought twice."""

from collections.abc import Callable

import pytest
from pipeline import Change, Pipeline, app
from seedance.jobs.handoff import IntakeQueue, Workflow
from seedance.jobs.job import Hold, State
from seedance.jobs.store import JobStore, jobs
from seedance.notices.notifier import Notifier
from seedance.provider.client import Provider

from cli import asking, balance, story
from cli.target import Target
from local.sandbox.inprocess import KEY

Crash = Callable[..., None]
FAST = {"resolution": "480p"}
LOST = 1000
"""Seconds after which a submit that is not in the history counts as never arrived."""


def finish(pipeline: Pipeline, job_id: str) -> None:
    """Deliver waiting messages and run the latest execution."""
    pipeline.run(job_id)


@pytest.mark.parametrize("fault", ["reset-after-accept", "504-after-accept", "malformed-json", "no-request-id"])
def test_a_lost_submit_that_arrived_is_adopted(pipeline: Pipeline, fault: str) -> None:
    pipeline.sandbox.fault("submit", fault)
    job_id = pipeline.upload(**FAST)
    assert pipeline.run(job_id).state is State.UNCERTAIN
    assert pipeline.reconcile() == {"resolved": 1}
    assert pipeline.job(job_id).state is State.QUEUED
    assert pipeline.reconcile() == {}
    finish(pipeline, job_id)
    pipeline.check(job_id, State.COMPLETED)


def test_a_lost_submit_that_is_completed_by_now_is_copied_at_once(pipeline: Pipeline) -> None:
    pipeline.sandbox.fault("submit", "reset-after-accept")
    job_id = pipeline.order(prompt="a shoe", parameters={"seed": 7})
    pipeline.run(job_id)
    pipeline.pass_time(4000)
    assert pipeline.reconcile() == {"resolved": 1}
    assert pipeline.job(job_id).state is State.COPYING
    finish(pipeline, job_id)
    pipeline.check(job_id, State.COMPLETED)


@pytest.mark.parametrize("fault", ["reset-before-accept", "http-504"])
@pytest.mark.parametrize("again", ["no", "yes"])
def test_a_lost_submit_that_never_arrived_is_held_or_resubmitted_once(
    pipeline: Pipeline, set_up: Change, fault: str, again: str
) -> None:
    set_up(resubmit_lost=again)
    pipeline.sandbox.fault("submit", fault)
    job_id = pipeline.upload(**FAST)
    pipeline.run(job_id)
    assert pipeline.reconcile() == {}  # the history may lag behind
    assert pipeline.job(job_id).state is State.UNCERTAIN
    pipeline.pass_time(LOST)
    assert pipeline.reconcile() == {"resolved": 1}
    if again == "no":
        assert (pipeline.job(job_id).error or {})["code"] == Hold.LOST
        pipeline.check(job_id, State.HELD, accepted=0, says="it probably never arrived")
    else:
        finish(pipeline, job_id)
        pipeline.check(job_id, State.COMPLETED)


def test_a_submit_that_is_lost_twice_is_left_to_a_person(pipeline: Pipeline, set_up: Change) -> None:
    set_up(resubmit_lost="yes")
    pipeline.sandbox.fault("submit", "http-504", times=2)
    job_id = pipeline.upload(**FAST)
    for _ in range(2):
        pipeline.run(job_id)
        pipeline.pass_time(LOST)
        assert pipeline.reconcile() == {"resolved": 1}
    pipeline.check(job_id, State.HELD, accepted=0)
    pipeline.pass_time(LOST)
    assert pipeline.reconcile() == {}


def test_a_failing_history_is_queried_again_in_the_next_round(pipeline: Pipeline) -> None:
    pipeline.sandbox.fault("submit", "reset-after-accept")
    job_id = pipeline.upload(**FAST)
    pipeline.run(job_id)
    pipeline.pass_time(LOST)
    pipeline.sandbox.fault("history", "http-500")
    assert pipeline.reconcile() == {}
    assert pipeline.job(job_id).state is State.UNCERTAIN
    assert pipeline.reconcile() == {"resolved": 1}
    finish(pipeline, job_id)
    pipeline.check(job_id, State.COMPLETED)


def test_two_lost_submits_with_the_same_seed_and_prompt_keep_their_own_videos(pipeline: Pipeline) -> None:
    # One never arrived; the other did, and differs only in its image.
    pipeline.sandbox.fault("submit", "reset-before-accept")
    lost = pipeline.upload("uploads/1.png", seed="7", prompt="a shoe", **FAST)
    pipeline.run(lost)
    pipeline.sandbox.fault("submit", "reset-after-accept")
    arrived = pipeline.upload("uploads/2.png", seed="7", prompt="a shoe", **FAST)
    pipeline.run(arrived)
    assert pipeline.reconcile() == {"resolved": 1}
    assert (pipeline.job(lost).state, pipeline.job(arrived).state) == (State.UNCERTAIN, State.QUEUED)


def test_a_broken_v1_call_is_adopted_when_the_history_shows_its_end(pipeline: Pipeline) -> None:
    pipeline.sandbox.configure(time_scale=0.001)
    pipeline.sandbox.fault("v1", "reset-after-accept")
    job_id = pipeline.upload(model="seedance-pro", transport="v1", **FAST)
    pipeline.run(job_id)
    assert pipeline.job(job_id).state is State.UNCERTAIN
    (accepted,) = pipeline.sandbox.state.jobs
    pipeline.sandbox.finished(accepted)
    assert pipeline.reconcile() == {"resolved": 1}
    assert pipeline.job(job_id).state is State.COPYING
    pipeline.drive(job_id)
    assert pipeline.job(job_id).state is State.COMPLETED
    assert pipeline.sandbox.summary()["accepted"] == 1


def test_a_job_whose_workflow_was_never_started_gets_one(pipeline: Pipeline, crash: Crash) -> None:
    crash(Workflow, "start", after=False)
    job_id = pipeline.upload(**FAST)
    assert pipeline.deliver() == 1
    pipeline.client("sqs").purge_queue(QueueUrl=pipeline.queue)  # the message is lost too
    assert pipeline.reconcile() == {}
    pipeline.pass_time(700)
    assert pipeline.reconcile() == {"restarted": 1}
    assert pipeline.reconcile() == {}
    finish(pipeline, job_id)
    pipeline.check(job_id, State.COMPLETED)


def test_a_submit_that_died_with_its_message_is_uncertain_and_found(pipeline: Pipeline, crash: Crash) -> None:
    crash(Provider, "submit", after=True)
    job_id = pipeline.upload(**FAST)
    assert pipeline.deliver() == 1
    pipeline.client("sqs").purge_queue(QueueUrl=pipeline.queue)
    assert pipeline.reconcile() == {}
    pipeline.pass_time(80)
    assert pipeline.reconcile() == {"uncertain": 1, "resolved": 1}
    finish(pipeline, job_id)
    pipeline.check(job_id, State.COMPLETED)


def test_a_copy_that_failed_is_made_when_it_is_possible_again(pipeline: Pipeline) -> None:
    pipeline.sandbox.fault("media", "media-404", times=0)
    job_id = pipeline.upload(**FAST)
    pipeline.run(job_id)
    pipeline.check(job_id, State.COPYING)
    pipeline.pass_time(700)
    assert pipeline.reconcile() == {"restarted": 1}
    pipeline.drive(job_id)
    pipeline.pass_time(700)
    assert pipeline.reconcile() == {}  # an hour between two attempts
    pipeline.sandbox.control.delete("/_sandbox/faults").raise_for_status()
    pipeline.pass_time(3600)
    assert pipeline.reconcile() == {"restarted": 1}
    pipeline.drive(job_id)
    pipeline.check(job_id, State.COMPLETED)


def test_a_copy_that_keeps_failing_fails_the_job_after_seven_days(pipeline: Pipeline) -> None:
    pipeline.sandbox.fault("media", "media-404", times=0)
    job_id = pipeline.upload(**FAST)
    pipeline.run(job_id)
    pipeline.pass_time(7 * 24 * 3600 + 60)
    assert pipeline.reconcile() == {"restarted": 1}
    pipeline.check(job_id, State.FAILED, says="could not be copied before the provider deleted it")
    assert jobs().day(_day(pipeline)).settled == pipeline.sandbox.summary()["billed_usd"]


def _day(pipeline: Pipeline) -> str:
    items = pipeline.client("dynamodb").scan(TableName="jobs")["Items"]
    (day,) = (item["job_id"]["S"] for item in items if item["job_id"]["S"].startswith("day#"))
    return str(day).removeprefix("day#")


def test_a_lost_message_is_sent_again(pipeline: Pipeline, crash: Crash) -> None:
    crash(IntakeQueue, "send", after=False)
    with pytest.raises(RuntimeError, match="killed"):
        pipeline.call("POST", "/videos", {"prompt": "a shoe", "parameters": {"resolution": "480p"}})
    (listed,) = jobs().newest(State.RECEIVED)
    assert pipeline.reconcile() == {}
    pipeline.pass_time(1900)
    assert pipeline.reconcile() == {"enqueued": 1}
    assert pipeline.reconcile() == {}
    finish(pipeline, listed.job_id)
    pipeline.check(listed.job_id, State.COMPLETED)


def test_an_end_without_a_notification_is_notified(pipeline: Pipeline, crash: Crash) -> None:
    crash(Notifier, "notify", after=False)
    pipeline.sandbox.fault("submit", "http-400")
    job_id = pipeline.upload(**FAST)
    assert pipeline.deliver() == 1
    pipeline.client("sqs").purge_queue(QueueUrl=pipeline.queue)
    assert pipeline.notifications() == []
    pipeline.pass_time(700)
    assert pipeline.reconcile() == {"notified": 1}
    assert pipeline.reconcile() == {}
    pipeline.check(job_id, State.FAILED, accepted=0)


# the day's budget -----------------------------------------------------------------------------------------


def test_above_the_budget_jobs_are_held_until_the_next_day(pipeline: Pipeline, set_up: Change) -> None:
    first = pipeline.upload("uploads/1.png", prompt="1", **FAST)
    reserved = pipeline.run(first) and jobs().day(_day(pipeline)).reserved
    set_up(daily_budget_usd=str(pipeline.sandbox.summary()["billed_usd"] + reserved / 2))
    second = pipeline.upload("uploads/2.png", prompt="2", **FAST)
    assert pipeline.run(second).state is State.HELD
    assert [told["status"] for told in pipeline.notifications()] == ["COMPLETED", "HELD"]
    assert pipeline.reconcile() == {}
    pipeline.pass_time(24 * 3600)
    assert pipeline.reconcile() == {"released": 1}
    set_up(daily_budget_usd="0")
    finish(pipeline, second)
    assert pipeline.job(second).state is State.COMPLETED
    assert [told["status"] for told in pipeline.notifications()] == ["COMPLETED", "HELD", "COMPLETED"]


@pytest.mark.parametrize("transport", ["v2", "v1"])
def test_a_video_above_a_whole_days_budget_is_refused_with_advice(
    pipeline: Pipeline, set_up: Change, transport: str
) -> None:
    set_up(daily_budget_usd="0.30")
    job_id = pipeline.upload(model="seedance-pro", transport=transport)
    pipeline.run(job_id)
    job = pipeline.check(job_id, State.REJECTED, accepted=0, says="about $0.35, but the budget of a whole day is $0.30")
    says = ("shorter", "lower resolution", "cheaper model", "DailyBudgetUsd")
    assert [words for words in says if words not in (job.error or {})["message"]] == []
    pipeline.pass_time(24 * 3600)
    assert pipeline.reconcile() == {}  # and the notification is not repeated each day
    assert len(pipeline.notifications()) == 1


def test_a_price_that_the_provider_gives_later_replaces_the_estimate(pipeline: Pipeline) -> None:
    job_id = pipeline.upload(**FAST)
    pipeline.deliver()
    pipeline.pass_time(60)
    app("poll").handler({"job_id": job_id}, None)
    jobs().note(pipeline.job(job_id), cost_usd=None)  # as if its metrics had contained no cost
    pipeline.run(job_id)
    estimated = pipeline.job(job_id)
    assert (estimated.state, estimated.cost_usd) == (State.COMPLETED, None)
    pipeline.pass_time(700)
    assert pipeline.reconcile() == {"priced": 1}
    billed = pipeline.sandbox.summary()["billed_usd"]
    assert pipeline.job(job_id).cost_usd == pipeline.job(job_id).settled_usd == billed
    assert jobs().day(_day(pipeline)).settled == jobs().day(_day(pipeline)).committed == billed
    assert pipeline.reconcile() == {}


def test_a_reservation_is_settled_with_the_billed_cost(pipeline: Pipeline) -> None:
    job_id = pipeline.upload(**FAST)
    pipeline.run(job_id)
    day = jobs().day(_day(pipeline))
    assert day.settled == day.committed == pipeline.sandbox.summary()["billed_usd"]
    assert day.reserved > 0
    assert day.released == 0
    assert pipeline.job(job_id).reserved_usd is None


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_the_reservation_books_both_or_neither(pipeline: Pipeline, crash: Crash, *, after: bool) -> None:
    crash(JobStore, "move", lambda _job, target, **_: target is State.SUBMITTING, after=after)
    job_id = pipeline.upload(**FAST)
    assert pipeline.deliver() == 1
    job = pipeline.job(job_id)
    items = pipeline.client("dynamodb").scan(TableName="jobs")["Items"]
    booked = [item for item in items if item["job_id"]["S"].startswith("day#")]
    assert (job.state is State.SUBMITTING) is after
    assert bool(booked) is (job.reserved_usd is not None) is after


# what a person has retried ---------------------------------------------------------------------------------


@pytest.fixture
def operator(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Target:
    """The stack as the `seedance` command sees it; calls to repair need no Lambda here."""
    monkeypatch.setattr(asking, "ask_repair", lambda _, **event: app("repair").handler(event, None))
    outputs = {"JobTableName": "jobs", "SubmitQueueUrl": pipeline.queue, "StateMachineArn": pipeline.state_machine}
    return Target(outputs)


def expired(pipeline: Pipeline, hours: float = 3.0) -> str:
    """A job for which the provider takes three hours, or more."""
    job_id = pipeline.upload(**FAST)
    pipeline.deliver()
    (job,) = pipeline.sandbox.state.jobs.values()
    job.total_seconds = hours * 3600
    assert pipeline.run(job_id).state is State.EXPIRED
    return job_id


def balanced(pipeline: Pipeline, job_id: str) -> balance.Ledger:
    job = pipeline.job(job_id)
    span = {"since": job.created_at - 2 * 24 * 3600, "until": job.created_at + 2 * 24 * 3600}
    rows = app("repair").handler({"ask": "history", "model": job.model, "page": 1, **span}, None)["rows"]
    return balance.balance(jobs().day(_day(pipeline)), [job], rows)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("pay", [False, True])
def test_an_expired_video_that_completed_after_all_is_copied_and_not_bought_again(
    pipeline: Pipeline, operator: Target, *, pay: bool
) -> None:
    job_id = expired(pipeline)
    pipeline.pass_time(2 * 3600)
    assert [line.partition("; ")[0] for line in balanced(pipeline, job_id).unreconciled] == [
        f"job {job_id} settled $0.00"
    ]
    assert "this costs nothing" in asking.ask_repair(operator, ask="retry", job_id=job_id, pay=pay)["said"]
    pipeline.drive(job_id)
    job = pipeline.job(job_id)
    summary = pipeline.sandbox.summary()
    assert (job.state, job.cost_usd, summary["accepted"]) == (State.COMPLETED, summary["billed_usd"], 1)
    assert balanced(pipeline, job_id).balanced
    assert balanced(pipeline, job_id).day.settled == summary["billed_usd"]


@pytest.mark.slow
def test_a_video_bought_again_and_made_twice_is_explained_only_if_recorded(
    pipeline: Pipeline, operator: Target
) -> None:
    job_id = expired(pipeline, hours=30)
    first = pipeline.job(job_id).request_id
    refused = asking.ask_repair(operator, ask="retry", job_id=job_id, pay=True)
    assert f"request {first} has not ended at the provider" in refused["error"]
    assert pipeline.sandbox.summary()["accepted"] == 1
    pipeline.pass_time(24 * 3600)  # longer than any video has taken
    assert "will be billed" in asking.ask_repair(operator, ask="retry", job_id=job_id, pay=True)["said"]
    pipeline.run(job_id)
    pipeline.pass_time(6 * 3600)
    job = pipeline.job(job_id)
    assert (job.state, job.earlier_request_ids) == (State.COMPLETED, [first])
    assert pipeline.sandbox.summary()["billed_usd"] == pytest.approx(2 * (job.cost_usd or 0))
    books = balanced(pipeline, job_id)
    assert (books.duplicates, books.orphans, books.unreconciled) == ([], [], [])
    assert (books.paid_again, books.paid_again_usd) == ([f"request {first} of job {job_id}"], job.cost_usd)
    told = [what for _, _, what in story._requests(operator, job)]
    requests = [f"accepted request {job.request_id}", f"accepted earlier request {first}"]
    assert [what.split(",")[0] for what in told] == requests
    jobs().note(job, earlier_request_ids=[])  # as if the retry had not been recorded
    books = balanced(pipeline, job_id)
    assert books.duplicates == [f"job {job_id} bought 2 videos"]
    assert books.orphans == [f"request {first} (COMPLETED)"]


# the operators' commands ------------------------------------------------------------------------------------


def test_the_providers_key_is_never_in_a_response(pipeline: Pipeline) -> None:
    job_id = pipeline.upload(**FAST)
    job = pipeline.run(job_id)
    ask = {"ask": "history", "model": job.model, "page": 1, "since": job.created_at, "until": job.created_at + 60}
    answer = app("repair").handler(ask, None)
    (row,) = answer["rows"]
    assert (row["job_id"], row["request_id"], row["status"]) == (job_id, job.request_id, "COMPLETED")
    assert row["cost_usd"] == job.cost_usd
    assert "body" not in row
    assert KEY not in str(answer)
