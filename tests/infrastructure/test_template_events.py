"""House rules for template.yaml: the table's stream, events and webhooks."""

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest
from seedance.aws import table
from seedance.events.bus import ENTRIES_A_REQUEST
from seedance.events.change import SOURCE
from table_stream import passes

from tests.infrastructure.reading import as_list, resolved, statements

HOUR = 3600
STREAM_KEEPS = 24 * HOUR
"""DynamoDB developer guide, "Change data capture for DynamoDB Streams"."""


@pytest.fixture(scope="module")
def mapping(resources: dict[str, Any]) -> dict[str, Any]:
    return dict(resources["AnnounceStream"]["Properties"])


def test_announce_compares_both_images_of_every_write(resources: dict[str, Any], mapping: dict[str, Any]) -> None:
    stream = resources["JobTable"]["Properties"]["StreamSpecification"]
    assert stream == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["JobTable", "StreamArn"]}
    assert mapping["FunctionName"] == {"Ref": "AnnounceFunction"}
    assert mapping["StartingPosition"] == "TRIM_HORIZON"  # LATEST may miss writes while the mapping is created
    assert "ParallelizationFactor" not in mapping


def test_a_failed_record_is_retried_automatically_and_leaves_time_to_redrive(mapping: dict[str, Any]) -> None:
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["MaximumRetryAttempts"] == -1
    assert HOUR <= mapping["MaximumRecordAgeInSeconds"] <= STREAM_KEEPS / 2
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == {
        "Fn::GetAtt": ["AnnounceDeadLetterQueue", "Arn"]
    }
    assert mapping["BatchSize"] >= ENTRIES_A_REQUEST


def image(**attributes: str) -> dict[str, Any]:
    return {name: {"S": value} for name, value in attributes.items()}


@pytest.mark.parametrize(
    ("record", "fine"),
    [
        ({"NewImage": image(job_id="up-1", state="RECEIVED")}, True),
        ({"NewImage": image(job_id="up-1", state="HELD"), "OldImage": image(job_id="up-1", state="RECEIVED")}, True),
        ({"OldImage": image(job_id="up-1", state="COMPLETED")}, False),  # deleted, by its time to live
        ({"NewImage": image(job_id="day#2026-11-20")}, False),
        ({"NewImage": image(job_id="request#1", owner="up-1")}, False),
        ({"NewImage": {**image(job_id="up-1"), "state": {"N": "7"}}}, False),
    ],
)
def test_the_filter_leaves_writes_of_jobs(mapping: dict[str, Any], record: Any, *, fine: bool) -> None:
    (pattern,) = (json.loads(one["Pattern"]) for one in mapping["FilterCriteria"]["Filters"])
    assert set(pattern) == {"dynamodb"}  # Lambda filters this source by nothing else
    assert passes(pattern, {"eventName": "MODIFY", "dynamodb": {"SequenceNumber": "1", **record}}) is fine


def test_no_other_item_of_the_table_has_a_state() -> None:
    """Keys of jobs have no "#"; those of all other items do."""
    keys = [value for name, value in vars(table).items() if name.isupper() and not name.endswith("_INDEX")]
    no_keys = (table.READING, table.BATCHES)
    assert all("#" in key for key in keys if key not in no_keys)
    assert all("#" in key for key in (table.batch_key("b"), table.plan_key("b")))


def test_only_announce_publishes_and_only_as_us(functions: dict[str, Any]) -> None:
    publishing = {
        name: statement
        for name, properties in functions.items()
        for statement in statements(properties["Policies"])
        if "events:PutEvents" in as_list(statement["Action"])
    }
    assert list(publishing) == ["announce"]
    statement = publishing["announce"]
    assert statement["Condition"] == {"ForAllValues:StringEquals": {"events:source": SOURCE}}
    assert statement["Resource"]["Fn::Sub"].endswith(":event-bus/${EventBusName}")


def test_only_deliver_reads_the_signing_key_and_only_announce_the_stream(functions: dict[str, Any]) -> None:
    def having(text: str) -> list[str]:
        return [name for name, properties in functions.items() if text in json.dumps(properties["Policies"])]

    assert having("WebhookSecretArn") == having('"WebhookSecretArn"') == ["deliver"]
    assert having("StreamArn") == ["announce"]
    assert "SegmindApiKeySecretArn" not in json.dumps([functions[name]["Policies"] for name in ("announce", "deliver")])


@pytest.mark.parametrize("name", ["announce", "deliver"])
def test_announce_and_deliver_can_not_change_a_job(functions: dict[str, Any], name: str) -> None:
    writing = [
        statement
        for statement in statements(functions[name]["Policies"])
        if statement["Resource"] == {"Fn::GetAtt": ["JobTable", "Arn"]}
    ]
    assert writing
    for statement in writing:
        ((pattern,),) = statement["Condition"]["ForAllValues:StringLike"].values()
        assert fnmatchcase(table.GONE, pattern)
        assert "#" in pattern


def test_without_an_address_nothing_is_polled_and_no_secret_is_named(template: dict[str, Any]) -> None:
    properties = template["Resources"]["DeliverFunction"]["Properties"]
    assert [
        resolved(properties, given)["Events"]["Webhooks"]["Properties"]["Enabled"] for given in ([], ["WantsWebhook"])
    ] == [
        False,
        True,
    ]
    assert "WebhookSecretArn" not in json.dumps(resolved(properties, [])["Policies"])
    for parameter in ("WebhookUrl", "WebhookSecretArn"):
        assert template["Parameters"][parameter]["Default"] == ""


def test_an_address_needs_a_key(template: dict[str, Any]) -> None:
    rule = template["Rules"]["WebhooksAreSigned"]
    assert rule["RuleCondition"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "WebhookUrl"}, ""]}]}
    (assertion,) = rule["Assertions"]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "WebhookSecretArn"}, ""]}]}
    assert "WebhookSecretArn" in assertion["AssertDescription"]


def test_a_slow_receiver_does_not_take_the_concurrency_of_a_new_account(functions: dict[str, Any]) -> None:
    source = functions["deliver"]["Events"]["Webhooks"]["Properties"]
    assert source["ScalingConfig"] == {"MaximumConcurrency": 2}
    assert (source["BatchSize"], source["FunctionResponseTypes"]) == (1, ["ReportBatchItemFailures"])
