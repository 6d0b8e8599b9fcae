"""Cancel: only what is certainly not bought, reported like any end, and never overwritten by a submit at work."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from seedance.api import Api
from seedance.errors import AlreadyBought, Conflict, InProgress, NotFound, NotPossible
from seedance.generate import Generate
from seedance.jobs.cancelling import cancel
from seedance.jobs.defaults import Defaults
from seedance.jobs.job import Hold, Job, State
from seedance.jobs.tasks import TaskStatus
from seedance.notices.job_message import job_email, job_notification
from seedance.repair import Repair
from seedance.submit import Submit

Make = Callable[..., Job]
DAY = "2026-11-20"


def error(code: str) -> dict[str, str]:
    return {"code": code, "message": "m"}


def cancelled(world: Any, job_id: str = "up-1") -> Job:
    return cancel(world.store, world.queue, job_id)


@pytest.fixture
def call(world: Any) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Calls POST /videos/{job_id}/cancel. Returns the status and the body."""
    api = Api(world.store, world.media, world.queue, "example-uploads", Defaults("seedance-pro", "It turns.", "v2"), ())

    def post(job_id: str = "up-1") -> tuple[int, dict[str, Any]]:
        path = {"job_id": job_id}
        event = {"httpMethod": "POST", "resource": "/videos/{job_id}/cancel", "pathParameters": path}
        answer = api.respond(event)
        return answer["statusCode"], json.loads(answer["body"])

    return post


# which jobs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "code"), [(State.RECEIVED, "WAITS"), (State.HELD, Hold.BUDGET), (State.HELD, Hold.PAUSED)]
)
@pytest.mark.parametrize("transport", ["v1", "v2"])
def test_a_waiting_job_is_cancelled_and_submit_sends_its_notification(
    *, world: Any, submit: Submit, make_job: Make, state: State, code: str, transport: str
) -> None:
    world.put(make_job(state, error=error(code), notified_at=1.0, transport=transport))
    job = cancelled(world)
    assert (job.state, job.code, job.notified_at) == (State.CANCELLED, "CANCELLED", None)
    assert job == world.job()
    assert world.postponed() == [("up-1", 0)]
    assert world.notified() == []
    world.intake(submit).message(json.dumps({"job_id": "up-1", "turn": None}))
    assert [message["status"] for message in world.notified()] == ["CANCELLED"]
    assert (world.wire.requests, world.executions()) == ([], [])
    assert world.counted()["JobsCancelled"] == 1


def test_cancelling_twice_gives_the_same_answer_and_replaces_a_lost_message(
    *, world: Any, call: Any, make_job: Make
) -> None:
    world.put(make_job())
    first, again = call(), call()
    assert first == again
    assert (first[0], first[1]["state"], first[1]["error"]["code"]) == (200, "CANCELLED", "CANCELLED")
    assert len(world.postponed()) == 2
    world.notifier.notify(world.job())
    assert call()[0] == 200
    assert len(world.postponed()) == 2  # notified already


@pytest.mark.parametrize("state", [s for s in State if s not in (State.RECEIVED, State.HELD, State.CANCELLED)])
def test_no_other_state_can_be_cancelled(world: Any, call: Any, make_job: Make, state: State) -> None:
    job = world.put(make_job(state))
    status, body = call()
    bought = state not in (State.FAILED, State.EXPIRED, State.REJECTED)
    assert (status, body["code"]) == (409, "ALREADY_BOUGHT" if bought else "NOT_POSSIBLE")
    assert f"job up-1 is {state}" in body["detail"]
    assert world.job() == job
    assert world.postponed() == []


@pytest.mark.parametrize(
    ("why", "refusal", "words"),
    [
        (error(Hold.LOST), NotPossible, r"may have reached the provider.*`seedance resolve up-1`"),
        (error(Hold.RESULT), AlreadyBought, "made and paid for"),
        (error("SOMETHING_NEW"), NotPossible, "may be bought"),
        (None, NotPossible, "may be bought"),
    ],
)
def test_a_held_job_that_may_be_bought_is_not_cancelled(
    *, world: Any, make_job: Make, why: Any, refusal: type[Exception], words: str
) -> None:
    job = world.put(make_job(State.HELD, error=why))
    with pytest.raises(refusal, match=words):
        cancelled(world)
    assert world.job() == job


def test_an_unknown_job_is_not_found(world: Any, call: Any) -> None:
    assert call("up-9")[0] == 404
    with pytest.raises(NotFound):
        cancelled(world, "switch#submits")


def test_an_open_reservation_is_released(world: Any, make_job: Make) -> None:
    """A person had the lost submit sent again, which keeps its reservation."""
    world.put(make_job(reserved_usd=0.25, reserved_day=DAY, earlier_request_ids=["req-0"]))
    job = cancelled(world)
    assert job.reserved_usd is None
    assert (world.store.day(DAY).released, world.store.day(DAY).committed) == (0.25, -0.25)
    assert "may have made and billed what was requested before: req-0." in (job.error or {})["message"]


def test_an_earlier_lost_submit_is_mentioned(world: Any, make_job: Make) -> None:
    world.put(make_job(resubmitted=True))
    assert "An earlier submit, whose outcome was not known" in (cancelled(world).error or {})["message"]


def test_the_mail_says_that_nothing_was_bought(world: Any, make_job: Make) -> None:
    world.put(make_job())
    subject, text = job_email(job_notification(cancelled(world), None))
    assert subject == "No video: shoe (cancelled, not charged)"
    assert "Cost    nothing; the request was not sent to the provider" in text
    assert "The job was cancelled before the video was bought." in text


def test_the_command_asks_repair(world: Any, repair: Repair, make_job: Make) -> None:
    world.put(make_job())
    answer = repair.answer({"ask": "cancel", "job_id": "up-1"})
    assert answer == {
        **{"job_id": "up-1", "state": "CANCELLED"},
        "said": "The job was cancelled before the video was bought.",
    }
    world.put(make_job(State.QUEUED))
    assert "the video is bought" in repair.answer({"ask": "cancel", "job_id": "up-1"})["error"]


# at the same time as something else -------------------------------------------------------------------------------


@pytest.fixture
def meanwhile(world: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], list[Any]]:
    """Cancels up-1 in the middle of another invocation: just before it calls this method. Returns what that says."""

    def install(of: str, method: str) -> list[Any]:
        said: list[Any] = []
        target = getattr(world.sending, of) if of else world.sending
        original = getattr(type(target), method)

        def first_cancel(self: Any, *args: Any, **options: Any) -> Any:
            if not said:
                said.append(None)
                try:
                    said[0] = cancelled(world).state
                except (AlreadyBought, NotPossible, Conflict) as refusal:
                    said[0] = refusal.code
            return original(self, *args, **options)

        monkeypatch.setattr(type(target), method, first_cancel)
        return said

    return install


@pytest.mark.parametrize(
    ("of", "method"), [("switch", "paused"), ("pacer", "submit_turn"), ("provider", "authenticate")]
)
def test_a_submit_that_has_begun_does_not_send_a_cancelled_job(
    *, world: Any, submit: Submit, make_job: Make, meanwhile: Any, of: str, method: str
) -> None:
    said = meanwhile(of, method)
    with pytest.raises(InProgress):
        submit.advance(world.put(make_job()))
    assert said == [State.CANCELLED]
    assert (world.job().state, world.wire.requests) == (State.CANCELLED, [])
    submit.advance(world.job())  # the message is delivered again
    assert [message["status"] for message in world.notified()] == ["CANCELLED"]


@pytest.mark.parametrize("verdict", ["paused", "postponed"])
def test_a_submit_that_would_hold_or_postpone_a_cancelled_job_does_not_overwrite_it(
    *, world: Any, submit: Submit, make_job: Make, meanwhile: Any, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if verdict == "paused":
        world.switch.pause("a person")
    else:
        monkeypatch.setattr(type(world.pacer), "submit_turn", lambda *_: world.clock.now + 60)
    said = meanwhile("", "settle")
    with pytest.raises(InProgress):
        submit.advance(world.put(make_job()))
    assert said == [State.CANCELLED]
    job = world.job()
    assert (job.state, job.code, job.attempts, job.turn_at) == (State.CANCELLED, "CANCELLED", 0, None)
    for message in world.called("SendMessage"):  # also the one for the turn that is no more
        world.intake(submit).message(message["MessageBody"])
    assert [message["status"] for message in world.notified()] == ["CANCELLED"]
    assert world.wire.requests == []


def test_from_the_intent_on_it_is_too_late(world: Any, submit: Submit, make_job: Make, meanwhile: Any) -> None:
    said = meanwhile("provider", "submit")
    world.wire.will(httpx.Response(200, json={"request_id": "req-9"}))
    submit.advance(world.put(make_job()))
    assert said == ["ALREADY_BOUGHT"]
    assert (world.job().state, world.job().request_id) == (State.QUEUED, "req-9")


def test_a_v1_call_that_is_postponed_does_not_overwrite_a_cancelled_job(
    world: Any, make_job: Make, meanwhile: Any
) -> None:
    world.switch.pause("a person")
    said = meanwhile("", "settle")
    generate = Generate(world.store, world.provider, world.media, world.sending)
    world.put(make_job(model="seedance-pro", transport="v1"))
    assert generate("up-1")["status"] == TaskStatus.POSTPONED
    assert said == [State.CANCELLED]
    ended = generate("up-1")
    assert (ended["status"], (ended["error"] or {})["code"]) == (TaskStatus.FAILED, "CANCELLED")
    assert (world.job().state, world.wire.requests) == (State.CANCELLED, [])


def test_a_late_notification_of_a_hold_does_not_count_as_that_of_the_cancel(
    world: Any, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notifier of HELD publishes, the job is cancelled, and only then the notifier marks it as notified."""
    held = world.put(make_job(State.HELD, error=error(Hold.BUDGET)))
    publish = world.notifier._publish
    monkeypatch.setattr(world.notifier, "_publish", lambda *given: (publish(*given), cancelled(world)))
    assert world.notifier.tell(held).state is State.CANCELLED
    monkeypatch.undo()
    assert world.job().notified_at is None
    world.notifier.tell(world.job())
    assert [message["status"] for message in world.notified()] == ["HELD", "CANCELLED"]
    assert world.counted().get("NotificationsPutOff") is None


def test_a_job_that_moves_in_between_is_looked_at_again(world: Any, make_job: Make) -> None:
    """It is released from HELD to RECEIVED between the read and the write."""
    world.put(make_job(State.HELD, error=error(Hold.PAUSED)))
    get = world.store.get
    reads: list[Any] = []

    def stale(job_id: str) -> Any:
        found = get(job_id)
        reads.append(found)
        if len(reads) == 1:
            world.store.move(found, State.RECEIVED, error=None)
        return found

    world.store.get = stale
    assert cancelled(world).state is State.CANCELLED
    assert [read.state for read in reads] == [State.HELD, State.RECEIVED]


def test_a_job_that_was_held_again_for_another_reason_is_not_cancelled_by_a_stale_read(
    world: Any, make_job: Make
) -> None:
    stale = world.put(make_job(State.HELD, error=error(Hold.PAUSED)))
    world.clock.now += 60
    job = world.store.move(stale, State.RECEIVED)
    job = world.store.move(job, State.SUBMITTING)
    job = world.store.move(job, State.HELD, error=error(Hold.LOST))
    with pytest.raises(Conflict):
        world.store.close(stale, State.CANCELLED)
    with pytest.raises(Conflict):
        world.store.note(stale, notified_at=1.0)
    assert world.job() == job


def test_a_write_that_aws_refuses_changes_nothing(world: Any, make_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.put(make_job())

    def refused(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "UpdateItem")

    monkeypatch.setattr(world.table.client, "update_item", refused)
    with pytest.raises(ClientError):
        cancelled(world)
    monkeypatch.undo()
    assert world.job() == job
