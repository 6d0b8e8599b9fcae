"""A deployed stack as its users see it: two buckets, an API, a topic. All of it comes from stack outputs."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote_plus

import httpx
from seedance.job import State, upload_job_id

from local import aws
from local.stack import Stack

T = TypeVar("T")
SAMPLE = Path(__file__).parents[2] / "local/sample/product.jpg"
PATIENCE_SECONDS = 90.0
"""For all jobs together; they run at the same time."""


def until(
    condition: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS, seen: Callable[[], object] = str
) -> T:
    """The first value of ``condition`` that counts; fails, with what was ``seen``, when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s {seen()}"
        time.sleep(0.1)
    return value


@dataclass
class Deployed:
    """The stack, and what was heard from it."""

    stack: Stack
    queue: str = ""
    """A queue that gets all notifications in SNS's envelope."""
    failures: str = ""
    """A queue that gets those of failed jobs, raw."""
    heard: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Notifications by job."""

    def __post_init__(self) -> None:
        self.api = httpx.Client(trust_env=False, timeout=30)
        for name, attributes in {
            "all": {},
            "failures": {"RawMessageDelivery": "true", "FilterPolicy": json.dumps({"status": ["FAILED"]})},
        }.items():
            url = self.client("sqs").create_queue(QueueName=name)["QueueUrl"]
            facts = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
            self.client("sns").subscribe(
                TopicArn=self.output("NotificationTopicArn"),
                Protocol="sqs",
                Endpoint=facts["QueueArn"],
                Attributes=attributes,
            )
            setattr(self, "queue" if name == "all" else name, url)

    def output(self, name: str) -> str:
        return self.stack.outputs[name]

    def client(self, service: str) -> Any:
        return aws.client(self.stack.endpoint_url, service)

    # asking -------------------------------------------------------------------------------------------------------

    def put(self, key: str, body: bytes, metadata: dict[str, str] | None = None) -> str:
        """Put an object into the upload bucket; its version."""
        answer = self.client("s3").put_object(
            Bucket=self.output("UploadBucketName"), Key=key, Body=body, Metadata=metadata or {}
        )
        return str(answer["VersionId"])

    def upload(self, key: str, body: bytes | None = None, **metadata: str) -> str:
        """Upload an image under ``uploads/``; its job's id."""
        return self.job_of(key, self.put(key, SAMPLE.read_bytes() if body is None else body, metadata))

    def job_of(self, key: str, version: str) -> str:
        return upload_job_id(self.output("UploadBucketName"), key, version)

    def upload_twice_told(self, key: str, **metadata: str) -> str:
        """An upload whose event is delivered a second time, as S3 and SQS may; its job's id."""
        version = self.put(key, SAMPLE.read_bytes(), metadata)
        where = {"key": quote_plus(key), "versionId": version, "sequencer": "0A", "size": 100}
        bucket = {"name": self.output("UploadBucketName")}
        record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": bucket, "object": where}}
        self.client("sqs").send_message(
            QueueUrl=self.output("SubmitQueueUrl"), MessageBody=json.dumps({"Records": [record]})
        )
        return self.job_of(key, version)

    def call(self, method: str, path: str, *, key: str | None = "", **options: Any) -> httpx.Response:
        """Call the API; ``key`` None is without any."""
        headers = options.pop("headers", {})
        if key is not None:
            headers = {"x-api-key": key or self.stack.api_key, **headers}
        return self.api.request(method, self.output("ApiUrl") + path, headers=headers, **options)

    def order(self, idempotency_key: str | None = None, **body: Any) -> str:
        """Ask the API for a video; its job's id."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        answer = self.call("POST", "/videos", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    # seeing -------------------------------------------------------------------------------------------------------

    def over(self, job_ids: Iterable[str]) -> int:
        """How many of these jobs are over, by the table."""
        items = self.client("dynamodb").scan(TableName=self.output("JobTableName"), ConsistentRead=True)["Items"]
        states = {item["job_id"]["S"]: State(item["state"]["S"]) for item in items}
        return sum(states.get(job_id, State.RECEIVED).terminal for job_id in job_ids)

    def ended(self, job_id: str) -> dict[str, Any]:
        """The job as the API tells of it, once it is over."""

        def over() -> dict[str, Any] | None:
            answer = self.call("GET", f"/videos/{job_id}")
            found = answer.json() if answer.status_code == 200 else {}
            return found if found and State(found["state"]).terminal else None

        def seen() -> object:
            return self.call("GET", f"/videos/{job_id}").json(), self.queued("SubmitQueueUrl")

        return until(over, f"the end of {job_id}", seen=seen)

    def queued(self, output: str) -> list[int]:
        """How many messages are in a queue: to be taken, and being worked on."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        facts = self.client("sqs").get_queue_attributes(QueueUrl=self.output(output), AttributeNames=names)
        return [int(facts["Attributes"][name]) for name in names]

    def told(self, job_id: str) -> dict[str, Any]:
        """The one notification of a job that is over, with its ``attributes``."""

        def arrived() -> bool:
            for message in self._received(self.queue):
                body = json.loads(message["Message"])
                attributes = {name: value["Value"] for name, value in message["MessageAttributes"].items()}
                self.heard.setdefault(body["job_id"], []).append({**body, "attributes": attributes})
            return job_id in self.heard

        until(arrived, f"the notification of {job_id}", 10)
        (only,) = self.heard[job_id]
        return only

    def _received(self, queue: str) -> Iterable[dict[str, Any]]:
        sqs = self.client("sqs")
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                yield json.loads(message["Body"])
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])

    def told_of_failures(self) -> dict[str, dict[str, Any]]:
        """What the queue with the filter got, by job."""
        return {message["job_id"]: message for message in self._received(self.failures)}

    def sandbox(self, path: str) -> Any:
        """What the provider's stand-in has seen."""
        return self.api.get(f"{self.stack.sandbox_url}/_sandbox/{path}").raise_for_status().json()

    def order_at_provider(self, request_id: str) -> dict[str, Any]:
        (order,) = [job for job in self.sandbox("jobs")["jobs"] if job["request_id"] == request_id]
        return dict(order)

    def completed(self, job_id: str) -> dict[str, Any]:
        """The job as the API tells of it, with its video; checks that the same video is everywhere."""
        job = self.ended(job_id)
        assert (job["state"], job["error"]) == ("COMPLETED", None)
        made = self.api.get(f"{self.stack.sandbox_url}/media/{job['request_id']}.mp4").raise_for_status().content
        video = job["video"]
        stored = self.client("s3").get_object(Bucket=self.output("VideoBucketName"), Key=video["key"])
        assert stored["Body"].read() == made
        assert stored["ContentType"] == "video/mp4"
        assert self.api.get(video["url"]).content == made
        assert (video["bytes"], video["sha256"]) == (len(made), hashlib.sha256(made).hexdigest())
        told = self.told(job_id)
        assert told["video"]["sha256"] == video["sha256"]
        assert self.api.get(told["video"]["url"]).content == made
        assert told["attributes"] == {"status": "COMPLETED", "model": job["model"], "source": job["source"]}
        assert told["cost_usd"] == job["cost_usd"] > 0
        return job
