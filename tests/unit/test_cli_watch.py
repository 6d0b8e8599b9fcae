"""A job's progress as users see it."""

import io
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from seedance.jobs.job import Hold, Job, State

from cli import watch
from cli.target import CommandError, Target
from cli.watch import Moment, moment, over, reason

MakeJob = Callable[..., Job]


def test_progress_before_the_job_exists() -> None:
    now = moment(None, since=100, now=102.5, scale=1)
    assert now.text().startswith("WAITING")
    assert now.text().endswith("2.5 s")


def test_progress_is_in_this_machines_seconds(make_job: MakeJob) -> None:
    job = make_job(State.PROCESSING, created_at=101.0, expected_seconds=49)
    now = moment(job, since=100, now=102.5, scale=0.1)
    assert now == Moment(State.PROCESSING, 2.5, pytest.approx(4.9))
    assert now.text().startswith("PROCESSING being generated")
    assert now.text().endswith("2.5 s of about 5 s")


PUT_OFF = {"code": "PROVIDER_UNAVAILABLE", "message": "The provider is failing: it answered 500."}


@pytest.mark.parametrize(
    ("state", "attempts", "error", "remark"),
    [
        (State.RECEIVED, 0, None, ""),
        (State.RECEIVED, 1, PUT_OFF, f"waiting for attempt 2 of 6: {PUT_OFF['message']}"),
        (State.RECEIVED, 0, PUT_OFF, f"waiting for attempt 1 of 6: {PUT_OFF['message']}"),  # a rate limit
        (State.RECEIVED, 6, PUT_OFF, f"waiting for attempt 6 of 6: {PUT_OFF['message']}"),
        (State.SUBMITTING, 1, None, ""),
        (State.SUBMITTING, 3, None, "attempt 3 of 6"),
        (State.QUEUED, 3, None, ""),
        (State.UNCERTAIN, 1, PUT_OFF, f"it may have been sent, so nothing is sent again; {watch._UNTIL}"),
        (State.FAILED, 6, PUT_OFF, ""),  # `reason` says it at the end
    ],
)
def test_a_submit_that_is_tried_again_says_so(
    *, make_job: MakeJob, state: State, attempts: int, error: Any, remark: str
) -> None:
    now = moment(make_job(state, attempts=attempts, error=error), since=100, now=102.5, scale=1)
    assert now.remark == remark
    assert now.text().endswith(f" s; {remark}" if remark else " s")


def test_time_is_never_negative_when_clocks_differ(make_job: MakeJob) -> None:
    assert moment(make_job(created_at=200.0), since=100, now=99, scale=1).elapsed == 0


@pytest.mark.parametrize(
    ("now", "share"),
    [
        (Moment(State.PROCESSING, 5, 10), 0.5),
        (Moment(State.PROCESSING, 50, 10), 0.99),  # late, and not done
        (Moment(State.COMPLETED, 5, 10), 1.0),
        (Moment(None, 5, None), 0.0),
    ],
)
def test_the_bar_is_full_at_the_end_and_not_before(now: Moment, share: float) -> None:
    assert now.share == share


def test_every_state_has_a_description() -> None:
    for state in State:
        assert Moment(state, 1, None).text().startswith(state.value)


@pytest.mark.parametrize("state", State)
def test_waiting_ends_in_states_that_do_not_advance_by_themselves(make_job: MakeJob, state: State) -> None:
    assert over(make_job(state)) is (state.terminal or state is State.HELD)


def test_waiting_continues_while_there_is_no_job() -> None:
    assert not over(None)


@pytest.mark.parametrize(
    ("state", "code", "says"),
    [
        (State.FAILED, "X", "is FAILED: the picture was blocked"),
        (State.HELD, Hold.LOST, "is HELD and needs a person's decision: the picture was blocked"),
        (State.HELD, Hold.RESULT, "is HELD and needs a person's decision: the picture was blocked"),
        (State.HELD, Hold.PAUSED, "is HELD until `seedance resume`: the picture was blocked"),
        (State.HELD, Hold.BUDGET, "is HELD until 2026-11-21 01:00:00 CET: the picture was blocked"),
    ],
)
@pytest.mark.usefixtures("in_berlin")
def test_the_reason_is_readable(make_job: MakeJob, state: State, code: str, says: str) -> None:
    job = make_job(state, error={"code": str(code), "message": "the picture was blocked"}, held_day="2026-11-20")
    assert reason(job).endswith(says)
    assert reason(make_job(State.EXPIRED)).endswith("no reason is recorded")


def test_a_job_without_its_days_name_is_held_until_the_next_day(make_job: MakeJob) -> None:
    job = make_job(State.HELD, error={"code": Hold.BUDGET.value, "message": "m"})
    assert "is HELD until the next day: m" in reason(job)


def test_a_line_on_a_screen_fits_into_80_columns(make_job: MakeJob) -> None:
    for state in [None, *State]:
        assert len(Moment(state, 3599.9, 159.0).line()) <= 64


def test_an_uncertain_job_is_waited_for_until_it_is_found(clock: Any, make_job: MakeJob) -> None:
    jobs = [*[make_job(State.UNCERTAIN)] * 5, make_job(State.QUEUED), make_job(State.COMPLETED)]
    log = io.StringIO()
    job = watch.follow(target(*jobs), "up-1", Console(file=log, width=300))
    assert job is not None
    assert job.state is State.COMPLETED
    assert [line.split()[0] for line in log.getvalue().splitlines()] == ["UNCERTAIN", "QUEUED", "COMPLETED"]
    assert "reconcile searches the history every five minutes" in log.getvalue()


def test_a_remark_is_printed_once_and_in_full_on_a_narrow_screen(clock: Any, make_job: MakeJob) -> None:
    jobs = [*[make_job(State.RECEIVED, attempts=1, error=PUT_OFF)] * 4, make_job(State.COMPLETED)]
    screen = Console(file=io.StringIO(), force_terminal=True, width=40, color_system=None)
    watch.follow(target(*jobs), "up-1", screen)
    said = screen.file.getvalue()  # type: ignore[attr-defined]
    assert said.count(f"waiting for attempt 2 of 6: {PUT_OFF['message']}") == 1


class Register:
    """Many jobs, of which one more has ended at each read."""

    def __init__(self, job_ids: list[str], end: State) -> None:
        self.ids, self.end, self.reads = job_ids, end, 0

    def read(self, job_ids: list[str], _: list[str]) -> dict[str, Any]:
        self.reads += 1
        states = {one: self.end if number < self.reads else State.QUEUED for number, one in enumerate(self.ids)}
        return {one: SimpleNamespace(state=states[one]) for one in job_ids}


@pytest.mark.parametrize("end", [State.COMPLETED, State.FAILED, State.HELD])
def test_many_jobs_are_followed_to_their_ends(clock: Any, make_job: MakeJob, end: State) -> None:
    made = target(make_job(end))
    job_ids = [f"up-{number}" for number in range(3)]
    made.__dict__["register"] = Register(job_ids, end)
    assert [job.state for job in watch.follow_all(made, job_ids)] == [end] * 3
    assert made.register.reads == 3


def test_jobs_that_do_not_appear_are_not_waited_for(clock: Any) -> None:
    made = target(None)
    made.__dict__["register"] = SimpleNamespace(read=lambda *_: {})
    with pytest.raises(CommandError, match="2 of 2 jobs did not appear within 60 s"):
        watch.follow_all(made, ["up-1", "up-2"])


@pytest.fixture
def in_berlin() -> Iterator[None]:
    """This machine's zone is Berlin's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


class Records:
    """A table in which a job advances each time it is read."""

    def __init__(self, *jobs: Job | None) -> None:
        self.jobs = list(jobs)

    def get(self, _: str) -> Job | None:
        return self.jobs.pop(0) if len(self.jobs) > 1 else self.jobs[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time passes only when the code sleeps."""
    made = SimpleNamespace(now=1000.0)

    def sleep(seconds: float) -> None:
        made.now += seconds

    monkeypatch.setattr(watch, "time", SimpleNamespace(time=lambda: made.now, sleep=sleep))
    return made


def target(*jobs: Job | None) -> Target:
    made = Target({"JobTableName": "jobs"})
    made.__dict__["jobs"] = Records(*jobs)
    return made


@pytest.mark.parametrize("terminal", [False, True])
def test_a_job_is_followed_to_its_end(clock: Any, make_job: MakeJob, terminal: bool) -> None:
    jobs = [None, make_job(State.QUEUED), make_job(State.PROCESSING), make_job(State.COMPLETED)]
    screen = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    job = watch.follow(target(*jobs), "up-1", screen)
    assert job is not None
    assert job.state is State.COMPLETED
    assert "COMPLETED" in screen.file.getvalue()  # type: ignore[attr-defined]


def test_a_log_gets_a_line_for_each_change_and_one_at_intervals(clock: Any, make_job: MakeJob) -> None:
    jobs = [*[make_job(State.QUEUED)] * 3, *[make_job(State.PROCESSING)] * 8, make_job(State.COMPLETED)]
    log = io.StringIO()
    watch.follow(target(*jobs), "up-1", Console(file=log, width=100))
    assert [line.split()[0] for line in log.getvalue().splitlines()] == [
        "QUEUED", "PROCESSING", "PROCESSING", "COMPLETED"
    ]  # fmt: skip


def test_a_log_gets_a_line_for_each_failed_attempt(clock: Any, make_job: MakeJob) -> None:
    waiting = [make_job(State.RECEIVED, attempts=number, error=PUT_OFF) for number in (1, 1, 2)]
    log = io.StringIO()
    watch.follow(target(*waiting, make_job(State.COMPLETED)), "up-1", Console(file=log, width=200))
    said = [line.partition("; ")[2][:24] for line in log.getvalue().splitlines()]
    assert said == ["waiting for attempt 2 of", "waiting for attempt 3 of", ""]


def test_waiting_for_an_upload_that_becomes_no_job_ends(clock: Any) -> None:
    assert watch.follow(target(None), "up-1", Console(file=io.StringIO())) is None
    assert clock.now - 1000 < watch.PATIENCE_SECONDS + 5


def test_a_deadline_ends_the_wait(clock: Any, make_job: MakeJob) -> None:
    job = make_job(State.PROCESSING)
    assert watch.follow(target(job), "up-1", Console(file=io.StringIO()), deadline=1030) is None
    assert clock.now < 1040
    assert time.time() > 2000, "the real clock was not touched"
