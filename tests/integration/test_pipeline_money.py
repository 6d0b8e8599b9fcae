"""No video is paid for twice or lost: crashes, rate limits, keys, credits, deadlines."""

import json
import threading
from collections.abc import Callable

import pytest
from pipeline import UPLOADS, Change, Pipeline, app, http, png, s3_event
from seedance.jobs.handoff import IntakeQueue, Workflow, intake_queue
from seedance.jobs.job import Hold, State, upload_job_id
from seedance.jobs.store import JobStore, jobs
from seedance.jobs.switch import switch
from seedance.notices.notifier import Notifier
from seedance.provider.client import Provider
from seedance.reconcile import release

from local.sandbox.inprocess import KEY

Crash = Callable[..., None]
NEW_KEY = "SG_fedcba9876543210"


def moving_to(state: State) -> Callable[..., bool]:
    return lambda _job, target, **_: target is state


# Where the submit function may be killed, and how the job ends after redelivery.
SUBMIT_DIES = {
    "before the record is written": (JobStore, "create", None, False, State.COMPLETED, 1),
    "after the record is written": (JobStore, "create", None, True, State.COMPLETED, 1),
    "before it says that it will send": (JobStore, "move", State.SUBMITTING, False, State.COMPLETED, 1),
    "before it sends": (JobStore, "move", State.SUBMITTING, True, State.UNCERTAIN, 0),
    "after it sent": (Provider, "submit", None, True, State.UNCERTAIN, 1),
    "before it writes the request id": (JobStore, "move", State.QUEUED, False, State.UNCERTAIN, 1),
    "after it wrote the request id": (JobStore, "move", State.QUEUED, True, State.COMPLETED, 1),
    "after it started the workflow": (Workflow, "start", None, True, State.COMPLETED, 1),
}


@pytest.mark.parametrize("moment", SUBMIT_DIES)
def test_a_submit_that_is_killed_is_never_sent_twice(pipeline: Pipeline, crash: Crash, moment: str) -> None:
    owner, method, target, after, ends, accepted = SUBMIT_DIES[moment]
    crash(owner, method, *([moving_to(target)] if target else []), after=after)
    job_id = pipeline.upload(resolution="480p")
    assert pipeline.deliver() == 1
    if ends is State.UNCERTAIN:
        assert pipeline.deliver() == 1  # an invocation that crashed a moment ago may as well be running still
        pipeline.pass_time(80)
    pipeline.run(job_id)
    pipeline.check(job_id, ends, accepted=accepted, says="it is not known whether the request arrived")


# Where a task of the workflow may be killed; its retry continues from there.
TASK_DIES = {
    "after it wrote the link": (JobStore, "move", State.COPYING, True),
    "before the record is complete": (JobStore, "move", State.COMPLETED, False),
    "after the record is complete": (JobStore, "move", State.COMPLETED, True),
    "before it publishes": (Notifier, "notify", None, False),
    "after it published": (Notifier, "notify", None, True),
}


@pytest.mark.parametrize("moment", TASK_DIES)
def test_a_task_that_is_killed_is_continued_where_it_stopped(pipeline: Pipeline, crash: Crash, moment: str) -> None:
    owner, method, target, after = TASK_DIES[moment]
    crash(owner, method, *([moving_to(target)] if target else []), after=after)
    job_id = pipeline.upload(resolution="480p")
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


# Where the blocking call may be killed. It is not retried: the catch leads to Fail.
GENERATE_DIES = {
    "before it says that it will send": (JobStore, "move", State.SUBMITTING, False, State.RECEIVED, 0),
    "before it sends": (JobStore, "move", State.SUBMITTING, True, State.UNCERTAIN, 0),
    "before it writes that the video is there": (JobStore, "move", State.COPYING, False, State.UNCERTAIN, 1),
}


@pytest.mark.parametrize("moment", GENERATE_DIES)
def test_a_blocking_call_that_is_killed_is_never_sent_twice(pipeline: Pipeline, crash: Crash, moment: str) -> None:
    owner, method, target, after, ends, accepted = GENERATE_DIES[moment]
    pipeline.sandbox.configure(time_scale=0.001)
    crash(owner, method, moving_to(target), after=after)
    job_id = pipeline.upload(model="seedance-pro", transport="v1", resolution="480p")
    pipeline.deliver()
    assert pipeline.drive(job_id) == "Crashed"
    job = pipeline.job(job_id)
    assert (job.state, pipeline.sandbox.summary()["accepted"]) == (ends, accepted)
    assert pipeline.notifications() == []


def test_a_second_delivery_while_the_first_is_submitting_has_to_wait(pipeline: Pipeline) -> None:
    version = pipeline.put("uploads/shoe.png", png(), {"resolution": "480p"})
    event = json.dumps(s3_event("uploads/shoe.png", version, 100))
    pipeline.sandbox.fault("submit", "slow", seconds=0.5)
    first = threading.Thread(target=pipeline.submit, args=(event,))
    first.start()
    while not pipeline.sandbox.calls("/v2/"):
        assert first.is_alive()
    assert not pipeline.submit(event)
    first.join()
    assert pipeline.submit(event)
    job_id = upload_job_id(UPLOADS, "uploads/shoe.png", version)
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


def test_an_interrupted_postponement_is_repeated_by_the_next_delivery(pipeline: Pipeline, crash: Crash) -> None:
    pipeline.sandbox.fault("submit", "http-429", seconds=30.0)
    crash(IntakeQueue, "send", after=False)
    job_id = pipeline.upload(resolution="480p")
    assert pipeline.deliver() == 1
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


# rate limits ----------------------------------------------------------------------------------------------


def test_many_uploads_under_a_tight_rate_limit_all_become_videos(pipeline: Pipeline) -> None:
    pipeline.sandbox.configure(rate_limit=2)
    ids = [pipeline.upload(f"uploads/{number}.png", prompt=str(number), resolution="480p") for number in range(5)]
    while pipeline.waiting():
        pipeline.deliver()
    assert [pipeline.run(job_id).state for job_id in ids] == [State.COMPLETED] * 5
    summary = pipeline.sandbox.summary()
    assert (summary["accepted"], summary["duplicates"]) == (5, [])
    assert summary["by_status_code"]["429"] > 0


def test_a_rate_limit_is_waited_for_as_long_as_the_provider_says(pipeline: Pipeline) -> None:
    pipeline.sandbox.fault("submit", "http-429", seconds=100.0)
    job_id = pipeline.upload(resolution="480p")
    pipeline.deliver()
    assert pipeline.waiting() == [pytest.approx(100, abs=2)]
    assert pipeline.job(job_id).attempts == 0  # a rate limit is not the job's fault
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


def test_a_failing_provider_is_retried_less_and_less_often_and_then_given_up(pipeline: Pipeline) -> None:
    pipeline.sandbox.fault("submit", "http-500", times=0)
    job_id = pipeline.upload()
    waits = []
    while pipeline.waiting():
        pipeline.deliver()
        waits += pipeline.waiting()
    assert waits == [15, 30, 60, 120, 240]
    pipeline.check(job_id, State.FAILED, accepted=0, says="it answered 500")


# the account ----------------------------------------------------------------------------------------------


def test_submits_stop_without_credits_and_resume_after_a_top_up(pipeline: Pipeline) -> None:
    pipeline.sandbox.configure(credits=0.01)
    ids = [pipeline.upload(f"uploads/{number}.png", prompt=str(number), resolution="480p") for number in range(3)]
    for job_id in ids:
        job = pipeline.run(job_id)
        assert (job.state, (job.error or {})["code"], job.reserved_usd) == (State.HELD, Hold.PAUSED, None)
        assert "out of credits" in (job.error or {})["message"]
    assert len(pipeline.sandbox.calls("/v2/")) == 1  # the other jobs are held without a call
    assert [told["status"] for told in pipeline.notifications()] == ["HELD"] * 3
    pipeline.reconcile()
    assert pipeline.waiting() == []  # a person must top up and run `seedance resume`
    pipeline.sandbox.configure(credits=5)
    switch().resume()
    for job_id in ids:
        release(jobs(), intake_queue(pipeline.queue), jobs().get(job_id) or job)
    assert [pipeline.run(job_id).state for job_id in ids] == [State.COMPLETED] * 3
    assert pipeline.sandbox.summary()["accepted"] == 3


def test_a_retired_model_is_named_as_the_reason(pipeline: Pipeline) -> None:
    pipeline.sandbox.configure(retired=["seedance-1.5-pro"])
    job_id = pipeline.upload(model="seedance-1.5-pro")
    pipeline.run(job_id)
    pipeline.check(job_id, State.FAILED, accepted=0, says="retired this model")


def put_key(pipeline: Pipeline, key: str) -> None:
    pipeline.client("secretsmanager").put_secret_value(SecretId=pipeline.secret, SecretString=key)


def test_a_corrected_key_works_without_a_new_deployment(pipeline: Pipeline) -> None:
    put_key(pipeline, "SG_wrong")
    job_id = pipeline.upload(resolution="480p")
    pipeline.run(job_id)
    pipeline.check(job_id, State.FAILED, accepted=0, says="Put a valid key into the stack's secret")
    put_key(pipeline, KEY)
    assert pipeline.run(pipeline.upload(resolution="480p")).state is State.COMPLETED


def test_a_key_rotated_while_a_video_is_made_loses_nothing(pipeline: Pipeline) -> None:
    job_id = pipeline.upload(resolution="480p")
    pipeline.deliver()
    pipeline.pass_time(30)
    app("poll").handler({"job_id": job_id}, None)  # now this function has the old key in memory
    pipeline.sandbox.configure(api_keys=[NEW_KEY])
    put_key(pipeline, NEW_KEY)
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)
    assert pipeline.sandbox.summary()["by_status_code"]["401"] == 1


@pytest.mark.parametrize("key", [None, " ", "two words", "SG_ü"])
@pytest.mark.sampled(2)
def test_without_a_valid_key_in_the_secret_jobs_wait_for_one(pipeline: Pipeline, key: str | None) -> None:
    secrets = pipeline.client("secretsmanager")
    if key is None:
        secrets.delete_secret(SecretId=pipeline.secret)
    else:
        put_key(pipeline, key)
    job_id = pipeline.upload(resolution="480p")
    assert pipeline.deliver() == 1
    assert pipeline.job(job_id).state is State.RECEIVED
    if key is None:
        secrets.restore_secret(SecretId=pipeline.secret)
    put_key(pipeline, f"{KEY}\n")  # as `aws secretsmanager` reads it from a file
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


def test_an_unreachable_provider_has_certainly_queued_nothing(pipeline: Pipeline, set_up: Change) -> None:
    set_up(segmind_base_url="http://127.0.0.1:9")
    job_id = pipeline.upload(resolution="480p")
    pipeline.deliver()
    assert pipeline.job(job_id).state is State.RECEIVED
    set_up(segmind_base_url=pipeline.sandbox.url)
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


# time -----------------------------------------------------------------------------------------------------


def test_a_job_that_never_ends_is_polled_for_its_hour_and_not_too_often(pipeline: Pipeline) -> None:
    pipeline.sandbox.fault("job", "stuck-processing")
    job_id = pipeline.upload()
    pipeline.run(job_id)
    job = pipeline.check(job_id, State.EXPIRED, says="hour")
    # The hour of its record, and one more in which the history says that it is still running.
    assert 7200 <= job.entered["EXPIRED"] - job.entered["QUEUED"] < 7510
    # About once a minute; how many more around its likely end depends on this machine's speed.
    assert 40 < len(pipeline.sandbox.calls("/v2/requests/")) < 150
    assert len(pipeline.sandbox.calls("/inference-request/")) <= 14


@pytest.mark.sampled(3)
@pytest.mark.parametrize("seconds", [49, 200, 1800, 3500, 3590, 3597, 3599])
def test_a_video_completed_within_the_hour_is_collected(pipeline: Pipeline, seconds: float) -> None:
    job_id = pipeline.upload(resolution="480p")
    pipeline.deliver()
    (job,) = pipeline.sandbox.state.jobs.values()
    job.total_seconds = seconds
    if seconds > 1000:
        pipeline.pass_time(seconds - 500)
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


def test_a_job_whose_record_expired_before_the_first_poll_is_found_in_the_history(pipeline: Pipeline) -> None:
    job_id = pipeline.upload(resolution="480p")
    pipeline.deliver()
    pipeline.pass_time(3700)
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


def test_a_link_that_was_seen_in_time_is_copied_long_after_the_hour(pipeline: Pipeline) -> None:
    job_id = pipeline.upload(resolution="480p")
    pipeline.deliver()
    pipeline.pass_time(60)
    assert app("poll").handler({"job_id": job_id}, None)["status"] == "COMPLETED"
    pipeline.pass_time(6 * 24 * 3600)
    pipeline.run(job_id)
    pipeline.check(job_id, State.COMPLETED)


def test_a_file_deleted_at_the_provider_is_not_a_success(pipeline: Pipeline) -> None:
    job_id = pipeline.upload(resolution="480p")
    pipeline.deliver()
    pipeline.pass_time(60)
    app("poll").handler({"job_id": job_id}, None)
    pipeline.pass_time(8 * 24 * 3600)
    pipeline.run(job_id)
    assert pipeline.job(job_id).state is State.COPYING  # we could not copy it: that alone does not end the job
    pipeline.pass_time(3601)
    pipeline.reconcile()
    pipeline.check(job_id, State.FAILED, says="could not be copied before the provider deleted it")


# where a result may come from -----------------------------------------------------------------------------


@pytest.mark.hostile(kind="address")
@pytest.mark.parametrize("hosts", ["images.segmind.com", "localhost", "127.0.0.1", "127.0.0.1:9"])
@pytest.mark.sampled(2)
def test_a_result_is_downloaded_only_from_allowed_hosts(pipeline: Pipeline, set_up: Change, hosts: str) -> None:
    set_up(segmind_media_hosts=hosts)
    job_id = pipeline.upload(resolution="480p")
    pipeline.run(job_id)
    job = pipeline.check(job_id, State.HELD, says="The result is on 127.0.0.1")
    assert hosts in (job.error or {})["message"]
    assert pipeline.sandbox.calls("/media/") == []


def test_a_held_result_can_be_downloaded_from_the_link_in_its_notification(pipeline: Pipeline, set_up: Change) -> None:
    set_up(segmind_media_hosts="images.segmind.com")
    job_id = pipeline.upload(resolution="480p")
    pipeline.run(job_id)
    link = pipeline.notifications()[0]["error"]["message"].rpartition(" ")[2]
    assert http().get(link).content[4:8] == b"ftyp"
