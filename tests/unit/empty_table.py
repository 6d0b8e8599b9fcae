"""The job table, created as in template.yaml."""

from typing import Any

TABLE = "jobs-of-tests"


def create_table(clients: dict[str, Any], template: dict[str, Any]) -> None:
    """Create the table, empty, with the template's keys and indexes."""
    as_in_the_stack = {
        name: template["Resources"]["JobTable"]["Properties"][name]
        for name in ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    }
    clients["dynamodb"].create_table(TableName=TABLE, **as_in_the_stack)
