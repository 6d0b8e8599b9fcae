"""Finalize: copy a finished video to the bucket, complete the record, and send the notification.

Every step can be repeated: the copy and its manifest go to the same keys, the record is completed once, and a
notification that was marked as sent is not sent again.
"""

import time
from dataclasses import dataclass
from functools import cache

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from seedance import bounds, video_manifest
from seedance.clock import CLOCK, Clock
from seedance.errors import ForbiddenSource, MediaError, NotAVideo
from seedance.jobs import reasons
from seedance.jobs.job import Job, State, VideoFacts
from seedance.jobs.store import JobStore, jobs
from seedance.jobs.tasks import TaskAnswer, TaskStatus
from seedance.media.buckets import Media, media
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import count, logger
from seedance.provider import links
from seedance.provider.download import DOWNLOAD_SECONDS, Downloads, downloads
from seedance.provider.links import Result

TRIES = 2
"""How often a result that is not a video is downloaded before the job fails, because the video is paid for."""

LONG_COPY_SECONDS = 60.0
"""After a copy that took longer, the video is written to the record before its manifest is. So if S3 hangs then until
the function's time is up, the next run need not copy the video again."""

FRAME_SECONDS = 20.0
"""The time limit for copying a last frame, an image of about 100 KB. It is optional and must not delay the video."""


@dataclass(frozen=True)
class Finalize:
    """The use case and its dependencies."""

    store: JobStore
    downloads: Downloads
    media: Media
    notifier: Notifier
    clock: Clock = CLOCK

    def __call__(self, job_id: str) -> TaskAnswer:
        """Complete a job whose video is ready.

        The status is COMPLETED, FAILED if the result is not a video, HELD if its link may not be followed, or
        NOT_READY if the job is in another state. Raises SourceUnavailable if the video can't be downloaded now; the
        workflow then tries again. Once the video is in the bucket, the job is completed even if copying the last frame,
        writing the manifest or sending the notification fails.
        """
        job = self.store.get(job_id)
        if job is None:
            raise LookupError(f"the workflow's job {bounds.shown(job_id)} has no record")
        if job.state is State.COPYING:
            try:
                video = job.video or self._with_last_frame(job, self._copy(job))
                video = self._with_manifest(job, video)
            except ForbiddenSource as error:
                return self._hold(job, error)
            except NotAVideo as error:
                return {
                    "job_id": job_id,
                    "status": TaskStatus.FAILED,
                    "error": reasons.sentence(error).error,
                    "request_id": job.request_id,
                }
            job = self.store.close(job, State.COMPLETED, video=video, error=None)
            count("JobsCompleted")
        if job.state is not State.COMPLETED:
            # This must not end the job: it has ended already, or another function is working on it.
            why = job.error or reasons.not_ready(job.state).error
            return {"job_id": job_id, "status": TaskStatus.NOT_READY, "error": why}
        self.notifier.tell(job)
        return {"job_id": job_id, "status": TaskStatus.COMPLETED, "error": None}

    def _hold(self, job: Job, error: ForbiddenSource) -> TaskAnswer:
        """Hold the job: its link is on a host that is not allowed. The video is paid for, so a person decides."""
        result = Result(unclear=f"{str(error)[0].upper()}{str(error)[1:]}", elsewhere=job.result_url)
        said = links.held(result, job, job.request_id)
        count("JobsHeld")
        self.store.close(job, State.HELD, made=True, error=said)
        return {"job_id": job.job_id, "status": TaskStatus.HELD, "error": said}

    def _copy(self, job: Job) -> VideoFacts:
        """Copy the video to the bucket. Returns its fields for the record."""
        if job.result_url is None:
            raise NotAVideo("the record has no link to a result")
        began = time.monotonic()
        until = began + DOWNLOAD_SECONDS
        for tries in range(1, TRIES + 1):
            try:
                with self.downloads.open(job.result_url, until - time.monotonic()) as source:
                    stored = self.media.store_video(
                        source.chunks,
                        job.video_key,
                        framed=source.framed,
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
        video = stored.facts(self.media.video_bucket, job.video_key)
        if time.monotonic() - began > LONG_COPY_SECONDS:
            self.store.note(job, video=video)
        return video

    def _with_last_frame(self, job: Job, video: VideoFacts) -> VideoFacts:
        """The video's fields with those of its last frame, if the model returned one and it can be copied.

        The video is written to the record first. So whatever fails here, the next run finds it and completes the job.
        """
        if job.last_frame_url is None:
            return video
        self.store.note(job, video=video)
        key = self._copy_last_frame(job, job.last_frame_url)
        return {**video, "last_frame_key": key} if key else video

    def _with_manifest(self, job: Job, video: VideoFacts) -> VideoFacts:
        """The video's fields with the key of its manifest, unless that can't be written."""
        key = video_manifest.manifest_key(video["key"])
        about = video_manifest.video_manifest(job, video, self.clock())
        try:
            self.media.store_manifest(video_manifest.file_of(about), key, name=job.name)
        except (BotoCoreError, ClientError, OSError) as error:
            logger().warning("no manifest", extra={"job_id": job.job_id, "reason": str(error)})
            count("ManifestsLost")
            return video
        return {**video, "manifest_key": key}

    def _copy_last_frame(self, job: Job, url: str) -> str | None:
        try:
            with self.downloads.open(url, FRAME_SECONDS) as source:
                key = self.media.store_frame(source.chunks, job.video_key.removesuffix(".mp4"), name=job.name)
            why = "it is not an image"
        except (MediaError, HTTPError, BotoCoreError, ClientError, OSError, ValueError) as error:
            key, why = None, str(error)
        if key is None:
            logger().warning("no last frame", extra={"job_id": job.job_id, "reason": why})
            count("LastFramesLost")
        return key


@cache
def finalize() -> Finalize:
    """The use case, configured for this stack."""
    return Finalize(jobs(), downloads(), media(), notifier())
