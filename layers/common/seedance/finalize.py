"""Finalize: copy a finished video into the bucket, complete the record, tell everybody.

Any part may be repeated: the copy goes to the same key, the record completes once, a notification that
was marked is not sent again.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from seedance.errors import ForbiddenSource, MediaError, NotAVideo
from seedance.jobs import reasons
from seedance.jobs.job import Job, State
from seedance.jobs.reasons import Reason
from seedance.jobs.store import JobStore, jobs
from seedance.media.buckets import Media, media
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import count, logger
from seedance.provider import links
from seedance.provider.download import Downloads, downloads
from seedance.provider.links import Result

TRIES = 2
"""How often a result that is no video is fetched before we believe it: it is paid for."""

FRAME_SECONDS = 20.0
"""For the whole of a last frame, a picture of some 100 KB. It is a gift beside the video and must not be waited for."""


@dataclass(frozen=True)
class Finalize:
    """The use case, with everything it talks to."""

    store: JobStore
    downloads: Downloads
    media: Media
    notifier: Notifier

    def __call__(self, job_id: str) -> dict[str, Any]:
        """Bring a job whose video is ready to COMPLETED: ``{"job_id", "status", "error"}``.

        The status is COMPLETED, FAILED when what came is no video, or NOT_READY for a job in any other state.
        Raises SourceUnavailable when the video could not be fetched now; the workflow then tries again. Once the video
        is in the bucket nothing else keeps the job from its end: not the last frame, and not the notification.
        """
        job = self.store.get(job_id)
        if job is None:
            raise LookupError(f"the workflow names job {job_id}, which has no record")
        if job.state is State.COPYING:
            try:
                video = job.video or self._with_last_frame(job, self._copy(job))
            except ForbiddenSource as error:
                return self._hold(job, error)
            except NotAVideo as error:
                return {
                    "job_id": job_id,
                    "status": "FAILED",
                    "error": reasons.sentence(error).error,
                    "request_id": job.request_id,
                }
            job = self.store.close(job, State.COMPLETED, video=video, error=None)
            count("JobsCompleted")
        if job.state is not State.COMPLETED:
            # No end of a job: it has one already, or somebody else is at it.
            why = Reason("NOT_READY", f"The job is {job.state}; there is no video to copy.")
            return {"job_id": job_id, "status": "NOT_READY", "error": job.error or why.error}
        self.notifier.tell(job)
        return {"job_id": job_id, "status": "COMPLETED", "error": None}

    def _hold(self, job: Job, error: ForbiddenSource) -> dict[str, Any]:
        """The link leads to a host that is not allowed. The video is paid for, so a person decides about the host."""
        result = Result(unclear=f"{str(error)[0].upper()}{str(error)[1:]}", elsewhere=job.result_url)
        said = links.held(result, job, job.request_id)
        count("JobsHeld")
        self.store.close(job, State.HELD, made=True, error=said)
        return {"job_id": job.job_id, "status": "HELD", "error": said}

    def _copy(self, job: Job) -> dict[str, Any]:
        """The video from the provider into the bucket; what the record says of it."""
        if job.result_url is None:
            raise NotAVideo("the record has no link to a result")
        for tries in range(1, TRIES + 1):
            try:
                with self.downloads.open(job.result_url) as source:
                    stored = self.media.store_video(
                        source.chunks,
                        job.video_key,
                        name=job.name,
                        metadata={
                            "job-id": job.job_id,
                            "model": job.model,
                            "request-id": job.request_id,
                        },
                    )
                break
            except NotAVideo:
                if tries == TRIES:
                    raise
        return stored.facts(self.media.video_bucket, job.video_key)

    def _with_last_frame(self, job: Job, video: dict[str, Any]) -> dict[str, Any]:
        """The video's facts with those of its last frame, if the model gave one and it can be had.

        The record knows of the video first. Whatever happens here, a run that follows finds it there and ends the job.
        """
        if job.last_frame_url is None:
            return video
        self.store.note(job, video=video)
        key = self._copy_last_frame(job, job.last_frame_url)
        return {**video, "last_frame_key": key} if key else video

    def _copy_last_frame(self, job: Job, url: str) -> str | None:
        try:
            with self.downloads.open(url, FRAME_SECONDS) as source:
                key = self.media.store_frame(source.chunks, job.video_key.removesuffix(".mp4"), name=job.name)
            why = "it is no image"
        except (MediaError, HTTPError, BotoCoreError, ClientError, OSError, ValueError) as error:
            key, why = None, str(error)
        if key is None:
            logger().warning("no last frame", extra={"job_id": job.job_id, "reason": why})
            count("LastFramesLost")
        return key


@cache
def finalize() -> Finalize:
    """The use case as the stack has it."""
    return Finalize(jobs(), downloads(), media(), notifier())
