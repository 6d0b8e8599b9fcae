"""The part of AWS around the functions that the tests need: deliver messages, run the state machine.

The functions run in this process, on a moto that serves real HTTP, against the real stand-in for the
provider. Nothing sleeps: time passes by moving the stand-in's clock forward and the records back.
"""

import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache, wraps
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, quote_plus

import httpx
from adversary import Adversary
from boto3.session import Session
from described import check
from drawing import png
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sqs.models import sqs_backends
from samcli.yamlhelper import yaml_parse
from seedance.aws.table import CALENDAR
from seedance.events.change import SOURCE
from seedance.jobs.budget import month_of
from seedance.jobs.job import Job, State, upload_job_id
from seedance.jobs.store import jobs
from variables import variables

from local.sandbox import Sandbox
from local.sandbox.state import RECORD_SECONDS

ROOT = Path(__file__).parents[2]
ASL = json.loads((ROOT / "statemachine/video_job.asl.json").read_text())
UPLOADS, VIDEOS, REGION = "uploads-bucket", "videos-bucket", "us-east-1"
API_KEY = "key-of-the-api"
LINKS = "https://links.example/w"
WEBHOOK_KEY = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
_TIMES = {"created_at", "updated_at", "submitted_at", "turn_at", "result_at"}
RUNNING: list[str] = []
"""The function that runs now, if any."""

NEVER_DONE = {"stuck-queued", "stuck-processing"}
"""Faults of the stand-in under which a job does not end."""


@cache
def declared() -> dict[str, Any]:
    """The stack's template."""
    return dict(yaml_parse((ROOT / "template.yaml").read_text()))


def template() -> dict[str, Any]:
    """The stack's resources."""
    return dict(declared()["Resources"])


@cache
def http() -> httpx.Client:
    """One HTTP client for the tests' own requests; building one takes longer than a request."""
    return httpx.Client(trust_env=False)


@cache
def aws(url: str, service: str) -> Any:
    """The tests' own client for a service of moto."""
    return Session().client(service, endpoint_url=url)


@cache
def app(verb: str) -> ModuleType:
    """A function's module, loaded by path: all of them are named ``app``."""
    spec = importlib.util.spec_from_file_location(f"app_of_{verb}", ROOT / f"functions/{verb}/app.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    handler = module.handler

    @wraps(handler)
    def handle(event: Any, context: Any) -> Any:
        before, RUNNING[:] = RUNNING[:], [verb]
        try:
            return handler(event, context)
        finally:
            RUNNING[:] = before

    vars(module)["handler"] = handle
    return module


def s3_event(key: str, version: str | None, size: int, *, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """The notification that S3 sends for an upload, with the fields that the pipeline may read."""
    found = {"key": quote_plus(key, safe="/"), "size": size, "sequencer": "0055AED6DCD90281E5"}
    if version:
        found["versionId"] = version
    record = {"eventSource": "aws:s3", "eventName": name, "s3": {"bucket": {"name": UPLOADS}, "object": found}}
    return {"Records": [record]}


@dataclass
class Pipeline:
    """An empty stack and the provider's stand-in."""

    sandbox: Sandbox
    aws_url: str
    queue: str = ""
    notification_queue: str = ""
    topic: str = ""
    secret: str = ""
    webhook_secret: str = ""
    state_machine: str = ""
    batch_machine: str = ""
    adversary: Adversary = field(default_factory=Adversary)
    passed: float = 0.0
    """Seconds that have passed without anybody waiting for them."""
    told: list[dict[str, Any]] = field(default_factory=list)
    """The notifications so far."""

    def client(self, service: str) -> Any:
        return aws(self.aws_url, service)

    def create(self, key: str) -> None:
        """Create the stack's resources, with the table as in the template."""
        table = template()["JobTable"]["Properties"]
        for bucket in (UPLOADS, VIDEOS):
            self.client("s3").create_bucket(Bucket=bucket)
        self.client("s3").put_bucket_versioning(Bucket=UPLOADS, VersioningConfiguration={"Status": "Enabled"})
        wanted = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
        self.client("dynamodb").create_table(TableName="jobs", **{name: table[name] for name in wanted})
        sqs = self.client("sqs")
        self.queue = sqs.create_queue(QueueName="intake")["QueueUrl"]
        for name in ("intake-dead", "unannounced", "webhooks", "webhooks-dead", "announced"):
            sqs.create_queue(QueueName=name)
        events, everything = self.client("events"), json.dumps({"source": [SOURCE]})
        events.put_rule(Name="everything", EventPattern=everything)
        arn = f"arn:aws:sqs:{REGION}:{DEFAULT_ACCOUNT_ID}:announced"
        events.put_targets(Rule="everything", Targets=[{"Id": "announced", "Arn": arn}])
        self.notification_queue = sqs.create_queue(QueueName="told")["QueueUrl"]
        self.topic = self.client("sns").create_topic(Name="videos")["TopicArn"]
        self.client("sns").subscribe(
            TopicArn=self.topic,
            Protocol="sqs",
            Endpoint=f"arn:aws:sqs:{REGION}:{DEFAULT_ACCOUNT_ID}:told",
            Attributes={"RawMessageDelivery": "true"},
        )
        secrets = self.client("secretsmanager")
        self.secret = secrets.create_secret(Name="key", SecretString=key)["ARN"]
        self.webhook_secret = secrets.create_secret(Name="webhooks", SecretString=WEBHOOK_KEY)["ARN"]
        role = f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:role/workflow"
        self.state_machine, self.batch_machine = (
            self.client("stepfunctions").create_state_machine(name=name, definition=json.dumps(ASL), roleArn=role)[
                "stateMachineArn"
            ]
            for name in ("video-job", "video-batch")
        )

    def names(self) -> dict[str, str]:
        """The template's resources, by the names that they have here."""
        return {
            "jobs": "JobTable",
            UPLOADS: "UploadBucket",
            VIDEOS: "VideoBucket",
            self.queue: "IntakeQueue",
            f"{self.queue}-dead": "IntakeDeadLetterQueue",
            self.topic: "NotificationTopic",
            self.state_machine: "VideoJobStateMachine",
            self.batch_machine: "VideoBatchStateMachine",
            self.secret: "SegmindApiKeySecretArn",
            "default": "EventBusName",
            self._url("unannounced"): "AnnounceDeadLetterQueue",
            self._url("webhooks"): "WebhookQueue",
            self._url("webhooks-dead"): "WebhookDeadLetterQueue",
            self.webhook_secret: "WebhookSecretArn",
        }

    def _url(self, queue: str) -> str:
        return f"{self.queue.removesuffix('intake')}{queue}"

    def environment(self) -> dict[str, str]:
        """The functions' environment, as in template.yaml."""
        given = {
            "JOB_TABLE": "jobs",
            "UPLOAD_BUCKET": UPLOADS,
            "VIDEO_BUCKET": VIDEOS,
            "NOTIFICATION_TOPIC": self.topic,
            "SEGMIND_API_KEY_SECRET": self.secret,
            "SEGMIND_BASE_URL": self.sandbox.url,
            "SEGMIND_UPLOAD_URL": self.sandbox.url,
            "SEGMIND_MEDIA_HOSTS": httpx.URL(self.sandbox.url).netloc.decode(),
            "DEFAULT_PROMPT": "The product turns.",
            "SEGMIND_HISTORY_URL": self.sandbox.url,
            "REQUESTS_PER_MINUTE": "6000",  # nothing sleeps
            "STATE_MACHINE": self.state_machine,
            "BATCH_STATE_MACHINE": self.batch_machine,
            "INTAKE_QUEUE": self.queue,
            "DEAD_LETTER_QUEUE": f"{self.queue}-dead",
            "IMAGE_KEY_PREFIXES": "images/,shop/",
            "LINK_BASE": LINKS,
            "WEBHOOK_SECRET": self.webhook_secret,
            "WEBHOOKS": "no",
            "WEBHOOK_QUEUE": self._url("webhooks"),
            "WEBHOOK_DEAD_LETTER_QUEUE": self._url("webhooks-dead"),
            "ANNOUNCE_DEAD_LETTER_QUEUE": self._url("unannounced"),
            **dict.fromkeys(("UPLOAD_ORIGIN", "VIDEO_ORIGIN"), "https://bucket.example"),
        }
        return variables(declared(), given)

    # what users do --------------------------------------------------------------------------------------------

    def put(self, key: str, body: bytes, metadata: dict[str, str] | None = None) -> str:
        """Put an object into the upload bucket without an event, and return its version."""
        answer = self.client("s3").put_object(Bucket=UPLOADS, Key=key, Body=body, Metadata=metadata or {})
        return str(answer["VersionId"])

    def upload(self, key: str = "uploads/shoe.png", body: bytes | None = None, **metadata: str) -> str:
        """Upload an image, and return its job's id. Underscores in metadata names stand for dashes."""
        body = png() if body is None else body
        version = self.put(key, body, {name.replace("_", "-"): value for name, value in metadata.items()})
        self.send(s3_event(key, version, len(body)))
        return upload_job_id(UPLOADS, key, version)

    def call(self, method: str, path: str, body: Any = None, **event: Any) -> tuple[int, dict[str, Any]]:
        """Call the API as API Gateway does after checking the key; returns status and body."""
        path, _, query = path.partition("?")
        _, _, job_id, *rest = [*path.split("/"), "", ""] if path.startswith("/videos/") else ("", "", "")
        resource = "/".join(["/videos/{job_id}", *filter(None, rest)]) if job_id else path
        answer = app("api").handler(
            {
                "httpMethod": method,
                "path": path,
                "multiValueQueryStringParameters": parse_qs(query, keep_blank_values=True) or None,
                "resource": resource,
                "pathParameters": {"job_id": job_id} if job_id else None,
                "headers": {"content-type": "application/json"},
                "requestContext": {"stage": "v1", "identity": {"apiKeyId": API_KEY}},
                "body": body if isinstance(body, str) or body is None else json.dumps(body),
                "isBase64Encoded": False,
                **event,
            },
            None,
        )
        check(method, resource, answer)
        return answer["statusCode"], json.loads(answer["body"])

    def order(self, **body: Any) -> str:
        """Request a video from the API, and return its job's id."""
        status, answer = self.call("POST", "/videos", {"prompt": "The product turns.", **body})
        assert status == 202, answer
        return str(answer["job_id"])

    # what AWS does --------------------------------------------------------------------------------------------

    def send(self, message: Any) -> None:
        """Send a message to the intake queue."""
        self.client("sqs").send_message(QueueUrl=self.queue, MessageBody=json.dumps(message))

    def waiting(self) -> list[float]:
        """The delay in seconds of each message in the queue."""
        messages = sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues["intake"]._messages
        return [round(max(0.0, message.delayed_until / 1000 - message.sent_timestamp / 1000)) for message in messages]

    def deliver(self) -> int:
        """Pass every message, due or delayed, to submit; returns how many must be redelivered."""
        sqs, again = self.client("sqs"), 0
        self.pass_time(max(self.waiting(), default=0.0))
        for message in sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues["intake"]._messages:
            message.delay(0)
            message.change_visibility(0)
        for message in sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", []):
            if self.submit(message["Body"]):
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            else:
                again += 1
        return again

    def submit(self, body: str) -> bool:
        """Pass one message to submit; returns whether it was completed."""
        record = {"messageId": "m", "receiptHandle": "r", "body": body, "eventSource": "aws:sqs", "attributes": {}}
        answer = app("submit").handler({"Records": [{**record, "awsRegion": REGION}]}, None)
        return not answer["batchItemFailures"]

    def run(self, job_id: str, minutes_before: float = 0) -> Job:
        """Deliver and drive until nothing is left to do, and return the job.

        ``minutes_before`` delays the workflow's start, so that the provider's hour ends sooner.
        """
        for _ in range(20):
            if not self.waiting():
                break
            self.deliver()
        if self.execution(job_id) is not None:
            self.pass_time(minutes_before * 60)
            self.drive(job_id)
        return self.job(job_id)

    def drive(self, job_id: str) -> str:
        """Run the job's latest execution from its start, and return the state in which it ended."""
        ended = self._follow(job_id)
        arn = (self.execution(job_id) or {})["executionArn"]
        self.client("stepfunctions").stop_execution(executionArn=arn)  # moto considers it running
        return ended

    def _follow(self, job_id: str) -> str:
        data, name = json.loads((self.execution(job_id) or {})["input"]), ASL["StartAt"]
        for _ in range(1000):
            state = ASL["States"][name]
            match state["Type"]:
                case "Succeed" | "Fail":
                    return str(name)
                case "Wait":
                    seconds = data[state["SecondsPath"].removeprefix("$.")]
                    self.pass_time(seconds)
                    if data.get("slot"):
                        data["slot"] -= seconds
                case "Task":
                    data = self._task(name, state, data)
            name = next((c["Next"] for c in state.get("Choices", []) if _holds(c, data)), state.get("Default"))
            name = name or (state["Catch"][0] if "exception" in data else state)["Next"]
        raise AssertionError(f"the state machine does not come to an end; it is at {name}")

    def _task(self, name: str, state: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        tries = 1 + sum(retry["MaxAttempts"] for retry in state["Retry"] if "States.ALL" in retry["ErrorEquals"])
        for left in reversed(range(tries)):
            try:
                return dict(json.loads(json.dumps(app(name.lower()).handler(data, None))))
            except Exception as error:  # noqa: BLE001 - Step Functions catches everything
                if not left:
                    return {**data, "exception": {"Error": type(error).__name__, "Cause": str(error)}}
        raise AssertionError

    def reconcile(self) -> Any:
        """Run a round of reconcile, as the schedule does, and return what it did. Every index has caught up by then."""
        self.adversary.caught_up()
        return app("reconcile").handler({}, None)["done"]

    def execution(self, job_id: str) -> dict[str, Any] | None:
        """The job's latest execution, if any was started."""
        arn = f"{self.state_machine.replace(':stateMachine:', ':execution:')}:{self.job(job_id).execution_name}"
        client = self.client("stepfunctions")
        try:
            return dict(client.describe_execution(executionArn=arn))
        except client.exceptions.ExecutionDoesNotExist:
            return None

    def pass_time(self, seconds: float) -> None:
        """Let time pass: the stand-in's clock jumps ahead, and our records move back by the same time."""
        if seconds <= 0:
            return
        self.passed += seconds
        self.sandbox.configure(clock_offset=self.passed)
        table = self.client("dynamodb")
        for item in table.scan(TableName="jobs", FilterExpression="attribute_exists(entered)")["Items"]:
            for moment in (*(item[name] for name in item.keys() & _TIMES), *item["entered"]["M"].values()):
                moment["N"] = str(round(float(moment["N"]) - seconds, 3))
            if "month" in item:
                item["month"] = {"S": month_of(float(item["created_at"]["N"]))}
            if "held_day" in item:
                day = date.fromisoformat(item["held_day"]["S"]) - timedelta(days=seconds // (24 * 3600))
                item["held_day"] = {"S": day.isoformat()}
            table.put_item(TableName="jobs", Item=item)
        for message in sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues["intake"]._messages:
            content = json.loads(message.body)
            if content.get("turn"):
                content["turn"] -= seconds
                message.body = json.dumps(content)
        self.adversary.caught_up()  # what was moved was not written
        # The booked requests move back as well.
        table.delete_item(TableName="jobs", Key={"job_id": {"S": CALENDAR}})
        clock = self.sandbox.state.clock
        for job in list(self.sandbox.state.running.values()):
            takes = RECORD_SECONDS * 1.02 if job.fault == "late" else job.total_seconds
            if clock.now() >= job.accepted_at + takes and job.fault not in NEVER_DONE:
                self.sandbox.finished(job.request_id)  # it is due: only encoding takes real time

    # the results ------------------------------------------------------------------------------------------------

    def job(self, job_id: str) -> Job:
        job = jobs().get(job_id)
        assert job is not None
        return job

    def notifications(self) -> list[dict[str, Any]]:
        """All published messages so far: the message for programs, with its ``attributes``."""
        while True:
            answer = self.client("sqs").receive_message(
                QueueUrl=self.notification_queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
            )
            if not answer.get("Messages"):
                return self.told
            for message in answer["Messages"]:
                attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
                self.told.append({**json.loads(message["Body"]), "attributes": attributes})
                self.client("sqs").delete_message(
                    QueueUrl=self.notification_queue, ReceiptHandle=message["ReceiptHandle"]
                )

    def stored(self, *, manifests: bool = False) -> list[str]:
        """The keys in the video bucket: those of manifests, or the others."""
        keys = [item["Key"] for item in self.client("s3").list_objects_v2(Bucket=VIDEOS).get("Contents", [])]
        return [key for key in keys if key.endswith(".json") == manifests]

    def read(self, key: str) -> bytes:
        return bytes(self.client("s3").get_object(Bucket=VIDEOS, Key=key)["Body"].read())

    def check(self, job_id: str, state: State, *, accepted: int = 1, says: str = "") -> Job:
        """Check what must hold for a stack with one job, however the job ended. Returns the job."""
        job = self.job(job_id)
        assert job.state is state, job.error
        summary = self.sandbox.summary()
        assert (summary["accepted"], summary["duplicates"]) == (accepted, [])
        assert not self.client("s3").list_multipart_uploads(Bucket=VIDEOS).get("Uploads")
        told = self.notifications()
        told_of = state.terminal or state is State.HELD
        assert [message["status"] for message in told] == ([state] if told_of else [])
        if state is State.COMPLETED:
            self._check_video(job, told[0])
            assert job.cost_usd == told[0]["cost_usd"] == summary["billed_usd"]
        else:
            assert self.stored() == self.stored(manifests=True) == []
            assert says in (job.error or {}).get("message", "")
            assert [message["error"] for message in told] == ([job.error] if told_of else [])
        return job

    def _check_video(self, job: Job, told: dict[str, Any]) -> None:
        served = http().get(f"{self.sandbox.url}/media/{job.request_id}.mp4").raise_for_status().content
        digest = hashlib.sha256(served).hexdigest()
        assert job.video is not None
        assert (job.video["sha256"], job.video["bytes"], self.read(job.video_key)) == (digest, len(served), served)
        about = json.loads(self.read(told["video"]["manifest_key"]))
        assert self.stored(manifests=True) == [job.video.get("manifest_key")]
        assert about["video"]["sha256"] == told["video"]["sha256"] == digest
        assert (about["request_id"], about["metadata"]) == (job.request_id, job.metadata)
        assert told["video"]["link"] == f"{LINKS}/{job.link_token}"
        assert http().get(told["video"]["url"]).content == served
        assert told["attributes"] == {"status": "COMPLETED", "model": job.model, "source": job.source}


def _holds(choice: dict[str, Any], data: dict[str, Any]) -> bool:
    """Whether a Choice rule, of the two kinds in the state machine, applies."""
    value = data[choice["Variable"].removeprefix("$.")]
    return bool(value == choice.get("StringEquals", choice.get("BooleanEquals")))


Change = Callable[..., None]
