"""House rules for template.yaml: storage, encryption and retention."""

from typing import Any

import pytest
from seedance.collect import FOLLOWED_SECONDS
from seedance.jobs.requests import BATCH_PREFIX, UPLOAD_PREFIX
from seedance.jobs.store import REQUEST_INDEX, STATE_INDEX

BUCKETS = ["UploadBucket", "VideoBucket"]


def of_type(resources: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: resource["Properties"] for name, resource in resources.items() if resource["Type"] == kind}


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_is_private_encrypted_retained_and_free_of_orphaned_parts(
    resources: dict[str, Any], name: str
) -> None:
    bucket = resources[name]
    assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == ("Retain", "Retain")
    properties = bucket["Properties"]
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
    # Nothing that users uploaded or paid for is ever deleted; a batch's plan outlives the batch.
    assert [other["Prefix"] for other in others] == (["plans/"] if name == "UploadBucket" else [])
    assert all(other["ExpirationInDays"] * 24 * 3600 > FOLLOWED_SECONDS for other in others)


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


def test_the_table_is_retained_and_can_be_restored(resources: dict[str, Any]) -> None:
    table = resources["JobTable"]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["Properties"]["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_the_indexes_are_those_that_the_store_queries(resources: dict[str, Any]) -> None:
    indexes = {i["IndexName"]: i for i in resources["JobTable"]["Properties"]["GlobalSecondaryIndexes"]}
    assert set(indexes) == {STATE_INDEX, REQUEST_INDEX}
    # Reconcile uses these to decide whether a job needs a separate read.
    assert {"notified_at", "executions"} <= set(indexes[STATE_INDEX]["Projection"]["NonKeyAttributes"])
    assert indexes[REQUEST_INDEX]["KeySchema"] == [{"AttributeName": "request_id", "KeyType": "HASH"}]
