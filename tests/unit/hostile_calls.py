"""The API's function for hostile calls, and what is true for each of its answers."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import aws_limits
import pytest
from described import check
from empty_table import TABLE, create_table
from footage import small_png
from invoking import CONTEXT, as_from_lambda, load
from moto import mock_aws
from seedance import rest
from seedance.api import Api
from seedance.aws import gateway
from seedance.aws.job_table import JobTable
from seedance.aws.table import SWITCH, batch_key
from seedance.batches.job_states import Register
from seedance.batches.links import SheetLinks
from seedance.batches.stopping import Stopping
from seedance.batches.store import BatchStore
from seedance.jobs.by_month import ByMonth
from seedance.jobs.defaults import Defaults
from seedance.jobs.handoff import Batches, IntakeQueue
from seedance.jobs.in_flight import InFlight
from seedance.jobs.lasting import Addresses
from seedance.jobs.store import JobStore
from seedance.jobs.switch import Switch
from seedance.media.buckets import Media
from seedance.pacing.durations import Durations
from seedance.rest.batches import BatchCalls
from seedance.rest.budget import Spending
from seedance.rest.estimates import Estimates
from seedance.rest.links import Links
from seedance.rest.listing import Listing
from seedance.rest.retries import Retries
from seedance.rest.uploads import Uploads

UPLOADS, VIDEOS = "example-uploads", "example-videos"
LONGEST_ERROR = 8 * 1024
MOST_CPU_SECONDS = 3.0
"""Far more than a call takes, and far less than one that is not linear. API Gateway waits 29 s."""

GOOD = '{"prompt": "x"}'
ITEMS = ("calendar#requests", "count#in_flight", "lease#reconcile", "switch#submits", "day#2026-11-30", "request#x")
"""Items of the table that are no jobs."""

MANIFEST = "staged/spring.csv"
JOB = "api-0123456789abcdef0123456789abcdef"


class Function:
    """The API's function, on moto, for all cases of a module."""

    def __init__(self, app: ModuleType) -> None:
        self._app = app
        self.made = 0
        """Jobs that were written."""
        self.sent = 0
        """Messages to the queue."""
        self.started = 0
        """Executions that were started."""

    def call(self, event: Any) -> tuple[int, dict[str, Any], int]:
        """The status, the body and its length. Also checks what is true for every answer."""
        made, sent, started, began = self.made, self.sent, self.started, time.process_time()
        answer = as_from_lambda(self._app.handler(event, CONTEXT))
        assert time.process_time() - began < MOST_CPU_SECONDS
        status, body = answer["statusCode"], json.loads(answer["body"])
        check(*gateway.route(event), answer)
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        assert 200 <= status < 300 or 400 <= status < 500, answer["body"][:500]
        if gateway.route(event)[1].startswith("/batches"):
            assert (self.made, self.sent) == (made, sent)
            assert self.started - started <= (status == 202)
        elif status == 202:
            assert self.sent == sent + 1
            assert self.made - made <= 1  # none if the Idempotency-Key is known
        else:
            assert (self.made, self.sent) == (made, sent)
        if status >= 400:
            assert len(answer["body"]) <= LONGEST_ERROR
            assert body["error"]["message"]
            assert body["error"]["code"]
        return status, body, len(answer["body"])

    def answer(self, event: Any) -> tuple[int, Any, int]:
        """The status, the body and its length, whatever they are."""
        answer = as_from_lambda(self._app.handler(event, CONTEXT))
        return answer["statusCode"], json.loads(answer["body"]), len(answer["body"])

    def post(self, body: str | None, **changes: Any) -> tuple[int, dict[str, Any], int]:
        return self.call({**event("POST", "/videos"), "body": body, **changes})


def event(method: str, resource: str, **path: str) -> dict[str, Any]:
    """An event as API Gateway sends it."""
    return {
        "httpMethod": method,
        "resource": resource,
        "path": resource,
        "headers": {"x-api-key": "k", "Content-Type": "application/json"},
        "multiValueHeaders": {"x-api-key": ["k"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": path or None,
        "stageVariables": None,
        "requestContext": {"identity": {"apiKeyId": "key-1"}, "httpMethod": method, "resourcePath": resource},
        "body": None,
        "isBase64Encoded": False,
    }


@pytest.fixture(scope="module")
def function(clients: dict[str, Any], template: dict[str, Any], root: Path) -> Iterator[Function]:
    app = load(root, "api")
    with mock_aws(), aws_limits.enforced():
        where = {"CreateBucketConfiguration": {"LocationConstraint": clients["s3"].meta.region_name}}
        for bucket in (UPLOADS, VIDEOS):
            clients["s3"].create_bucket(Bucket=bucket, **where)
        clients["s3"].put_object(Bucket=UPLOADS, Key="images/a.png", Body=small_png())
        create_table(clients, template)
        queue = clients["sqs"].create_queue(QueueName="intake")["QueueUrl"]
        defaults = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")
        store, media = JobStore(JobTable(TABLE, clients["dynamodb"])), Media(VIDEOS, clients["s3"])
        at = Api(store, media, IntakeQueue(queue, clients["sqs"]), UPLOADS, defaults, ("images/",))
        app.api = lambda: at  # type: ignore[attr-defined]
        table = JobTable(TABLE, clients["dynamodb"])
        estimates = Estimates(store.bills, Durations(table), defaults, ("images/",))
        spending = Spending(store, Switch(table), InFlight(table), 25.0, 500)
        shared, uploads = Links(store, Addresses("https://links.example/w", 90)), Uploads(UPLOADS, clients["s3"])
        retries = Retries(store, IntakeQueue(queue, clients["sqs"]), 25.0)
        clients["s3"].put_object(Bucket=UPLOADS, Key=MANIFEST, Body=b"prompt\nx\n")
        machine = clients["stepfunctions"].create_state_machine(
            name="video-batch",
            definition=(root / "statemachine/video_batch.asl.json").read_text(),
            roleArn="arn:aws:iam::123456789012:role/workflow",
        )["stateMachineArn"]
        batches = BatchCalls(
            BatchStore(table),
            Batches(machine, clients["stepfunctions"]),
            Register(table),
            SheetLinks(UPLOADS, clients["s3"]),
            store,
            Stopping(store, IntakeQueue(queue, clients["sqs"])),
            25.0,
        )
        made = Function(app)
        for key in ITEMS:
            clients["dynamodb"].put_item(TableName=TABLE, Item={"job_id": {"S": key}, "owner": {"S": "up-1"}})

        def count(model: Any, params: Any, **_: Any) -> None:
            made.made += model.name == "PutItem" and not params["Item"]["job_id"]["S"].startswith(
                (SWITCH, batch_key(""))
            )
            made.sent += model.name == "SendMessage"
            made.started += model.name == "StartExecution"

        for service in ("dynamodb", "sqs", "stepfunctions"):
            clients[service].meta.events.register("provide-client-params", count, unique_id="count")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rest.listing, "listing", lambda: Listing(ByMonth(table)))
            patch.setattr(rest.estimates, "estimates", lambda: estimates)
            patch.setattr(rest.budget, "spending", lambda: spending)
            patch.setattr(rest.links, "links", lambda: shared)
            patch.setattr(rest.uploads, "uploads", lambda: uploads)
            patch.setattr(rest.retries, "retries", lambda: retries)
            patch.setattr(rest.batches, "batch_calls", lambda: batches)
            yield made
        for service in ("dynamodb", "sqs", "stepfunctions"):
            clients[service].meta.events.unregister("provide-client-params", unique_id="count")
