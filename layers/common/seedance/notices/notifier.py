"""Publishes how jobs and batches ended, through SNS."""

from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from seedance.aws import clients, fields
from seedance.clock import CLOCK, Clock
from seedance.config import settings
from seedance.errors import Conflict
from seedance.jobs.job import Job
from seedance.jobs.store import JobStore, jobs
from seedance.media.buckets import Media, media
from seedance.notices import batch_message, job_message
from seedance.observability import count, logger

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class Notifier:
    """Publishes a job's notification, then marks the job as notified.

    In this order, a crash in between repeats a notification but never loses one.
    """

    def __init__(self, topic: str, client: "SNSClient", store: JobStore, bucket: Media, clock: Clock = CLOCK) -> None:
        self._topic = topic
        self._client = client
        self._store = store
        self._bucket = bucket
        self._clock = clock

    def notify(self, job: Job) -> Job:
        """Publish the notification for a terminal job unless that was done before. Returns the current job."""
        if job.notified_at is not None:
            return job
        message = job_message.machine_message(job, self._bucket.video_link(job.video["key"]) if job.video else None)
        values = {name: message[name] for name in ("status", "model", "source")}
        values["batch"] = job.batch  # the email subscription filters out a batch's jobs by this attribute
        self._client.publish(
            TopicArn=self._topic,
            MessageStructure="json",
            Message=job_message.sns_body(message),
            Subject=job_message.mail(message)[0],
            MessageAttributes=fields.attributes(values),
        )
        return self._store.note(job, notified_at=round(self._clock(), 3))

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

    def summarise(self, message: dict[str, Any]) -> None:
        """Publish a batch's summary (see batch_message.machine_message), the only email that a batch sends.

        It has no attribute ``batch``, which marks the notifications of a batch's jobs.
        """
        self._client.publish(
            TopicArn=self._topic,
            MessageStructure="json",
            Message=batch_message.sns_body(message),
            Subject=batch_message.mail(message)[0],
            MessageAttributes=fields.attributes({name: message[name] for name in ("status", "source")}),
        )


@cache
def notifier() -> Notifier:
    """The stack's notification topic."""
    return Notifier(settings().notification_topic, clients.sns(), jobs(), media())
