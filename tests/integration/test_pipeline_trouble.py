"""Our own errors, on real sockets: they never end a job that is at the provider, however long they last."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from pipeline import Pipeline
from seedance.fail import Fail
from seedance.finalize import Finalize
from seedance.generate import Generate
from seedance.jobs.job import State
from seedance.paid_call import Sending
from seedance.poll import Poll

DOWN = ClientError({"Error": {"Code": "InternalServerError"}}, "GetItem")
DIES = {
    "poll": ([Poll], State.QUEUED),
    "poll and Fail": ([Poll, Fail], State.QUEUED),
    "finalize": ([Finalize], State.COPYING),
    "finalize and Fail": ([Finalize, Fail], State.COPYING),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", DIES)
@pytest.mark.parametrize("hours", [0.2, 1.9, 30])
def test_a_video_outlives_tasks_that_crash_for_hours(
    *, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, kind: str, hours: float
) -> None:
    dying, state = DIES[kind]

    def dies(*_: Any, **__: Any) -> None:
        raise DOWN

    with monkeypatch.context() as trouble:
        for task in dying:
            trouble.setattr(task, "__call__", dies)
        job_id = pipeline.upload(resolution="480p")
        pipeline.deliver()
        assert pipeline.drive(job_id) == "Crashed"
        assert (pipeline.job(job_id).state, pipeline.notifications()) == (state, [])
        for _ in range(3):  # each execution that reconcile starts crashes too
            pipeline.pass_time(hours * 1200)
            if pipeline.reconcile() == {"restarted": 1}:
                assert pipeline.drive(job_id) == "Crashed"
        assert (pipeline.job(job_id).state, pipeline.notifications()) == (state, [])
    pipeline.pass_time(3601)
    assert pipeline.reconcile() == {"restarted": 1}
    assert pipeline.drive(job_id) == "Done"
    pipeline.check(job_id, State.COMPLETED)


@pytest.mark.parametrize("times", [1, 3])
def test_a_v1_job_that_was_not_sent_because_of_our_own_error_is_sent_later(
    *, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    def dies(*_: Any) -> None:
        raise DOWN

    pipeline.sandbox.configure(time_scale=0.001)
    with monkeypatch.context() as trouble:
        trouble.setattr(Sending, "begin", dies)
        job_id = pipeline.upload(model="seedance-pro", transport="v1", resolution="480p")
        pipeline.deliver()
        for turn in range(times):
            assert pipeline.drive(job_id) == "Crashed"
            assert (pipeline.job(job_id).state, pipeline.notifications()) == (State.RECEIVED, [])
            pipeline.pass_time(1801)
            assert pipeline.reconcile() == {"enqueued": 1}, turn
    assert pipeline.drive(job_id) == "Done"
    pipeline.check(job_id, State.COMPLETED)


def test_a_failure_that_could_not_be_recorded_is_found_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any) -> None:
        raise DOWN

    pipeline.sandbox.fault("job", "fail", error="out of steam")
    with monkeypatch.context() as trouble:
        trouble.setattr(Fail, "__call__", dies)
        job_id = pipeline.upload(resolution="480p")
        pipeline.deliver()
        assert pipeline.drive(job_id) == "Crashed"
        assert not pipeline.job(job_id).state.terminal
    pipeline.pass_time(601)
    assert pipeline.reconcile() == {"restarted": 1}
    assert pipeline.drive(job_id) == "Done"
    pipeline.check(job_id, State.FAILED, says="out of steam")


def test_a_v1_job_whose_call_was_made_is_not_submitted_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any) -> None:
        raise DOWN

    pipeline.sandbox.configure(time_scale=0.001)
    monkeypatch.setattr(Generate, "_take", dies)
    job_id = pipeline.upload(model="seedance-pro", transport="v1", resolution="480p")
    pipeline.deliver()
    assert pipeline.drive(job_id) == "Crashed"
    assert pipeline.job(job_id).state is State.UNCERTAIN
    assert pipeline.reconcile() == {"resolved": 1}
    assert pipeline.drive(job_id) == "Done"
    pipeline.check(job_id, State.COMPLETED)
