"""Estimates what AWS charges for 1000 videos: counts every call of a local run and multiplies by AWS's list prices.

The stack runs on the emulator and processes a stream of uploads. State transitions come from the executions' histories,
invocations and their durations from the functions' logs, and the functions record each of their calls to AWS with its
size. Prices are those of us-east-1, on demand, without free tiers.
"""

import json
import math
import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from seedance.jobs import catalogue

from benchmarks.burst import IMAGE, LIMIT, records
from benchmarks.report import Table, publish
from local import aws, launch
from local import stack as local_stack
from local.stack import Options, Stack

TIME_SCALE = 0.2
VIDEOS = 30
GAP_SECONDS = 12.0
"""Between two uploads, in the provider's seconds: a tenth of the limit."""
MODEL = "seedance-1.0-pro-fast"
MEMORY_GB = 0.5
FULL_CPU_GB = 1769 / 1024
"""With this much memory a function has one full CPU (Lambda developer guide, "Configure function memory")."""

# us-east-1, in USD, from the services' pricing pages on 2026-11-21.
TRANSITION = 0.025 / 1000
REQUEST = 0.20 / 1e6
GB_SECOND = 0.0000133334  # arm64
WRITE_UNIT = 0.625 / 1e6
READ_UNIT = 0.125 / 1e6
PRICES = {
    "s3 PutObject": 0.005 / 1000,
    "s3 CreateMultipartUpload": 0.005 / 1000,
    "s3 UploadPart": 0.005 / 1000,
    "s3 CompleteMultipartUpload": 0.005 / 1000,
    "s3 GetObject": 0.0004 / 1000,
    "sqs SendMessage": 0.40 / 1e6,
    "sns Publish": 0.50 / 1e6,
    "secretsmanager GetSecretValue": 0.05 / 10_000,
    "events PutEvents": 1.00 / 1e6,  # by event: up to 64 KB of it
    "stepfunctions StartExecution": 0.0,  # charged by transitions
}
QUEUE_REQUESTS = 3
"""SQS requests for each message: sent by S3, then received and deleted for the function."""
LOG_GB = 0.50
MAIL = 2.00 / 100_000

_COUNTER = """
import json, os
import botocore.client

_call = botocore.client.BaseClient._make_api_call

def _counted(self, operation, parameters):
    answer = _call(self, operation, parameters)
    name = self.meta.service_model.service_name
    line = {"function": os.environ.get("AWS_LAMBDA_FUNCTION_NAME", ""), "call": f"{name} {operation}"}
    line["number"] = len(parameters["Entries"]) if name == "events" else 1
    if name == "dynamodb":
        line["weighs"] = len(json.dumps(parameters.get("Item") or answer.get("Item") or answer.get("Attributes") or {}))
        line["items"] = len(parameters.get("TransactItems", [])) or len(answer.get("Responses", {}).get(
            next(iter(parameters.get("RequestItems", {"": 0}))), [])) or 1
        line["key"] = str(parameters.get("Key") or (parameters.get("Item") or {}).get("job_id"))
    with open(COUNTS, "a") as file:
        file.write(json.dumps(line) + "\\n")
    return answer

botocore.client.BaseClient._make_api_call = _counted
"""


@dataclass
class Count:
    """The usage of a run, for all its videos together."""

    videos: int = 0
    transitions: int = 0
    polls: int = 0
    invocations: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """The functions' durations as the emulator reports them, without cold starts."""
    calls: Counter[str] = field(default_factory=Counter)
    write_units: float = 0.0
    read_units: float = 0.0
    log_bytes: int = 0


def run(videos: int) -> Count:
    """Send a stream of uploads through a stack and count its usage."""
    with tempfile.TemporaryDirectory(prefix="cost-") as folder:
        home, counts = Path(folder), Path(folder) / "counts.jsonl"
        (home / "sitecustomize.py").write_text(f"COUNTS = {str(counts)!r}\n{_COUNTER}")
        plain = launch._minimal_environment
        launch._minimal_environment = lambda home: {**plain(home), "PYTHONPATH": folder}
        try:
            stack, _ = local_stack.up(
                Options(port=0, provider="sandbox", time_scale=TIME_SCALE, home=home, hurried=False), print
            )
            settings = {"fps": 1, "credits": 1e6, "rate_limit": LIMIT, "jitter": 0.43}
            httpx.post(f"{stack.sandbox_url}/_sandbox/config", json=settings).raise_for_status()
            _upload(stack, 2, "warm")  # not counted: each function's first invocation is a cold start
            counts.unlink()
            begun = time.time()
            _upload(stack, videos, "video")
            return _counted(stack, counts, videos, begun)
        finally:
            local_stack.down(home)
            launch._minimal_environment = plain


def _upload(stack: Stack, videos: int, name: str) -> None:
    s3, before = aws.client(stack.access, "s3"), len(records(stack))
    for number in range(videos):
        s3.put_object(
            Bucket=stack.outputs["UploadBucketName"],
            Key=f"uploads/{name}-{number}.jpg",
            Body=IMAGE.read_bytes(),
            Metadata={"prompt": f"{name} {number}", "model": MODEL},
        )
        time.sleep(GAP_SECONDS * TIME_SCALE)
    deadline = time.time() + 300
    while True:
        found = records(stack)
        if len(found) == before + videos and all(item["state"]["S"] == "COMPLETED" for item in found):
            return
        if time.time() > deadline:
            raise TimeoutError([item["state"]["S"] for item in found])
        time.sleep(1)


def _counted(stack: Stack, counts: Path, videos: int, begun: float) -> Count:
    count = Count(videos=videos)
    sfn = aws.client(stack.access, "stepfunctions")
    for page in sfn.get_paginator("list_executions").paginate(stateMachineArn=stack.outputs["StateMachineArn"]):
        for execution in page["executions"]:
            if execution["startDate"].timestamp() < begun:
                continue
            history = sfn.get_paginator("get_execution_history").paginate(executionArn=execution["executionArn"])
            events = [event for part in history for event in part["events"]]
            entered = [
                event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event
            ]
            count.transitions += len(entered)
            count.polls += entered.count("Poll")
    for line in counts.read_text().splitlines():
        call = json.loads(line)
        count.calls[call["call"]] += call["number"]
        _weigh(count, call)
    logs = aws.client(stack.access, "logs")
    for group in logs.describe_log_groups()["logGroups"]:
        for page in logs.get_paginator("filter_log_events").paginate(
            logGroupName=group["logGroupName"], startTime=round(begun * 1000)
        ):
            for event in page["events"]:
                count.log_bytes += len(event["message"].encode()) + 26  # CloudWatch adds this to each event
                if match := re.search(r"^REPORT .*?\tDuration: ([\d.]+) ms", event["message"]):
                    function = group["logGroupName"].rpartition("-")[2]
                    count.invocations[function] += 1
                    count.seconds[function] += float(match[1]) / 1000
    return count


def _weigh(count: Count, call: dict[str, Any]) -> None:
    """Add DynamoDB's units: 1 per KB written, twice that in a transaction; 1 per 4 KB of a consistent read."""
    operation = call["call"].removeprefix("dynamodb ")
    kilobytes = max(1, math.ceil(call.get("weighs", 0) / 1024))
    of_a_job = any(mark in call.get("key", "") for mark in ("up-", "api-"))
    # The key of the index by_state includes the time of the last change, so each write of a job deletes one entry and
    # adds one. The entry in by_month is changed by each write, the one in by_request is written once.
    indexes = 3 if of_a_job else 0
    match operation:
        case "GetItem":
            count.read_units += max(1, math.ceil(call["weighs"] / 4096))
        case "BatchGetItem":
            count.read_units += 2
        case "Query":
            count.read_units += 1
        case "PutItem" | "UpdateItem":
            count.write_units += kilobytes + indexes
        case "TransactWriteItems":
            # The job at 2 KB, the day and the count at 1 KB each, all doubled; plus the job's index entries.
            count.write_units += 2 * (2 + call["items"] - 1) + 3


def priced(count: Count, polls: float | None = None) -> dict[str, float]:
    """USD per 1000 videos, by service. With ``polls``: for a loop with this many polls per video and no calendar."""
    each = count.videos / 1000
    own = count.polls / count.videos
    more = 0.0 if polls is None else polls - own
    poll_seconds = count.seconds["poll"] / max(1, count.invocations["poll"])
    cpu = FULL_CPU_GB / MEMORY_GB  # the emulator provides a full CPU
    seconds = sum(count.seconds.values()) * cpu / each + more * 1000 * poll_seconds * cpu
    bill = {
        "Step Functions": (count.transitions / each + more * 3 * 1000) * TRANSITION,
        "Lambda": (sum(count.invocations.values()) / each + more * 1000) * REQUEST + seconds * MEMORY_GB * GB_SECOND,
        "DynamoDB": (count.write_units * WRITE_UNIT + count.read_units * READ_UNIT) / each,
        "SQS": sum(n * PRICES[name] for name, n in count.calls.items() if name.startswith("sqs")) / each
        + QUEUE_REQUESTS * 1000 * PRICES["sqs SendMessage"],
        "S3": sum(n * PRICES[name] for name, n in count.calls.items() if name.startswith("s3")) / each,
        "EventBridge": count.calls["events PutEvents"] * PRICES["events PutEvents"] / each,
        "SNS": count.calls["sns Publish"] * PRICES["sns Publish"] / each,
        "Secrets, logs": count.calls["secretsmanager GetSecretValue"] * PRICES["secretsmanager GetSecretValue"] / each
        + count.log_bytes / each / 1e9 * LOG_GB,
    }
    if polls is not None:  # without our polls' two reads and one write of the calendar; each poll still reads its job
        calendar = own * 2 * (2 * READ_UNIT + 2 * WRITE_UNIT) * 1000
        bill["DynamoDB"] = max(0.0, bill["DynamoDB"] - calendar + more * 1000 * READ_UNIT)
    return bill


_CONDITIONS = (
    f"{VIDEOS} videos of {MODEL}, one every {GAP_SECONDS:.0f} s, at {LIMIT} requests per minute and PollsPerVideo 5. "
    f"Video storage and traffic are not included; an email per video would add ${MAIL * 1000:.2f}. The functions' "
    "durations are the emulator's, scaled to the share of a CPU that 512 MB provide. Events are counted, webhooks are "
    "not sent; DynamoDB does not charge for what Lambda reads from a stream. The loops are this stack with "
    "another number of polls and without the calendar. List prices of us-east-1 on 2026-11-21, arm64, no free tier."
)


def _counts(count: Count) -> str:
    calls = ", ".join(f"{name} {number / count.videos:.1f}" for name, number in sorted(count.calls.items()))
    return (
        f"Per video: {count.transitions / count.videos:.1f} transitions, "
        f"{sum(count.invocations.values()) / count.videos:.1f} invocations, and these calls: {calls}. DynamoDB units "
        f"per video: {count.write_units / count.videos:.0f} written, {count.read_units / count.videos:.0f} read."
    )


def main() -> None:
    """Run the stream, print the table and write it to docs/benchmarks.md."""
    count = run(VIDEOS)
    mean = catalogue.find(MODEL).average_seconds
    loops: dict[str, Callable[[], dict[str, float]]] = {
        f"this stack, {count.polls / count.videos:.1f} polls": lambda: priced(count),
        f"a 2 s loop, {mean / 2 + 0.5:.1f} polls": lambda: priced(count, mean / 2 + 0.5),
        f"a 30 s loop, {mean / 30 + 0.5:.1f} polls": lambda: priced(count, mean / 30 + 0.5),
    }
    bills = {name: bill() for name, bill in loops.items()}
    services = list(next(iter(bills.values())))
    rows = [
        [name, *(f"{bill[service]:.3f}" for service in services), f"{sum(bill.values()):.2f}"]
        for name, bill in bills.items()
    ]
    publish(
        Table(
            "cost",
            "AWS's price for 1000 videos, in USD",
            ["", *services, "total"],
            rows,
            [_counts(count), _CONDITIONS],
        )
    )


if __name__ == "__main__":
    main()
