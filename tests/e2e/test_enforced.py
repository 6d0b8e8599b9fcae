"""The functions with no other permissions than those of their roles, which the emulator enforces."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed import SAMPLE, Deployed, until
from seedance.jobs.job import batch_job_id
from standardwebhooks import Webhook
from webhook_receiver import Receiver, receiving

from local import launch
from local import stack as local_stack
from local.options import WEBHOOK_SECRET_NAME

pytestmark = pytest.mark.e2e

TIME_SCALE = 0.05
SERVER = Path(__file__).parent / "enforcing_ministack.py"
WORKED = (
    *("api", "collect", "enqueue", "fail", "finalize", "generate", "plan", "poll", "reconcile", "repair", "submit"),
    *("announce", "console", "deliver", "watch"),
)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """The receiver of the stack's webhooks."""
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def enforced(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Deployed]:
    """A stack of its own, on an emulator that enforces the roles' policies."""
    if not (Path(sys.executable).parent / "ministack").exists():
        pytest.skip("no emulator is installed; `pip install -e .` brings it")
    home = tmp_path_factory.mktemp("enforced")
    start = launch.Launch.start

    def enforcing(self: launch.Launch, name: str, command: list[str], env: Any) -> Any:
        if name == "emulator":
            command, env = [sys.executable, str(SERVER)], {**env, "AUTH": "true", "PYTHONPATH": str(launch.ROOT)}
        return start(self, name, command, env)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch.Launch, "start", enforcing)
        try:
            hook = {"WebhookUrl": receiver.url}
            options = local_stack.Options(
                port=0, provider="sandbox", time_scale=TIME_SCALE, home=home, parameters=hook, hurried=False
            )
            stack, _ = local_stack.up(options, lambda _: None)
            world = Deployed(stack)
            world.configure()
            for queue in (world.queue, world.failures):
                listen(world, queue)
            yield world
        finally:
            local_stack.down(home)


def listen(world: Deployed, queue: str) -> None:
    """Let the topic send to a queue of the test, as a subscriber on AWS must."""
    sqs = world.client("sqs")
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn}
    topic = {"ArnEquals": {"aws:SourceArn": world.output("NotificationTopicArn")}}
    policy = {"Statement": [{**statement, "Principal": {"Service": "sns.amazonaws.com"}, "Condition": topic}]}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps({"Version": "2012-10-17", **policy})})


def function(world: Deployed, name: str) -> str:
    found = world.client("lambda").list_functions()["Functions"]
    return next(one["FunctionName"] for one in found if f"-{name.capitalize()}Function-" in one["FunctionName"])


def invoke(world: Deployed, name: str, **event: Any) -> Any:
    answer = world.client("lambda").invoke(FunctionName=function(world, name), Payload=json.dumps(event))
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.loads(answer["Payload"].read())


def denied(world: Deployed, name: str) -> list[str]:
    """The lines of a function's log that say that it was denied something."""
    events = world.client("logs").filter_log_events(logGroupName=f"/aws/lambda/seedance-{name}", limit=10_000)["events"]
    return [event["message"] for event in events if "AccessDenied" in event["message"]]


def cancelled_batch(world: Deployed) -> None:
    """A batch that is planned, approved and cancelled with calls. Then collect cancels a job, too."""
    refuse = {"on": "submit", "kind": "http-429", "prompt_contains": "It waits", "times": 0}
    world.api.post(f"{world.stack.sandbox_url}/_sandbox/faults", json=refuse).raise_for_status()
    world.put("staged/summer.csv", b"prompt,resolution\nIt waits,480p\nIt waits,480p\n")
    batch = (
        world.call("POST", "/batches", json={"manifest_key": "staged/summer.csv"}).raise_for_status().json()["batch_id"]
    )

    def state() -> str:
        return str(world.call("GET", f"/batches/{batch}").raise_for_status().json()["state"])

    until(lambda: state() == "PLANNED", "the plan")
    world.call("POST", f"/batches/{batch}/approve").raise_for_status()
    jobs = [batch_job_id(batch, row) for row in (1, 2)]
    until(lambda: set(jobs) <= world.states().keys(), "the batch's jobs")
    world.call("POST", f"/batches/{batch}/cancel").raise_for_status()
    until(lambda: state() == "CANCELLED", "the end of the cancelled batch")
    assert batch in [one["batch_id"] for one in world.call("GET", "/batches").raise_for_status().json()["batches"]]
    world.client("dynamodb").update_item(
        TableName=world.output("JobTableName"),
        Key={"job_id": {"S": jobs[1]}},
        UpdateExpression="SET #state = :state REMOVE notified_at",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":state": {"S": "RECEIVED"}},
    )
    arn = world.output("BatchStateMachineArn").replace(":stateMachine:", ":execution:")
    approved = world.client("stepfunctions").describe_execution(executionArn=f"{arn}:{batch}-approved")
    assert invoke(world, "collect", **json.loads(approved["input"]))["states"] == {"CANCELLED": 2}


def test_every_function_works_with_its_own_roles_permissions(enforced: Deployed, receiver: Receiver) -> None:
    world = enforced
    world.put("images/shoe.jpg", SAMPLE.read_bytes())
    v2 = world.upload("uploads/v2.jpg", model="seedance-2.0-mini", duration="4", resolution="480p")
    v1 = world.upload("uploads/v1.jpg", model="seedance-pro", transport="v1", duration="5", resolution="480p")
    api = world.order(prompt="It turns.", image_key="images/shoe.jpg", parameters={"resolution": "480p"})
    for job_id in (v2, v1, api):
        assert world.completed(job_id)
    video = world.call("GET", f"/videos/{api}").json()["video"]
    for link in (video["url"], video["link"]):  # what a role signs works as far as the role may read
        assert world.api.get(link, follow_redirects=True).status_code == 200
    form = world.call("POST", "/uploads", json={"name": "a.jpg"}).json()
    assert world.api.post(form["url"], data=form["fields"], files={"file": ("a", b"x")}).status_code == 204
    assert world.call("DELETE", f"/videos/{api}/link").json()["link"] is None
    assert world.api.get(world.output("ConsoleUrl")).status_code == 200
    world.api.post(f"{world.stack.sandbox_url}/_sandbox/faults", json={"on": "job", "kind": "fail"}).raise_for_status()
    failed = world.upload("uploads/failed.jpg", model="seedance-2.0-mini", duration="4", resolution="480p")
    assert world.ended(failed)["state"] == "FAILED"

    world.put("batches/spring.csv", b"image,prompt,resolution\nimages/shoe.jpg,It turns,480p\n,It flies,480p\n")
    bucket = world.output("UploadBucketName")

    def results() -> Any:
        found = world.client("s3").list_objects_v2(Bucket=bucket, Prefix="batches/")["Contents"]
        return [item["Key"] for item in found if item["Key"].endswith(".results.csv")]

    until(results, "the batch's results")
    cancelled_batch(world)
    assert invoke(world, "reconcile") == {"done": {}}
    assert invoke(world, "repair", ask="pause", reason="a test") == {"fresh": True, "reason": "a test"}
    assert invoke(world, "repair", ask="resume")["number"] == 0
    assert "requests" in invoke(world, "repair", ask="unowned", model="seedance-2.0-mini", since=time.time() - 3600)
    assert invoke(world, "repair", ask="redrive")["number"] == 0
    secret = world.client("secretsmanager").get_secret_value(SecretId=WEBHOOK_SECRET_NAME)["SecretString"]

    def told() -> dict[str, set[str]]:
        """The states that each job's webhooks tell of, verified by the scheme's library."""
        found: dict[str, set[str]] = {}
        for one in list(receiver.received):
            data = Webhook(secret).verify(one.body, one.headers)["data"]
            found.setdefault(data["job_id"], set()).add(data["state"])
        return found

    for job_id, end in {v2: "COMPLETED", v1: "COMPLETED", api: "COMPLETED", failed: "FAILED"}.items():
        until(
            lambda job_id=job_id, end=end: {"SUBMITTING", end} <= told().get(job_id, set()), f"the webhooks of {job_id}"
        )
    redriven = invoke(world, "announce", ask="redrive")
    assert (redriven["number"], redriven["more"]) == (0, False)
    assert {name: denied(world, name) for name in WORKED} == {name: [] for name in WORKED}


def test_a_permission_that_is_missing_is_denied(enforced: Deployed) -> None:
    """Otherwise the test above would prove nothing."""
    iam = enforced.client("iam")
    (role,) = (one["RoleName"] for one in iam.list_roles()["Roles"] if "-ReconcileFunctionRole-" in one["RoleName"])
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=policy)
    answer = enforced.client("lambda").invoke(FunctionName=function(enforced, "reconcile"), Payload="{}")
    assert answer["FunctionError"]
    assert "AccessDenied" in answer["Payload"].read().decode()
