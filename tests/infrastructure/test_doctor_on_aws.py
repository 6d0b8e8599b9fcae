"""The doctor's lines that an emulator skips, on what the template deploys: each passes, and fails without its part.

The answers of AWS are made from template.yaml, so that a check can't demand what the template does not have.
"""

import copy
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from reading import ALL, of_type, resolved

from cli.doctor import checks_data, checks_jobs, checks_outside
from cli.doctor.deployment import Deployment
from cli.doctor.results import Result, Status

QUEUES = {
    "the submit queue": "IntakeQueue",
    "the dead-letter queue": "IntakeDeadLetterQueue",
    "reconcile's dead-letter queue": "ReconcileDeadLetterQueue",
    "announce's dead-letter queue": "AnnounceDeadLetterQueue",
    "the queue of webhooks": "WebhookQueue",
    "the webhooks' dead-letter queue": "WebhookDeadLetterQueue",
}
BUCKETS = {"the upload bucket": "UploadBucket", "the video bucket": "VideoBucket"}
OUTPUTS = {
    "UploadBucketName": "UploadBucket",
    "VideoBucketName": "VideoBucket",
    "JobTableName": "JobTable",
    "NotificationTopicArn": "arn:aws:sns:eu-central-1:123456789012:NotificationTopic",
}


def arn(logical: str) -> str:
    return f"arn:aws:s3:::{logical}" if logical.endswith("Bucket") else f"arn:aws:any:::{logical}"


class Deployed:
    """A stack on AWS as the template makes it: the answers to the calls of the checks."""

    def __init__(self, template: dict[str, Any], **parameters: str) -> None:
        defaults = {name: str(about.get("Default", "any")) for name, about in template["Parameters"].items()}
        self.parameters = {**defaults, **parameters}
        expire = {"UploadsExpire": "UploadRetentionDays", "VideosExpire": "VideoRetentionDays"}
        true = {name for name in ALL if name not in expire} | {
            name for name, parameter in expire.items() if self.parameters[parameter] != "0"
        }
        self.resources = self.real(resolved(copy.deepcopy(template["Resources"]), true))
        self.emulated = False
        self.buckets = dict(BUCKETS)
        self.link = "https://bucket.example/videos/none.mp4"
        self.target = SimpleNamespace(output=OUTPUTS.__getitem__)

    def real(self, value: Any) -> Any:
        """The value with physical ids in the places of references."""
        if isinstance(value, list):
            return [self.real(one) for one in value]
        if not isinstance(value, dict):
            return value
        match value:
            case {"Ref": str(name)}:
                return self.parameters.get(name, name)
            case {"Fn::GetAtt": [logical, "Arn"]}:
                return arn(logical)
            case {"Fn::Sub": str(text)}:
                for logical in (*BUCKETS.values(), *QUEUES.values()):
                    text = text.replace(f"${{{logical}.Arn}}", arn(logical))
                return text
        return {name: self.real(one) for name, one in value.items()}

    def properties(self, logical: str) -> dict[str, Any]:
        found: dict[str, Any] = self.resources[logical]["Properties"]
        return found

    def policy(self, kind: str, logical: str) -> str:
        """The policy of a bucket or queue, as JSON."""
        for one in of_type(self.resources, kind).values():
            if logical in (one.get("Bucket"), *one.get("Queues", [])):
                return json.dumps(one["PolicyDocument"])
        return ""

    @property
    def queues(self) -> dict[str, dict[str, str]]:
        found = {}
        for name, logical in QUEUES.items():
            properties = self.properties(logical)
            redrive = properties.get("RedrivePolicy")
            found[name] = {
                "QueueArn": arn(logical),
                "Policy": self.policy("AWS::SQS::QueuePolicy", logical),
                "SqsManagedSseEnabled": str(properties.get("SqsManagedSseEnabled", "")).lower(),
                "ApproximateNumberOfMessages": "0",
                "ApproximateNumberOfMessagesNotVisible": "0",
                **({"RedrivePolicy": json.dumps(redrive)} if redrive else {}),
            }
        return found

    def once(self, _name: str, look: Callable[[], Any]) -> Any:
        return look()

    def of_type(self, kind: str) -> dict[str, str]:
        return {name: name for name in of_type(self.resources, kind)}

    def client(self, service: str) -> Any:
        return getattr(self, service)

    @property
    def s3(self) -> Any:
        def rules(**given: str) -> dict[str, Any]:
            rules = self.properties(given["Bucket"])["LifecycleConfiguration"]["Rules"]
            return {"Rules": [lifecycle_rule(one) for one in rules]}

        def encryption(**given: str) -> dict[str, Any]:
            (one,) = self.properties(given["Bucket"])["BucketEncryption"]["ServerSideEncryptionConfiguration"]
            rule = {"ApplyServerSideEncryptionByDefault": one["ServerSideEncryptionByDefault"]}
            return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}

        def announced(**given: str) -> dict[str, Any]:
            told = self.properties(given["Bucket"])["NotificationConfiguration"]["QueueConfigurations"]
            rules = [
                {"QueueArn": one["Queue"], "Events": [one["Event"]], "Filter": {"Key": {"FilterRules": names(one)}}}
                for one in told
            ]
            return {"QueueConfigurations": rules}

        def names(one: dict[str, Any]) -> list[dict[str, str]]:
            return list(one["Filter"]["S3Key"]["Rules"])

        return SimpleNamespace(
            get_bucket_lifecycle_configuration=rules,
            get_bucket_encryption=encryption,
            get_bucket_notification_configuration=announced,
            get_bucket_policy=lambda **given: {"Policy": self.policy("AWS::S3::BucketPolicy", given["Bucket"])},
            get_bucket_versioning=lambda **given: self.properties(given["Bucket"]).get("VersioningConfiguration", {}),
            get_public_access_block=lambda **given: {
                "PublicAccessBlockConfiguration": self.properties(given["Bucket"])["PublicAccessBlockConfiguration"]
            },
        )

    @property
    def sns(self) -> Any:
        properties = self.properties("NotificationTopic")
        return SimpleNamespace(
            get_topic_attributes=lambda **_: {"Attributes": {"KmsMasterKeyId": properties.get("KmsMasterKeyId", "")}}
        )

    @property
    def dynamodb(self) -> Any:
        properties = self.properties("JobTable")
        pitr = properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
        ttl = properties["TimeToLiveSpecification"]
        recovery = {"PointInTimeRecoveryStatus": "ENABLED" if pitr else "DISABLED"}
        about = {"TimeToLiveStatus": "ENABLED" if ttl["Enabled"] else "DISABLED", "AttributeName": ttl["AttributeName"]}
        return SimpleNamespace(
            describe_continuous_backups=lambda **_: {
                "ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": recovery}
            },
            describe_time_to_live=lambda **_: {"TimeToLiveDescription": about},
        )

    @property
    def cloudwatch(self) -> Any:
        alarms = [
            {
                "AlarmName": name,
                "StateValue": "OK",
                "ActionsEnabled": one.get("ActionsEnabled", True),
                "AlarmActions": one.get("AlarmActions", []),
            }
            for name, one in of_type(self.resources, "AWS::CloudWatch::Alarm").items()
        ]
        pages = SimpleNamespace(paginate=lambda **_: [{"MetricAlarms": alarms}])
        return SimpleNamespace(get_paginator=lambda _: pages)


def lifecycle_rule(one: dict[str, Any]) -> dict[str, Any]:
    """A rule of the template as S3 returns it (S3 API reference, GetBucketLifecycleConfiguration)."""
    rule: dict[str, Any] = {"ID": one["Id"], "Status": one["Status"], "Filter": {"Prefix": one.get("Prefix", "")}}
    if "ExpirationInDays" in one:
        rule["Expiration"] = {"Days": int(one["ExpirationInDays"])}
    if "AbortIncompleteMultipartUpload" in one:
        rule["AbortIncompleteMultipartUpload"] = one["AbortIncompleteMultipartUpload"]
    return rule


def look(check: Callable[[Deployment], Result], stack: Deployed) -> Result:
    return check(cast("Deployment", stack))


@pytest.fixture(autouse=True)
def refused_in_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(403))


RETENTION = [
    {},
    {"UploadRetentionDays": "60"},
    {"VideoRetentionDays": "30"},
    {"UploadRetentionDays": "8", "VideoRetentionDays": "8"},
]


@pytest.mark.parametrize("parameters", RETENTION)
def test_a_stack_with_any_retention_has_the_lifecycle_that_its_line_wants(
    template: dict[str, Any], parameters: dict[str, str]
) -> None:
    assert look(checks_data.lifecycle, Deployed(template, **parameters)).status is Status.OK


@pytest.mark.parametrize("bucket", BUCKETS.values())
def test_each_lifecycle_rule_that_is_missing_or_off_fails_the_line(template: dict[str, Any], bucket: str) -> None:
    kept = {"UploadRetentionDays": "60", "VideoRetentionDays": "30"}
    number = len(Deployed(template, **kept).properties(bucket)["LifecycleConfiguration"]["Rules"])
    assert number >= 2
    for which in range(number):
        gone, off, longer = (Deployed(template, **kept) for _ in range(3))
        gone.properties(bucket)["LifecycleConfiguration"]["Rules"].pop(which)
        off.properties(bucket)["LifecycleConfiguration"]["Rules"][which]["Status"] = "Disabled"
        for stack in (gone, off):
            assert look(checks_data.lifecycle, stack).status is Status.FAILED, which
        rule = longer.properties(bucket)["LifecycleConfiguration"]["Rules"][which]
        if "ExpirationInDays" in rule:
            rule["ExpirationInDays"] = 1 + int(rule["ExpirationInDays"])
            assert look(checks_data.lifecycle, longer).status is Status.FAILED, which


def test_a_rule_that_deletes_something_else_fails_the_line(template: dict[str, Any]) -> None:
    stack = Deployed(template)
    rule = {"Id": "all", "Status": "Enabled", "ExpirationInDays": 365}
    stack.properties("VideoBucket")["LifecycleConfiguration"]["Rules"].append(rule)
    result = look(checks_data.lifecycle, stack)
    assert (result.status, "the video bucket deletes everything" in result.said) == (Status.FAILED, True)


CHECKS = [
    checks_data.public_access,
    checks_data.encryption,
    checks_data.plain_text,
    checks_data.versioning,
    checks_data.backups,
    checks_data.time_to_live,
    checks_jobs.uploads,
    checks_jobs.dead_letters,
    checks_outside.alarms,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_the_template_deploys_passes(template: dict[str, Any], check: Callable[[Deployment], Result]) -> None:
    result = look(check, Deployed(template))
    assert result.status is Status.OK, (result.said, result.details)


def test_every_queue_and_bucket_is_looked_at(template: dict[str, Any]) -> None:
    resources = Deployed(template).resources
    assert set(QUEUES.values()) == set(of_type(resources, "AWS::SQS::Queue"))
    assert set(BUCKETS.values()) == set(of_type(resources, "AWS::S3::Bucket"))


@pytest.mark.parametrize("logical", [*BUCKETS.values(), *QUEUES.values()])
def test_each_bucket_and_queue_without_its_policy_or_key_fails_its_line(template: dict[str, Any], logical: str) -> None:
    stack = Deployed(template)
    for one in stack.resources.values():
        properties = one.get("Properties", {})
        if properties.get("Bucket") == logical and "PolicyDocument" in properties:
            properties["PolicyDocument"]["Statement"] = []
        if logical in properties.get("Queues", []):
            properties["Queues"].remove(logical)
    assert look(checks_data.plain_text, stack).status is Status.FAILED
    stack = Deployed(template)
    stack.properties(logical).pop("SqsManagedSseEnabled", None)
    if logical in BUCKETS.values():
        (rule,) = stack.properties(logical)["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        rule["ServerSideEncryptionByDefault"] = {}
        stack.properties(logical)["PublicAccessBlockConfiguration"]["RestrictPublicBuckets"] = False
        assert look(checks_data.public_access, stack).status is Status.FAILED
    assert look(checks_data.encryption, stack).status is Status.FAILED


def test_each_alarm_that_notifies_nobody_fails_the_line(template: dict[str, Any]) -> None:
    for name in of_type(Deployed(template).resources, "AWS::CloudWatch::Alarm"):
        stack = Deployed(template)
        stack.properties(name)["AlarmActions"] = []
        result = look(checks_outside.alarms, stack)
        assert (result.status, f"{name} notifies nobody" in result.said) == (Status.FAILED, True)
