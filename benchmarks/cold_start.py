"""Measures cold starts: the import and first call of a handler over TLS, compared with common alternatives.

Every sample is a new process with only its artifact. AWS and the provider are one server on this machine
(benchmarks/cloud.py), the same for all contenders. Its certificate is added to the authorities in each artifact, so
loading them takes as long as on Lambda.

    python -m benchmarks.cold_start [ROUNDS] [--against CHECKOUT]

With another checkout, such as a worktree of an earlier release, its handlers are measured too, and each of our handlers
is compared with its earlier version, round by round.
"""

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]

from benchmarks import artefacts, report
from benchmarks.artefacts import ROOT
from tests.variables import variables

ROUNDS = 25
NAIVE, PLAIN_NAIVE = "naive, with bytecode", "naive, as built by `sam build`"
_FIRST_CALL = """\
Medians of {rounds} rounds. A first call does its real work: submit checks the image, signs a link, writes the record,
books a slot, reads the key, sends the POST and starts the workflow; poll reads the record and the key and sends one
GET; finalize copies a video of 64 KB, completes the record and sends the notification; api receives a prompt, writes
the record and sends a message to the queue."""
_WHO_THEY_ARE = """\
The naive handler (benchmarks/handlers/naive.py) uses boto3 with a DynamoDB resource and, from Powertools, Logger,
Metrics, Tracer, idempotency, event handler, parser and batch. It has two rows because `sam build` puts no bytecode into
an artifact and Lambda can't write any. Our artifacts include bytecode."""
_OURS, _EARLIER = "**ours, {}**", "before, {}"
_TAKEN: dict[str, Any] = {"batchItemFailures": []}
_REGION = "eu-central-1"
_ARN = f"arn:aws:{{}}:{_REGION}:123456789012:{{}}"


@dataclass(frozen=True)
class Contender:
    """A handler: the folders with its code and libraries, and the event that it is called with."""

    folders: tuple[Path, ...]
    module: str
    event: Callable[["Cloud"], Any]
    answer: dict[str, Any] | None
    """Items that its result must contain, otherwise the measurement is invalid."""


@dataclass(frozen=True)
class Start:
    """One cold start: import and first call, in seconds of wall-clock and CPU time; peak memory, in bytes."""

    seconds: float
    cpu: float
    memory: float


class Cloud:
    """The running stand-in for AWS and the provider."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(verify=False)  # noqa: S501 - our own server on this machine

    def forget(self) -> None:
        """Empty the table, so that no contender is affected by another one's items."""
        self._table("Forget", {})

    def put(self, item: dict[str, Any]) -> None:
        """Write a record."""
        self._table("PutItem", {"Item": item})

    def _table(self, operation: str, body: dict[str, Any]) -> None:
        target = {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
        self._http.post(self.url, headers=target, json=body).raise_for_status()

    @property
    def environment(self) -> dict[str, str]:
        """A function's environment on Lambda, with the address of this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_SESSION_TOKEN": "testing",
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_REGION": _REGION,
            "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
            "LAMBDA_TASK_ROOT": "-",
            "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
            "POWERTOOLS_LOG_LEVEL": "INFO",
            "POWERTOOLS_METRICS_NAMESPACE": "SeedancePipeline",
            "POWERTOOLS_SERVICE_NAME": "benchmark",
            **variables(yaml_parse((ROOT / "template.yaml").read_text()), self._given),
        }

    @property
    def _given(self) -> dict[str, str]:
        """What is not as the template's defaults have it."""
        return {
            "JOB_TABLE": "jobs",
            "UPLOAD_BUCKET": "example-uploads",
            "VIDEO_BUCKET": "example-videos",
            "NOTIFICATION_TOPIC": _ARN.format("sns", "topic"),
            "STATE_MACHINE": _ARN.format("states", "stateMachine:machine"),
            "BATCH_STATE_MACHINE": _ARN.format("states", "stateMachine:batches"),
            "INTAKE_QUEUE": f"{self.url}/123456789012/intake",
            "DEAD_LETTER_QUEUE": f"{self.url}/123456789012/dead",
            "LINK_BASE": "https://links.example/w",
            "WEBHOOKS": "no",
            "WEBHOOK_QUEUE": f"{self.url}/123456789012/webhooks",
            "WEBHOOK_DEAD_LETTER_QUEUE": f"{self.url}/123456789012/webhooks-dead",
            "ANNOUNCE_DEAD_LETTER_QUEUE": f"{self.url}/123456789012/unannounced",
            **dict.fromkeys(("UPLOAD_ORIGIN", "VIDEO_ORIGIN"), self.url),
            "SEGMIND_API_KEY_SECRET": "segmind",
            "SEGMIND_BASE_URL": self.url,
            "SEGMIND_UPLOAD_URL": self.url,
            "SEGMIND_HISTORY_URL": self.url,
            "SEGMIND_MEDIA_HOSTS": self.url.removeprefix("https://"),
            "DEFAULT_PROMPT": "The camera moves slowly.",
            "MAX_IN_FLIGHT": "20",
            "POLLS_PER_VIDEO": "6",
        }


def main() -> None:
    """Measure all contenders; print and publish the table."""
    options = argparse.ArgumentParser()
    options.add_argument("rounds", type=int, nargs="?", default=ROUNDS)
    options.add_argument("--against", type=Path, help="another checkout of this project")
    asked = options.parse_args()
    rounds = int(asked.rounds)
    with tempfile.TemporaryDirectory(prefix="cold-start-") as scratch:
        work = Path(scratch)
        certificate, key = artefacts.make_certificate(work)
        contenders = _contenders(work, certificate, asked.against)
        with _cloud(certificate, key) as cloud:
            measures = {name: partial(_start, contender, cloud, work) for name, contender in contenders.items()}
            for measure in measures.values():  # not counted: the first one reads its files from the disk
                measure()
            starts = report.in_turns(rounds, measures)
    report.publish(_table(starts, rounds))


def _contenders(work: Path, certificate: Path, against: Path | None) -> dict[str, Contender]:
    runtime = artefacts.install(work / "runtime", "boto3")
    naive = artefacts.install(
        work / "naive", "aws-lambda-powertools", "aws-xray-sdk", "pydantic", "httpx", without=runtime
    )
    plain = Path(shutil.copytree(naive, work / "plain", ignore=shutil.ignore_patterns("__pycache__")))
    package = artefacts.install(work / "package", "segmind", without=runtime)
    for folder in (runtime, naive, plain, package):
        artefacts.trust(folder, certificate)
    for name, folder in (("naive", naive), ("naive", plain), ("segmind_package", package)):
        shutil.copy(ROOT / "benchmarks/handlers" / f"{name}.py", folder)
    artefacts.compile_all(naive)
    artefacts.compile_all(package)
    before = _handlers(work / "before", against, certificate, runtime) if against else {}
    return {
        NAIVE: Contender((naive, runtime), "naive", _message, _TAKEN),
        PLAIN_NAIVE: Contender((plain, runtime), "naive", _message, _TAKEN),
        "`segmind` package + boto3": Contender((package, runtime), "segmind_package", _message, None),
        **{_EARLIER.format(name): one for name, one in before.items()},
        **{_OURS.format(name): one for name, one in _handlers(work / "ours", ROOT, certificate, runtime).items()},
    }


def _handlers(work: Path, root: Path, certificate: Path, runtime: Path) -> dict[str, Contender]:
    """The handlers of a checkout, with the layer built from it."""
    layer = artefacts.build_layer(work / "layer", root)
    artefacts.trust(layer, certificate)
    found = {}
    for name, event, answer in (
        ("submit", _upload, _TAKEN),
        ("poll", _queued, {"status": "RUNNING"}),
        ("finalize", _finished, {"status": "COMPLETED"}),
        ("api", _call, {"statusCode": 202}),
    ):
        function = Path(shutil.copytree(root / "functions" / name, work / name))
        artefacts.compile_all(function)
        found[name] = Contender((function, layer, runtime), "app", event, answer)
    return found


def _start(contender: Contender, cloud: Cloud, work: Path) -> Start:
    cloud.forget()
    event = work / "event.json"
    event.write_text(json.dumps(contender.event(cloud)))
    folders = ":".join(map(str, contender.folders))
    # Only the interpreter comes from this environment. No bytecode is written, because Lambda's folders are read-only.
    command = [sys.executable, "-I", "-S", "-B", str(ROOT / "benchmarks/one_start.py"), folders, contender.module]
    done = subprocess.run([*command, str(event)], env=cloud.environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{contender.module} failed:\n{done.stderr}")
    said = json.loads(done.stdout.splitlines()[-1])
    if contender.answer and not contender.answer.items() <= said["answer"].items():
        raise SystemExit(f"{contender.module} answered {said['answer']}:\n{done.stdout}{done.stderr}")
    return Start(said["seconds"], said["cpu"], said["bytes"])


def _table(starts: dict[str, list[Start]], rounds: int) -> report.Table:
    seconds = {name: [start.seconds for start in some] for name, some in starts.items()}
    cpu = {name: [start.cpu for start in some] for name, some in starts.items()}
    compared = any(name.startswith("before") for name in starts)
    rows = [
        (
            name,
            f"{statistics.median(seconds[name]) * 1000:.0f} ms",
            f"{report.median_ratio(seconds[name], seconds[NAIVE]):.2f}",
            f"{report.median_ratio(seconds[name], seconds[PLAIN_NAIVE]):.2f}",
            f"{statistics.median(cpu[name]) * 1000:.0f} ms",
            f"{report.median_ratio(cpu[name], cpu[NAIVE]):.2f}",
            f"{statistics.median(start.memory for start in some) / 1e6:.0f} MB",
            *([_of_before(name, seconds)] if compared else []),
        )
        for name, some in starts.items()
    ]
    return report.Table(
        "cold_start",
        "Cold start",
        (
            *("handler", "import + first call", "vs. naive", "vs. `sam build`", "CPU", "vs. naive", "peak memory"),
            *(["vs. before"] if compared else []),
        ),
        rows,
        [
            _FIRST_CALL.format(rounds=rounds),
            _WHO_THEY_ARE,
        ],
    )


def _of_before(name: str, seconds: dict[str, list[float]]) -> str:
    """A handler's time relative to its earlier version."""
    handlers = [key.removeprefix("before, ") for key in seconds if key.startswith("before")]
    handler = next((one for one in handlers if name == _OURS.format(one)), None)
    if handler is None:
        return ""
    return f"{report.median_ratio(seconds[name], seconds[_EARLIER.format(handler)]):.2f}"


def _message(_: Cloud) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events/sqs-job.json").read_text())
    event["Records"][0]["body"] = json.dumps({"job_id": _job_id()})
    return event


def _upload(_: Cloud) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events/s3-upload.json").read_text())
    body = json.loads(event["Records"][0]["body"])
    body["Records"][0]["s3"]["object"]["versionId"] = uuid.uuid4().hex  # a new upload, and therefore a new job
    event["Records"][0]["body"] = json.dumps(body)
    return event


def _call(_: Cloud) -> dict[str, Any]:
    return {
        "resource": "/videos",
        "path": "/videos",
        "httpMethod": "POST",
        "headers": {"Idempotency-Key": uuid.uuid4().hex, "Content-Type": "application/json"},
        "multiValueHeaders": {},
        "queryStringParameters": None,
        "pathParameters": None,
        "requestContext": {"identity": {"apiKeyId": "k"}, "requestId": uuid.uuid4().hex, "stage": "v1"},
        "body": json.dumps({"prompt": "A red shoe turns"}),
        "isBase64Encoded": False,
    }


def _queued(cloud: Cloud) -> dict[str, str]:
    return {"job_id": _record(cloud, state={"S": "QUEUED"})}


def _finished(cloud: Cloud) -> dict[str, str]:
    return {"job_id": _record(cloud, state={"S": "COPYING"}, result_url={"S": f"{cloud.url}/media/video.mp4"})}


def _record(cloud: Cloud, **more: dict[str, Any]) -> str:
    job_id, now = _job_id(), time.time()
    texts = {
        "job_id": job_id,
        "source": "upload",
        "name": "red-shoe",
        "folder": "red-shoe",
        "model": "seedance-1.0-pro-fast",
        "transport": "v2",
        "request_id": "r-1",
    }
    numbers = {"created_at": now - 60, "submitted_at": now - 50, "expected_seconds": 49, "cost_usd": 0.25}
    cloud.put(
        {
            **{name: {"S": text} for name, text in texts.items()},
            **{name: {"N": str(number)} for name, number in numbers.items()},
            "parameters": {"M": {"prompt": {"S": "A red shoe"}, "duration": {"N": "5"}, "resolution": {"S": "720p"}}},
            "entered": {"M": {"RECEIVED": {"N": str(now - 60)}}},
            **more,
        }
    )
    return job_id


def _job_id() -> str:
    return f"up-{uuid.uuid4().hex}"


@contextlib.contextmanager
def _cloud(certificate: Path, key: Path) -> Iterator[Cloud]:
    command = [sys.executable, "-m", "benchmarks.cloud", str(certificate), str(key)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None:
            raise RuntimeError("the server has no output for its port")
        yield Cloud(f"https://127.0.0.1:{int(server.stdout.readline())}")
        server.communicate()  # closes its input, which ends it


if __name__ == "__main__":
    main()
