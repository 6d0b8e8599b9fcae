"""Checks of who can read the data, and of how it is kept."""

from collections.abc import Callable
from typing import Any

import httpx
from botocore.exceptions import ClientError
from seedance.jobs.prefixes import POSTED_IMAGES, STAGED
from seedance.jobs.requests import BATCH_PREFIX, UPLOAD_PREFIX

from cli.doctor.deployment import Deployment
from cli.doctor.policies import Policy, open_to_everybody, read, refuses_plain_text
from cli.doctor.results import Result, failed, found, ok

OWN_PREFIXES = ("plans/", POSTED_IMAGES, STAGED)
OWN_DAYS = "30"
"""What the upload bucket deletes with every value of the parameters, and after how many days."""

_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_ENCRYPTED = ("AES256", "aws:kms", "aws:kms:dsse")
_HTTP_SECONDS = 10.0


def public_access(of: Deployment) -> Result:
    """Both buckets block public access, and no policy of a bucket or queue allows everybody anything."""
    client, wrong = of.client("s3"), []
    for name, bucket in of.buckets.items():
        said = _response(client.get_public_access_block, "NoSuchPublicAccessBlockConfiguration", Bucket=bucket)
        blocks = said.get("PublicAccessBlockConfiguration", {})
        if missing := [block for block in _BLOCKS if not blocks.get(block)]:
            wrong.append(f"{name} does not have {', '.join(missing)}")
    policies = {name: _policy(of, bucket) for name, bucket in of.buckets.items()}
    policies |= {name: read(queue.get("Policy")) for name, queue in of.queues.items()}
    for name, policy in policies.items():
        wrong += [f"the policy of {name} allows everybody {action}" for action in open_to_everybody(policy)]
    return found(wrong, "blocked for both buckets; no policy allows everybody anything")


def encryption(of: Deployment) -> Result:
    """Buckets, queues and the notification topic are encrypted. The table always is."""
    client, wrong = of.client("s3"), []
    for name, bucket in of.buckets.items():
        said = _response(client.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError", Bucket=bucket)
        rules = said.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
        algorithms = [one.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm") for one in rules]
        if not any(algorithm in _ENCRYPTED for algorithm in algorithms):
            wrong.append(f"{name} is not encrypted")
    for name, queue in of.queues.items():
        if queue.get("SqsManagedSseEnabled") != "true" and not queue.get("KmsMasterKeyId"):
            wrong.append(f"{name} is not encrypted")
    topic = of.client("sns").get_topic_attributes(TopicArn=of.target.output("NotificationTopicArn"))["Attributes"]
    if not topic.get("KmsMasterKeyId") and not of.emulated:  # an emulator's topics have no such attribute
        wrong.append("the notification topic is not encrypted")
    return found(wrong, "buckets, queues and notifications")


def plain_text(of: Deployment) -> Result:
    """Buckets and queues refuse requests over plain HTTP: by their policies, and a signed link really gets 403."""
    wrong = []
    for name, bucket in of.buckets.items():
        arn = f"arn:{_partition(of)}:s3:::{bucket}"
        # Reading objects is what a link does; the bucket itself is what a listing does.
        if not all(
            refuses_plain_text(_policy(of, bucket), action, resource)
            for action, resource in (("s3:GetObject", f"{arn}/uploads/any"), ("s3:ListBucket", arn))
        ):
            wrong.append(f"the policy of {name} does not refuse plain HTTP")
    for name, queue in of.queues.items():
        if not refuses_plain_text(read(queue.get("Policy")), "sqs:SendMessage", queue["QueueArn"]):
            wrong.append(f"the policy of {name} does not refuse plain HTTP")
    status = httpx.get(of.link.replace("https://", "http://", 1), timeout=_HTTP_SECONDS).status_code
    if status != httpx.codes.FORBIDDEN:
        wrong.append(f"a signed link over plain HTTP got {status}, not 403")
    return found(wrong, "refused by buckets and queues")


def versioning(of: Deployment) -> Result:
    """The upload bucket keeps versions: a job's id and its image depend on them."""
    said = of.client("s3").get_bucket_versioning(Bucket=of.target.output("UploadBucketName"))
    status = said.get("Status", "never enabled")
    return ok("enabled") if status == "Enabled" else failed(f"the upload bucket's versioning is {status.lower()}")


def lifecycle(of: Deployment) -> Result:
    """Both buckets delete unfinished uploads, plans and posted files, and what the retention parameters say."""
    client, wrong = of.client("s3"), []
    uploads, videos = (of.parameters.get(f"{what}RetentionDays", "0") for what in ("Upload", "Video"))
    wanted = {
        "the upload bucket": dict.fromkeys(OWN_PREFIXES, OWN_DAYS),
        "the video bucket": {"videos/": videos} if videos != "0" else {},
    }
    if uploads != "0":
        wanted["the upload bucket"] |= dict.fromkeys((UPLOAD_PREFIX, BATCH_PREFIX), uploads)
    for name, bucket in of.buckets.items():
        said = _response(client.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration", Bucket=bucket)
        active = [rule for rule in said.get("Rules", []) if rule["Status"] == "Enabled"]
        if not any("AbortIncompleteMultipartUpload" in rule for rule in active):
            wrong.append(f"{name} keeps the parts of unfinished uploads")
        expiring = [rule for rule in active if "Days" in rule.get("Expiration", {})]
        days = {_prefix(rule): str(rule["Expiration"]["Days"]) for rule in expiring}
        wrong += [
            f"{name} deletes {prefix} after {days.get(prefix, 'no')} days, not {wished}"
            for prefix, wished in wanted[name].items()
            if days.get(prefix) != wished
        ]
        wrong += [f"{name} deletes {prefix or 'everything'}" for prefix in sorted(days.keys() - wanted[name].keys())]
    return found(wrong, "as the parameters say")


def _prefix(rule: dict[str, Any]) -> str:
    return str(rule.get("Prefix") or rule.get("Filter", {}).get("Prefix", ""))


def backups(of: Deployment) -> Result:
    """The job table can be restored to any second of the last 35 days (point-in-time recovery)."""
    said = of.client("dynamodb").describe_continuous_backups(TableName=of.target.output("JobTableName"))
    status = said["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
    return ok("enabled") if status == "ENABLED" else failed(f"point-in-time recovery is {status.lower()}")


def time_to_live(of: Deployment) -> Result:
    """DynamoDB deletes expired records: time to live is enabled for the attribute expires_at."""
    said = of.client("dynamodb").describe_time_to_live(TableName=of.target.output("JobTableName"))
    about = said["TimeToLiveDescription"]
    status, attribute = about["TimeToLiveStatus"], about.get("AttributeName", "no attribute")
    if status not in ("ENABLED", "ENABLING") or attribute != "expires_at":
        return failed(f"time to live is {status.lower()} for {attribute}")
    return ok(f"{status.lower()} for {attribute}")


def _policy(of: Deployment, bucket: str) -> Policy:
    def look() -> Policy:
        return read(_response(of.client("s3").get_bucket_policy, "NoSuchBucketPolicy", Bucket=bucket).get("Policy"))

    return of.once(f"policy {bucket}", look)


def _partition(of: Deployment) -> str:
    return of.target.output("NotificationTopicArn").split(":")[1]


def _response(call: Callable[..., Any], code: str, **given: str) -> dict[str, Any]:
    """The response of a call. Empty if the call fails with this code, which means that there is nothing."""
    try:
        return dict(call(**given))
    except ClientError as error:
        if error.response["Error"]["Code"] == code:
            return {}
        raise
