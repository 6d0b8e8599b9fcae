"""Generate: the v1 transport, one blocking call that returns the finished video.

The same rule as for submit keeps a video from being paid for twice: the intent is written before the POST, and the
POST is only repeated if the provider certainly started nothing. The connection stays open for minutes, so more can go
wrong after the request was sent. Every such failure leaves the job UNCERTAIN; the request is never sent twice.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Unpack

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from seedance import bounds
from seedance.errors import LONGEST_WAIT_SECONDS, Conflict, MediaError, ProviderError, RequestTaken
from seedance.jobs import reasons
from seedance.jobs.job import ErrorFacts, Job, ResultFacts, State
from seedance.jobs.store import JobChanges, JobStore, jobs
from seedance.jobs.tasks import TaskAnswer, TaskStatus
from seedance.media.buckets import Media, media
from seedance.observability import count, logger
from seedance.pacing import poll_schedule
from seedance.paid_call import Next, Sending, Verdict, sending
from seedance.provider import bodies, download, links, payloads, posts
from seedance.provider.bodies import ANSWER_BYTES
from seedance.provider.client import Provider, provider
from seedance.provider.links import Result, Sent
from seedance.provider.trouble import reason

LONGEST_STEP_WAIT = 99_999_999
"""The longest wait of a Step Functions Wait state, in whole seconds."""


@dataclass(frozen=True)
class Generate:
    """The use case and its dependencies."""

    store: JobStore
    provider: Provider
    media: Media
    sending: Sending

    def __call__(self, job_id: str) -> TaskAnswer:
        """Make a job's video and stream it to the bucket."""
        job = self.store.get(job_id)
        if job is None:
            raise LookupError(f"the workflow's job {bounds.shown(job_id)} has no record")
        if job.state in (State.COPYING, State.COMPLETED):
            return _answer(job, TaskStatus.COMPLETED)
        if job.state is State.SUBMITTING:
            return self._uncertain(job, "The call was interrupted, so it is not known whether the video was made.")
        if job.state is State.UNCERTAIN:
            return _answer(job, TaskStatus.UNCERTAIN)
        if job.state is not State.RECEIVED:
            return _answer(job, TaskStatus.FAILED, error=job.error)
        try:
            begun = self.sending.begin(job)
        except Conflict:
            return _answer(job, TaskStatus.POSTPONED, wait=poll_schedule.STEP_SECONDS)
        if isinstance(begun, Verdict):
            return self._follow(job, begun)
        job, body = begun
        try:
            with self.provider.generate(job.model, body) as response:
                count("JobsSubmitted")
                return self._take(job, response)
        except ProviderError as error:
            return self._follow(job, self.sending.judge(job, error))
        except RequestTaken as error:
            return self._uncertain(job, f"The provider returned another job's request: {error}.")
        except (MediaError, httpx.HTTPError) as error:
            logger().warning("the transfer failed", extra={"job_id": job_id, "reason": repr(error.__cause__ or error)})
            why = reason(error) if isinstance(error, httpx.HTTPError) else str(error)
            return self._uncertain(job, f"The video was made, but its transfer failed: {why}.")

    def _take(self, job: Job, response: httpx.Response) -> TaskAnswer:
        """Process the response: the video's bytes, or a link that Finalize will download."""
        facts: ResultFacts = {
            "request_id": payloads.usable_id(response.headers.get("x-request-id")),
            "cost_usd": payloads.price(response.headers.get("x-cost")),
            "metrics": {
                name: value
                for name, value in {"total": _number(response.headers.get("x-generation-time"))}.items()
                if value is not None
            },
        }
        job = self._noted(job, **facts)
        head, chunks = bodies.begun(posts.raw(response))
        if _is_json(download.media_type(response.headers), head):
            result = self.provider.result(posts.whole(response, ANSWER_BYTES, chunks), Sent.by(job))
            if result.videos and not result.video:
                return self._hold(job, result, facts)
            if not result.video:
                job = self._noted(job, answer=result.answer, **facts)
                return self._uncertain(job, "The provider's response has neither a video nor a link to one.")
            return _answer(self.store.move(job, State.COPYING, result_url=result.video, **facts), TaskStatus.COMPLETED)
        whole = download.counted(chunks, download.announced_length(response.headers))
        stored = self.media.store_video(
            download.contents(whole, response.headers),
            job.video_key,
            framed=download.framed(response.headers),
            name=job.name,
            metadata={"job-id": job.job_id, "model": job.model},
        )
        video = stored.facts(self.media.video_bucket, job.video_key)
        return _answer(self.store.move(job, State.COPYING, video=video, **facts), TaskStatus.COMPLETED)

    def _hold(self, job: Job, result: Result, facts: ResultFacts) -> TaskAnswer:
        """Hold the job: the response has several videos, or one on a host that is not allowed. A person decides."""
        error = links.held(result, job, facts["request_id"])
        count("JobsHeld")
        job = self.store.close(
            job, State.HELD, made=True, answer=result.answer, result_url=result.elsewhere, error=error, **facts
        )
        return _answer(job, TaskStatus.FAILED, error=error)

    def _noted(self, job: Job, **facts: Unpack[JobChanges]) -> Job:
        """The job with these facts, which identify its request if the transfer fails.

        They are written again with the video. So a failed write here is ignored: it must not abort the transfer.
        Reconcile may have marked the job UNCERTAIN by now; then they are written to that job.
        """
        try:
            try:
                return self.store.note(job, **facts)
            except RequestTaken:
                raise
            except Conflict:
                found = self.store.get(job.job_id)
                if found is None or found.state is not State.UNCERTAIN:
                    raise
                self.store.note(found, **facts)
        except RequestTaken:
            raise
        except (BotoCoreError, ClientError, Conflict) as trouble:
            logger().warning("facts not written yet", extra={"job_id": job.job_id, "reason": str(trouble)})
        return job

    def _follow(self, job: Job, verdict: Verdict) -> TaskAnswer:
        try:
            job = self.sending.settle(job, verdict, self.sending.pacer.turn_in(verdict.wait))
        except Conflict:
            if job.state is not State.RECEIVED:
                raise
            # It was not sent, and was cancelled or taken over in the meantime. The next run looks at it again.
            return _answer(job, TaskStatus.POSTPONED, wait=poll_schedule.STEP_SECONDS)
        match verdict.next:
            case Next.LATER:
                # The workflow's waits are in the provider's seconds.
                wait = min(verdict.wait, LONGEST_WAIT_SECONDS)  # a job with a later turn comes back and waits again
                return _answer(job, TaskStatus.POSTPONED, wait=wait / self.sending.scale + 1)
            case Next.UNCERTAIN:
                return _answer(job, TaskStatus.UNCERTAIN)
            case _:
                return _answer(job, TaskStatus.FAILED, error=verdict.error)

    def _uncertain(self, job: Job, why: str) -> TaskAnswer:
        return self._follow(job, Verdict(Next.UNCERTAIN, reasons.uncertain(why)))


def _answer(job: Job, status: TaskStatus, *, error: ErrorFacts | None = None, wait: float | None = None) -> TaskAnswer:
    answer: TaskAnswer = {"job_id": job.job_id, "transport": "v1", "status": status, "error": error}
    return answer if wait is None else {**answer, "wait_seconds": max(1, min(round(wait), LONGEST_STEP_WAIT))}


def _is_json(media_type: str, head: bytes) -> bool:
    """Whether a response has a link and not the video itself. Its first bytes decide if the headers are wrong."""
    return head.lstrip()[:1] in (b"{", b"[") or (media_type.endswith("json") and head[4:8] != b"ftyp")


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None and math.isfinite(float(text)) else None
    except ValueError:
        return None


@cache
def generate() -> Generate:
    """The use case, configured for this stack."""
    return Generate(
        jobs(),
        provider(),
        media(),
        sending(),
    )
