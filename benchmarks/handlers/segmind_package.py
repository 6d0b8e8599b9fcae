"""A handler with only the provider's own package and boto3."""

import json
import os
from typing import Any

import boto3
from segmind import SegmindClient  # type: ignore[import-untyped]

s3 = boto3.client("s3")
secrets = boto3.client("secretsmanager")
workflow = boto3.client("stepfunctions")
dynamodb = boto3.client("dynamodb")


def handler(event: dict[str, Any], context: Any) -> None:
    """Read the image, request the video from the provider, record the request, start the workflow."""
    job_id = json.loads(event["Records"][0]["body"])["job_id"]
    bucket, key = os.environ["UPLOAD_BUCKET"], "uploads/red-shoe.jpg"
    s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    link = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
    api_key = secrets.get_secret_value(SecretId=os.environ["SEGMIND_API_KEY_SECRET"])["SecretString"]
    client = SegmindClient(api_key=api_key, base_url=f"{os.environ['SEGMIND_BASE_URL']}/v1")
    job = client.submit_async("seedance-1.0-pro-fast", prompt="A red shoe", image_url=link)
    dynamodb.put_item(
        TableName=os.environ["JOB_TABLE"], Item={"job_id": {"S": job_id}, "request_id": {"S": job.request_id}}
    )
    workflow.start_execution(stateMachineArn=os.environ["STATE_MACHINE"], name=job_id)
