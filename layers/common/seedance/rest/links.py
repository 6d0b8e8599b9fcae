"""POST and DELETE /videos/{job_id}/link: a video's lasting link, which people open without a key."""

from dataclasses import dataclass
from functools import cache
from typing import TypedDict

from seedance import bounds
from seedance.clock import CLOCK, Clock
from seedance.config import link_settings
from seedance.errors import Conflict, NotFound
from seedance.jobs.job import Job, State
from seedance.jobs.lasting import Addresses
from seedance.jobs.store import JobStore, jobs
from seedance.notices.job_message import iso


class VideoLink(TypedDict):
    """A video's lasting link. null: the video has none."""

    job_id: str
    link: str | None
    """Plays the video in a browser. Needs no key: anyone who has it can watch the video."""
    download_link: str | None
    """The same, but a browser saves the file."""
    link_expires_at: str | None
    """When the link expires."""


@dataclass(frozen=True)
class Links:
    """The use cases and their dependencies."""

    store: JobStore
    addresses: Addresses
    clock: Clock = CLOCK

    def share(self, job_id: str) -> VideoLink:
        """The video's link, created if there is none that works. Raises NotFound, or Conflict without a video."""
        job = self._job(job_id)
        if job.state is not State.COMPLETED or job.video is None:
            raise Conflict(f"job {job.job_id} is {job.state} and has no video to link to")
        if not self.addresses.days:
            raise Conflict("this stack creates no lasting links: its parameter VideoLinkDays is 0")
        if self.addresses.of(job, self.clock()) is None:
            try:
                job = self.store.share(job)
            except Conflict:  # another call was faster
                job = self._job(job_id)
        return self._shown(job)

    def unshare(self, job_id: str) -> VideoLink:
        """Revoke the video's link, if there is one. Raises NotFound, or Conflict if it changes at the same time."""
        return self._shown(self.store.unshare(self._job(job_id)))

    def _job(self, job_id: str) -> Job:
        if (job := self.store.get(job_id)) is None:
            raise NotFound(f"job {bounds.shown(job_id)} does not exist")
        return job

    def _shown(self, job: Job) -> VideoLink:
        link = self.addresses.of(job, self.clock())
        return {
            "job_id": job.job_id,
            "link": link,
            "download_link": link and f"{link}?download",
            "link_expires_at": iso(job.link_until) if link else None,
        }


@cache
def links() -> Links:
    """The use cases, configured for this stack."""
    stack = link_settings()
    return Links(jobs(), Addresses(stack.link_base, stack.video_link_days))
