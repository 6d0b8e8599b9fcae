"""Why a job is where it is: the codes that machines read, and the sentences that people read. Pure.

Each reason that we give ourselves is made by one function here. What the provider, a manifest or a caller is to blame
for comes as an error (seedance.errors), whose code and words ``of`` takes over.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum

from seedance.errors import SeedanceError


class Code(StrEnum):
    """The codes that a job's ``error`` can have."""

    INVALID_REQUEST = "INVALID_REQUEST"
    """Invalid input. The message names the field and what is allowed."""
    DEARER_THAN_BUDGET = "DEARER_THAN_BUDGET"
    """The video's estimate alone exceeds `DailyBudgetUsd`."""
    OVER_BUDGET = "OVER_BUDGET"
    """HELD: the day's budget is used up. The next day releases the job."""
    SUBMITS_PAUSED = "SUBMITS_PAUSED"
    """HELD: submissions are paused, or the account has no credits. `seedance resume` releases the job."""
    SUBMIT_LOST = "SUBMIT_LOST"
    """HELD: nobody can tell whether a submission arrived. `seedance resolve` decides."""
    RESULT_UNCLEAR = "RESULT_UNCLEAR"
    """HELD: a paid video whose link is missing, ambiguous, or on a host that is not allowed."""
    SUBMIT_UNCERTAIN = "SUBMIT_UNCERTAIN"
    """See the state UNCERTAIN."""
    WAITS = "WAITS"
    """RECEIVED: the job waits for its turn at the provider."""
    PROVIDER_JOB_FAILED = "PROVIDER_JOB_FAILED"
    """The provider could not make the video; its own reason follows."""
    PROVIDER_KEY_REJECTED = "PROVIDER_KEY_REJECTED"
    """The provider rejects the key in the secret."""
    PROVIDER_REFUSED = "PROVIDER_REFUSED"
    """The provider refused the request: model retired, not permitted, and the like."""
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"
    """Why a submission was put off; after six failed attempts it ends the job."""
    PROVIDER_RATE_LIMITED = "PROVIDER_RATE_LIMITED"
    """Why a submission was put off: the provider's rate limit."""
    PROVIDER_AT_CAPACITY = "PROVIDER_AT_CAPACITY"
    """Why a submission was put off: the provider makes no more videos at once for this account."""
    DEADLINE = "DEADLINE"
    """EXPIRED: not ready within the provider's hour."""
    RECORD_GONE = "RECORD_GONE"
    """EXPIRED: the provider no longer knows the request, and its history has no video for it."""
    RECORD_UNREADABLE = "RECORD_UNREADABLE"
    """The job's record was edited and has a value that cannot be; the message names the field."""
    RESULT_NOT_A_VIDEO = "RESULT_NOT_A_VIDEO"
    """The link does not lead to a complete MP4."""
    RESULT_GONE = "RESULT_GONE"
    """The result could not be copied in the seven days that the provider keeps it."""
    GIVEN_UP = "GIVEN_UP"
    """A person closed an undecided job."""
    CONFIGURATION = "CONFIGURATION"
    """The stack is set up wrongly; the message names the setting."""
    INTERNAL = "INTERNAL"
    """Our fault. An alarm rings."""


@dataclass(frozen=True)
class Reason:
    """A code and a sentence; on a job's record, in answers and messages they are its ``error``."""

    code: str
    message: str

    @property
    def error(self) -> dict[str, str]:
        """As the record and the messages have it."""
        return asdict(self)


def of(error: SeedanceError) -> Reason:
    """The reason that an error gives, in its own words."""
    return Reason(error.code, str(error))


def sentence(error: SeedanceError) -> Reason:
    """The same as a sentence, of an error whose words are a part of one."""
    said = str(error)
    return Reason(error.code, f"{said[:1].upper()}{said[1:]}.")


def unclear(message: str) -> Reason:
    """The video is made and paid for, but its link can't be used."""
    return Reason(Code.RESULT_UNCLEAR, message)


def paused(why: str) -> Reason:
    """Submissions are paused."""
    return Reason(Code.SUBMITS_PAUSED, why)


def waits(why: str) -> Reason:
    """The job's turn at the provider has not come."""
    return Reason(Code.WAITS, why)


def uncertain(why: str) -> Reason:
    """A call was made whose outcome is unknown."""
    return Reason(Code.SUBMIT_UNCERTAIN, why)


def lost(why: str, job_id: str) -> Reason:
    """A person has to decide whether a submission arrived."""
    return Reason(Code.SUBMIT_LOST, f"{why} `seedance resolve {job_id}` decides.")


def failed_at_the_provider(why: str | None) -> Reason:
    """The provider could not make the video; ``why`` in its own words, if it gave any."""
    return Reason(
        Code.PROVIDER_JOB_FAILED,
        f"The provider could not make the video: {why or 'The provider gave no reason.'}",
    )


def record_gone(request_id: str | None) -> Reason:
    """The provider no longer knows the request."""
    return Reason(
        Code.RECORD_GONE,
        f"The provider has no record of request {request_id} (it keeps one for an hour), and its history shows no "
        "video for it.",
    )


def deadline() -> Reason:
    """The provider's hour is over."""
    return Reason(Code.DEADLINE, "The video was not ready within the hour for which the provider keeps a request.")


def never_sent() -> Reason:
    """For a day, trouble of ours kept the request from being sent."""
    why = "Trouble on our side kept this request from being sent, so it costs nothing. Ask for it again."
    return Reason(Code.INTERNAL, why)


def never_copied() -> Reason:
    """The result is gone before it could be copied."""
    return Reason(Code.RESULT_GONE, "The video could not be copied while the provider kept it.")


def never_asked(request_id: str | None) -> Reason:
    """The result, if there was one, is gone before the provider could be asked for it."""
    return Reason(
        Code.RESULT_GONE,
        "Trouble on our side kept the provider from being asked for this video in the seven days that it keeps one. "
        f"It may have made and billed it: request {request_id}.",
    )


def given_up() -> Reason:
    """A person closed the job."""
    return Reason(Code.GIVEN_UP, "A person gave this job up; the provider's history may show a video.")


def refused_rows(why: str) -> Reason:
    """A manifest, or all of its rows, can't be used."""
    return Reason(Code.INVALID_REQUEST, why)


def batch_broken(why: str) -> Reason:
    """Part of a batch could not be worked on, and that is our fault."""
    return Reason(Code.INTERNAL, why)
