"""A deployed stack as its users see it: two buckets, an API, a topic. All names come from stack outputs."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote_plus

import httpx
from seedance.jobs.job import State, upload_job_id

from local import aws
from local.stack import Stack

T = TypeVar("T")
SAMPLE = Path(__file__).parents[2] / "local/sample/product.jpg"
PATIENCE_SECONDS = 90.0
"""For all jobs together; they run at the same time."""


BOUGHT_AGAIN = frozenset({"A folder turns", "an unlucky shoe"})
"""The prompts of failed videos that people buy again, in tests."""


def until(
    condition: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS, seen: Callable[[], object] = str
) -> T:
    """Wait for the first true value of ``condition``; after the time limit, fail with what was ``seen``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s {seen()}"
        time.sleep(0.1)
    return value


@dataclass
class Deployed:
    """The stack, and the notifications received from it."""

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

    def configure(self) -> None:
        """Configure the stand-in for low video quality, to save this machine's CPU."""
        url = f"{self.stack.sandbox_url}/_sandbox/config"
        self.api.post(url, json={"fps": 2, "credits": 1000}).raise_for_status()

    def output(self, name: str) -> str:
        return self.stack.outputs[name]

    def client(self, service: str) -> Any:
        return aws.client(self.stack.access, service)

    # requests -----------------------------------------------------------------------------------------------------

    def put(self, key: str, body: bytes, metadata: dict[str, str] | None = None) -> str:
        """Put an object into the upload bucket, and return its version."""
        answer = self.client("s3").put_object(
            Bucket=self.output("UploadBucketName"), Key=key, Body=body, Metadata=metadata or {}
        )
        return str(answer["VersionId"])

    def upload(self, key: str, body: bytes | None = None, **metadata: str) -> str:
        """Upload an image under ``uploads/``, and return its job's id."""
        return self.job_of(key, self.put(key, SAMPLE.read_bytes() if body is None else body, metadata))

    def job_of(self, key: str, version: str) -> str:
        return upload_job_id(self.output("UploadBucketName"), key, version)

    def upload_twice_told(self, key: str, **metadata: str) -> str:
        """Upload an image whose event is delivered twice, as S3 and SQS may; returns its job's id."""
        version = self.put(key, SAMPLE.read_bytes(), metadata)
        self.client("sqs").send_message(
            QueueUrl=self.output("SubmitQueueUrl"), MessageBody=json.dumps(self.event(key, version))
        )
        return self.job_of(key, version)

    def event(self, key: str, version: str) -> dict[str, Any]:
        """The S3 event of an upload."""
        where = {"key": quote_plus(key), "versionId": version, "sequencer": "0A", "size": 100}
        bucket = {"name": self.output("UploadBucketName")}
        record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": bucket, "object": where}}
        return {"Records": [record]}

    def call(self, method: str, path: str, *, key: str | None = "", **options: Any) -> httpx.Response:
        """Call the API; with ``key`` None, without a key."""
        headers = options.pop("headers", {})
        if key is not None:
            headers = {"x-api-key": key or self.stack.api_key, **headers}
        return self.api.request(method, self.output("ApiUrl") + path, headers=headers, **options)

    def order(self, idempotency_key: str | None = None, **body: Any) -> str:
        """Request a video from the API, and return its job's id."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        answer = self.call("POST", "/videos", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    # results ------------------------------------------------------------------------------------------------------

    def over(self, job_ids: Iterable[str]) -> int:
        """How many of these jobs have ended, according to the table."""
        states = self.states()
        return sum(states.get(job_id, State.RECEIVED).terminal for job_id in job_ids)

    def states(self) -> dict[str, State]:
        """Every job's state. The table's other items, the days and the switch, have no state."""
        pages = (
            self.client("dynamodb")
            .get_paginator("scan")
            .paginate(
                TableName=self.output("JobTableName"),
                ConsistentRead=True,
                ProjectionExpression="job_id, #state",
                ExpressionAttributeNames={"#state": "state"},
            )
        )
        items = [item for page in pages for item in page["Items"] if "state" in item]
        return {item["job_id"]["S"]: State(item["state"]["S"]) for item in items}

    def back_in_time(self, job_id: str, state: State, seconds: float) -> None:
        """Change the record as if nothing had happened to the job for that long, to save the wait."""
        self.client("dynamodb").update_item(
            TableName=self.output("JobTableName"),
            Key={"job_id": {"S": job_id}},
            UpdateExpression="SET updated_at = :then, entered.#state = :then",
            ConditionExpression="#field = :state",
            ExpressionAttributeNames={"#state": state.value, "#field": "state"},
            ExpressionAttributeValues={":then": {"N": str(time.time() - seconds)}, ":state": {"S": state.value}},
        )

    def unfinished(self) -> list[str]:
        """The jobs that have not ended, by id."""
        return [job_id for job_id, state in self.states().items() if not state.terminal]

    def ended(self, job_id: str) -> dict[str, Any]:
        """The job as the API returns it, once it has ended."""

        def over() -> dict[str, Any] | None:
            answer = self.call("GET", f"/videos/{job_id}")
            found = answer.json() if answer.status_code == 200 else {}
            return found if found and State(found["state"]).terminal else None

        def seen() -> object:
            return self.call("GET", f"/videos/{job_id}").json(), self.queued("SubmitQueueUrl")

        return until(over, f"the end of {job_id}", seen=seen)

    def queued(self, output: str) -> list[int]:
        """How many messages are in a queue, waiting or in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        facts = self.client("sqs").get_queue_attributes(QueueUrl=self.output(output), AttributeNames=names)
        return [int(facts["Attributes"][name]) for name in names]

    def told(self, job_id: str, status: str | None = None) -> dict[str, Any]:
        """The only notification of a job or batch (with that status, if there may be several), with ``attributes``."""

        def arrived() -> list[dict[str, Any]]:
            for message in self.received(self.queue):
                body = json.loads(message["Message"])
                attributes = {name: value["Value"] for name, value in message["MessageAttributes"].items()}
                about = body["job_id"] if "job_id" in body else body["batch_id"]
                self.heard.setdefault(about, []).append({**body, "attributes": attributes})
            return [one for one in self.heard.get(job_id, []) if status in (None, one["status"])]

        (only,) = until(arrived, f"the notification of {job_id}", 30)
        return only

    def received(self, queue: str) -> Iterable[dict[str, Any]]:
        """Receive and delete the messages of one of our queues."""
        sqs = self.client("sqs")
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                yield json.loads(message["Body"])
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])

    def told_of_failures(self) -> dict[str, dict[str, Any]]:
        """The messages in the queue with the filter, by job."""
        return {message["job_id"]: message for message in self.received(self.failures)}

    def sandbox(self, path: str) -> Any:
        """What the provider's stand-in has received."""
        return self.api.get(f"{self.stack.sandbox_url}/_sandbox/{path}").raise_for_status().json()

    def bought_twice(self) -> set[str]:
        """The prompts of videos that were ordered twice although nobody wanted that."""
        return {one["body"]["prompt"] for one in self.sandbox("summary")["duplicates"]} - BOUGHT_AGAIN

    def order_at_provider(self, request_id: str) -> dict[str, Any]:
        (order,) = [job for job in self.sandbox("jobs")["jobs"] if job["request_id"] == request_id]
        return dict(order)

    def completed(self, job_id: str) -> dict[str, Any]:
        """The job as the API returns it, with its video; checks that the video is the same everywhere."""
        job = self.ended(job_id)
        assert (job["state"], job["error"]) == ("COMPLETED", None)
        made = self.api.get(f"{self.stack.sandbox_url}/media/{job['request_id']}.mp4").raise_for_status().content
        video = job["video"]
        stored = self.client("s3").get_object(Bucket=self.output("VideoBucketName"), Key=video["key"])
        assert stored["Body"].read() == made
        assert stored["ContentType"] == "video/mp4"
        assert self.api.get(video["url"]).content == made
        assert (video["bytes"], video["sha256"]) == (len(made), hashlib.sha256(made).hexdigest())
        about = json.loads(
            self.client("s3").get_object(Bucket=video["bucket"], Key=video["manifest_key"])["Body"].read()
        )
        assert (about["video"]["key"], about["video"]["sha256"]) == (video["key"], video["sha256"])
        assert (about["ai_generated"], about["request_id"], about["metadata"]) == (
            True,
            job["request_id"],
            job["metadata"],
        )
        told = self.told(job_id, "COMPLETED")
        assert told["video"]["sha256"] == video["sha256"]
        assert self.api.get(told["video"]["url"]).content == made
        attributes = {"status": "COMPLETED", "model": job["model"], "source": job["source"]}
        assert told["attributes"] == attributes | ({"batch": job["batch"]["batch_id"]} if job["batch"] else {})
        assert told["cost_usd"] == job["cost_usd"] > 0
        return job
