"""What a retry of a job can do, by its record alone. Pure."""

from enum import StrEnum

from seedance.errors import NotPossible
from seedance.jobs.job import REOPENABLE, Hold, Job, State
from seedance.jobs.reasons import Code
from seedance.pacing.poll_schedule import LATEST_RESULT_SECONDS, RESULT_KEPT_SECONDS

LEAST_USD, MOST_USD = 0.0001, 1000.0
"""The limits of ``Retry.max_usd``. No video costs as little or as much. DynamoDB stores no numbers below 1E-130."""


class Way(StrEnum):
    """How a retry gets the video."""

    COPY = "COPY"
    """The link to the result is known, and a copy may still help: it is copied at no cost."""
    SEARCH = "SEARCH"
    """The request is known, but no result: the provider's history may have one by now."""
    BUY = "BUY"
    """Nothing can be copied: the video must be bought again."""


def way(job: Job, now: float) -> Way:
    """The first thing that a retry of this job tries. Raises NotPossible if the job can't be tried again.

    A result that is there is copied before anything is bought, but an ended job's only as long as that can help: while
    the provider keeps it, and, if it is no video, once more.
    """
    unclear = job.state is State.HELD and job.code == Hold.RESULT
    ended = job.state in REOPENABLE
    if job.state is State.COPYING or (unclear and job.result_url):
        return Way.COPY
    if ended and job.result_url:
        return Way.COPY if _may_be_copied(job, now) else Way.BUY
    failed_there = job.code in (Code.PROVIDER_JOB_FAILED, Code.PROVIDER_REFUSED)
    found = ended and not failed_there and now <= job.result_since + LATEST_RESULT_SECONDS + RESULT_KEPT_SECONDS
    if (unclear or found) and job.request_id:
        return Way.SEARCH
    if ended:
        return Way.BUY
    raise not_possible(job)


def why_not_copied(job: Job, now: float) -> str:
    """Why a retry of this ended job can only buy its video, as the end of a sentence about the job."""
    if job.result_url is None or _may_be_copied(job, now):
        return "has no result to copy"
    if _is_gone(job, now):
        return "has a result that the provider no longer keeps"
    return "has a result that was copied again and is not a complete video"


def _may_be_copied(job: Job, now: float) -> bool:
    """Whether copying the known result of an ended job once more may help."""
    return not _is_gone(job, now) and not (job.code == Code.RESULT_NOT_A_VIDEO and job.copied_again)


def _is_gone(job: Job, now: float) -> bool:
    return job.code == Code.RESULT_GONE or now > job.result_since + RESULT_KEPT_SECONDS


def not_possible(job: Job) -> NotPossible:
    """Why a job can't be tried again."""
    hint = " (use `seedance resolve`)" if is_undecided(job) else ""
    which = " or ".join(state for state in State if state in REOPENABLE)
    return NotPossible(f"job {job.job_id} is {job.state}{hint}; only a {which} job can be tried again")


def is_undecided(job: Job) -> bool:
    """Whether only a person can decide if the job's submit arrived, or where its video is."""
    held = job.state is State.HELD and job.code in (Hold.LOST, Hold.RESULT)
    return held or job.state is State.UNCERTAIN
