"""What a person can do about a video that is paid for and whose link nobody could tell: retry, and resolve --link."""

from collections.abc import Callable
from typing import Any

import pytest
from seedance.jobs.job import Hold, Job, State

from cli import money, show
from cli.target import CommandError, Target

Make = Callable[..., Job]
LINK = "https://images.segmind.com/v.mp4"
LOST = {"code": Hold.LOST.value, "message": "m"}
RESULT = {"code": Hold.RESULT.value, "message": "m"}


@pytest.fixture
def asked() -> list[dict[str, Any]]:
    """What the reconcile function was asked."""
    return []


@pytest.fixture
def answers() -> dict[str, Any]:
    """What it answers."""
    return {"rows": []}


@pytest.fixture
def target(world: Any, monkeypatch: pytest.MonkeyPatch, asked: Any, answers: Any) -> Target:
    """A stack on AWS that is moto; its reconcile function answers as told."""
    made = Target({"SubmitQueueUrl": world.arns.queue, "StateMachineArn": world.arns.machine})
    monkeypatch.setattr(Target, "client", lambda _, service: world.aws[service])
    made.__dict__["jobs"] = world.store

    def ask(_: Target, **event: Any) -> dict[str, Any]:
        asked.append(event)
        return answers

    monkeypatch.setattr(money, "ask_reconcile", ask)
    return made


def test_a_held_result_is_copied_by_its_link_once_its_host_is_allowed(
    world: Any, target: Target, make_job: Make
) -> None:
    facts = {"cost_usd": 0.3, "settled_usd": 0.3, "notified_at": 1.0}
    job = world.put(make_job(State.HELD, error=RESULT, result_url=LINK, request_id="req-1", **facts))
    assert "nothing is paid" in money.retry(target, job, pay=True)
    after = world.job()
    assert (after.state, after.error, after.notified_at, after.result_url) == (State.COPYING, None, None, LINK)
    assert [call["name"] for call in world.called("StartExecution")] == ["up-1-2"]


def test_a_held_result_without_a_link_is_looked_for_in_the_history(
    *, world: Any, target: Target, make_job: Make, asked: Any, answers: Any
) -> None:
    job = world.put(make_job(State.HELD, error=RESULT, request_id="req-1"))
    with pytest.raises(CommandError, match="`seedance resolve` decides"):
        money.retry(target, job, pay=True)
    answers |= {"rows": [{"request_id": "req-1", "url": LINK}], "state": "COPYING"}
    assert "nothing is paid again" in money.retry(target, job, pay=False)
    assert [event["ask"] for event in asked] == ["history", "history", "adopt"]
    assert world.postponed() == []


@pytest.mark.parametrize(
    ("state", "error"), [(State.UNCERTAIN, None), (State.HELD, LOST), (State.HELD, RESULT)], ids=str
)
def test_a_link_that_a_person_has_is_copied(
    *, world: Any, target: Target, make_job: Make, state: State, error: Any
) -> None:
    job = world.put(make_job(state, error=error, reserved_usd=None, notified_at=1.0))
    with pytest.raises(CommandError, match="--link must be an address"):
        money.resolve(target, job, None, resubmit=False, give_up=False, link="video.mp4")
    assert world.job() == job
    assert "nothing is paid" in money.resolve(target, job, None, resubmit=False, give_up=False, link=LINK)
    after = world.job()
    assert (after.state, after.result_url, after.error, after.notified_at) == (State.COPYING, LINK, None, None)
    assert after.reserved_usd is not None
    assert [call["name"] for call in world.called("StartExecution")] == ["up-1-2"]
    assert world.postponed() == []


def test_a_held_result_that_is_bought_again_forgets_what_was_known_of_it(
    world: Any, target: Target, make_job: Make
) -> None:
    known = {"result_url": LINK, "last_frame_url": LINK, "answer": "{}", "request_id": "req-1", "settled_usd": 0.2}
    job = world.put(make_job(State.HELD, error=RESULT, **known))
    assert "billed" in money.resolve(target, job, None, resubmit=True, give_up=False)
    after = world.job()
    assert (after.state, after.result_url, after.last_frame_url, after.answer) == (State.RECEIVED, None, None, None)
    assert after.earlier_request_ids == ["req-1"]


def test_a_status_says_where_the_answer_is(make_job: Make) -> None:
    said = show.job(make_job(State.HELD, error=RESULT, answer="x" * 1234, result_url=LINK), 1.0)
    assert "1,234 characters of it are kept: `seedance status up-1 --json`" in said
    assert LINK in said
    assert "Answer" not in show.job(make_job(State.HELD, error=LOST), 1.0)
