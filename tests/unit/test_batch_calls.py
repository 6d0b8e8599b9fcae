"""Batches through the API: planned without buying, and approved once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from batch_stack import HEADER, KEY, TABLE, UPLOADS, Stack, jobs_of
from botocore.exceptions import ClientError
from seedance.batches.record import APPROVAL_SECONDS, BAD_ROWS_KEPT
from seedance.errors import BadRecord, Conflict, InvalidRequest, NotFound
from seedance.jobs.budget import Booking, day_of
from seedance.jobs.job import State, batch_job_id
from seedance.rest.uploads import Uploads

Make = Callable[..., Any]


# planned -------------------------------------------------------------------------------------------------------------


def test_a_staged_manifest_is_planned_and_nothing_is_bought(world: Any, stack: Stack) -> None:
    version = stack.put()
    shown = stack.create()
    batch = shown["batch_id"]
    assert (shown["state"], shown["rows"], shown["states"]) == ("PLANNING", None, {})
    assert shown["manifest"] == {"bucket": UPLOADS, "key": KEY, "version_id": version}
    assert stack.executions() == [batch]
    assert stack.run(batch)["status"] == "UNAPPROVED"
    shown = stack.look(batch)
    assert (shown["state"], shown["rows"], shown["rejected"], shown["rows_fed"]) == ("PLANNED", 10, 1, 0)
    assert shown["states"] == {"PLANNED": 9, "REJECTED": 1}
    assert shown["estimate_by_model"] == [
        {"model": "seedance-1.0-pro-fast", "videos": 8, "estimate_usd": pytest.approx(2.0, abs=0.1)},
        {"model": "seedance-pro", "videos": 1, "estimate_usd": 0.35},
    ]
    assert shown["estimate_usd"] == pytest.approx(sum(one["estimate_usd"] for one in shown["estimate_by_model"]))
    (bad,) = shown["bad_rows"]
    assert (bad["row"], bad["line"], bad["field"]) == (10, 11, "prompt")
    assert shown["rejected_report"]["key"] == f"batches/shop/spring-{batch[6:14]}.rejected.csv"
    assert (shown["results"], shown["budget_note"], shown["spent_usd"]) == (None, None, 0.0)
    assert jobs_of(world, batch) == []
    assert world.called("SendMessageBatch") == world.called("Publish") == []


def test_all_of_a_posted_manifest_is_named_after_its_file(world: Any, stack: Stack) -> None:
    form = Uploads(UPLOADS, world.aws["s3"], world.clock).form('{"name": "spring.csv"}')
    key = form["key"]
    stack.put(key=key)
    batch = stack.create(key=key, approve=True)["batch_id"]
    state = stack.run(batch)
    day, short = key.split("/")[1], batch[6:14]
    job = world.job(batch_job_id(batch, 2))
    assert (job.name, job.video_key) == ("spring-2", f"videos/{day}/spring/{job.job_id}.mp4")
    stack.all_end(batch, 10)
    ended = stack.collect(state)
    assert ended["results_key"] == f"batches/{day}/spring-{short}.results.csv"
    assert stack.look(batch)["rejected_report"]["key"] == f"batches/{day}/spring-{short}.rejected.csv"
    subject = world.called("Publish")[-1]["Subject"]
    assert subject.startswith("Batch done: spring.csv (")
    assert world.notified()[-1]["manifest"]["key"] == key  # for programs, as it is


def test_only_the_first_invalid_rows_are_in_the_answer(stack: Stack) -> None:
    batch = stack.planned(HEADER + "It turns,,S\n" * 400 + ",,bad\n" * 50)
    shown = stack.look(batch)
    assert (shown["rejected"], len(shown["bad_rows"])) == (50, BAD_ROWS_KEPT)


def test_with_approve_its_rows_become_jobs_at_once(world: Any, stack: Stack) -> None:
    batch = stack.planned(approve=True)
    assert jobs_of(world, batch) == list(range(1, 10))
    shown = stack.look(batch)
    assert (shown["state"], shown["rows_fed"], shown["states"]) == ("RUNNING", 10, {"RECEIVED": 9, "REJECTED": 1})
    assert (shown["approve_by"], shown["approved_at"]) == (None, None)
    assert world.job(batch_job_id(batch, 1)).folder == "shop/spring"


def test_a_refused_manifest_says_why(world: Any, stack: Stack) -> None:
    batch = stack.planned(HEADER + ",,bad\n" * 3)
    shown = stack.look(batch)
    assert (shown["state"], shown["states"]) == ("REFUSED", {"REJECTED": 3})
    assert "No row is valid" in shown["error"]["message"]
    with pytest.raises(Conflict, match="was refused"):
        stack.calls.approve(batch)
    assert world.notified()[0]["status"] == "BATCH_REFUSED"


def test_an_unreadable_manifest_is_refused(stack: Stack) -> None:
    shown = stack.look(stack.planned('prompt\n"never closed\n'))
    assert (shown["state"], shown["rows"], shown["bad_rows"]) == ("REFUSED", 0, [])
    assert "not closed" in shown["error"]["message"]
    assert shown["rejected_report"] is not None


def test_a_version_of_a_manifest_is_one_batch_however_often_it_is_planned(stack: Stack) -> None:
    batch = stack.planned()
    assert stack.create()["batch_id"] == batch
    assert stack.look(batch)["state"] == "PLANNED"
    stack.put()
    again = stack.create()["batch_id"]
    assert again != batch
    assert stack.executions() == sorted([batch, again])


@pytest.mark.hostile(kind="input", risk="paid twice")
@pytest.mark.parametrize("first", [True, False])
def test_the_same_manifest_with_other_options_is_a_conflict(stack: Stack, *, first: bool) -> None:
    stack.put()
    batch = stack.create(approve=first)["batch_id"]
    with pytest.raises(Conflict, match=batch):
        stack.create(approve=not first)
    assert stack.given(batch)["approve"] is first


def test_a_batch_whose_record_was_not_written_is_found_again(
    world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.put()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(type(world.batch_store), "open", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        stack.create()
    (name,) = stack.executions()
    stack.run(name)  # plan writes it
    assert stack.look(name)["state"] == "PLANNED"
    assert stack.create()["batch_id"] == name
    assert stack.executions() == [name]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("{}", "manifest_key"),
        ('{"manifest_key": null}', "manifest_key"),
        ('{"manifest_key": 5}', "manifest_key"),
        ('{"manifest_key": "batches/spring.csv"}', "manifest_key"),
        ('{"manifest_key": "uploads/spring.csv"}', "manifest_key"),
        ('{"manifest_key": "staged"}', "manifest_key"),
        ('{"manifest_key": "staged/spring.txt"}', "manifest_key"),
        ('{"manifest_key": "/staged/spring.csv"}', "manifest_key"),
        ('{"manifest_key": "staged/%s.csv"}' % ("x" * 1024), "manifest_key"),
        ('{"manifest_key": "staged/none.csv"}', "manifest_key"),
        ('{"manifest_key": "staged/shop/spring.csv", "approve": "no"}', "approve"),
        ('{"manifest_key": "staged/shop/spring.csv", "approve": null}', "approve"),
        ('{"manifest_key": "staged/shop/spring.csv", "approved": true}', "approved"),
        ("[]", "body"),
        ("", "body"),
        (None, "body"),
    ],
)
def test_a_wrong_request_names_its_field_and_starts_nothing(stack: Stack, body: str | None, field: str) -> None:
    stack.put()
    with pytest.raises(InvalidRequest) as caught:
        stack.calls.create(body)
    assert caught.value.field == field
    assert stack.executions() == []


def test_other_errors_of_the_bucket_are_raised(world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "HeadObject")

    monkeypatch.setattr(world.aws["s3"], "head_object", forbidden)
    with pytest.raises(ClientError):
        stack.create()


# approved ------------------------------------------------------------------------------------------------------------


def test_an_approval_buys_what_was_planned(world: Any, stack: Stack) -> None:
    batch = stack.planned()
    world.clock.now += 3600
    shown = stack.calls.approve(batch)
    assert (shown["state"], shown["states"]) == ("RUNNING", {"PLANNED": 9, "REJECTED": 1})
    assert stack.executions() == sorted([batch, f"{batch}-approved"])
    given = stack.given(f"{batch}-approved")
    assert (given["status"], given["began_at"]) == ("PLANNED", world.clock.now)
    state = stack.run(f"{batch}-approved")
    assert jobs_of(world, batch) == list(range(1, 10))
    shown = stack.look(batch)
    assert (shown["rows_fed"], shown["states"]) == (10, {"RECEIVED": 9, "REJECTED": 1})
    stack.all_end(batch, 10)
    world.clock.now += 60
    ended = stack.collect(state)
    assert (ended["status"], ended["states"]) == ("BATCH_DONE", {"COMPLETED": 9, "REJECTED": 1})
    shown = stack.look(batch)
    assert (shown["state"], shown["states"]) == ("DONE", {"COMPLETED": 9, "REJECTED": 1})
    assert (shown["spent_usd"], shown["results"]["key"]) == (2.25, f"batches/shop/spring-{batch[6:14]}.results.csv")
    assert shown["ended_at"]
    assert world.notified()[-1]["seconds"] == 60.0  # the hour before the approval does not count


@pytest.mark.hostile(kind="input", risk="paid twice")
def test_an_approval_that_is_repeated_starts_nothing_more(world: Any, stack: Stack) -> None:
    batch = stack.planned()
    first = stack.calls.approve(batch)
    world.clock.now += 5
    assert stack.calls.approve(batch)["approved_at"] == first["approved_at"]
    state = stack.run(f"{batch}-approved")
    stack.all_end(batch, 10)
    stack.calls.approve(batch)
    stack.collect(state)
    assert stack.calls.approve(batch)["state"] == "DONE"
    assert stack.executions() == sorted([batch, f"{batch}-approved"])
    assert len(world.called("StartExecution")) == 2


def test_two_approvals_at_the_same_moment_start_one_execution(
    world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = stack.planned()
    plan = world.batch_store.plan(batch)
    world.batches.approve(plan, world.clock.now)  # the other call, which has not written the record yet
    world.clock.now += 1
    assert stack.calls.approve(batch)["state"] == "RUNNING"
    assert stack.executions() == sorted([batch, f"{batch}-approved"])
    assert stack.given(f"{batch}-approved")["began_at"] == world.clock.now - 1


@pytest.mark.parametrize("killed", ["before the start", "after the start"])
def test_an_approval_that_was_killed_is_repeated_or_finds_its_way(
    world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch, killed: str
) -> None:
    batch = stack.planned()
    owner, name = (world.batches, "approve") if killed == "before the start" else (world.batch_store, "move")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(type(owner), name, lambda *_, **__: (_ for _ in ()).throw(RuntimeError("killed")))
        stack.calls.approve(batch)
    assert stack.look(batch)["state"] == "PLANNED"
    if killed == "before the start":
        assert stack.executions() == [batch]
        stack.calls.approve(batch)
    state = stack.run(f"{batch}-approved")  # the execution marks the batch itself
    assert stack.look(batch)["state"] == "RUNNING"
    assert stack.look(batch)["approved_at"]
    assert stack.calls.approve(batch)["state"] == "RUNNING"
    stack.all_end(batch, 10)
    assert stack.collect(state)["status"] == "BATCH_DONE"
    assert len(stack.executions()) == 2


@pytest.mark.hostile(kind="input", risk="paid twice")
def test_a_plan_that_a_person_has_seen_is_not_written_again(world: Any, stack: Stack, png: bytes) -> None:
    world.upload("images/a.png", png)
    batch = stack.planned("image,prompt\nimages/a.png,It turns\n")
    world.upload("images/a.png", png + b"\0")  # another version of the image
    plan = world.batch_store.plan(batch)
    written = len(world.called("PutObject"))
    for _ in range(2):  # the task is retried, because the answer of the function was lost
        assert stack.plan(stack.given(batch)) == plan
        stack.calls.approve(batch)
    assert len(world.called("PutObject")) == written
    assert stack.given(f"{batch}-approved")["chunks"] == plan["chunks"]


def test_a_plan_expires(world: Any, stack: Stack) -> None:
    batch = stack.planned()
    world.clock.now += APPROVAL_SECONDS + 1
    assert stack.look(batch)["state"] == "EXPIRED"
    assert stack.look(batch)["states"] == {"NOT_STARTED": 9, "REJECTED": 1}
    with pytest.raises(Conflict, match="not approved in time"):
        stack.calls.approve(batch)
    assert stack.executions() == [batch]
    assert stack.calls.page({})["batches"][0]["state"] == "EXPIRED"


def test_an_approved_batch_does_not_expire(world: Any, stack: Stack) -> None:
    batch = stack.planned()
    stack.calls.approve(batch)
    world.clock.now += APPROVAL_SECONDS + 1
    assert stack.look(batch)["state"] == "RUNNING"


def test_a_batch_that_is_still_being_planned_can_not_be_approved(stack: Stack) -> None:
    stack.put()
    batch = stack.create()["batch_id"]
    with pytest.raises(Conflict, match="still being checked"):
        stack.calls.approve(batch)


@pytest.mark.parametrize("call", ["look", "approve", "cancel"])
@pytest.mark.parametrize("batch", ["batch-0", "", "#", "x#plan", "é" * 2000])
def test_an_unknown_batch_is_not_found(stack: Stack, call: str, batch: str) -> None:
    with pytest.raises(NotFound):
        getattr(stack.calls, call)(batch)


def test_the_plan_of_a_batch_is_no_batch(stack: Stack) -> None:
    batch = stack.planned()
    with pytest.raises(NotFound):
        stack.calls.look(f"{batch}#plan")


@pytest.mark.hostile(kind="input", risk="paid twice")
@pytest.mark.parametrize(
    "stored",
    [None, {"N": "5"}, {"S": ""}, {"S": "{"}, {"S": "[]"}, {"S": '{"chunks": []}'}, {"S": '{"batch_id": "x"}'}],
)
def test_a_damaged_plan_is_not_started(world: Any, stack: Stack, stored: Any) -> None:
    batch = stack.planned()
    item = {"job_id": {"S": f"batch#{batch}#plan"}, **({"plan": stored} if stored else {})}
    world.aws["dynamodb"].put_item(TableName=TABLE, Item=item)
    with pytest.raises(BadRecord, match="plan"):
        stack.calls.approve(batch)
    assert stack.executions() == [batch]


# what it costs -------------------------------------------------------------------------------------------------------


def test_an_estimate_above_the_days_budget_is_said(stack: Stack) -> None:
    stack.calls = replace(stack.calls, limit_usd=1.0)
    batch = stack.planned()
    for shown in (stack.look(batch), stack.calls.approve(batch), stack.look(batch)):
        assert "exceeds the day's budget of $1.00 (DailyBudgetUsd)" in shown["budget_note"]
        assert "at least 3 days" in shown["budget_note"]


def test_an_estimate_above_what_is_left_of_the_day_is_said(world: Any, stack: Stack, make_job: Make) -> None:
    stack.calls = replace(stack.calls, limit_usd=4.0)
    batch = stack.planned()
    assert stack.look(batch)["budget_note"] is None
    today = day_of(world.clock.now)
    booking = Booking(today, reserved=2.5, lease=1)
    world.store.move(world.put(make_job()), State.SUBMITTING, booking=booking, reserved_usd=2.5, reserved_day=today)
    assert "exceeds the $1.50 that are left of today's budget" in stack.look(batch)["budget_note"]
    world.clock.now += 24 * 3600
    assert stack.look(batch)["budget_note"] is None
