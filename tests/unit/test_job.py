"""The job: allowed transitions, ids that are the same for the same event, records, timings."""

import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seedance.errors import BadRecord
from seedance.jobs.job import (
    AT_PROVIDER,
    REOPENABLE,
    TRANSITIONS,
    UNDER_WAY,
    Job,
    State,
    api_job_id,
    phase,
    upload_job_id,
)

# The design's table, written a second time: from each state, the states that may follow.
FOLLOWING = {
    "RECEIVED": "SUBMITTING REJECTED FAILED HELD CANCELLED",
    "SUBMITTING": "QUEUED COPYING RECEIVED FAILED HELD UNCERTAIN",
    "QUEUED": "PROCESSING COPYING FAILED EXPIRED HELD",
    "PROCESSING": "COPYING FAILED EXPIRED HELD",
    "COPYING": "COMPLETED FAILED EXPIRED HELD",
    "HELD": "RECEIVED QUEUED COPYING FAILED CANCELLED",
    "UNCERTAIN": "QUEUED COPYING HELD RECEIVED FAILED",
    "COMPLETED": "",
    "FAILED": "COPYING RECEIVED",  # only by a person's command
    "EXPIRED": "COPYING RECEIVED",
    "REJECTED": "",
    "CANCELLED": "",
}
# The states of each phase, written a second time as well.
PHASES = {
    "WAITING": "RECEIVED HELD",
    "SENDING": "SUBMITTING UNCERTAIN",
    "AT_PROVIDER": "QUEUED PROCESSING COPYING",
    "OVER": "COMPLETED FAILED EXPIRED REJECTED CANCELLED",
}
# Allowed names of an execution in Step Functions.
EXECUTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
TEXT = st.text(max_size=40)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("target", State)
def test_only_transitions_in_the_table_are_allowed(state: State, target: State) -> None:
    allowed = target in FOLLOWING[state].split()
    assert (target in TRANSITIONS[state]) is allowed


@pytest.mark.parametrize("state", State)
def test_each_state_is_in_the_phase_of_the_table(state: State) -> None:
    (name,) = (name for name, states in PHASES.items() if state in states.split())
    assert phase(state).name == name
    assert (state in UNDER_WAY) is (name in ("SENDING", "AT_PROVIDER"))
    assert (state in AT_PROVIDER) is (name == "AT_PROVIDER")


@pytest.mark.parametrize("state", State)
def test_terminal_states_are_left_only_by_a_persons_command(state: State) -> None:
    assert state.terminal is (state in PHASES["OVER"].split())
    if state.terminal:
        assert TRANSITIONS[state] <= {State.COPYING, State.RECEIVED}
    assert (state in REOPENABLE) is (state in ("FAILED", "EXPIRED"))


def test_a_job_is_cancelled_only_before_it_is_bought_and_never_reopened() -> None:
    assert {state for state in State if State.CANCELLED in TRANSITIONS[state]} == {State.RECEIVED, State.HELD}
    assert TRANSITIONS[State.CANCELLED] == frozenset()


@pytest.mark.parametrize("state", [state for state in State if not state.terminal])
def test_every_other_state_can_reach_a_terminal_one(state: State) -> None:
    reached, edge = {state}, {state}
    while edge := {target for source in edge for target in TRANSITIONS[source]} - reached:
        reached |= edge
    assert any(target.terminal for target in reached)


def test_a_running_job_is_never_submitted_again() -> None:
    for state in (State.QUEUED, State.PROCESSING, State.COPYING):
        assert not {State.RECEIVED, State.SUBMITTING} & TRANSITIONS[state]


def test_the_same_event_is_the_same_job() -> None:
    assert upload_job_id("bucket", "uploads/a.png", "v1") == upload_job_id("bucket", "uploads/a.png", "v1")
    assert api_job_id("caller", "key") == api_job_id("caller", "key")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("bucket", "uploads/a.png", "v1"), ("bucket", "uploads/a.png", "v2")),
        (("bucket", "uploads/a.png", "v1"), ("bucket", "uploads/b.png", "v1")),
        (("bucket", "uploads/a.png", "v1"), ("bucket2", "uploads/a.png", "v1")),
        (("bucket", "a", "bc"), ("bucket", "ab", "c")),
        (("a", "b", "c"), ("ab", "", "c")),
        (("b", "1:x", ""), ("b", "1", ":x")),
    ],
)
def test_another_upload_is_another_job(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert upload_job_id(*one) != upload_job_id(*other)


@given(st.tuples(TEXT, TEXT, TEXT), st.tuples(TEXT, TEXT, TEXT))
def test_ids_of_uploads_are_equal_only_for_equal_uploads(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (upload_job_id(*one) == upload_job_id(*other)) is (one == other)


def test_an_upload_and_a_call_never_share_an_id_nor_do_two_callers() -> None:
    assert upload_job_id("a", "b", "") != api_job_id("a", "b")
    assert api_job_id("caller-1", "key") != api_job_id("caller-2", "key")


@given(TEXT, TEXT, TEXT)
def test_an_id_is_a_valid_execution_name(bucket: str, key: str, version: str) -> None:
    for job_id in (upload_job_id(bucket, key, version), api_job_id(bucket, key)):
        assert EXECUTION_NAME.fullmatch(job_id)


@pytest.mark.parametrize("state", State)
def test_a_job_survives_a_round_trip_through_its_record(make_job: Callable[..., Job], state: State) -> None:
    job = make_job(state, error={"code": "X", "message": "y"}, cost_usd=0.25, metrics={"total": 61.5})
    assert Job.from_record(job.to_record()) == job


def test_a_record_has_no_empty_attributes_and_every_field_that_has_a_value(make_job: Callable[..., Job]) -> None:
    record = make_job().to_record()
    assert None not in record.values()
    job = make_job()
    assert set(record) == {f.name for f in fields(Job) if getattr(job, f.name) is not None}


def test_attributes_of_a_newer_version_are_ignored(make_job: Callable[..., Job]) -> None:
    assert Job.from_record({**make_job().to_record(), "from_the_future": 1}) == make_job()


def test_an_unknown_state_is_an_error(make_job: Callable[..., Job]) -> None:
    with pytest.raises(BadRecord, match="its state has the invalid value 'DREAMING'"):
        Job.from_record({**make_job().to_record(), "state": "DREAMING"})


def test_the_video_is_stored_under_videos_in_the_uploads_folder(make_job: Callable[..., Job]) -> None:
    assert make_job(folder="sale/red shoe").video_key == "videos/sale/red shoe/up-1.mp4"


@pytest.mark.parametrize(
    ("submitted_at", "now", "scale", "age"),
    [(100.0, 160.0, 1.0, 60.0), (100.0, 160.0, 0.1, 600.0), (None, 160.0, 1.0, 0.0)],
)
def test_age_is_measured_in_the_providers_seconds(
    make_job: Callable[..., Job], submitted_at: float | None, now: float, scale: float, age: float
) -> None:
    assert make_job(submitted_at=submitted_at).age(now, scale) == pytest.approx(age)


@pytest.mark.parametrize(
    ("entered", "submitted_at", "metrics", "timings"),
    [
        ({"RECEIVED": 10.0}, None, {}, {}),
        ({"RECEIVED": 10.0, "REJECTED": 10.5}, None, {}, {"total_seconds": 0.5}),
        ({"RECEIVED": 10.0, "QUEUED": 12.5}, 12.0, {}, {"until_submitted_seconds": 2.0}),
        (
            {"RECEIVED": 10.0, "QUEUED": 12.5, "COPYING": 72.0, "COMPLETED": 75.25},
            12.0,
            {"total": 55.5, "queue": 3.0},
            {
                "total_seconds": 65.25,
                "until_submitted_seconds": 2.0,
                "at_provider_seconds": 60.0,
                "copying_seconds": 3.25,
                "provider_total_seconds": 55.5,
                "provider_queue_seconds": 3.0,
            },
        ),
        # It failed, and a retry copied the video.
        (
            {"RECEIVED": 10.0, "FAILED": 20.0, "COPYING": 30.0, "COMPLETED": 35.0, "EXPIRED": 15.0},
            12.0,
            {},
            {
                **{"total_seconds": 25.0, "until_submitted_seconds": 2.0},
                **{"at_provider_seconds": 18.0, "copying_seconds": 5.0},
            },
        ),
        # The clocks of two functions differ, but no duration is negative.
        ({"RECEIVED": 10.0, "REJECTED": 9.9}, None, {}, {"total_seconds": 0.0}),
    ],
)
def test_timings_give_the_duration_of_each_stage(
    make_job: Callable[..., Job],
    entered: dict[str, float],
    submitted_at: float | None,
    metrics: dict[str, float],
    timings: dict[str, Any],
) -> None:
    job = make_job(created_at=10.0, entered=entered, submitted_at=submitted_at, metrics=metrics)
    assert job.timings() == timings
