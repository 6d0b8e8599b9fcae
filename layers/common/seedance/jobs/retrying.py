"""What a retry of a job can do, by its record alone. Pure."""

from enum import StrEnum

from seedance.errors import NotPossible
from seedance.jobs.job import REOPENABLE, Hold, Job, State
from seedance.jobs.reasons import Code

LEAST_USD, MOST_USD = 0.0001, 1000.0
"""The limits of ``Retry.max_usd``. No video costs as little or as much. DynamoDB stores no numbers below 1E-130."""


class Way(StrEnum):
    """How a retry gets the video."""

    COPY = "COPY"
    """The link to the result is known: it is copied, for nothing."""
    SEARCH = "SEARCH"
    """The request is known, but no result: the provider's history may have one by now."""
    BUY = "BUY"
    """There is nothing that could be copied: only another purchase helps."""


def way(job: Job) -> Way:
    """The first thing that a retry of this job tries. Raises NotPossible if the job can't be tried again."""
    unclear = job.state is State.HELD and job.code == Hold.RESULT
    ended = job.state in REOPENABLE
    if job.state is State.COPYING or ((unclear or ended) and job.result_url):
        return Way.COPY
    failed_there = job.code in (Code.PROVIDER_JOB_FAILED, Code.PROVIDER_REFUSED)
    if (unclear or (ended and not failed_there)) and job.request_id:
        return Way.SEARCH
    if ended:
        return Way.BUY
    raise not_possible(job)


def not_possible(job: Job) -> NotPossible:
    """Why a job can't be tried again."""
    hint = " (use `seedance resolve`)" if is_undecided(job) else ""
    which = " or ".join(state for state in State if state in REOPENABLE)
    return NotPossible(f"job {job.job_id} is {job.state}{hint}; only a {which} job can be tried again")


def is_undecided(job: Job) -> bool:
    """Whether only a person can decide if the job's submit arrived, or where its video is."""
    held = job.state is State.HELD and job.code in (Hold.LOST, Hold.RESULT)
    return held or job.state is State.UNCERTAIN
