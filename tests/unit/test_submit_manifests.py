"""Submit and objects under batches/: a manifest starts one batch, other objects start nothing."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from seedance.intake import intake
from seedance.jobs.job import batch_id


@pytest.fixture
def take(wired: Any) -> Callable[[dict[str, Any]], None]:
    """Process one message."""
    return lambda content: intake().message(json.dumps(content))


def test_a_manifest_starts_a_batch_once(world: Any, take: Any) -> None:
    notice = world.upload("batches/shop/spring.csv", b"prompt\nx\n")
    take(notice)
    take(notice)
    version = notice["Records"][0]["s3"]["object"]["versionId"]
    batch = batch_id("example-uploads", "batches/shop/spring.csv", version)
    executions = world.aws["stepfunctions"].list_executions(stateMachineArn=world.arns.batch_machine)["executions"]
    assert [execution["name"] for execution in executions] == [batch]
    assert world.executions()[0] == {
        "batch_id": batch,
        "bucket": "example-uploads",
        "key": "batches/shop/spring.csv",
        "version_id": version,
    }
    assert world.aws["dynamodb"].scan(TableName="jobs-of-tests")["Items"] == []


@pytest.mark.hostile(kind="input", risk="paid twice")
@pytest.mark.parametrize("key", ["batches/", "batches/a.jpg", "batches/a-01234567.results.csv", "batches/notes.txt"])
def test_other_files_beside_manifests_are_ignored(world: Any, take: Any, key: str) -> None:
    take(world.upload(key, b"x"))
    assert world.called("StartExecution") == []
    assert world.aws["dynamodb"].scan(TableName="jobs-of-tests")["Items"] == []
