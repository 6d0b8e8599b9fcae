"""The limits of AWS as the tests enforce them: what just fits is accepted, and one more is refused."""

import json
from typing import Any

import aws_limits
import pytest
from aws_limits import LIMITS, refusal
from botocore.exceptions import ClientError
from botocore.session import Session

MODELS = Session()
KIB = 1024
JOB = {"job_id": {"S": "up-1"}}


def refused(service: str, operation: str, **params: Any) -> str | None:
    """The error's code, or None."""
    found = refusal(MODELS.get_service_model(service).operation_model(operation), params)
    return found.code if found else None


def item(**attributes: Any) -> dict[str, Any]:
    return {"TableName": "jobs", "Item": {**JOB, **attributes}}


def text(size: int) -> dict[str, str]:
    return {"S": "x" * size}


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "x"}
    for _ in range(levels):
        value = {"L": [value]}
    return value


def update(expression: str, names: Any = None, values: Any = None, key: str = "up-1") -> dict[str, Any]:
    found: dict[str, Any] = {"TableName": "jobs", "Key": {"job_id": {"S": key}}, "UpdateExpression": expression}
    found |= {"ExpressionAttributeNames": names} if names else {}
    return found | ({"ExpressionAttributeValues": values} if values else {})


def transaction(number: int) -> dict[str, Any]:
    return {
        "TransactItems": [{"Delete": {"TableName": "jobs", "Key": {"job_id": {"S": f"up-{n}"}}}} for n in range(number)]
    }


def batch(number: int) -> dict[str, Any]:
    return {"RequestItems": {"jobs": {"Keys": [{"job_id": {"S": f"up-{n}"}} for n in range(number)]}}}


def message(body: str = "{}", **more: Any) -> dict[str, Any]:
    return {"QueueUrl": "q", "MessageBody": body, **more}


def entries(number: int, size: int = 2, ids: Any = str) -> dict[str, Any]:
    return {"QueueUrl": "q", "Entries": [{"Id": ids(n), "MessageBody": "x" * size} for n in range(number)]}


def postpone(seconds: int) -> dict[str, Any]:
    return {"QueueUrl": "q", "ReceiptHandle": "r", "VisibilityTimeout": seconds}


def put_events(number: int, size: int = 2, **more: Any) -> dict[str, Any]:
    detail = json.dumps({"x": "x" * (size - len('{"x": ""}'))} if size > 2 else {})
    entry = {"EventBusName": "default", "Source": "s", "DetailType": "d", "Detail": detail, **more}
    return {"Entries": [entry] * number}


def publish(body: str = "x", **more: Any) -> dict[str, Any]:
    return {"TopicArn": "t", "Message": body, **more}


def attributes(number: int) -> dict[str, Any]:
    return {"MessageAttributes": {f"n{n}": {"DataType": "String", "StringValue": "v"} for n in range(number)}}


def start(name: str = "up-1", given: str = "{}") -> dict[str, Any]:
    return {"stateMachineArn": "arn", "name": name, "input": given}


def stored(key: str = "videos/a.mp4", **more: Any) -> dict[str, Any]:
    return {"Bucket": "b", "Key": key, **more}


ROOM = 400 * KIB - len("job_id") - len("up-1") - len("text")
FITS: list[tuple[str, str, str, dict[str, Any], dict[str, Any]]] = [
    # limit, service, operation, what fits, what does not
    ("dynamodb item", "dynamodb", "PutItem", item(text=text(ROOM)), item(text=text(ROOM + 1))),
    ("dynamodb partition key", "dynamodb", "PutItem", item(request_id=text(2048)), item(request_id=text(2049))),
    ("dynamodb partition key", "dynamodb", "PutItem", item(request_id=text(1)), item(request_id=text(0))),
    (
        "dynamodb partition key",
        "dynamodb",
        "UpdateItem",
        update("SET #i = :i", {"#i": "request_id"}, {":i": text(9)}),
        update("SET #i = :i", {"#i": "request_id"}, {":i": text(0)}),
    ),
    ("dynamodb partition key", "dynamodb", "PutItem", item(updated_at={"N": "1"}), item(updated_at={"S": "1"})),
    ("dynamodb digits", "dynamodb", "PutItem", item(n={"N": "1" * 38}), item(n={"N": "1" * 39})),
    ("dynamodb digits", "dynamodb", "PutItem", item(n={"N": "9e125"}), item(n={"N": "1e126"})),
    ("dynamodb digits", "dynamodb", "PutItem", item(n={"N": "0"}), item(n={"N": "nan"})),
    ("dynamodb depth", "dynamodb", "PutItem", item(n=nested(32)), item(n=nested(33))),
    ("dynamodb expression", "dynamodb", "UpdateItem", update("REMOVE held"), update("REMOVE " + "x" * 4 * KIB)),
    (
        "dynamodb expression",
        "dynamodb",
        "UpdateItem",
        update("SET #s = :s", {"#s": "status"}, {":s": text(1)}),
        update("SET status = :s", None, {":s": text(1)}),
    ),
    (
        "dynamodb placeholder",
        "dynamodb",
        "UpdateItem",
        update("SET a1 = :s", None, {":s": text(1)}),
        update("SET a1 = :s", None, {":s": text(1), ":t": text(1)}),
    ),
    (
        "dynamodb placeholder",
        "dynamodb",
        "UpdateItem",
        update("SET a1 = :s", None, {":s": text(1)}),
        update("SET a1 = :t", None, None),
    ),
    ("dynamodb operators", "dynamodb", "UpdateItem", update("REMOVE a1"), update("SET " + "a1=b1," * 300 + "a1=b1")),
    (
        "dynamodb values",
        "dynamodb",
        "UpdateItem",
        update("SET a1 = :s", None, {":s": text(9)}),
        update("SET a1 = :s", None, {":s": text(2 * KIB * KIB)}),
    ),
    ("dynamodb transaction", "dynamodb", "TransactWriteItems", transaction(100), transaction(101)),
    (
        "dynamodb transaction",
        "dynamodb",
        "TransactWriteItems",
        transaction(1),
        {"TransactItems": transaction(1)["TransactItems"] * 2},
    ),
    (
        "dynamodb transaction size",
        "dynamodb",
        "TransactWriteItems",
        {"TransactItems": [{"Put": item(t=text(9))}]},
        {
            "TransactItems": [
                {"Put": {**item(t=text(390 * KIB)), "Item": {"job_id": text(n + 1), "t": text(390 * KIB)}}}
                for n in range(11)
            ]
        },
    ),
    ("dynamodb batch", "dynamodb", "BatchGetItem", batch(100), batch(101)),
    ("dynamodb batch", "dynamodb", "BatchGetItem", batch(1), {"RequestItems": {"jobs": {"Keys": [JOB, JOB]}}}),
    ("sqs message", "sqs", "SendMessage", message("x" * KIB * KIB), message("x" * (KIB * KIB + 1))),
    ("sqs message", "sqs", "SendMessage", message("é\t"), message("\x0b")),
    ("sqs message", "sqs", "SendMessage", message("x"), message("")),
    ("sqs message", "sqs", "SendMessageBatch", entries(2, 512 * KIB), entries(2, 512 * KIB + 1)),
    ("sqs batch", "sqs", "SendMessageBatch", entries(10), entries(11)),
    ("sqs batch", "sqs", "SendMessageBatch", entries(1), entries(0)),
    ("sqs batch", "sqs", "SendMessageBatch", entries(2), entries(2, ids=lambda _: "same")),
    ("sqs entry id", "sqs", "SendMessageBatch", entries(1, ids=lambda _: "x" * 80), entries(1, ids=lambda _: "x" * 81)),
    ("sqs entry id", "sqs", "SendMessageBatch", entries(1, ids=lambda _: "a-b_1"), entries(1, ids=lambda _: "a.b")),
    ("sqs delay", "sqs", "SendMessage", message(DelaySeconds=900), message(DelaySeconds=901)),
    ("sqs delay", "sqs", "SendMessage", message(DelaySeconds=0), message(DelaySeconds=-1)),
    ("sqs attributes", "sqs", "SendMessage", message(**attributes(10)), message(**attributes(11))),
    (
        "sqs receive",
        "sqs",
        "ReceiveMessage",
        {"QueueUrl": "q", "MaxNumberOfMessages": 10},
        {"QueueUrl": "q", "MaxNumberOfMessages": 11},
    ),
    (
        "sqs wait",
        "sqs",
        "ReceiveMessage",
        {"QueueUrl": "q", "WaitTimeSeconds": 20},
        {"QueueUrl": "q", "WaitTimeSeconds": 21},
    ),
    ("sqs visibility", "sqs", "ChangeMessageVisibility", postpone(43_200), postpone(43_201)),
    ("sqs visibility", "sqs", "ChangeMessageVisibility", postpone(0), postpone(-1)),
    ("events entries", "events", "PutEvents", put_events(10), put_events(11)),
    ("events entries", "events", "PutEvents", put_events(1), put_events(0)),
    ("events entries", "events", "PutEvents", put_events(1), put_events(1, Detail="[]")),
    ("events entries", "events", "PutEvents", put_events(1), put_events(1, Source="aws.s3")),
    ("events size", "events", "PutEvents", put_events(2, 127 * KIB), put_events(2, 128 * KIB)),
    (
        "events detail type",
        "events",
        "PutEvents",
        put_events(1, DetailType="x" * 128),
        put_events(1, DetailType="x" * 129),
    ),
    ("sns message", "sns", "Publish", publish("x" * 256 * KIB), publish("x" * (256 * KIB + 1))),
    (
        "sns message",
        "sns",
        "Publish",
        publish('{"default": "x"}', MessageStructure="json"),
        publish('{"email": "x"}', MessageStructure="json"),
    ),
    ("sns subject", "sns", "Publish", publish(Subject="x" * 99), publish(Subject="x" * 100)),
    ("sns subject", "sns", "Publish", publish(Subject="x y"), publish(Subject="x\ny")),
    ("sns raw attributes", "sns", "Publish", publish(**attributes(10)), publish(**attributes(11))),
    ("states name", "stepfunctions", "StartExecution", start("x" * 80), start("x" * 81)),
    ("states name", "stepfunctions", "StartExecution", start("up-1_2"), start("a b")),
    (
        "states input",
        "stepfunctions",
        "StartExecution",
        start(given=json.dumps("x" * (256 * KIB - 2))),
        start(given=json.dumps("x" * (256 * KIB - 1))),
    ),
    ("s3 key", "s3", "PutObject", stored("x" * 1024), stored("é" * 513)),
    ("s3 key", "s3", "GetObject", stored("x"), stored("")),
    ("s3 metadata", "s3", "PutObject", stored(Metadata={"n": "x" * 2047}), stored(Metadata={"n": "x" * 2048})),
    ("s3 headers", "s3", "PutObject", stored(ContentDisposition="x" * 8000), stored(ContentDisposition="x" * 8193)),
    ("s3 part", "s3", "UploadPart", stored(PartNumber=10_000), stored(PartNumber=10_001)),
    ("s3 part", "s3", "UploadPart", stored(PartNumber=1), stored(PartNumber=0)),
    ("secretsmanager name", "secretsmanager", "GetSecretValue", {"SecretId": "x" * 2048}, {"SecretId": "x" * 2049}),
]
ELSEWHERE = {"lambda answer", "lambda event", "dynamodb sort key"}
"""Limits with a test of their own, or without a key of ours that they could apply to."""


@pytest.mark.parametrize(("limit", "service", "operation", "fits", "too_much"), FITS)
def test_what_fits_is_accepted_and_one_more_is_refused(
    limit: str, service: str, operation: str, fits: dict[str, Any], too_much: dict[str, Any]
) -> None:
    assert refused(service, operation, **fits) is None, limit
    assert refused(service, operation, **too_much) is not None, limit


def test_every_limit_has_such_a_pair() -> None:
    assert {limit for limit, *_ in FITS} | ELSEWHERE == set(LIMITS)


@pytest.mark.parametrize(("asynchronous", "most"), [(False, 6 * KIB * KIB), (True, KIB * KIB)])
def test_lambdas_answers_and_events_are_limited(*, asynchronous: bool, most: int) -> None:
    assert aws_limits.too_large_for_lambda("x" * (most - 2), asynchronous=asynchronous) is None
    assert aws_limits.too_large_for_lambda("x" * (most - 1), asynchronous=asynchronous) is not None


def test_a_states_data_is_limited() -> None:
    assert aws_limits.too_large_for_a_state({"a": "x" * (256 * KIB - 8)}) is None
    assert aws_limits.too_large_for_a_state({"a": "x" * (256 * KIB - 7)}) is not None


def test_what_the_service_models_say_is_enforced_too() -> None:
    assert refused("stepfunctions", "DescribeExecution", executionArn="x" * 257) == "ValidationException"
    assert refused("stepfunctions", "DescribeExecution", executionArn="x" * 256) is None


def test_the_keys_are_those_of_the_template(template: dict[str, Any]) -> None:
    declared = template["Resources"]["JobTable"]["Properties"]["AttributeDefinitions"]
    assert {one["AttributeName"]: one["AttributeType"] for one in declared} == aws_limits.KEYS
    ranges = [
        key["AttributeName"]
        for index in template["Resources"]["JobTable"]["Properties"]["GlobalSecondaryIndexes"]
        for key in index["KeySchema"]
        if key["KeyType"] == "RANGE"
    ]
    assert {aws_limits.KEYS[name] for name in ranges} == {"N"}  # so no sort key can be too long


def test_a_client_gets_the_services_own_error(world: Any) -> None:
    dynamodb = world.aws["dynamodb"]
    with pytest.raises(ClientError, match="reserved keyword; reserved keyword: status") as refusal:
        dynamodb.update_item(**update("SET status = :s", None, {":s": text(1)}))
    assert refusal.value.response["Error"]["Code"] == "ValidationException"
    sqs = world.aws["sqs"]
    with pytest.raises(sqs.exceptions.InvalidMessageContents):
        sqs.send_message(QueueUrl=world.arns.queue, MessageBody="\x00")


def test_a_link_that_can_not_work_is_found_when_it_is_signed(world: Any) -> None:
    with pytest.raises(AssertionError, match="a signed link that can't work"):
        world.aws["s3"].generate_presigned_url("get_object", Params=stored("x" * 1025))
