"""Generate: the v1 transport, one blocking call that answers with the finished video.

The same law of money as for submit holds: intent before the POST, and a POST again only where certainly
nothing began. The connection is held for minutes, so more can go wrong after the request was sent; all of
it leaves the job UNCERTAIN, never sent twice.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

import httpx

from seedance import catalogue, download, schedule
from seedance.config import settings
from seedance.errors import (
    Conflict,
    InvalidRequest,
    MediaError,
    ProviderError,
    RateLimited,
    SubmitUncertain,
    Unavailable,
)
from seedance.finalize import video_facts
from seedance.job import Job, State
from seedance.media import Media, media
from seedance.observability import count, logger
from seedance.provider import Provider, output_address, provider
from seedance.store import JobStore, jobs
from seedance.submit import MAX_ATTEMPTS, image_address
from seedance.workflow import LONGEST_DELAY_SECONDS


class Outcome(StrEnum):
    """What this task returns as ``status``; the ASL's choices know these words."""

    COMPLETED = "COMPLETED"
    POSTPONED = "POSTPONED"
    FAILED = "FAILED"
    UNCERTAIN = "UNCERTAIN"


@dataclass(frozen=True)
class Generate:
    """The use case, with everything it talks to."""

    store: JobStore
    provider: Provider
    media: Media
    image_delivery: str
    scale: float = 1.0
    """See Settings.scale."""
    clock: Callable[[], float] = time.time

    def __call__(self, job_id: str) -> dict[str, Any]:
        """Make the video of a job and stream it into the bucket: ``{"job_id", "status", …}``."""
        job = self.store.get(job_id)
        if job is None:
            raise LookupError(f"the workflow names job {job_id}, which has no record")
        if job.state in (State.COPYING, State.COMPLETED):
            return _answer(job, Outcome.COMPLETED)
        if job.state is State.SUBMITTING:
            return self._uncertain(job, "The call was interrupted, and nobody knows whether the video was made.")
        if job.state is State.UNCERTAIN:
            return _answer(job, Outcome.UNCERTAIN)
        if job.state is not State.RECEIVED:
            return _answer(job, Outcome.FAILED, error=job.error)
        try:
            link = image_address(job, self.image_delivery, self.media, self.provider)
            self.provider.authenticate()
        except InvalidRequest as refusal:
            return _answer(job, Outcome.FAILED, error={"code": refusal.code, "message": str(refusal)})
        except ProviderError as error:  # the asset upload; nothing of it costs anything
            return self._not_begun(job, error)
        body = catalogue.payload(catalogue.find(job.model), job.parameters, job_id=job_id, image_link=link)
        try:
            job = self.store.move(job, State.SUBMITTING, submitted_at=round(self.clock(), 3), attempts=job.attempts + 1)
        except Conflict:
            return _answer(job, Outcome.POSTPONED, wait=schedule.STEP_SECONDS)
        try:
            with self.provider.generate(job.model, body) as response:
                count("JobsSubmitted")
                return self._take(job, response)
        except SubmitUncertain as error:
            return self._uncertain(job, str(error))
        except ProviderError as error:
            return self._not_begun(job, error)
        except (MediaError, httpx.HTTPError) as error:
            return self._uncertain(job, f"The video was made, but its transfer broke: {error}")

    def _take(self, job: Job, response: httpx.Response) -> dict[str, Any]:
        """What the answer brings: the video's bytes, or a link to it that Finalize will follow."""
        facts: dict[str, Any] = {
            "request_id": response.headers.get("x-request-id"),
            "cost_usd": _number(response.headers.get("x-cost")),
            "metrics": {
                name: value
                for name, value in {"total": _number(response.headers.get("x-generation-time"))}.items()
                if value is not None
            },
        }
        source = download.source_of(response)
        if source.media_type == "application/json":
            response.read()
            url = output_address(_json(response))
            if url is None:
                job = self.store.note(job, **facts)
                return self._uncertain(job, "The provider answered without a video and without a link to one.")
            return _answer(self.store.move(job, State.COPYING, result_url=url, **facts), Outcome.COMPLETED)
        if facts["request_id"]:
            job = self.store.note(job, **facts)  # should the transfer break, this is how it is found again
        stored = self.media.store_video(
            source.chunks, job.video_key, name=job.name, metadata={"job-id": job.job_id, "model": job.model}
        )
        video = video_facts(self.media.video_bucket, job.video_key, stored, last_frame_key=None)
        return _answer(self.store.move(job, State.COPYING, video=video, **facts), Outcome.COMPLETED)

    def _not_begun(self, job: Job, error: ProviderError) -> dict[str, Any]:
        logger().warning("not begun", extra={"job_id": job.job_id, "reason": str(error), "excerpt": error.excerpt})
        limited = isinstance(error, RateLimited)
        if not isinstance(error, Unavailable) or (job.attempts >= MAX_ATTEMPTS and not limited):
            if job.state is State.SUBMITTING:  # left there, Fail would have to think that it may have been sent
                job = self.store.move(job, State.RECEIVED, submitted_at=None)
            return _answer(job, Outcome.FAILED, error={"code": error.code, "message": str(error)})
        if job.state is State.SUBMITTING:
            attempts = job.attempts - 1 if limited else job.attempts
            job = self.store.move(job, State.RECEIVED, attempts=attempts, submitted_at=None)
        else:
            job = self.store.note(job, attempts=job.attempts + 1)
        wait = schedule.submit_again_after(job.attempts)
        if isinstance(error, RateLimited) and error.retry_after is not None:
            wait = min(error.retry_after, LONGEST_DELAY_SECONDS) / self.scale + 1
        return _answer(job, Outcome.POSTPONED, wait=wait)

    def _uncertain(self, job: Job, why: str) -> dict[str, Any]:
        logger().error("uncertain v1 call", extra={"job_id": job.job_id, "why": why})
        self.store.move(job, State.UNCERTAIN, error={"code": SubmitUncertain.code, "message": why})
        count("JobsUncertain")
        return _answer(job, Outcome.UNCERTAIN)


def _answer(
    job: Job, outcome: Outcome, *, error: dict[str, str] | None = None, wait: float | None = None
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "job_id": job.job_id,
        "transport": "v1",
        "status": outcome.value,
        "error": error,
    }
    return answer if wait is None else {**answer, "wait_seconds": max(1, round(wait))}


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None and math.isfinite(float(text)) else None
    except ValueError:
        return None


def _json(response: httpx.Response) -> object:
    try:
        return response.json()
    except ValueError:
        return None


@cache
def generate() -> Generate:
    """The use case as the stack has it."""
    stack = settings()
    return Generate(jobs(), provider(), media(), stack.image_delivery, stack.scale)
