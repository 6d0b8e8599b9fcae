"""Repeated messages: a waiting job has exactly one message, however often it was requested."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from seedance.api import Api
from seedance.jobs.budget import Booking
from seedance.jobs.job import Job, State
from seedance.jobs.requests import Defaults
from seedance.plan import Plan
from seedance.submit import Submit

Make = Callable[..., Job]
DEFAULTS = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")


def messages(world: Any) -> list[str]:
    """The bodies of all messages sent to the intake queue, in order."""
    return [call["MessageBody"] for call in world.called("SendMessage")]


def rate_limited() -> httpx.Response:
    return httpx.Response(429, json={"error": "Too many requests"}, headers={"retry-after": "20"})


def test_thirty_repeats_of_a_call_during_a_rate_limit_leave_one_message(world: Any, submit: Submit) -> None:
    api = Api(world.store, world.media, world.queue, "example-uploads", DEFAULTS, ("images/",))
    for _ in range(30):
        api.create_video('{"prompt": "x"}', caller="key-1", idempotency_key="order-1")
    world.wire.will(rate_limited())
    delivered = 0
    for _ in range(5):  # as often as the job is postponed
        sent = messages(world)
        for body in sent[delivered:]:
            world.intake(submit).message(body)
        delivered = len(sent)
        world.clock.now += 1
    assert delivered == len(messages(world)) - 1
    assert len(world.wire.requests) == 1
    for _ in range(30):
        api.create_video('{"prompt": "x"}', caller="key-1", idempotency_key="order-1")
    assert delivered == len(messages(world)) - 1


def test_a_repeated_event_of_a_waiting_upload_sends_nothing(world: Any, submit: Submit, png: bytes) -> None:
    event = json.dumps(world.upload("uploads/a.png", png))
    world.wire.will(rate_limited())
    world.intake(submit).message(event)
    for _ in range(5):
        world.intake(submit).message(event)
    assert len(messages(world)) == 1


def test_a_crash_between_message_and_record_leaves_a_message(
    world: Any, submit: Submit, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.put(make_job())
    first = json.dumps({"job_id": job.job_id, "turn": None})
    world.wire.will(rate_limited())
    close = world.store.close

    def dies(*_: Any, **__: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(world.store, "close", dies)
    with pytest.raises(SystemExit):
        world.intake(submit).message(first)
    monkeypatch.setattr(world.store, "close", close)
    (second,) = messages(world)
    world.put(replace(world.job(), state=State.RECEIVED))  # as if reconcile had found that nothing arrived
    world.intake(submit).message(second)  # for a turn that was never recorded
    assert len(messages(world)) == 1
    world.wire.will(rate_limited())
    world.clock.now += 100
    world.intake(submit).message(first)  # which is redelivered, since it was never completed
    assert len(messages(world)) == 2


def test_a_message_for_the_jobs_current_turn_submits(world: Any, submit: Submit, make_job: Make) -> None:
    turn = world.sending.pacer.turn_in(0)
    world.put(make_job(turn_at=turn))
    world.intake(submit).message(json.dumps({"job_id": "up-1", "turn": turn - 5}))
    assert world.job().state is State.RECEIVED
    world.wire.will(httpx.Response(200, json={"request_id": "req-1"}))
    world.intake(submit).message(json.dumps({"job_id": "up-1", "turn": turn}))
    assert world.job().state is State.QUEUED


def test_a_message_of_an_earlier_release_submits(world: Any, submit: Submit, make_job: Make) -> None:
    world.put(make_job(turn_at=world.sending.pacer.turn_in(0)))
    world.wire.will(httpx.Response(200, json={"request_id": "req-1"}))
    world.intake(submit).message('{"job_id": "up-1"}')
    assert world.job().state is State.QUEUED


@pytest.mark.parametrize("turn_at", [None, 5.0])
def test_messages_from_reconcile_and_people_are_for_the_recorded_turn(
    world: Any, submit: Submit, make_job: Make, turn_at: float | None
) -> None:
    world.queue.send(world.put(make_job(turn_at=turn_at)))
    (body,) = messages(world)
    world.wire.will(httpx.Response(200, json={"request_id": "req-1"}))
    world.intake(submit).message(body)
    assert world.job().state is State.QUEUED


# another bucket ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["uploads/a.png", "batches/a.csv"])
def test_a_record_of_another_bucket_is_ignored(world: Any, submit: Submit, png: bytes, key: str) -> None:
    event = world.upload(key, png)
    event["Records"][0]["s3"]["bucket"]["name"] = "somebody-elses"
    world.intake(submit).message(json.dumps(event))
    assert world.called("StartExecution") == []
    assert world.called("PutItem") == []
    assert world.counted() == {"RecordsIgnored": 1}


def test_a_batch_of_another_bucket_is_not_planned(plan: Plan) -> None:
    event = {"batch_id": "batch-1", "bucket": "somebody-elses", "key": "batches/a.csv", "version_id": None}
    with pytest.raises(ValueError, match="somebody-elses"):
        plan(event)


# midnight ------------------------------------------------------------------------------------------------------


def test_a_job_held_at_midnight_is_released_the_next_day(
    world: Any, submit: Submit, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.clock.now = 1_763_683_199.9  # 2025-11-20T23:59:59.9Z
    sending = replace(world.sending, budget=0.3)
    world.store.move(
        world.put(make_job(job_id="up-2")),
        State.SUBMITTING,
        booking=Booking("2025-11-20", reserved=0.3, limit=0.3, lease=1),
    )
    move = world.store.move

    def slow(*args: Any, **values: Any) -> Any:
        try:
            return move(*args, **values)
        finally:
            world.clock.now += 1  # it is past midnight

    monkeypatch.setattr(world.store, "move", slow)
    replace(submit, sending=sending).advance(world.put(make_job()))
    job = world.job()
    assert (job.state, job.held_day) == (State.HELD, "2025-11-20")
    assert job.entered[State.HELD] > 1_763_683_200  # on the 21st
