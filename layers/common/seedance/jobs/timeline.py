"""A job's timeline, from its record: the states that it entered, and each reason that it had. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from seedance import bounds
from seedance.jobs.job import ErrorFacts, Job, PastReason, Phase, State, phase

MOST_KEPT = 30
"""Past reasons in a record. The same reason several times in a row counts once."""

LONGEST_KEPT = 300
"""Characters of the message of a past reason. The last one is complete, as the job's error."""


class Event(NamedTuple):
    """Something that happened to a job, at a Unix time. ``state`` and ``code``: of a reason, or of an entered state."""

    at: float
    what: str
    state: State | None = None
    code: str | None = None
    attempt: int | None = None


def with_reason(job: Job, now: float, state: State, error: ErrorFacts) -> list[PastReason]:
    """The job's past reasons with another one: why it is in ``state`` from now on."""
    reason = PastReason(at=now, state=state.value, code=error["code"], message=error["message"][:LONGEST_KEPT])
    if phase(job.state) in (Phase.SENDING, Phase.AT_PROVIDER):
        reason["attempt"] = max(1, job.attempts)
    earlier = job.past_reasons
    if earlier and _subject(earlier[-1]) == _subject(reason):
        last = earlier[-1]
        return [*earlier[:-1], {**reason, "at": last["at"], "times": last.get("times", 1) + 1, "last_at": now}]
    return [*earlier, reason][-MOST_KEPT:]


def _subject(reason: PastReason) -> tuple[object, ...]:
    return reason["state"], reason["code"], reason.get("attempt")


def events(job: Job) -> list[Event]:
    """Everything in the record, in time order."""
    # Sorted by time only, so events of the same millisecond keep their order.
    return sorted(_events(job), key=lambda event: event.at)


def _events(job: Job) -> Iterator[Event]:
    if State.RECEIVED not in job.entered or job.entered[State.RECEIVED] != job.created_at:
        yield Event(job.created_at, "created")  # the job came back to RECEIVED later, or began in another state
    reasons = {(reason["state"], reason.get("last_at", reason["at"])): reason for reason in job.past_reasons}
    for name, moment in job.entered.items():
        reason = reasons.pop((name, moment), None)
        if reason is None and name == job.state and job.error and not job.past_reasons:  # of an earlier release
            reason = PastReason(at=moment, state=name, code=job.error["code"], message=job.error["message"])
        yield _told(reason) if reason else Event(moment, name, _state(name))
    yield from map(_told, reasons.values())
    if job.notified_at:
        yield Event(job.notified_at, "notified")
    if job.retry:
        limit = f", for at most ${job.retry['max_usd']:.2f}" if "max_usd" in job.retry else ""
        which = f"bought again{limit}" if job.retry["pay"] else "copied or found, at no cost"
        yield Event(job.retry["asked_at"], f"a retry was requested: the video may be {which}")
        if "ended_at" in job.retry:
            yield Event(job.retry["ended_at"], f"the retry ended: {job.retry.get('said', '')}")


def _told(reason: PastReason) -> Event:
    about = [reason["code"]]
    attempt, times = reason.get("attempt"), reason.get("times", 1)
    if attempt:
        about.append(f"attempt {attempt}")
    if times > 1:
        about.append(f"{times} times")
    what = f"{reason['state']}: {bounds.one_line(reason['message'])} ({', '.join(about)})"
    return Event(reason["at"], what, _state(reason["state"]), reason["code"], attempt)


def _state(name: str) -> State | None:
    """The state of this name; None if a record of another release has another."""
    return State(name) if name in set(State) else None
