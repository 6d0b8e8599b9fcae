"""House rules for template.yaml: storage, encryption and retention."""

import re
from typing import Any

import pytest
from seedance.aws.table import MONTH_INDEX, REQUEST_INDEX, STATE_INDEX
from seedance.collect import FOLLOWED_SECONDS
from seedance.jobs.by_month import ListedJob
from seedance.jobs.prefixes import POSTED_IMAGES, STAGED
from seedance.jobs.requests import BATCH_PREFIX, UPLOAD_PREFIX

from local.options import LOCAL_PARAMETERS
from tests.infrastructure.reading import of_type, resolved

BUCKETS = ["UploadBucket", "VideoBucket"]
KEPT = ("RetainExceptOnCreate", "Retain")
"""DeletionPolicy and UpdateReplacePolicy. The latter has no RetainExceptOnCreate (cfn-lint E3036)."""


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_is_private_encrypted_retained_and_free_of_orphaned_parts(
    resources: dict[str, Any], name: str
) -> None:
    bucket = resources[name]
    assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == KEPT
    properties = resolved(bucket["Properties"], [])
    blocked = properties["PublicAccessBlockConfiguration"]
    assert blocked == dict.fromkeys(
        ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
    )
    assert properties["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    (encryption,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] in ("AES256", "aws:kms")
    rule, *others = properties["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]) == ("Enabled", 1)
    assert "ExpirationInDays" not in rule
    # By default nothing that users uploaded or paid for is ever deleted; a batch's plan outlives the batch.
    own = ["plans/", POSTED_IMAGES, STAGED]  # also what callers of the API have uploaded, used or not
    assert [other["Prefix"] for other in others] == (own if name == "UploadBucket" else [])
    assert all(other["ExpirationInDays"] * 24 * 3600 > FOLLOWED_SECONDS for other in others)


@pytest.mark.parametrize(
    ("condition", "parameter", "bucket", "prefixes"),
    [
        ("UploadsExpire", "UploadRetentionDays", "UploadBucket", [UPLOAD_PREFIX, BATCH_PREFIX]),
        ("VideosExpire", "VideoRetentionDays", "VideoBucket", ["videos/"]),
    ],
)
def test_objects_expire_only_if_the_stack_says_so(
    *, template: dict[str, Any], condition: str, parameter: str, bucket: str, prefixes: list[str]
) -> None:
    properties = template["Resources"][bucket]["Properties"]

    def rules(true: list[str]) -> list[dict[str, Any]]:
        return list(resolved(properties, true)["LifecycleConfiguration"]["Rules"])

    added = [rule for rule in rules([condition]) if rule not in rules([])]
    assert [rule["Prefix"] for rule in added] == prefixes
    for rule in added:
        assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", {"Ref": parameter})
        if "VersioningConfiguration" in properties:  # an expired object is only hidden until its version expires too
            assert rule["NoncurrentVersionExpiration"]["NoncurrentDays"] * 24 * 3600 > FOLLOWED_SECONDS
    assert template["Conditions"][condition] == {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, "0"]}]}


@pytest.mark.parametrize("parameter", ["UploadRetentionDays", "VideoRetentionDays"])
def test_objects_are_kept_forever_or_longer_than_a_batch_is_followed(template: dict[str, Any], parameter: str) -> None:
    declared = template["Parameters"][parameter]
    assert declared["Default"] == "0"
    allowed = [days for days in range(1000) if re.fullmatch(declared["AllowedPattern"], str(days))]
    assert allowed == [0, *range(int(FOLLOWED_SECONDS) // (24 * 3600) + 1, 1000)]
    assert not re.fullmatch(declared["AllowedPattern"], "08")


def denied_in_plain_text(policy: dict[str, Any]) -> Any:
    """The resources of a policy's statement that denies everything that is not sent with TLS."""
    (found,) = (s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Deny")
    assert found["Principal"] == "*"
    assert found["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    return found["Action"], found["Resource"]


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_refuses_plain_text(resources: dict[str, Any], name: str) -> None:
    policies = of_type(resolved(resources), "AWS::S3::BucketPolicy").values()
    (policy,) = (policy for policy in policies if policy["Bucket"] == {"Ref": name})
    arn = {"Fn::GetAtt": [name, "Arn"]}
    assert denied_in_plain_text(policy) == ("s3:*", [arn, {"Fn::Sub": f"${{{name}.Arn}}/*"}])


def test_every_queue_refuses_plain_text(resources: dict[str, Any]) -> None:
    policies = of_type(resolved(resources), "AWS::SQS::QueuePolicy").values()
    covered = {policy["Queues"][0]["Ref"]: denied_in_plain_text(policy) for policy in policies}
    assert covered == {name: ("sqs:*", {"Fn::GetAtt": [name, "Arn"]}) for name in of_type(resources, "AWS::SQS::Queue")}
    assert all(len(policy["Queues"]) == 1 for policy in policies)


def test_only_plain_http_to_the_local_emulator_is_allowed(template: dict[str, Any]) -> None:
    assert template["Conditions"]["OnAws"] == {"Fn::Equals": [{"Ref": "LocalEmulator"}, "no"]}
    assert template["Parameters"]["LocalEmulator"]["Default"] == "no"
    assert "LocalEmulator" in LOCAL_PARAMETERS
    for name, resource in template["Resources"].items():
        if resource["Type"] in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy"):
            assert resource.get("Condition") == (None if name == "IntakeQueuePolicy" else "OnAws")


def test_the_intake_queue_accepts_events_of_this_account_only(resources: dict[str, Any]) -> None:
    (allowed,) = (
        statement
        for statement in resolved(resources["IntakeQueuePolicy"]["Properties"])["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    )
    assert (allowed["Principal"], allowed["Action"]) == ({"Service": "s3.amazonaws.com"}, "sqs:SendMessage")
    assert allowed["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_there_are_no_other_buckets(resources: dict[str, Any]) -> None:
    assert sorted(of_type(resources, "AWS::S3::Bucket")) == BUCKETS


def test_uploads_are_versioned_and_only_images_and_manifests_trigger_events(resources: dict[str, Any]) -> None:
    bucket = resources["UploadBucket"]["Properties"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    notices = bucket["NotificationConfiguration"]["QueueConfigurations"]
    assert [notice["Filter"]["S3Key"]["Rules"] for notice in notices] == [
        [{"Name": "prefix", "Value": prefix}] for prefix in (UPLOAD_PREFIX, BATCH_PREFIX)
    ]
    for notice in notices:
        assert notice["Event"] == "s3:ObjectCreated:*"
        assert notice["Queue"] == {"Fn::GetAtt": ["IntakeQueue", "Arn"]}
    assert resources["UploadBucket"]["DependsOn"] == "IntakeQueuePolicy"


def test_web_pages_may_send_forms_to_the_upload_bucket(resources: dict[str, Any]) -> None:
    (rule,) = resources["UploadBucket"]["Properties"]["CorsConfiguration"]["CorsRules"]
    assert rule["AllowedMethods"] == ["POST"]
    assert rule["AllowedOrigins"] == {"Fn::Split": [",", {"Ref": "ConsoleOrigins"}]}
    assert "ExposedHeaders" not in rule
    assert "CorsConfiguration" not in resources["VideoBucket"]["Properties"]


def test_the_table_is_retained_and_can_be_restored(resources: dict[str, Any]) -> None:
    table = resources["JobTable"]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == KEPT
    assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["Properties"]["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_the_indexes_are_those_that_the_store_queries(resources: dict[str, Any]) -> None:
    indexes = {i["IndexName"]: i for i in resources["JobTable"]["Properties"]["GlobalSecondaryIndexes"]}
    assert set(indexes) == {STATE_INDEX, REQUEST_INDEX, MONTH_INDEX}
    # Reconcile uses these to decide whether a job needs a separate read.
    assert {"notified_at", "executions"} <= set(indexes[STATE_INDEX]["Projection"]["NonKeyAttributes"])
    assert set(indexes[MONTH_INDEX]["Projection"]["NonKeyAttributes"]) == set(ListedJob.__annotations__) - {
        *("job_id", "created_at"),  # keys are in every index
    }
    assert indexes[REQUEST_INDEX]["KeySchema"] == [{"AttributeName": "request_id", "KeyType": "HASH"}]
