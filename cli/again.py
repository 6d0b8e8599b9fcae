"""`seedance batch --retry-failed`: try the failed videos of a batch again, at no cost where possible."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from seedance.batches.job_states import JOBS_A_READ
from seedance.jobs import requests
from seedance.jobs.job import REOPENABLE, State, batch_id, batch_job_id

from cli import asking, following, ids, progress, show, spending, watch
from cli.output import emit, say, warn
from cli.target import CommandError, Target

AT_ONCE = 4
"""Calls of the repair function at the same time."""

_SHOWN = 10


def retry_failed(target: Target, source: str, *, yes: bool, max_usd: float | None, wait: bool) -> None:
    """Try the FAILED and EXPIRED videos of a batch again: ``source`` is its id, or its manifest.

    First at no cost: known results are copied, and the history is searched. The rest is bought again, if a person
    agrees to the price. Raises CommandError.
    """
    batch = _batch(target, source)
    with progress.working("reading the batch"):
        now = following.look(target, batch)
    if now is None:
        raise CommandError(f"batch {batch} does not exist")
    if not now.rows:
        raise CommandError(f"batch {batch} has no videos: {now.words}")
    states = read_states(target, batch, now.rows)
    failed = [one for one, state in states.items() if state in REOPENABLE]
    if rejected := sum(state is State.REJECTED for state in states.values()):
        warn(f"{show.number(rejected, 'row')} REJECTED: correct them and send them as a new batch")
    if not failed:
        say(f"batch {batch} has no failed videos")
        emit({"batch_id": batch, "failed": 0, "copied": 0, "bought": 0})
        return
    told: dict[str, Any] = {"batch_id": batch, "failed": len(failed), "copied": 0, "bought": 0}
    try:
        _try_again(target, failed, told, partial(spending.agree, yes=yes, max_usd=max_usd), wait=wait)
    finally:  # also if the price is not agreed to: copies continue
        emit(told)


def _try_again(
    target: Target, failed: Sequence[str], told: dict[str, Any], agree: Callable[[str, float], None], *, wait: bool
) -> None:
    """Copy, or buy if agreed to, and put the numbers into ``told``. Raises CommandError unless all jobs continue."""
    copied, needed, refused = _for_nothing(target, failed)
    told["copied"] = len(copied)
    if copied:
        say(f"{show.number(len(copied), 'video')} copied or being copied; this costs nothing")
    _warn_of(refused)
    bought: list[str] = []
    if needed:
        agree(f"{show.number(len(needed), 'failed video')} again", sum(needed.values()))
        bought, not_bought = _buy(target, list(needed))
        told["bought"] = len(bought)
        usd = sum(needed[one] for one in bought)
        say(f"{show.number(len(bought), 'video')} submitted again, for about ${usd:,.2f}")
        _warn_of(not_bought)
        refused += not_bought
    if wait:
        jobs = watch.follow_all(target, [*copied, *bought])
        made = told["completed"] = sum(job.state is State.COMPLETED for job in jobs)
        say(f"{made} of {len(jobs)} videos are ready")
        if made < len(failed):
            raise CommandError(f"{len(failed) - made} of {len(failed)} failed videos have not been made")
    elif refused:
        raise CommandError(f"{len(refused)} of {len(failed)} failed videos could not be tried again")


def _warn_of(refused: Sequence[str]) -> None:
    for reason in refused[:_SHOWN]:
        warn(reason)
    if len(refused) > _SHOWN:
        warn(f"and {len(refused) - _SHOWN} more")


def read_states(target: Target, batch: str, rows: int) -> dict[str, State]:
    """The states of a batch's jobs, by id, in the order of their rows. Rows without a job are left out."""
    job_ids = [batch_job_id(batch, row) for row in range(1, rows + 1)]
    found: dict[str, State] = {}
    with progress.counting("reading the batch's jobs", rows) as advance:
        for first in range(0, rows, JOBS_A_READ):
            some = job_ids[first : first + JOBS_A_READ]
            found |= {one: job.state for one, job in target.register.read(some, []).items()}
            advance(len(some))
    return {one: found[one] for one in job_ids if one in found}


def _batch(target: Target, source: str) -> str:
    """The id of a batch, from a prefix, or from the manifest that was uploaded last under that name."""
    if ids.is_batch(source) and not Path(source).exists():
        return ids.batch_id(target, source)
    key = requests.BATCH_PREFIX + Path(source).name
    if not requests.is_manifest(key):
        raise CommandError(f"{source} is neither a batch nor a manifest; `seedance batch FILE` prints the batch's id")
    bucket = target.output("UploadBucketName")
    s3 = target.client("s3")
    try:
        version = s3.head_object(Bucket=bucket, Key=key)["VersionId"]
    except s3.exceptions.ClientError:
        raise CommandError(f"s3://{bucket}/{key} does not exist: {Path(source).name} was not uploaded") from None
    return batch_id(bucket, key, version)


def _for_nothing(target: Target, job_ids: Sequence[str]) -> tuple[list[str], dict[str, float], list[str]]:
    """Retry jobs without paying. Returns those that continue, the estimates of those to be bought, and refusals."""
    copied: list[str] = []
    needed: dict[str, float] = {}
    refused: list[str] = []

    def one(job_id: str) -> None:
        try:
            asking.ask_repair(target, ask="retry", job_id=job_id, pay=False)
        except asking.NeedsPayment as needs:
            needed[job_id] = needs.usd
        except CommandError as error:
            refused.append(f"job {job_id}: {error}")
        else:
            copied.append(job_id)

    _all("looking for results", target, job_ids, one)
    return copied, needed, refused


def _buy(target: Target, job_ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Submit jobs again. Returns those that continue, and refusals."""
    bought: list[str] = []
    refused: list[str] = []

    def one(job_id: str) -> None:
        try:
            asking.ask_repair(target, ask="retry", job_id=job_id, pay=True)
        except CommandError as error:
            refused.append(f"job {job_id}: {error}")
        else:
            bought.append(job_id)

    _all("submitting again", target, job_ids, one)
    return bought, refused


def _all(what: str, target: Target, job_ids: Sequence[str], one: Callable[[str], None]) -> None:
    target.client("lambda", asking.ANSWER_SECONDS)
    with progress.counting(what, len(job_ids)) as advance, ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(one, job_ids):
            advance(1)
