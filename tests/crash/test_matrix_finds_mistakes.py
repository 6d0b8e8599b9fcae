"""The matrix is useful only if it finds mistakes: each of these is made on purpose, and must be found."""

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import matrix
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from scenarios import SCENARIOS, Scenario
from seedance import observability, video_manifest
from seedance.announce import Announce
from seedance.errors import SubmitUncertain
from seedance.events import change
from seedance.events.endpoint import Answer
from seedance.finalize import Finalize
from seedance.jobs import lasting, reasons, store
from seedance.jobs.job import Job, State, VideoFacts
from seedance.jobs.store import JobStore
from seedance.notices.notifier import Notifier
from seedance.paid_call import Next, Sending, Verdict
from seedance.poll import Poll
from stage import Stage
from wire import Call, How

EVENTS_DOWN, DEAF = "events: EventBridge down for an hour", "webhooks: the receiver fails at first"
ANOTHER = "link: revoked, then another"
MODEL, GET_ITEM, TRANSACT = "seedance-1.0-pro-fast", "dynamodb.GetItem", "dynamodb.TransactWriteItems"


def resubmit_what_is_uncertain(patch: pytest.MonkeyPatch) -> None:
    judge = Sending.judge

    def blind(self: Sending, job: Job, error: Any) -> Verdict:
        if isinstance(error, SubmitUncertain):
            return Verdict(Next.LATER, reasons.of(error), wait=15.0)
        return judge(self, job, error)

    patch.setattr(Sending, "judge", blind)


def mark_before_publishing(patch: pytest.MonkeyPatch) -> None:
    notify = Notifier.notify

    def marked_first(self: Notifier, job: Job) -> Job:
        if job.notified_at is None:
            self._store.note(job, notified_at=time.time())
        return notify(self, job)

    patch.setattr(Notifier, "notify", marked_first)


def close_without_booking(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        JobStore, "close", lambda self, job, target, **values: self.move(job, target, reserved_usd=None, **values)
    )


def settle_on_the_day_alone(patch: pytest.MonkeyPatch) -> None:
    settlement = store.settlement

    def forgetful(job: Job, cost: float | None) -> Any:
        booking, facts = settlement(job, cost)
        return booking, {name: value for name, value in facts.items() if name != "settled_days"}

    patch.setattr(store, "settlement", forgetful)


def forget_the_link(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Poll, "_last_look", lambda self, job, error: {"job_id": job.job_id, "status": "EXPIRED", "error": error}
    )


def ring_too_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(observability, "ALARMING", frozenset())


def never_give_up_waiting(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("seedance.submit.SUBMITTING_SECONDS", float("inf"))
    patch.setattr("seedance.reconcile.SUBMITTING_SECONDS", float("inf"))


def number_events_anew(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(change, "_id", lambda *_: f"evt_{uuid.uuid4().hex}")


def forget_what_was_refused(patch: pytest.MonkeyPatch) -> None:
    call = Announce.__call__

    def careless(self: Announce, records: Any) -> None:
        with suppress(BotoCoreError, ClientError):
            call(self, records)

    patch.setattr(Announce, "__call__", careless)


def count_a_webhook_as_delivered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Answer, "delivered", True)


def write_an_empty_manifest(patch: pytest.MonkeyPatch) -> None:
    def empty(self: Finalize, job: Job, video: VideoFacts) -> VideoFacts:
        key = video_manifest.manifest_key(video["key"])
        self.media.store_manifest(b"{}", key, name=job.name)
        return {**video, "manifest_key": key}

    patch.setattr(Finalize, "_with_manifest", empty)


def revoke_in_the_record_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(JobStore, "unshare", lambda self, job: self.note(job, link_token=None, link_until=None))


def promise_a_link_that_is_not_written(patch: pytest.MonkeyPatch) -> None:
    def promised(self: JobStore, job: Job) -> Job:
        return replace(job, **lasting.new_share(time.time(), 90))

    patch.setattr(JobStore, "share", promised)


@dataclass(frozen=True)
class Mistake:
    """A deliberate mistake, the point of the matrix that reveals it, and words of the violation."""

    make: Callable[[pytest.MonkeyPatch], None]
    scenario: str
    call: Call
    how: How
    words: str


MISTAKES = [
    Mistake(resubmit_what_is_uncertain, "upload, v2", Call("submit", f"POST /v2/{MODEL}", 1), How.LOST, "2 POSTs"),
    Mistake(mark_before_publishing, "upload, v2", Call("finalize", "sns.Publish", 1), How.BEFORE, "nobody was told"),
    Mistake(close_without_booking, "upload, v2", Call("poll", GET_ITEM, 1), How.BEFORE, "the ledger of"),
    Mistake(settle_on_the_day_alone, "upload, v2", Call("poll", GET_ITEM, 1), How.BEFORE, "its jobs $0.0000"),
    Mistake(forget_the_link, "late: done after its hour", Call("poll", GET_ITEM, 1), How.LOST, "paid for and made"),
    Mistake(ring_too_late, "paused, then resumed", Call("submit", "sns.Publish", 1), How.AFTER, "without an alarm"),
    Mistake(never_give_up_waiting, "upload, v2", Call("submit", TRANSACT, 1), How.AFTER, "left in SUBMITTING"),
    Mistake(number_events_anew, "upload, v2", Call("announce", "events.PutEvents", 1), How.LOST, "and announced"),
    Mistake(forget_what_was_refused, EVENTS_DOWN, Call("submit", TRANSACT, 1), How.LOST, "and announced"),
    Mistake(write_an_empty_manifest, "upload, v2", Call("poll", GET_ITEM, 1), How.BEFORE, "wrong about the video"),
    Mistake(revoke_in_the_record_alone, "link: revoked", Call("api", GET_ITEM, 2), How.LOST, "links that work"),
    Mistake(promise_a_link_that_is_not_written, ANOTHER, Call("api", GET_ITEM, 3), How.AFTER, "the last answer said"),
    Mistake(count_a_webhook_as_delivered, DEAF, Call("submit", TRANSACT, 1), How.LOST, "webhooks were lost"),
]


def play(name: str) -> Scenario:
    return next(scenario for scenario in SCENARIOS if scenario.name == name)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.make.__name__)
@pytest.mark.sampled(3)
def test_a_mistake_is_found(servers: Stage, monkeypatch: pytest.MonkeyPatch, mistake: Mistake) -> None:
    point = matrix.Point(play(mistake.scenario), mistake.call, mistake.how)
    assert matrix.judge(servers, point).violations == []
    mistake.make(monkeypatch)
    assert mistake.words in " ".join(matrix.judge(servers, point).violations)


def test_a_point_whose_call_is_never_made_is_a_violation(servers: Stage) -> None:
    point = matrix.Point(play("upload, v2"), Call("submit", "dynamodb.DeleteTable", 1), How.BEFORE)
    assert matrix.judge(servers, point).violations == ["the call was never made"]


def test_a_clean_run_with_another_end_than_its_scenario_is_an_error(servers: Stage) -> None:
    wrong = Scenario("wrong", play("upload, v2").begin, State.EXPIRED)
    with pytest.raises(AssertionError, match="the clean run ends in"):
        matrix.clean(servers, wrong)
