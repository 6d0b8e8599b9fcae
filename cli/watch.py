"""Shows a job's progress: its state, the elapsed time, and the expected time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from seedance.jobs.job import Job, State
from seedance.paid_call import MAX_ATTEMPTS

from cli.target import Target

PATIENCE_SECONDS = 60.0
"""How long to wait for an upload's job to appear. S3 delivers events within seconds."""

WAITING_FOR_A_PERSON = frozenset({State.HELD, State.UNCERTAIN})


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
            return "uncertain"
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

    def text(self) -> str:
        """The progress as one line."""
        state = self.state.value if self.state else "WAITING"
        expected = f" of about {self.expected:.0f} s" if self.expected else ""
        line = f"{state:<10} {_words(self.state):<29} {self.elapsed:5.1f} s{expected}"
        return f"{line}; {self.remark}" if self.remark else line


def moment(job: Job | None, since: float, now: float, scale: float) -> Moment:
    """The job's progress. Time counts from the start of the wait, or from the job's creation if that was earlier."""
    if job is None:
        return Moment(None, max(0.0, now - since), None)
    begun = min(since, job.created_at or since)
    return Moment(job.state, max(0.0, now - begun), (job.expected_seconds * scale) or None, _remark(job))


def _remark(job: Job) -> str:
    if job.state is State.SUBMITTING and job.attempts > 1:
        return f"attempt {job.attempts} of {MAX_ATTEMPTS}"
    if job.state is not State.RECEIVED or job.error is None:
        return ""
    # A rate limit does not use up an attempt, so the next attempt may still be the first.
    return f"waiting for attempt {min(job.attempts + 1, MAX_ATTEMPTS)} of {MAX_ATTEMPTS}: {job.error['message']}"


def over(job: Job | None) -> bool:
    """Whether to stop waiting: the job has ended, or it waits for a person."""
    return job is not None and (job.state.terminal or job.state in WAITING_FOR_A_PERSON)


def follow(target: Target, job_id: str, console: Console, deadline: float | None = None) -> Job | None:
    """Show the job's progress until it ends. Returns None if no job appeared, or if ``deadline`` passed."""
    since = time.time()
    show, close = _live(console) if console.is_terminal else _plain(console)
    try:
        while True:
            job = target.jobs.get(job_id)
            now = time.time()
            show(moment(job, since, now, target.time_scale))
            if over(job):
                return job
            if (job is None and now - since > PATIENCE_SECONDS) or (deadline and now > deadline):
                return None
            time.sleep(target.poll_seconds)
    finally:
        close()


Show = Callable[[Moment], None]


def _live(console: Console) -> tuple[Show, Callable[[], None]]:
    progress = Progress(
        SpinnerColumn(finished_text=" "), BarColumn(24), TextColumn("{task.description}"), console=console
    )
    task = progress.add_task("", total=1.0)
    progress.start()

    def show(now: Moment) -> None:
        progress.update(task, description=now.text(), completed=now.share)

    return show, progress.stop


def _plain(console: Console) -> tuple[Show, Callable[[], None]]:
    # A log file gets a line for each change, and one every 10 s to show that the command is still running.
    last: list[Moment] = []

    def show(now: Moment) -> None:
        news = not last or (last[-1].state, last[-1].remark) != (now.state, now.remark)
        if news or now.elapsed - last[-1].elapsed >= 10:
            last.append(now)
            console.print(f"  {now.text()}", highlight=False, markup=False)

    return show, lambda: None


def reason(job: Job) -> str:
    """Why there is no video, as a sentence."""
    said = job.error["message"] if job.error else "no reason is recorded"
    if job.state in WAITING_FOR_A_PERSON:
        return f"job {job.job_id} is {job.state.value} and needs a person's decision: {said}"
    return f"job {job.job_id} is {job.state.value}: {said}"
