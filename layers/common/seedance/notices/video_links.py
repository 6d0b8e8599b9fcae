"""The links to a job's video, for its notification and for the API."""

from seedance.aws import checks
from seedance.aws.fields import OBJECT_KEY_BYTES
from seedance.jobs.job import Job
from seedance.jobs.lasting import Addresses
from seedance.media.buckets import Media
from seedance.notices.job_message import VideoLinks


def video_links(job: Job, bucket: Media, addresses: Addresses, now: float) -> VideoLinks | None:
    """The links to the job's video, signed now. None if it has no video."""
    if not job.video:
        return None
    key, lasting = job.video["key"], addresses.of(job, now)
    frame = checks.text(job.video.get("last_frame_key"))
    if frame and len(frame.encode()) > OBJECT_KEY_BYTES:
        frame = None  # somebody edited the record; such a key makes no link
    return VideoLinks(
        bucket.video_link(key, job.name),
        bucket.video_link(key, job.name, download=True),
        lasting,
        job.link_until if lasting else None,
        bucket.frame_link(frame, job.name) if frame else None,
    )
