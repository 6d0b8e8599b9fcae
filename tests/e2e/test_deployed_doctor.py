"""The doctor on the local stack: every line passes or says "not on an emulator", and each fault fails its own line."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed import Deployed

from local.options import INBOX_ADDRESS

pytestmark = pytest.mark.e2e

BLOCKED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)


@pytest.fixture
def doctor(deployed: Deployed, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run the command as a user does, and return its exit code and report."""
    outputs = tmp_path / "outputs.json"
    facts = {name: getattr(deployed.stack, name) for name in deployed.stack.__dataclass_fields__}
    outputs.write_text(json.dumps(facts))

    def run(*options: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "cli", "doctor", "--json", "--outputs", str(outputs), *options]
        env = {**os.environ, "SEEDANCE_HOME": str(tmp_path), "NO_COLOR": "1"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=env, check=False)  # noqa: S603
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def status(said: dict[str, Any]) -> dict[str, str]:
    return {line["name"]: line["status"] for line in said["checks"]}


def wrong(said: dict[str, Any]) -> dict[str, str]:
    return {line["name"]: line["said"] for line in said["checks"] if line["status"] not in ("ok", "skipped")}


@contextlib.contextmanager
def changed(change: Callable[[], object], back: Callable[[], object]) -> Iterator[None]:
    change()
    try:
        yield
    finally:
        back()


def test_every_line_passes_or_is_not_on_an_emulator(deployed: Deployed, doctor: Any) -> None:
    code, said = doctor()
    left_by_other_tests = {"held jobs", "uncertain jobs", "errors", "workflows", "dead letters"}
    assert {name: why for name, why in wrong(said).items() if name not in left_by_other_tests} == {}
    assert code == (0 if said["fine"] else 1)
    skipped = {line["said"] for line in said["checks"] if line["status"] == "skipped"}
    assert skipped == {"not on an emulator"}
    assert said["emulator"] is True
    shown = json.dumps(said)
    assert deployed.stack.api_key not in shown
    assert deployed.stack.secret_access_key not in shown


Fault = tuple[str, Callable[[], object], Callable[[], object]]
"""The line that a fault fails, and how it is put in and taken out again."""


def faults(deployed: Deployed) -> list[Fault]:
    """Faults that can be put in at the same time, because each fails another line."""
    s3, sqs, sns = (deployed.client(service) for service in ("s3", "sqs", "sns"))
    uploads = deployed.output("UploadBucketName")
    queue, dead = deployed.output("SubmitQueueUrl"), deployed.output("DeadLetterQueueUrl")
    topic, table = deployed.output("NotificationTopicArn"), deployed.output("JobTableName")

    def attribute(url: str, name: str) -> str:
        return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])

    (ours,) = [
        one["SubscriptionArn"]
        for one in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        if one["Protocol"] == "email"
    ]
    mails = {"FilterPolicy": sns.get_subscription_attributes(SubscriptionArn=ours)["Attributes"]["FilterPolicy"]}
    policy = attribute(queue, "Policy")
    dead_arn = attribute(dead, "QueueArn")
    paused = {"job_id": {"S": "switch#submits"}, "reason": {"S": "a test"}, "paused_at": {"N": str(time.time())}}
    return [
        (
            "notifications",
            lambda: sns.unsubscribe(SubscriptionArn=ours),
            lambda: sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=INBOX_ADDRESS, Attributes=mails),
        ),
        (
            "uploads",
            lambda: sqs.set_queue_attributes(
                QueueUrl=queue, Attributes={"Policy": policy.replace("s3.amazonaws.com", "sns.amazonaws.com")}
            ),
            lambda: sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy}),
        ),
        (
            "public access",
            lambda: sqs.set_queue_attributes(QueueUrl=dead, Attributes={"Policy": open_to_everybody(dead_arn)}),
            lambda: sqs.set_queue_attributes(QueueUrl=dead, Attributes={"Policy": ""}),
        ),
        (
            "versioning",
            lambda: s3.put_bucket_versioning(Bucket=uploads, VersioningConfiguration={"Status": "Suspended"}),
            lambda: s3.put_bucket_versioning(Bucket=uploads, VersioningConfiguration={"Status": "Enabled"}),
        ),
        (
            "dead letters",
            lambda: sqs.send_message(QueueUrl=dead, MessageBody="{}"),
            lambda: sqs.purge_queue(QueueUrl=dead),
        ),
        (
            "paused",
            lambda: deployed.client("dynamodb").put_item(TableName=table, Item=paused),
            lambda: deployed.client("dynamodb").delete_item(TableName=table, Key={"job_id": paused["job_id"]}),
        ),
        ("provider key", *from_provider(deployed, "credits", "http-401")),
        ("history", *from_provider(deployed, "history", "http-500")),
    ]


def open_to_everybody(arn: str) -> str:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:ReceiveMessage", "Resource": arn}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def others(deployed: Deployed) -> list[Fault]:
    """Faults of lines that the first ones fail too."""
    s3, bucket = deployed.client("s3"), deployed.output("UploadBucketName")
    return [
        (
            "public access",
            lambda: s3.delete_public_access_block(Bucket=bucket),
            lambda: s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=BLOCKED),
        ),
        ("credits", *from_provider(deployed, "credits", "not-an-object")),
    ]


def from_provider(deployed: Deployed, stage: str, kind: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """A fault in the stand-in's answers, until all of its faults are taken out."""
    url = f"{deployed.stack.sandbox_url}/_sandbox/faults"
    wish = {"on": stage, "kind": kind, "times": 0}
    return lambda: deployed.api.post(url, json=wish).raise_for_status(), lambda: deployed.api.delete(url)


def test_each_fault_fails_its_own_line(deployed: Deployed, doctor: Any) -> None:
    before = set(wrong(doctor()[1]))
    for group in (faults(deployed), others(deployed)):
        with contextlib.ExitStack() as stack:
            for _, put_in, take_out in group:
                stack.enter_context(changed(put_in, take_out))
            code, said = doctor()
        names = {name for name, _, _ in group}
        assert code == 1
        assert set(wrong(said)) - names <= before, wrong(said)
        found = {line["name"]: line for line in said["checks"]}
        assert {name: found[name]["status"] for name in names} == dict.fromkeys(names, "failed")
        assert all(found[name]["remedy"] for name in names)
    assert set(wrong(doctor()[1])) <= before


def test_a_purchase_proves_the_path_and_answers_the_contract(deployed: Deployed, doctor: Any) -> None:
    spent = deployed.sandbox("summary")["billed_usd"]
    _, said = doctor("--spend", "--yes")
    lines = {line["name"]: line for line in said["checks"]}
    for name in ("video", "batch", "rejected", "told", "booked"):
        assert lines[name]["status"] == "ok", lines[name]
    contract = {name: line for name, line in lines.items() if line["group"] == "contract"}
    assert {name: line["said"] for name, line in contract.items() if line["status"] == "failed"} == {}
    for name in ("output", "last frame", "row by id", "rows", "recognised", "12 seconds", "keyless file", "no image"):
        assert contract[name]["status"] == "ok", contract[name]
    costs = [job["cost_usd"] for job in said["bought"]["jobs"].values() if job["cost_usd"]]
    assert len(costs) == 3
    assert deployed.sandbox("summary")["billed_usd"] - spent == pytest.approx(sum(costs))


@pytest.mark.slow
def test_a_deviating_provider_fails_the_facts_lines(deployed: Deployed, doctor: Any) -> None:
    """Prices doubled, 12 s refused, outputs as lists."""
    control = f"{deployed.stack.sandbox_url}/_sandbox"
    with changed(
        lambda: (
            deployed.api.post(f"{control}/config", json={"price_factor": 2, "reading": "pages"}).raise_for_status(),
            deployed.api.post(f"{control}/faults", json={"on": "result", "kind": "output-list", "times": 0}),
        ),
        lambda: (
            deployed.api.post(f"{control}/config", json={"price_factor": 1, "reading": "learned"}),
            deployed.api.delete(f"{control}/faults"),
        ),
    ):
        code, said = doctor("--spend", "--yes")
    assert code == 1
    contract = {line["name"]: line["status"] for line in said["checks"] if line["group"] == "contract"}
    assert {name for name, found in contract.items() if found == "failed"} == {"output", "price", "12 seconds"}
    assert contract["late checks"] == "ok"
