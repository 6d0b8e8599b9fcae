"""A healthy stack on AWS for the doctor's tests, whose answers can be changed one by one.

Requests and responses must have the shapes of botocore's service models. The permissions that the calls need are noted.
"""

import io
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import seedance
from boto3.session import Session
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.stub import validate_parameters
from seedance.aws.attributes import written_item
from seedance.jobs.job import Job, State
from seedance.watch import NOT_FOUND

from cli.doctor.results import action
from cli.target import Target

ACCOUNT = "123456789012"
REGION = "eu-central-1"
STACK = "shop"
UPLOADS, VIDEOS, TABLE = "shop-uploads", "shop-videos", "shop-jobs"
TOPIC, ALARMS = (f"arn:aws:sns:{REGION}:{ACCOUNT}:shop-{name}" for name in ("videos", "alarms"))
MACHINE, BATCHES = (f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:shop-{name}" for name in ("job", "batch"))
API = f"https://abc123.execute-api.{REGION}.amazonaws.com/v1"
LINKS = f"https://links123.execute-api.{REGION}.amazonaws.com/w"
MAIL = "people@example.com"
VIDEO_LINK = f"https://{VIDEOS}.s3.{REGION}.amazonaws.com/videos/doctor/does-not-exist.mp4?X-Amz-Signature=ab12"
LAYER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:shop-common:7"
FUNCTIONS = (
    "Announce",
    "Api",
    "Collect",
    "Deliver",
    "Enqueue",
    "Fail",
    "Finalize",
    "Generate",
    "Plan",
    "Poll",
    "Reconcile",
    "Repair",
    "Submit",
)
ALARM_NAMES = ("DeadLetterAlarm", "HeldAlarm", "ReconcileSilentAlarm")
HOOK = "https://hooks.example/videos?token=1"
QUEUES = {
    "IntakeQueue": "intake",
    "IntakeDeadLetterQueue": "dead",
    "ReconcileDeadLetterQueue": "rounds",
    "AnnounceDeadLetterQueue": "unannounced",
    "WebhookQueue": "hooks",
    "WebhookDeadLetterQueue": "undelivered",
}

_PREFIXES = {"stepfunctions": "states"}
_ONLY_TLS = {"Effect": "Deny", "Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}


def url(queue: str) -> str:
    return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{queue}"


def arn(queue: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def only_tls(action: str, *resources: str) -> dict[str, Any]:
    return {**_ONLY_TLS, "Action": action, "Resource": list(resources)}


def from_s3(queue: str = "intake") -> dict[str, Any]:
    who = {"Service": "s3.amazonaws.com"}
    return {"Effect": "Allow", "Principal": who, "Action": "sqs:SendMessage", "Resource": arn(queue)}


def attributes(queue: str, **changes: str | None) -> dict[str, str]:
    """A queue's attributes; None leaves one out."""
    counts = dict.fromkeys(("Visible", "NotVisible", "Delayed"), "0")
    tls = only_tls("sqs:*", arn(queue))
    values: dict[str, str | None] = {
        "QueueArn": arn(queue),
        **{f"ApproximateNumberOfMessages{kind.removeprefix('Visible')}": number for kind, number in counts.items()},
        "SqsManagedSseEnabled": "true",
        "Policy": policy(from_s3(), tls) if queue == "intake" else policy(tls),
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn("dead"), "maxReceiveCount": 5}),
        **changes,
    }
    return {name: value for name, value in values.items() if value is not None}


def denied(operation: str, message: str = "Access Denied", code: str = "AccessDenied") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


def configuration(**changes: Any) -> dict[str, Any]:
    return {
        "Runtime": "python3.13",
        "Architectures": ["arm64"],
        "Layers": [{"Arn": LAYER}],
        "State": "Active",
        "LastUpdateStatus": "Successful",
        **changes,
    }


def alarm(name: str, state: str = "OK", **changes: Any) -> dict[str, Any]:
    facts = {"AlarmName": f"shop-{name}", "StateValue": state, "ActionsEnabled": True, "AlarmActions": [ALARMS]}
    return {**facts, "StateUpdatedTimestamp": datetime(2026, 11, 20, 12, tzinfo=UTC), **changes}


def subscription(endpoint: str = MAIL, arn: str = f"{TOPIC}:1") -> dict[str, str]:
    return {"SubscriptionArn": arn, "Protocol": "email", "Endpoint": endpoint, "TopicArn": TOPIC}


def log_line(ago: float = 60.0, message: str | None = None, **facts: Any) -> dict[str, Any]:
    said = message or json.dumps({"level": "ERROR", "message": "no record", **facts})
    return {"timestamp": int((time.time() - ago) * 1000), "message": said}


def execution(name: str, ago: float = 60.0, status: str = "FAILED") -> dict[str, Any]:
    ended = datetime.now(UTC) - timedelta(seconds=ago)
    arn = f"{MACHINE.replace(':stateMachine:', ':execution:')}:{name}"
    facts = {"executionArn": arn, "stateMachineArn": MACHINE, "name": name, "status": status}
    return {**facts, "startDate": ended, "stopDate": ended}


class Stack:
    """AWS, the API and the repair function, as the checks see them."""

    def __init__(self) -> None:
        self.parameters = {
            "SegmindApiKeySecretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:segmind-abcdef",
            "NotificationEmail": MAIL,
            "DailyBudgetUsd": "25",
            "RequestsPerMinute": "50",
            "DefaultModel": "seedance-1.0-pro-fast",
            "UploadRetentionDays": "0",
            "VideoRetentionDays": "90",
            "WebhookUrl": HOOK,
        }
        self.items: dict[str, dict[str, Any]] = {}
        self.examined: dict[str, Any] = {
            "release": {
                "release": seedance.__version__,
                "python": "3.13.2",
                "machine": "aarch64",
                "bytecode": True,
            },
            "balance": {"balance_usd": 12.5},
            "link": {"link": VIDEO_LINK},
        }
        self.history: dict[str, Any] = {"rows": [], "next": None}
        self.asked: list[dict[str, Any]] = []
        self.answers = self._healthy()
        self.pages: dict[str, Callable[[httpx.Request], httpx.Response]] = {}
        self.console = httpx.Response(200, headers={"content-security-policy": "default-src 'none'"})
        self.seen: set[str] = set()
        """The IAM actions of the calls so far."""
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def put(self, job: Job) -> Job:
        self.items[job.job_id] = job.to_record()
        return job

    def called(self, service: str, model: Any, operation: str, given: dict[str, Any]) -> Any:
        """The answer to a call of a client."""
        described = model.operation_model(operation)
        validate_parameters(given, described.input_shape)
        if hasattr(body := given.get("Body"), "read"):  # a file, which is closed after the call
            given = {**given, "Body": body.read()}
        self.calls.append((f"{service}.{operation}", given))
        prefix = f"{_PREFIXES.get(service, service)}:{operation}"
        self.seen.add(action(operation, [prefix]))
        answer = self.answers[f"{service}.{operation}"]
        if callable(answer):
            answer = answer(given)
        if isinstance(answer, Exception):
            raise answer
        shaped = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
        if described.output_shape:
            validate_parameters(shaped, described.output_shape)
        return answer

    def page(self, request: httpx.Request) -> httpx.Response:
        """The answer to a call of the API, or of a link."""
        for part, answer in self.pages.items():
            if part in str(request.url):
                return answer(request)
        if request.url.host.endswith(f"s3.{REGION}.amazonaws.com"):
            return httpx.Response(403, text="<Error><Code>AccessDenied</Code></Error>")
        if request.url.path.startswith("/w/"):
            return httpx.Response(404, text=NOT_FOUND)
        if request.url.path == "/v1/":
            return self.console
        if request.headers.get("x-api-key") != "the-key":
            return httpx.Response(403, json={"code": "FORBIDDEN", "detail": "no"})
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"models": []})
        return httpx.Response(404, json={"code": "NOT_FOUND", "detail": "no"})

    # ------------------------------------------------------------------------------------------------------------------

    def _healthy(self) -> dict[str, Any]:
        def objects(prefix: str) -> dict[str, Any]:
            rules = [{"Name": "prefix", "Value": prefix}]
            events = ["s3:ObjectCreated:*"]
            return {"QueueArn": arn("intake"), "Events": events, "Filter": {"Key": {"FilterRules": rules}}}

        def rule(prefix: str, days: int) -> dict[str, Any]:
            return {"Status": "Enabled", "Filter": {"Prefix": prefix}, "Expiration": {"Days": days}}

        abort = {"Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
        own = [rule(prefix, 30) for prefix in ("plans/", "images/posted/", "staged/")]
        lifecycles = {UPLOADS: [abort, *own], VIDEOS: [abort, rule("videos/", 90)]}
        blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        encrypted = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        pitr = {"PointInTimeRecoveryStatus": "ENABLED"}
        return {
            "cloudformation.DescribeStacks": lambda _: {"Stacks": [self._stack()]},
            "cloudformation.ListStackResources": lambda _: {"StackResourceSummaries": resources()},
            "lambda.GetFunctionConfiguration": lambda _: configuration(),
            "lambda.GetAccountSettings": {
                "AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 990}
            },
            "lambda.ListEventSourceMappings": {"EventSourceMappings": [{"State": "Enabled"}]},
            "lambda.Invoke": self._invoked,
            "stepfunctions.DescribeStateMachine": {
                "stateMachineArn": MACHINE,
                "name": "shop-job",
                "definition": "{}",
                "roleArn": "arn:aws:iam::123456789012:role/x",
                "type": "STANDARD",
                "creationDate": datetime.now(UTC),
            },
            "stepfunctions.ValidateStateMachineDefinition": {"result": "OK", "diagnostics": []},
            "stepfunctions.ListExecutions": {"executions": []},
            "sts.GetCallerIdentity": lambda _: dated(0.0),
            "logs.FilterLogEvents": {"events": []},
            "s3.GetBucketNotificationConfiguration": {
                "QueueConfigurations": [objects("uploads/"), objects("batches/")]
            },
            "s3.GetPublicAccessBlock": {"PublicAccessBlockConfiguration": dict.fromkeys(blocks, True)},
            "s3.GetBucketPolicy": lambda given: {"Policy": bucket_policy(given["Bucket"])},
            "s3.GetBucketEncryption": {"ServerSideEncryptionConfiguration": {"Rules": encrypted}},
            "s3.GetBucketVersioning": {"Status": "Enabled"},
            "s3.GetBucketLifecycleConfiguration": lambda given: {"Rules": lifecycles[given["Bucket"]]},
            "sqs.GetQueueAttributes": lambda given: {"Attributes": attributes(given["QueueUrl"].rpartition("/")[2])},
            "sns.GetTopicAttributes": {"Attributes": {"KmsMasterKeyId": "alias/aws/sns"}},
            "sns.ListSubscriptionsByTopic": {"Subscriptions": [subscription()]},
            "dynamodb.GetItem": self._item,
            "dynamodb.Query": self._in_state,
            "dynamodb.DescribeContinuousBackups": {
                "ContinuousBackupsDescription": {
                    "ContinuousBackupsStatus": "ENABLED",
                    "PointInTimeRecoveryDescription": pitr,
                }
            },
            "dynamodb.DescribeTimeToLive": {
                "TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
            },
            "events.DescribeRule": {"State": "ENABLED", "ScheduleExpression": "rate(5 minutes)"},
            "cloudwatch.DescribeAlarms": {"MetricAlarms": [alarm(name) for name in ALARM_NAMES]},
            "cloudwatch.ListMetrics": {"Metrics": [{"MetricName": "JobsCompleted"}]},
            "apigateway.GetApiKey": {"value": "the-key"},
            "apigateway.GetStages": {"item": [{"stageName": "v1"}]},
        }

    def _stack(self) -> dict[str, Any]:
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in self.parameters.items()]
        facts = {"StackName": STACK, "CreationTime": datetime.now(UTC), "StackStatus": "UPDATE_COMPLETE"}
        return {**facts, "Parameters": given}

    def _invoked(self, given: dict[str, Any]) -> dict[str, Any]:
        question = json.loads(given["Payload"])
        self.asked.append(question)
        if question["ask"] == "history":
            answer = self.history
        else:
            answer = {"examined": self.examined[question["what"]]}
            if "error" in answer["examined"]:
                answer = answer["examined"]
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(answer).encode())}

    def _item(self, given: dict[str, Any]) -> dict[str, Any]:
        item = self.items.get(given["Key"]["job_id"]["S"])
        return {"Item": written_item(item)} if item else {}

    def _in_state(self, given: dict[str, Any]) -> dict[str, Any]:
        state = given["ExpressionAttributeValues"][":state"]["S"]
        found = [written_item(item) for item in self.items.values() if item.get("state") == state]
        return {"Items": found, "Count": len(found)}


def bucket_policy(bucket: str) -> str:
    return policy(only_tls("s3:*", f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"))


def dated(ahead: float) -> dict[str, Any]:
    """A response whose Date header differs from this machine's clock."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    return {"Account": ACCOUNT, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}


def resources() -> list[dict[str, Any]]:
    found = [(f"{name}Function", f"shop-{name.lower()}", "AWS::Lambda::Function") for name in FUNCTIONS]
    found += [(f"{name}LogGroup", f"/aws/lambda/shop-{name.lower()}", "AWS::Logs::LogGroup") for name in FUNCTIONS]
    found += [("VideoJobLogGroup", "/aws/vendedlogs/states/shop-video-job", "AWS::Logs::LogGroup")]
    found += [(name, f"shop-{name}", "AWS::CloudWatch::Alarm") for name in ALARM_NAMES]
    found += [(name, url(queue), "AWS::SQS::Queue") for name, queue in QUEUES.items()]
    found += [(name, physical, "AWS::ApiGateway::RestApi") for name, physical in (("Api", "abc123"), ("LinkApi", "l"))]
    found += [("ReconcileFunctionEveryFiveMinutes", "shop-every-five", "AWS::Events::Rule")]
    return [
        {
            "LogicalResourceId": logical,
            "PhysicalResourceId": physical,
            "ResourceType": kind,
            "ResourceStatus": "CREATE_COMPLETE",
            "LastUpdatedTimestamp": datetime.now(UTC),
        }
        for logical, physical, kind in found
    ]


OUTPUTS = {
    "UploadBucketName": UPLOADS,
    "VideoBucketName": VIDEOS,
    "JobTableName": TABLE,
    "StateMachineArn": MACHINE,
    "BatchStateMachineArn": BATCHES,
    "NotificationTopicArn": TOPIC,
    "AlarmTopicArn": ALARMS,
    "SubmitQueueUrl": url("intake"),
    "DeadLetterQueueUrl": url("dead"),
    "RepairFunctionName": "shop-repair",
    "ApiUrl": API,
    "ConsoleUrl": f"{API}/",
    "LinkUrl": LINKS,
    "ApiKeyId": "key-1",
}


_CLIENTS: dict[str, Any] = {}

SMALL = {"duration": 4, "resolution": "480p", "aspect_ratio": "1:1", "generate_audio": False}
"""The cheapest setting of seedance-1.5-pro."""


def client(_: object, service: str, patience: float | None = None) -> Any:
    """A client, created once for all tests: that takes a quarter of a second."""
    if service not in _CLIENTS:
        _CLIENTS[service] = Session(region_name=REGION).client(service)
    return _CLIENTS[service]


def install(patch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Stack, Target]:
    """The stack behind every client of botocore and httpx, and the target that leads there."""
    stack = Stack()

    def called(self: Any, operation_name: str, api_kwargs: dict[str, Any]) -> Any:
        model = self.meta.service_model
        return stack.called(model.service_name, model, operation_name, api_kwargs)

    patch.setattr(BaseClient, "_make_api_call", called)
    patch.setattr(Target, "client", client)
    patch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: stack.page(request))
    patch.setenv("SEEDANCE_HOME", str(tmp_path))
    return stack, Target(dict(OUTPUTS))


def job(state: State, job_id: str = "up-1", *, code: str | None = None, ago: float = 60.0, **changes: Any) -> Job:
    """A job whose last change was that many seconds ago."""
    now = time.time()
    error = {"code": code, "message": "m"} if code else None
    values: dict[str, Any] = {
        "source": "upload",
        "name": "shoe",
        "folder": "shoe",
        "model": "seedance-1.5-pro",
        "transport": "v2",
        "parameters": {**SMALL, "prompt": "p"},
        "created_at": now - ago - 100,
        "updated_at": now - ago,
        "error": error,
        **changes,
    }
    return Job(job_id=job_id, state=state, **values)
