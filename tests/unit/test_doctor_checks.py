"""The doctor's free checks: all pass for a healthy stack, and each fault fails its own line and says what it is."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import doctored
import httpx
import pytest
from doctored import Stack, alarm, dated, denied, execution, job, log_line, subscription
from doctored_changes import (
    BROKEN_STACK,
    EARLIER,
    a_job,
    answers,
    console,
    examined,
    gone,
    item,
    link_of_the_api,
    metric_missing,
    not_resolved,
    of_one_function,
    one_drift,
    open_policy,
    page,
    parameter,
    queue,
    rejected,
    tls_only_for_listing,
    without_trigger,
)
from seedance.jobs.job import State

from cli.doctor import running
from cli.doctor.deployment import NEEDS, Deployment
from cli.doctor.results import Result, Status
from cli.doctor.table import CHECKS
from cli.target import Target

BY_NAME = {check.name: check for check in CHECKS}
TODAY = f"day#{datetime.now(UTC).date().isoformat()}"
SLOW = {"metrics"}
"""Checks that do not apply to a stack without videos."""


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Stack, Target]:
    return doctored.install(monkeypatch, tmp_path)


@pytest.fixture
def stack(both: tuple[Stack, Target]) -> Stack:
    return both[0]


@pytest.fixture
def look(both: tuple[Stack, Target]) -> Callable[[str], Result]:
    """The result of one check."""
    of = Deployment(both[1], doctored.STACK)
    return lambda name: running.look(of, BY_NAME[name])


@pytest.mark.parametrize("name", sorted(BY_NAME.keys() - SLOW))
def test_every_check_passes_for_a_healthy_stack(look: Callable[[str], Result], name: str) -> None:
    assert look(name).status is Status.OK, look(name)


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_a_check_needs_exactly_the_permissions_of_its_calls(
    stack: Stack, look: Callable[[str], Result], name: str
) -> None:
    stack.put(job(State.HELD, "up-2", code="SUBMIT_LOST"))
    stack.put(job(State.UNCERTAIN, "up-3", code="SUBMIT_UNCERTAIN"))
    stack.put(job(State.COMPLETED, "up-4", ago=10_000))
    stack.answers["stepfunctions.ListExecutions"] = {"executions": [execution("up-9")]}
    stack.pages["/v1/videos/"] = lambda _: httpx.Response(200, json={"video": {"url": doctored.VIDEO_LINK}})
    look(name)
    free = {"sts:GetCallerIdentity"}  # needs no permission (IAM service authorization reference)
    assert stack.seen - free - set(NEEDS) == set(BY_NAME[name].needs)


NO_NOTIFICATION = {"QueueConfigurations": []}
NOT_ENCRYPTED = denied("GetBucketEncryption", code="ServerSideEncryptionConfigurationNotFoundError")
DISABLED = {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
NO_PITR = {
    "ContinuousBackupsDescription": {
        "ContinuousBackupsStatus": "ENABLED",
        "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"},
    }
}
INVALID = {
    "result": "FAIL",
    "diagnostics": [{"severity": "ERROR", "code": "MISSING_END_STATE", "message": "no end", "location": "/States/X"}],
}
ANOTHER_LAYER = [{"Arn": doctored.LAYER.replace(":7", ":6")}]
FAULTS: list[tuple[str, Callable[[Stack], None], str]] = [
    ("deployed", answers(cloudformation__DescribeStacks=BROKEN_STACK), "UPDATE_ROLLBACK_COMPLETE"),
    ("versions", examined("release", release="0.0.9"), "the stack runs release 0.0.9"),
    ("versions", examined("release", bytecode=False), "no bytecode"),
    ("versions", examined("release", python="3.12.1"), "runs on python3.12"),
    ("versions", of_one_function(Layers=ANOTHER_LAYER), "different layers: ['shop-common:7']"),
    ("versions", of_one_function(Runtime="python3.12"), "different runtime"),
    ("versions", of_one_function(State="Failed"), "PollFunction is Failed"),
    ("versions", of_one_function(LastUpdateStatus="Failed"), "its update Failed"),
    ("versions", lambda stack: stack.examined.update(release=EARLIER), "an earlier release"),
    ("machines", answers(stepfunctions__ValidateStateMachineDefinition=INVALID), "/States/X: MISSING_END_STATE no end"),
    (
        "quotas",
        answers(
            lambda__GetAccountSettings={
                "AccountLimit": {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
            }
        ),
        "10 of 10 concurrent executions are unreserved; this stack needs up to 23",
    ),
    ("clock", answers(sts__GetCallerIdentity=lambda _: dated(400.0)), "behind AWS's"),
    ("clock", answers(sts__GetCallerIdentity=lambda _: dated(-400.0)), "ahead of AWS's"),
    (
        "errors",
        answers(logs__FilterLogEvents=lambda _: {"events": [log_line(job_id="up-7")]}),
        "no record, job_id up-7",
    ),
    (
        "errors",
        answers(logs__FilterLogEvents=lambda _: {"events": [log_line(message="x Task timed out")]}),
        "timed out",
    ),
    ("workflows", answers(stepfunctions__ListExecutions=lambda _: {"executions": [execution("up-9")]}), "up-9"),
    ("workflows", answers(stepfunctions__ListExecutions=lambda _: {"executions": [execution("batch-9")]}), "batch-9"),
    ("provider key", rejected("balance", "PROVIDER_KEY_REJECTED"), "rejected the API key"),
    ("provider key", rejected("balance", "PROVIDER_UNAVAILABLE"), "rejected the API key"),
    ("credits", examined("balance", balance_usd=0.01), "$0.01 left, and the cheapest video costs $0.05"),
    ("credits", examined("balance", balance_usd=None), "no balance"),
    ("history", lambda stack: stack.history.update(error="The history could not be reached."), "could not be reached"),
    ("budget", item(TODAY, committed=20.0), "$20.00 of $25.00 spent or reserved today"),
    ("paused", item("switch#submits", reason="no credits"), "submits are paused: no credits"),
    ("prices", one_drift, "above the price published"),
    ("held jobs", a_job(State.HELD, "up-5", code="SUBMIT_LOST"), "1 job: 1 SUBMIT_LOST"),
    ("uncertain jobs", a_job(State.UNCERTAIN, "up-5", code="SUBMIT_UNCERTAIN", ago=4000), "1 for over 30 min"),
    ("uploads", answers(s3__GetBucketNotificationConfiguration=NO_NOTIFICATION), "under uploads/"),
    ("uploads", queue("intake", Policy=None), "does not let S3 send messages"),
    ("uploads", queue("intake", Policy=doctored.policy(doctored.from_s3("other"))), "does not let S3 send messages"),
    (
        "submit queue",
        answers(lambda__ListEventSourceMappings={"EventSourceMappings": [{"State": "Disabled"}]}),
        "nothing takes messages from the queue (Disabled)",
    ),
    ("submit queue", answers(lambda__ListEventSourceMappings={"EventSourceMappings": []}), "no trigger"),
    ("dead letters", queue("dead", ApproximateNumberOfMessages="3"), "3 messages failed five times"),
    ("dead letters", queue("rounds", ApproximateNumberOfMessages="1"), "1 round of reconcile dropped"),
    ("dead letters", queue("intake", RedrivePolicy=None), "does not move messages"),
    (
        "reconcile",
        answers(events__DescribeRule={"State": "DISABLED", "ScheduleExpression": "rate(5 minutes)"}),
        "disabled",
    ),
    (
        "public access",
        answers(s3__GetPublicAccessBlock={"PublicAccessBlockConfiguration": {"BlockPublicAcls": True}}),
        "the upload bucket does not have IgnorePublicAcls",
    ),
    (
        "public access",
        answers(s3__GetPublicAccessBlock=denied("x", code="NoSuchPublicAccessBlockConfiguration")),
        "does not have BlockPublicAcls",
    ),
    (
        "public access",
        answers(s3__GetBucketPolicy={"Policy": open_policy("s3:GetObject", "arn:aws:s3:::shop-videos/*")}),
        "the policy of the upload bucket allows everybody s3:GetObject",
    ),
    (
        "public access",
        queue("dead", Policy=open_policy("sqs:ReceiveMessage", doctored.arn("dead"))),
        "the policy of the dead-letter queue allows everybody sqs:ReceiveMessage",
    ),
    ("encryption", answers(s3__GetBucketEncryption=NOT_ENCRYPTED), "the upload bucket is not encrypted"),
    ("encryption", queue("intake", SqsManagedSseEnabled="false"), "the submit queue is not encrypted"),
    ("encryption", answers(sns__GetTopicAttributes={"Attributes": {}}), "the notification topic is not encrypted"),
    ("plain http", answers(s3__GetBucketPolicy=tls_only_for_listing), "the upload bucket does not refuse plain HTTP"),
    ("plain http", queue("rounds", Policy=None), "reconcile's dead-letter queue does not refuse plain HTTP"),
    ("plain http", page("http://", 200), "a signed link over plain HTTP got 200"),
    ("versioning", answers(s3__GetBucketVersioning={"Status": "Suspended"}), "versioning is suspended"),
    ("versioning", answers(s3__GetBucketVersioning={}), "versioning is never enabled"),
    (
        "lifecycle",
        answers(s3__GetBucketLifecycleConfiguration=denied("x", code="NoSuchLifecycleConfiguration")),
        "parts",
    ),
    ("lifecycle", parameter(VideoRetentionDays="30"), "the video bucket deletes videos/ after 90 days, not 30"),
    ("lifecycle", parameter(VideoRetentionDays="0"), "the video bucket deletes videos/"),
    ("lifecycle", parameter(UploadRetentionDays="60"), "deletes uploads/ after no days, not 60"),
    ("backups", answers(dynamodb__DescribeContinuousBackups=NO_PITR), "disabled"),
    ("time to live", answers(dynamodb__DescribeTimeToLive=DISABLED), "time to live is disabled"),
    ("notifications", answers(sns__ListSubscriptionsByTopic={"Subscriptions": []}), "is not subscribed"),
    (
        "notifications",
        answers(sns__ListSubscriptionsByTopic={"Subscriptions": [subscription(arn="PendingConfirmation")]}),
        "not confirmed: people@example.com",
    ),
    ("alarm mail", answers(sns__ListSubscriptionsByTopic={"Subscriptions": []}), "nobody is subscribed"),
    (
        "alarm mail",
        answers(sns__ListSubscriptionsByTopic={"Subscriptions": [subscription(arn="PendingConfirmation")]}),
        "not confirmed",
    ),
    ("alarm mail", parameter(AlarmEmail="on-call@example.com"), "on-call@example.com (AlarmEmail) is not subscribed"),
    (
        "alarms",
        answers(
            cloudwatch__DescribeAlarms={
                "MetricAlarms": [alarm(name, "ALARM" if name == "HeldAlarm" else "OK") for name in doctored.ALARM_NAMES]
            }
        ),
        "HeldAlarm has been in ALARM since 2026-11-20 12:00:00",
    ),
    ("alarms", answers(cloudwatch__DescribeAlarms={"MetricAlarms": []}), "DeadLetterAlarm does not exist any more"),
    (
        "alarms",
        answers(
            cloudwatch__DescribeAlarms={"MetricAlarms": [alarm(name, AlarmActions=[]) for name in doctored.ALARM_NAMES]}
        ),
        "DeadLetterAlarm notifies nobody",
    ),
    ("metrics", metric_missing, "no metric JobsCompleted"),
    ("api", page("/v1/models", 200), "GET /models without a key got 200, not 403"),
    ("api", page("/v1/models", 403, json={"message": "Forbidden"}), "does not have the form"),
    ("api", page("/v1/models", 502), "GET /models with the key got 502"),
    ("api", console(403), "the console's page got 403"),
    ("api", console(200), "or has no policy for its content"),
    ("api", page("/does-not-exist", 403, json={"message": "Missing Authentication Token"}), "an unknown path got 403"),
    (
        "api",
        answers(apigateway__GetStages={"item": [{"stageName": "v1"}, {"stageName": "Stage"}]}),
        "the stages Stage, v1",
    ),
    (
        "links",
        page("shop-videos", 307, headers={"location": "https://shop-videos.s3-eu.example"}),
        "307, a redirect to",
    ),
    ("links", page("shop-videos", 403, text="<Code>SignatureDoesNotMatch</Code>"), "403 SignatureDoesNotMatch"),
    (
        "links",
        page("shop-videos", 400, text="<Code>AuthorizationHeaderMalformed</Code>"),
        "AuthorizationHeaderMalformed",
    ),
    ("links", link_of_the_api(httpx.Response(301)), "a link to a video, from the API: 301"),
    ("video pages", not_resolved("/w/"), f"{doctored.LINKS} can't be reached: Name or service not known"),
    ("video pages", page("/w/", 403, json={"message": "Forbidden"}), "got 403, not 404"),
    ("video pages", page("/w/", 200, text="Welcome"), "got 200, not 404"),
    ("video pages", page("/w/", 404, text="<h1>No such page</h1>"), "something else answers there"),
    ("events", without_trigger("shop-announce"), "nothing passes the table's stream to announce (Disabled)"),
    ("events", answers(lambda__ListEventSourceMappings={"EventSourceMappings": []}), "no trigger"),
    ("events", queue("unannounced", ApproximateNumberOfMessages="2"), "2 groups of changes could not be announced"),
    ("webhooks", without_trigger("shop-deliver"), "nothing takes webhooks from their queue (Disabled)"),
    ("webhooks", queue("undelivered", ApproximateNumberOfMessagesNotVisible="1"), "1 webhook could not be delivered"),
    ("webhooks", gone, "the receiver answered 410 Gone"),
    ("public access", queue("hooks", Policy=open_policy("sqs:*", doctored.arn("hooks"))), "the queue of webhooks"),
    ("encryption", queue("unannounced", SqsManagedSseEnabled="false"), "announce's dead-letter queue is not encrypted"),
    ("plain http", queue("undelivered", Policy=None), "the webhooks' dead-letter queue does not refuse plain HTTP"),
]


@pytest.mark.parametrize(
    ("name", "fault", "says"), FAULTS, ids=[f"{name}-{number}" for number, (name, _, _) in enumerate(FAULTS)]
)
def test_a_fault_fails_its_line(
    stack: Stack, look: Callable[[str], Result], name: str, fault: Callable[[Stack], None], says: str
) -> None:
    fault(stack)
    result = look(name)
    assert result.status is Status.FAILED, result
    assert says in " ".join((result.said, *result.details))
    assert result.remedy or BY_NAME[name].remedy


@pytest.mark.parametrize("name", ["api", "video pages"])
def test_a_custom_domain_is_what_is_looked_at(both: tuple[Stack, Target], name: str) -> None:
    stack, target = both
    domain = "https://films.example"
    target.outputs.update(LinkUrl=f"{domain}/w", ConsoleUrl=f"{domain}/v1/")
    check, of = BY_NAME[name], Deployment(target, doctored.STACK)
    assert running.look(of, check).status is Status.OK
    not_resolved("films.example")(stack)
    result = running.look(of, check)
    assert (result.status, domain in result.said, "DomainTarget" in check.remedy) == (Status.FAILED, True, True)
    page("films.example", 403, json={"message": "Forbidden"})(stack)  # without a mapping of the path
    assert running.look(of, check).status is Status.FAILED


def test_every_check_has_a_fault() -> None:
    assert {name for name, _, _ in FAULTS} == set(BY_NAME)
