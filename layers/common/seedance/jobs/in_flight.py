"""The count of videos in progress. It is changed in the transactions of the jobs' changes (jobs.budget)."""

from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from seedance.aws import checks, writes
from seedance.aws.attributes import read_item, written_item
from seedance.aws.job_table import JobTable, job_table
from seedance.aws.table import IN_FLIGHT, STATE_INDEX
from seedance.errors import Conflict
from seedance.jobs.job import UNDER_WAY, State


class InFlight:
    """The stored count, and its correction."""

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def count(self) -> int:
        """The stored count; 0 if it is not a number."""
        return checks.count_or_zero((self._table.get(IN_FLIGHT) or {}).get("held"))

    def recount(self) -> bool:
        """Correct the count from the jobs' states. Returns whether it was wrong.

        Does nothing if the count changes in the meantime. It is only wrong if somebody edited a record, or if the stack
        is older than the count.
        """
        key: Any = {"job_id": {"S": IN_FLIGHT}}
        # The raw stored value: it may not be a number, and it must be unchanged when it is replaced.
        answer = self._table.client.get_item(TableName=self._table.name, Key=key, ConsistentRead=True)
        held = answer.get("Item", {}).get("held")
        counted = sum(self._in(state) for state in UNDER_WAY)
        if read_item({"held": held or {"N": "0"}})["held"] == counted:
            return False
        unchanged: Any = {"ConditionExpression": "attribute_not_exists(held)"}
        if held:
            unchanged = {"ConditionExpression": "held = :held", "ExpressionAttributeValues": {":held": held}}
        try:
            self._table.put({"job_id": IN_FLIGHT, "held": counted}, **unchanged)
        except Conflict:
            return False
        except ClientError as error:
            if writes.failed_condition(error):
                return False
            raise
        return True

    def _in(self, state: State) -> int:
        pages = self._table.client.get_paginator("query").paginate(
            TableName=self._table.name,
            IndexName=STATE_INDEX,
            Select="COUNT",
            KeyConditionExpression="#state = :state",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues=written_item({":state": state.value}),
        )
        return sum(page["Count"] for page in pages)


@cache
def in_flight() -> InFlight:
    """The stack's count."""
    return InFlight(job_table())
