"""The naive handler: most of Powertools, boto3 with a resource, and httpx, in one function for everything."""

import os
from typing import Any

import boto3
import httpx
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.parser import BaseModel
from aws_lambda_powertools.utilities.parser.models import SqsRecordModel
from pydantic import Json

logger = Logger()
tracer = Tracer()
metrics = Metrics()
app = APIGatewayRestResolver()
table = boto3.resource("dynamodb").Table(os.environ["JOB_TABLE"])
s3 = boto3.client("s3")
secrets = boto3.client("secretsmanager")
workflow = boto3.client("stepfunctions")
http = httpx.Client(timeout=30)


class Message(BaseModel):
    """The body of a message."""

    job_id: str


class Record(SqsRecordModel):
    """A message of the queue. Powertools' documentation combines its parser and its batch processor like this."""

    body: Json[Message]


processor = BatchProcessor(EventType.SQS, model=Record)


@tracer.capture_method
def submit(message: Message) -> dict[str, Any]:
    """Read the image, request the video from the provider, record the request, start the workflow."""
    bucket, key = os.environ["UPLOAD_BUCKET"], "uploads/red-shoe.jpg"
    s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    link = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
    api_key = secrets.get_secret_value(SecretId=os.environ["SEGMIND_API_KEY_SECRET"])["SecretString"]
    answer = http.post(
        f"{os.environ['SEGMIND_BASE_URL']}/v2/seedance-1.0-pro-fast",
        json={"prompt": "A red shoe", "image_url": link},
        headers={"x-api-key": api_key},
    )
    job = {"job_id": message.job_id, "request_id": answer.json()["request_id"]}
    table.put_item(Item=job)
    workflow.start_execution(stateMachineArn=os.environ["STATE_MACHINE"], name=message.job_id)
    metrics.add_metric(name="Submitted", unit=MetricUnit.Count, value=1)
    logger.info("submitted", extra=job)
    return job


# Idempotent by message, otherwise the first result would be returned for every message.
once = idempotent_function(
    submit,
    data_keyword_argument="message",
    persistence_store=DynamoDBPersistenceLayer(table_name=os.environ["JOB_TABLE"]),
    config=IdempotencyConfig(expires_after_seconds=3600),
)


def _record(record: Record) -> None:
    once(message=record.body)


@app.post("/videos")
def create_video() -> dict[str, Any]:
    """Do the same for an API call."""
    return submit(Message.model_validate(app.current_event.json_body))


@metrics.log_metrics
@logger.inject_lambda_context
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: Any) -> Any:
    """Handle a batch of messages or an API call."""
    if "Records" in event:
        return process_partial_response(event, _record, processor, context)
    return app.resolve(event, context)
