"""Reads and writes of single items of the job table."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from seedance.aws import clients, fields, writes
from seedance.aws.attributes import Record, read_item, written_item
from seedance.clock import CLOCK, Clock
from seedance.config import settings
from seedance.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class JobTable:
    """The job table. Reads are strongly consistent, because decisions about money must not use stale data."""

    def __init__(self, name: str, client: "DynamoDBClient", clock: Clock = CLOCK) -> None:
        self.name = name
        self.client = client
        self.clock = clock

    def now(self) -> float:
        """The time as it is stored: Unix seconds, with millisecond precision."""
        return round(self.clock(), 3)

    def get(self, key: str) -> Record | None:
        """The item, or None."""
        if not fields.is_table_key(key):
            return None  # no item can have this key, and DynamoDB would reject the query
        answer = self.client.get_item(TableName=self.name, Key={"job_id": {"S": key}}, ConsistentRead=True)
        return read_item(answer["Item"]) if "Item" in answer else None

    def put_new(self, record: Mapping[str, object]) -> bool:
        """Write a new item. Returns False if its key exists."""
        write_id = writes.write_id()
        try:
            self.put(
                {**record, "write_id": write_id},
                ConditionExpression="attribute_not_exists(job_id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if not writes.failed_condition(error):
                raise
            # True if this call wrote it: its first response was lost, and botocore retried.
            return writes.record_found(error).get("write_id") == write_id
        return True

    def change(self, key: str, values: Mapping[str, object]) -> bool:
        """Write some attributes of an item. Returns False if it does not exist."""
        names = {f"#{name}": name for name in values}
        try:
            self.client.update_item(
                TableName=self.name,
                Key={"job_id": {"S": key}},
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
                ConditionExpression="attribute_exists(job_id)",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=written_item({f":{name}": value for name, value in values.items()}),
            )
        except ClientError as error:
            if not writes.failed_condition(error):
                raise
            return False
        return True

    def append(self, key: str, name: str, value: object, *, keep: int) -> list[object]:
        """Append a value to a list attribute of an item, and return the list.

        This call needs no read before it and can't overwrite another writer's value. Occasionally it removes all but
        the last ``keep`` values. Raises ClientError and BotoCoreError.
        """
        item: Any = {"TableName": self.name, "Key": {"job_id": {"S": key}}, "ExpressionAttributeNames": {"#list": name}}
        answer = self.client.update_item(
            **item,
            UpdateExpression="SET #list = list_append(if_not_exists(#list, :none), :one)",
            ExpressionAttributeValues=written_item({":none": [], ":one": [value]}),
            ReturnValues="UPDATED_NEW",
        )
        stored: Any = read_item(answer["Attributes"])[name]  # a list, or the write would have failed
        if len(stored) >= 2 * keep:
            self.client.update_item(
                **item,
                UpdateExpression="REMOVE " + ", ".join(f"#list[{n}]" for n in range(len(stored) - keep)),
                ConditionExpression="size(#list) = :size",
                ExpressionAttributeValues=written_item({":size": len(stored)}),
            )
        return list(stored)

    def put(self, record: Mapping[str, object], **condition: Any) -> None:
        """Write an item, with retries while a transaction writes the same one. Raises like ``writes.insist``."""
        item = written_item(record)
        writes.insist(lambda: self.client.put_item(TableName=self.name, Item=item, **condition), self.clock)


@cache
def job_table() -> JobTable:
    """The stack's job table."""
    return JobTable(settings().job_table, clients.dynamodb())


def dropped(key: str, name: str) -> None:
    """Log that an invalid stored value is ignored."""
    logger().warning("a stored value is dropped", extra={"item": key, "field": name})
