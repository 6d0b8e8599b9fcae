"""Fixtures of the unit tests: no network, fake credentials, and an empty moto account for each test.

``world`` is what the use cases talk to: real adapters on moto. ``wire`` stands in for the provider.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_plus

import aws_limits
import httpx
import pytest
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from batch_stack import collect, enqueue, plan, stack  # noqa: F401 - fixtures
from clocks import NOW, Clock
from command_line import moto_stack, typed  # noqa: F401 - fixtures
from empty_table import TABLE, create_table
from fake_provider import Wire
from footage import movie, small_png
from hostile_calls import function  # noqa: F401 - a fixture
from moto import mock_aws
from past import poll, put, repair, running, uncertain  # noqa: F401 - fixtures
from pool import Pool
from pytest_socket import disable_socket, enable_socket
from seedance import observability
from seedance.aws import clients as aws_clients
from seedance.aws.attributes import written_item
from seedance.aws.job_table import JobTable
from seedance.batches.files import Sheets
from seedance.batches.job_states import Register
from seedance.batches.store import BatchStore
from seedance.intake import Intake
from seedance.jobs.handoff import Batches, IntakeQueue, Workflow
from seedance.jobs.in_flight import InFlight
from seedance.jobs.job import Job, State
from seedance.jobs.lasting import Addresses
from seedance.jobs.requests import Defaults
from seedance.jobs.store import JobStore
from seedance.jobs.switch import Switch
from seedance.media.buckets import Media
from seedance.notices.notifier import Notifier
from seedance.pacing.durations import Durations
from seedance.pacing.pacer import Pacer
from seedance.paid_call import Sending
from seedance.provider import http
from seedance.provider.client import Provider
from seedance.provider.download import Downloads
from seedance.reconcile import Lease, Place, Reconcile
from seedance.submit import Submit
from variables import variables

REGION = "eu-central-1"
KEY = "SG_0123456789abcdef"
HISTORY = "https://history.segmind.example"
LINKS = "https://links.example/w"
UPLOADS, VIDEOS, SECRET = "example-uploads", "example-videos", "key-of-tests"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "POWERTOOLS_METRICS_NAMESPACE": "SeedancePipeline",
    "POWERTOOLS_SERVICE_NAME": "tests",
}


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Block all sockets except Unix sockets: an event loop wakes itself up through a pair of those."""
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture(autouse=True)
def made_up_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide the machine's own AWS configuration, and the metrics of other tests."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CONFIG_FILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    observability._metrics().clear_metrics()
    yield
    observability._metrics().clear_metrics()
    observability._metrics.cache_clear()


def _forget() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("seedance."):
            for thing in list(vars(module).values()):
                if hasattr(thing, "cache_clear"):
                    thing.cache_clear()


@pytest.fixture(scope="session")
def clients() -> Iterator[dict[str, Any]]:
    """The layer's own AWS clients, built once. Only moto can answer them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CONFIG_FILE"):
            patch.delenv(name, raising=False)
        _forget()
        made = {
            name: aws_clients._client(name)
            for name in (
                *("s3", "dynamodb", "dynamodbstreams", "events", "sns", "sqs", "stepfunctions", "secretsmanager"),
            )
        }
        _forget()
    return made


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    line = Wire()
    monkeypatch.setattr(http, "_pool", lambda _: Pool(line))
    yield line
    assert not line.left_over, f"{line.left_over} responses are left over"


@dataclass
class World:
    """An AWS account with the stack's resources, and the adapters that use them."""

    aws: dict[str, Any]
    wire: Wire
    clock: Clock
    table: JobTable
    store: JobStore
    switch: Switch
    in_flight: InFlight
    durations: Durations
    place: Place
    lease: Lease
    media: Media
    notifier: Notifier
    workflow: Workflow
    queue: IntakeQueue
    provider: Provider
    downloads: Downloads
    pacer: Pacer
    sending: Sending
    batches: Batches
    batch_store: BatchStore
    sheets: Sheets
    register: Register
    arns: SimpleNamespace
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    reported: list[tuple[str, float]] = field(default_factory=list)
    """The metrics that are not counts, in order."""

    def called(self, operation: str) -> list[dict[str, Any]]:
        """The parameters of every call to an AWS operation, in order."""
        return [parameters for name, parameters in self.calls if name == operation]

    def put(self, job: Job) -> Job:
        """Write a record as it is, whatever its state."""
        self.aws["dynamodb"].put_item(TableName=TABLE, Item=written_item(job.to_record()))
        return job

    def job(self, job_id: str = "up-1") -> Job:
        found = self.store.get(job_id)
        assert found is not None
        return found

    def upload(self, key: str, body: bytes, **metadata: str) -> dict[str, Any]:
        """Put an object, and return the S3 notification for it."""
        stored = self.aws["s3"].put_object(Bucket=UPLOADS, Key=key, Body=body, Metadata=metadata)
        record = {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": UPLOADS},
                "object": {
                    "key": quote_plus(key, safe="/"),
                    "size": len(body),
                    "versionId": stored["VersionId"],
                    "sequencer": "0066",
                },
            },
        }
        return {"Records": [record]}

    def executions(self) -> list[dict[str, Any]]:
        return [json.loads(call["input"]) for call in self.called("StartExecution")]

    def postponed(self) -> list[tuple[str, int]]:
        """What was sent to the intake queue: job id and delay in seconds."""
        return [
            (json.loads(call["MessageBody"])["job_id"], call["DelaySeconds"]) for call in self.called("SendMessage")
        ]

    def notified(self) -> list[dict[str, Any]]:
        """The message for programs in every publish."""
        return [json.loads(json.loads(call["Message"])["default"]) for call in self.called("Publish")]

    def counted(self) -> dict[str, int]:
        """The metrics so far, whether flushed or not."""
        return dict(self.counts)

    def stored(self, key: str) -> bytes:
        return bytes(self.aws["s3"].get_object(Bucket=VIDEOS, Key=key)["Body"].read())

    def intake(self, submit: Submit) -> Intake:
        """An intake that passes the queue's messages to the test's own submit."""
        defaults = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")
        return Intake(self.store, self.media, self.batches, submit, defaults, UPLOADS)

    def video_keys(self) -> list[str]:
        return [item["Key"] for item in self.aws["s3"].list_objects_v2(Bucket=VIDEOS).get("Contents", [])]


def _pacer(table: JobTable, **changes: Any) -> Pacer:
    return Pacer(table, **{"requests_per_minute": 50, "max_in_flight": 500, "most_polls": 5, **changes})


@pytest.fixture
def make_pacer(world: World) -> Callable[..., Pacer]:
    """A pacer with other settings; those that are not given are the world's."""
    return lambda **changes: _pacer(world.table, **changes)


@pytest.fixture
def world(
    *, clients: dict[str, Any], wire: Wire, template: dict[str, Any], root: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    with mock_aws(), aws_limits.enforced():
        where = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
        for bucket in (UPLOADS, VIDEOS):
            clients["s3"].create_bucket(Bucket=bucket, **where)
        clients["s3"].put_bucket_versioning(Bucket=UPLOADS, VersioningConfiguration={"Status": "Enabled"})
        create_table(clients, template)
        clients["secretsmanager"].create_secret(Name=SECRET, SecretString=KEY)
        arns = SimpleNamespace(
            topic=clients["sns"].create_topic(Name="notifications")["TopicArn"],
            queue=clients["sqs"].create_queue(QueueName="intake")["QueueUrl"],
            machine=clients["stepfunctions"].create_state_machine(
                name="video-job",
                definition=(root / "statemachine/video_job.asl.json").read_text(),
                roleArn="arn:aws:iam::123456789012:role/workflow",
            )["stateMachineArn"],
            batch_machine=clients["stepfunctions"].create_state_machine(
                name="video-batch",
                definition=(root / "statemachine/video_batch.asl.json").read_text(),
                roleArn="arn:aws:iam::123456789012:role/workflow",
            )["stateMachineArn"],
        )
        clock = Clock()
        table = JobTable(TABLE, clients["dynamodb"], clock)
        store, switch = JobStore(table, link_days=90), Switch(table)
        media = Media(VIDEOS, clients["s3"])
        pacer = _pacer(table)
        line = httpx.MockTransport(wire)
        at = Provider(
            "https://api.segmind.com",
            "https://workflows-api.segmind.com",
            HISTORY,
            key=lambda: KEY,
            transport=line,
            media_hosts=frozenset({"images.segmind.com"}),
        )
        made = World(
            aws=clients,
            wire=wire,
            clock=clock,
            table=table,
            store=store,
            switch=switch,
            in_flight=InFlight(table),
            durations=Durations(table),
            place=Place(table),
            lease=Lease(table),
            media=media,
            notifier=Notifier(arns.topic, clients["sns"], store, media, clock, addresses=Addresses(LINKS, 90)),
            workflow=Workflow(arns.machine, clients["stepfunctions"]),
            queue=IntakeQueue(arns.queue, clients["sqs"]),
            provider=at,
            downloads=Downloads(frozenset({"images.segmind.com"})),
            pacer=pacer,
            sending=Sending(store, switch, at, media, pacer, "link", clock=clock),
            batches=Batches(arns.batch_machine, clients["stepfunctions"]),
            batch_store=BatchStore(table),
            sheets=Sheets(UPLOADS, clients["s3"]),
            register=Register(table),
            arns=arns,
        )

        def watch(params: dict[str, Any], model: Any, **_: Any) -> None:
            made.calls.append((model.name, dict(params)))

        add = Metrics.add_metric

        def tally(self: Metrics, name: str, unit: Any, value: float, **options: Any) -> None:
            if unit is MetricUnit.Count:
                made.counts[name] += int(value)
            else:
                made.reported.append((name, value))
            add(self, name, unit, value, **options)

        monkeypatch.setattr(Metrics, "add_metric", tally)
        for client in clients.values():
            client.meta.events.register("provide-client-params", watch, unique_id="watch")
        yield made
        for client in clients.values():
            client.meta.events.unregister("provide-client-params", unique_id="watch")


@pytest.fixture
def wired(world: World, template: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The same world, found by the functions as on Lambda: through the environment."""
    given = {
        **{"JOB_TABLE": TABLE, "UPLOAD_BUCKET": UPLOADS, "VIDEO_BUCKET": VIDEOS},
        "NOTIFICATION_TOPIC": world.arns.topic,
        "SEGMIND_API_KEY_SECRET": SECRET,
        "SEGMIND_HISTORY_URL": HISTORY,
        "DEFAULT_PROMPT": "The camera moves slowly.",
        "STATE_MACHINE": world.arns.machine,
        "BATCH_STATE_MACHINE": world.arns.batch_machine,
        "INTAKE_QUEUE": world.arns.queue,
        "DEAD_LETTER_QUEUE": f"{world.arns.queue}-dead",
        **{"LINK_BASE": LINKS, "WEBHOOKS": "no", "WEBHOOK_QUEUE": f"{world.arns.queue}-hooks"},
        "WEBHOOK_DEAD_LETTER_QUEUE": f"{world.arns.queue}-dead-hooks",
        "ANNOUNCE_DEAD_LETTER_QUEUE": f"{world.arns.queue}-unannounced",
        **{"UPLOAD_ORIGIN": f"https://{UPLOADS}.example", "VIDEO_ORIGIN": f"https://{VIDEOS}.example"},
    }
    for name, value in variables(template, given).items():
        monkeypatch.setenv(name, value)
    _forget()
    monkeypatch.setattr(aws_clients, "_client", world.aws.__getitem__)
    line = httpx.MockTransport(world.wire)
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: line.handle_request(request))
    yield world
    _forget()


@pytest.fixture
def submit(world: World) -> Submit:
    return Submit(
        world.store,
        world.provider,
        world.notifier,
        world.workflow,
        world.queue,
        world.durations,
        world.sending,
        clock=world.clock,
    )


@pytest.fixture
def reconcile(world: World) -> Reconcile:
    return Reconcile(
        world.store,
        world.provider,
        world.notifier,
        world.workflow,
        world.queue,
        world.switch,
        world.in_flight,
        world.place,
        world.lease,
        clock=world.clock,
    )


@pytest.fixture
def make_job() -> Callable[..., Job]:
    """A job that came from an upload; other fields are set by keyword."""

    def make(state: State = State.RECEIVED, **changes: Any) -> Job:
        values: dict[str, Any] = {
            "job_id": "up-1",
            "source": "upload",
            "name": "shoe",
            "folder": "shoe",
            "model": "seedance-1.0-pro-fast",
            "transport": "v2",
            "parameters": {"prompt": "a shoe turns", "duration": 5, "resolution": "720p", "aspect_ratio": "16:9"},
            "created_at": NOW - 100,
            "updated_at": NOW - 50,
            "entered": {"RECEIVED": NOW - 100, state.value: NOW - 50},
            "expected_seconds": 49,
        }
        if state in (State.QUEUED, State.PROCESSING, State.COPYING, State.COMPLETED):
            values |= {"submitted_at": NOW - 50, "request_id": "req-1", "attempts": 1}
        if state in (State.COPYING, State.COMPLETED):
            values |= {"result_url": "https://images.segmind.com/v.mp4"}
        return Job(state=state, **{**values, **changes})

    return make


@pytest.fixture
def rate_limited() -> Callable[[float | None], httpx.Response]:
    """A 429 that may say in how many seconds the limit resets."""

    def answer(reset_in: float | None) -> httpx.Response:
        if reset_in is None:
            return httpx.Response(429)
        reset = datetime.now(UTC) + timedelta(seconds=reset_in)
        return httpx.Response(429, headers={"x-rate-limit-reset-at-utc": reset.isoformat()})

    return answer


@pytest.fixture
def event(root: Path) -> Callable[[str], dict[str, Any]]:
    """Read one of the sample events, which also work with `sam local invoke`."""

    def read(name: str) -> dict[str, Any]:
        return dict(json.loads((root / "events" / f"{name}.json").read_text()))

    return read


@pytest.fixture(scope="session")
def movies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Real MP4s of one second, with their boxes in the orders that occur in practice."""
    file = tmp_path_factory.mktemp("movies") / "movie.mp4"
    return {
        "index last": movie(file),
        "index first": movie(file, movflags="faststart"),
        "fragments": movie(file, movflags="frag_keyframe+empty_moov"),
    }


@pytest.fixture(scope="session")
def mp4(movies: dict[str, bytes]) -> bytes:
    return movies["index first"]


@pytest.fixture(scope="session")
def png() -> bytes:
    return small_png()
