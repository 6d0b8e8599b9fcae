"""The reasons for a job's state: codes for machines and sentences for people. Pure.

Each of our own reasons is created by one function here. Errors caused by the provider, a manifest or a caller are
exceptions (seedance.errors); ``of`` takes over their code and message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from seedance import bounds
from seedance.errors import SeedanceError
from seedance.jobs.job import ErrorFacts, State


class Code(StrEnum):
    """The codes that a job's ``error`` can have."""

    INVALID_REQUEST = "INVALID_REQUEST"
    """Invalid input. The message names the field and what is allowed."""
    DEARER_THAN_BUDGET = "DEARER_THAN_BUDGET"
    """The video's estimate alone exceeds `DailyBudgetUsd`."""
    OVER_BUDGET = "OVER_BUDGET"
    """HELD: the day's budget is used up. The next day releases the job."""
    SUBMITS_PAUSED = "SUBMITS_PAUSED"
    """HELD: submits are paused, or the account has no credits. `seedance resume` releases the job."""
    SUBMIT_LOST = "SUBMIT_LOST"
    """HELD: it is not known whether a submit arrived. Decide with `seedance resolve`."""
    RESULT_UNCLEAR = "RESULT_UNCLEAR"
    """HELD: a paid video whose link is missing, ambiguous, or on a host that is not allowed."""
    SUBMIT_UNCERTAIN = "SUBMIT_UNCERTAIN"
    """See the state UNCERTAIN."""
    WAITS = "WAITS"
    """RECEIVED: the job is waiting for its turn at the provider."""
    PROVIDER_JOB_FAILED = "PROVIDER_JOB_FAILED"
    """The provider could not make the video. The message has the provider's reason."""
    PROVIDER_KEY_REJECTED = "PROVIDER_KEY_REJECTED"
    """The provider rejected the key in the secret."""
    PROVIDER_REFUSED = "PROVIDER_REFUSED"
    """The provider refused the request, at once or after queueing it, for example because of a parameter's value."""
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"
    """A submit was postponed because the provider failed. After six failed attempts, the job ends."""
    PROVIDER_RATE_LIMITED = "PROVIDER_RATE_LIMITED"
    """A submit was postponed because of the provider's rate limit."""
    PROVIDER_AT_CAPACITY = "PROVIDER_AT_CAPACITY"
    """A submit was postponed because the provider makes no more videos at once for this account."""
    DEADLINE = "DEADLINE"
    """EXPIRED: not ready within the hour for which the provider keeps a request."""
    RECORD_GONE = "RECORD_GONE"
    """EXPIRED: the provider no longer knows the request, and its history has no video for it."""
    RECORD_UNREADABLE = "RECORD_UNREADABLE"
    """The job's record was edited and has an invalid value. The message names the field."""
    RESULT_NOT_A_VIDEO = "RESULT_NOT_A_VIDEO"
    """The link does not lead to a complete MP4."""
    RESULT_GONE = "RESULT_GONE"
    """The result could not be copied within the seven days for which the provider keeps it."""
    GIVEN_UP = "GIVEN_UP"
    """A person closed a job whose outcome was unknown."""
    CANCELLED = "CANCELLED"
    """The job was cancelled before it was bought."""
    DEARER_THAN_ALLOWED = "DEARER_THAN_ALLOWED"
    """A retry that may buy was given a limit in `max_usd`, and the video's estimate exceeds it."""
    CONFIGURATION = "CONFIGURATION"
    """The stack is configured wrongly. The message names the setting."""
    INTERNAL = "INTERNAL"
    """An internal error. An alarm is raised."""
    NOT_RUNNING = "NOT_RUNNING"
    """An execution was started for a job in a state in which there is nothing to ask the provider for."""
    UNKNOWN = "UNKNOWN"
    """An execution that a person started ended the job, and named no reason."""


@dataclass(frozen=True)
class Reason:
    """A code and a sentence. They are the ``error`` in a job's record, in API responses and in notifications."""

    code: str
    message: str

    @property
    def error(self) -> ErrorFacts:
        """The reason in the form of records and notifications."""
        return ErrorFacts(code=self.code, message=bounds.message(self.message))


def of(error: SeedanceError) -> Reason:
    """The reason with the code and message of an error."""
    return Reason(error.code, str(error))


def sentence(error: SeedanceError) -> Reason:
    """Like ``of``, but with the message as a sentence."""
    said = str(error)
    return Reason(error.code, f"{said[:1].upper()}{said[1:]}.")


def given(code: str, message: str) -> Reason:
    """A reason that was made before: a task's, or that of a record."""
    return Reason(code, message)


def unknown() -> Reason:
    """The workflow ends a job and gives no reason."""
    return Reason(Code.UNKNOWN, "No reason was given.")


def unclear(message: str) -> Reason:
    """The video is made and paid for, but its link can't be used."""
    return Reason(Code.RESULT_UNCLEAR, message)


def paused(why: str) -> Reason:
    """Submits are paused."""
    return Reason(Code.SUBMITS_PAUSED, why)


def over_budget(day: str, budget: float, committed: float, estimate: float) -> Reason:
    """The job does not fit in the budget of a UTC day, of which ``committed`` is spent or reserved."""
    digits = 2 if round(committed + estimate, 2) > round(budget, 2) else 4  # an excess below a cent must be visible
    next_day = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    return Reason(
        Code.OVER_BUDGET,
        f"The day's budget of ${budget:.2f} has no room: ${committed:.{digits}f} is spent or reserved, and this video "
        f"costs about ${estimate:.{digits}f}. It continues by itself on the next day, from {next_day} 00:00 UTC, or "
        "earlier with `seedance release` if DailyBudgetUsd is raised.",
    )


def waits(why: str) -> Reason:
    """The job is waiting for its turn at the provider."""
    return Reason(Code.WAITS, why)


def uncertain(why: str) -> Reason:
    """A call was made whose outcome is unknown."""
    return Reason(Code.SUBMIT_UNCERTAIN, why)


def lost(why: str, job_id: str) -> Reason:
    """A person has to decide whether a submit arrived."""
    return Reason(Code.SUBMIT_LOST, f"{why} Decide with `seedance resolve {job_id}`.")


def failed_at_the_provider(why: str | None) -> Reason:
    """The provider could not make the video. ``why`` is the provider's reason, if it gave one."""
    return Reason(
        Code.PROVIDER_JOB_FAILED,
        f"The provider could not make the video: {why or 'The provider gave no reason.'}",
    )


def parameter_refused(parameter: str, why: str) -> Reason:
    """The provider refused a parameter's value after it had queued the request. ``why`` is what it said."""
    return Reason(
        Code.PROVIDER_REFUSED,
        f"The provider refused the parameter {parameter}: {why}",
    )


def face_blocked(model: str, why: str) -> Reason:
    """The provider found a real person's face in an image, which the model does not accept."""
    return Reason(
        Code.PROVIDER_JOB_FAILED,
        f"The provider could not make the video: {why.rstrip('.')}. {model} does not accept first images with real "
        "people's faces. Use another image, or a model other than the 2.0 models.",
    )


def record_gone(request_id: str | None) -> Reason:
    """The provider no longer knows the request."""
    return Reason(
        Code.RECORD_GONE,
        f"The provider has no record of request {request_id} (it keeps one for an hour), and its history shows no "
        "video for it.",
    )


def deadline() -> Reason:
    """The hour for which the provider keeps a request is over."""
    return Reason(Code.DEADLINE, "The video was not ready within the hour for which the provider keeps a request.")


def never_sent() -> Reason:
    """For a day, internal errors prevented the request from being sent."""
    why = "Internal errors prevented this request from being sent, so it costs nothing. Please request it again."
    return Reason(Code.INTERNAL, why)


def never_copied() -> Reason:
    """The provider deleted the result before it could be copied."""
    return Reason(Code.RESULT_GONE, "The video could not be copied before the provider deleted it.")


def never_asked(request_id: str | None) -> Reason:
    """The provider deleted the result, if there was one, before it could be polled."""
    return Reason(
        Code.RESULT_GONE,
        "Internal errors prevented this video from being polled in the seven days for which the provider keeps it. "
        f"The provider may have made and billed it: request {request_id}.",
    )


def given_up() -> Reason:
    """A person gave up on the job."""
    return Reason(Code.GIVEN_UP, "A person gave up on this job. The provider's history may show a video.")


def cancelled(*, sent_before: bool, earlier: Sequence[str]) -> Reason:
    """The job was cancelled. ``sent_before``: an earlier submit was abandoned, as were the requests ``earlier``."""
    before = ""
    if earlier:
        before = f" The provider may have made and billed what was requested before: {', '.join(earlier)}."
    elif sent_before:
        before = " An earlier submit, whose outcome was not known, may have been billed."
    return Reason(Code.CANCELLED, f"The job was cancelled before the video was bought.{before}")


def dearer_than_allowed(estimate: float, most: float) -> Reason:
    """The estimate exceeds what the caller of a retry allowed."""
    digits = 2 if round(estimate, 2) > round(most, 2) else 4  # an excess below a cent must be visible
    why = f"Buying the video again would cost about ${estimate:.{digits}f}, and at most ${most:.{digits}f} was allowed."
    return Reason(Code.DEARER_THAN_ALLOWED, why)


def dearer_than_budget(estimate: float, budget: float) -> Reason:
    """The estimate alone exceeds the budget of a whole day."""
    digits = 2 if round(estimate, 2) > budget else 4  # an excess below a cent must be visible
    return Reason(
        Code.DEARER_THAN_BUDGET,
        f"The video would cost about ${estimate:.{digits}f}, but the budget of a whole day is ${budget:.2f}. "
        "Request a shorter video, a lower resolution or a cheaper model, or raise the stack's DailyBudgetUsd.",
    )


def not_running(state: State) -> Reason:
    """Poll was asked about a job that is not at the provider."""
    return Reason(Code.NOT_RUNNING, f"The job is {state}.")


def not_ready(state: State) -> Reason:
    """Finalize was asked for a video of a job that has none. This is only an answer: it never ends the job."""
    return Reason("NOT_READY", f"The job is {state}; there is no video to copy.")


def refused_rows(why: str, restarts: int) -> Reason:
    """A manifest, or all of its rows, can't be used. ``restarts``: see tasks.BatchInput."""
    return Reason(Code.INVALID_REQUEST, f"{why} {_nothing_bought(restarts)}")


def not_planned(restarts: int) -> Reason:
    """A batch's manifest could not be processed because of an internal error."""
    why = "The manifest could not be processed because of an internal error."
    return Reason(Code.INTERNAL, f"{why} {_nothing_bought(restarts)}")


def batch_broken(why: str) -> Reason:
    """Part of a batch could not be processed because of an internal error."""
    return Reason(Code.INTERNAL, why)


def _nothing_bought(restarts: int) -> str:
    return "Nothing more was bought." if restarts else "Nothing was bought."
