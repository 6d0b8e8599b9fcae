"""Publishes how jobs and batches ended, through SNS."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from seedance.aws import clients, fields
from seedance.clock import CLOCK, Clock
from seedance.config import link_settings
from seedance.errors import Conflict
from seedance.jobs.job import Job
from seedance.jobs.lasting import NO_LINKS, Addresses
from seedance.jobs.store import JobStore, jobs
from seedance.media.buckets import Media, media
from seedance.notices.batch_message import BatchSummary, batch_email
from seedance.notices.job_message import job_email, job_notification
from seedance.notices.video_links import video_links
from seedance.observability import count, logger

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

Message = TypeVar("Message")


class Notifier:
    """Publishes a job's notification, then marks the job as notified.

    In this order, a crash in between repeats a notification but never loses one.
    """

    def __init__(
        self,
        topic: str,
        client: "SNSClient",
        store: JobStore,
        bucket: Media,
        clock: Clock = CLOCK,
        *,
        addresses: Addresses = NO_LINKS,
    ) -> None:
        self._topic = topic
        self._client = client
        self._store = store
        self._bucket = bucket
        self._clock = clock
        self._addresses = addresses

    def notify(self, job: Job) -> Job:
        """Publish the notification for an ended or held job unless that was done before. Returns the current job."""
        if job.notified_at is not None:
            return job
        message = job_notification(job, video_links(job, self._bucket, self._addresses, self._clock()))
        # The email subscription filters out a batch's jobs by the attribute ``batch``.
        attributes = {"status": message["status"], "model": job.model, "source": job.source, "batch": job.batch}
        self._publish(message, job_email, attributes)
        try:
            return self._store.note(job, notified_at=round(self._clock(), 3))
        except Conflict:
            # A held job may have been released or cancelled in between. Then its next end has not been told yet.
            found = self._store.get(job.job_id)
            if found is None or found.state is job.state:
                raise
            return found

    def tell(self, job: Job) -> Job:
        """Like ``notify``, but if it fails, reconcile sends the notification in one of its next rounds.

        For tasks that have closed a job: they must not be retried only because SNS is unavailable.
        """
        try:
            return self.notify(job)
        except (BotoCoreError, ClientError, Conflict):
            logger().exception("notification failed; reconcile will retry", extra={"job_id": job.job_id})
            count("NotificationsPutOff")
            return job

    def summarise(self, message: BatchSummary) -> None:
        """Publish a batch's summary, the only email that a batch sends.

        It has no attribute ``batch``, which marks the notifications of a batch's jobs.
        """
        self._publish(message, batch_email, {"status": message["status"], "source": message["source"]})

    def _publish(
        self, message: Message, email: Callable[[Message], tuple[str, str]], attributes: Mapping[str, str | None]
    ) -> None:
        """Publish a message as JSON for machines and as an email, whose subject and text ``email`` makes."""
        self._client.publish(
            TopicArn=self._topic,
            MessageStructure="json",
            Message=fields.message(message, lambda told: email(told)[1]),
            Subject=email(message)[0],
            MessageAttributes=fields.attributes(attributes),
        )


@cache
def notifier() -> Notifier:
    """The stack's notification topic."""
    stack = link_settings()
    addresses = Addresses(stack.link_base, stack.video_link_days)
    return Notifier(stack.notification_topic, clients.sns(), jobs(), media(), addresses=addresses)
