"""Shows a job's progress: its state, the elapsed time, and the expected time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import assert_never

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from seedance.batches.job_states import JOBS_A_READ
from seedance.jobs.job import Hold, Job, State
from seedance.paid_call import MAX_ATTEMPTS

from cli import progress, show
from cli.target import CommandError, Target

PATIENCE_SECONDS = 60.0
"""How long to wait for an upload's job to appear. S3 delivers events within seconds."""

_UNTIL = "reconcile searches the history every five minutes, for a quarter of an hour"


def _words(state: State | None) -> str:  # noqa: PLR0912 - one line a state
    match state:
        case None:
            return "waiting in the queue"
        case State.RECEIVED:
            return "accepted"
        case State.SUBMITTING:
            return "being submitted"
        case State.QUEUED:
            return "in the provider's queue"
        case State.PROCESSING:
            return "being generated"
        case State.COPYING:
            return "being copied to the bucket"
        case State.COMPLETED:
            return "ready"
        case State.FAILED:
            return "failed"
        case State.EXPIRED:
            return "timed out"
        case State.REJECTED:
            return "rejected"
        case State.CANCELLED:
            return "cancelled"
        case State.HELD:
            return "held"
        case State.UNCERTAIN:
            return "searched for in the history"
        case _:
            assert_never(state)


@dataclass(frozen=True)
class Moment:
    """A job's progress at one moment."""

    state: State | None
    elapsed: float
    expected: float | None
    remark: str = ""
    """If something is being retried, what went wrong."""

    @property
    def share(self) -> float:
        """The part of the expected time that has passed. Below 1 until the job has ended."""
        if self.state in (State.COMPLETED,):
            return 1.0
        return min(0.99, self.elapsed / self.expected) if self.expected else 0.0

    def line(self) -> str:
        """The progress in at most 64 characters."""
        state = self.state.value if self.state else "WAITING"
        expected = f" of about {self.expected:.0f} s" if self.expected else ""
        return f"{state:<10} {_words(self.state):<26} {self.elapsed:5.1f} s{expected}"

    def text(self) -> str:
        """The progress and its remark as one line."""
        return f"{self.line()}; {self.remark}" if self.remark else self.line()


def moment(job: Job | None, since: float, now: float, scale: float) -> Moment:
    """The job's progress. Time counts from the start of the wait, or from the job's creation if that was earlier."""
    if job is None:
        return Moment(None, max(0.0, now - since), None)
    begun = min(since, job.created_at or since)
    return Moment(job.state, max(0.0, now - begun), (job.expected_seconds * scale) or None, _remark(job))


def _remark(job: Job) -> str:
    if job.state is State.UNCERTAIN:
        return f"it may have been sent, so nothing is sent again; {_UNTIL}"
    if job.state is State.SUBMITTING and job.attempts > 1:
        return f"attempt {job.attempts} of {MAX_ATTEMPTS}"
    if job.state is not State.RECEIVED or job.error is None:
        return ""
    # A rate limit does not use up an attempt, so the next attempt may still be the first.
    return f"waiting for attempt {min(job.attempts + 1, MAX_ATTEMPTS)} of {MAX_ATTEMPTS}: {job.error['message']}"


def over(job: Job | None) -> bool:
    """Whether to stop waiting: the job has ended or is held. An UNCERTAIN job continues by itself, or is held."""
    return job is not None and (job.state.terminal or job.state is State.HELD)


def follow(target: Target, job_id: str, console: Console, deadline: float | None = None) -> Job | None:
    """Show the job's progress until it ends. Returns None if no job appeared, or if ``deadline`` passed."""
    since = time.time()
    present, close = _live(console) if console.is_terminal else _plain(console)
    try:
        while True:
            job = target.jobs.get(job_id)
            now = time.time()
            present(moment(job, since, now, target.time_scale))
            if over(job):
                return job
            if (job is None and now - since > PATIENCE_SECONDS) or (deadline and now > deadline):
                return None
            time.sleep(target.poll_seconds)
    finally:
        close()


def follow_all(target: Target, job_ids: Sequence[str]) -> list[Job]:
    """Show how many of many jobs have ended, until all have or are held. Returns them in the same order.

    Raises CommandError if some do not appear.
    """
    since, ended = time.time(), set[str]()
    with progress.counting("videos", len(job_ids)) as advance:
        while left := [one for one in job_ids if one not in ended]:
            known = 0
            for first in range(0, len(left), JOBS_A_READ):
                found = target.register.read(left[first : first + JOBS_A_READ], [])
                known += len(found)
                over_now = {one for one, job in found.items() if job.state.terminal or job.state is State.HELD}
                ended |= over_now
                advance(len(over_now))
            if known < len(left) and time.time() - since > PATIENCE_SECONDS:
                raise CommandError(
                    f"{len(left) - known} of {len(job_ids)} jobs did not appear within {PATIENCE_SECONDS:.0f} s; check "
                    "the queues and the submit function's log"
                )
            if len(ended) < len(set(job_ids)):
                time.sleep(target.poll_seconds)
    return [job for one in job_ids if (job := target.jobs.get(one))]


Present = Callable[[Moment], None]


def _live(console: Console) -> tuple[Present, Callable[[], None]]:
    # A line of it has at most 80 columns. A remark may be longer, so it is printed above, once.
    bar = Progress(SpinnerColumn(finished_text=" "), BarColumn(12), TextColumn("{task.description}"), console=console)
    task = bar.add_task("", total=1.0)
    bar.start()
    last = ""

    def present(now: Moment) -> None:
        nonlocal last
        if now.remark and now.remark != last:
            console.print(f"  {now.remark}", highlight=False, markup=False, soft_wrap=True)
        last = now.remark
        bar.update(task, description=now.line(), completed=now.share)

    return present, bar.stop


def _plain(console: Console) -> tuple[Present, Callable[[], None]]:
    # A log file gets a line for each change, and one every 10 s to show that the command is still running.
    last: list[Moment] = []

    def present(now: Moment) -> None:
        news = not last or (last[-1].state, last[-1].remark) != (now.state, now.remark)
        if news or now.elapsed - last[-1].elapsed >= 10:
            last.append(now)
            console.print(f"  {now.text()}", highlight=False, markup=False, soft_wrap=True)

    return present, lambda: None


def reason(job: Job) -> str:
    """Why there is no video, as a sentence."""
    said = job.error["message"] if job.error else "no reason is recorded"
    return f"job {job.job_id} is {job.state.value}{_waits_for(job)}: {said}"


def _waits_for(job: Job) -> str:
    """What a HELD job waits for."""
    if job.state is not State.HELD:
        return ""
    match job.code:
        case Hold.BUDGET:
            return f" until {show.moment(_next_day(job))}" if job.held_day else " until the next day"
        case Hold.PAUSED:
            return " until `seedance resume`"
        case _:
            return " and needs a person's decision"


def _next_day(job: Job) -> float:
    """When the day after the one whose budget is used up begins."""
    day = datetime.combine(date.fromisoformat(str(job.held_day)), datetime.min.time(), UTC)
    return (day + timedelta(days=1)).timestamp()
