"""House rules for template.yaml: what an AWS account limits or asks for."""

import json
from typing import Any

import pytest
from seedance.jobs.job import RECORD_KEPT_DAYS

from tests.infrastructure.reading import of_type, resolved

LAMBDAS_LIMIT = 4096
"""Bytes for all variables of a function, names and values (Lambda quotas, "Environment variables")."""

AROUND = 100
"""More than an ARN or URL has around a resource's name, or CloudFormation appends to a stack's."""

ANY_CHARACTERS = {"DefaultPrompt", "ImageKeyPrefixes"}
"""Parameters whose characters may take four bytes. Addresses, hosts, ARNs and numbers are ASCII."""

NAMES = {
    "AWS::S3::Bucket": 63 - AROUND,
    "AWS::SQS::Queue": 80 + len("https://sqs.ap-southeast-2.amazonaws.com.cn/123456789012/") - AROUND,
    "AWS::Serverless::StateMachine": 80
    + len("arn:aws-us-gov:states:ap-southeast-2:123456789012:stateMachine:")
    - AROUND,
    "AWS::DynamoDB::Table": 160 - AROUND,
}
"""The longest name of a resource. Those that are not here have generated names that begin with the stack's, of at most
128 characters; for a table, CloudFormation appends at most 32 to it."""


def test_no_concurrency_is_reserved(resources: dict[str, Any], template: dict[str, Any]) -> None:
    """AWS always keeps 100 unreserved, so an account with a new account's quota of 10 refuses any reservation."""
    text = json.dumps([resources, template["Globals"]])
    for word in ("ReservedConcurrentExecutions", "ProvisionedConcurrency"):
        assert word not in text


def test_a_functions_variables_fit_into_lambdas_limit(functions: dict[str, Any], template: dict[str, Any]) -> None:
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    for name, properties in functions.items():
        variables = {**shared, **properties.get("Environment", {}).get("Variables", {})}
        size = sum(len(variable) + longest(template, value) for variable, value in variables.items())
        assert size <= LAMBDAS_LIMIT, name


def longest(template: dict[str, Any], value: Any) -> int:
    """The largest number of bytes that a variable's value can have."""
    if isinstance(value, str):
        return len(value)
    parameter = template["Parameters"].get(value["Ref"])
    if parameter is None:
        kind = template["Resources"].get(value["Ref"], {}).get("Type")
        return NAMES.get(kind, 128) + AROUND
    if "AllowedValues" in parameter:
        return max(len(str(allowed)) for allowed in parameter["AllowedValues"])
    if parameter["Type"] == "Number":
        return len(str(parameter["MaxValue"]))
    return int(parameter["MaxLength"]) * (4 if value["Ref"] in ANY_CHARACTERS else 1)


@pytest.mark.parametrize(("given", "boundary"), [([], None), (["HasBoundary"], {"Ref": "PermissionsBoundaryArn"})])
def test_every_role_has_the_permissions_boundary_if_one_is_given(
    template: dict[str, Any], given: list[str], boundary: Any
) -> None:
    machines = of_type(template["Resources"], "AWS::Serverless::StateMachine")
    owners = [template["Globals"]["Function"], *machines.values()]
    assert [resolved(owner, given).get("PermissionsBoundary") for owner in owners] == [boundary] * len(owners)
    assert not of_type(template["Resources"], "AWS::IAM::Role")  # SAM makes them all, with this boundary
    assert template["Parameters"]["PermissionsBoundaryArn"]["Default"] == ""


def test_each_stack_has_a_layer_of_its_own(resources: dict[str, Any]) -> None:
    (layer,) = of_type(resources, "AWS::Serverless::LayerVersion").values()
    assert layer["LayerName"] == {"Fn::Sub": "${AWS::StackName}-common"}


def test_a_name_that_is_given_begins_with_the_stacks(resources: dict[str, Any]) -> None:
    """CloudFormation makes the other names unique."""
    for name, resource in resources.items():
        for key, value in resource.get("Properties", {}).items():
            if key in (
                "Name",
                "LayerName",
                "LogGroupName",
                "DashboardName",
                "UsagePlanName",
                "FunctionName",
                "QueueName",
            ):
                assert "AWS::StackName" in json.dumps(value), name


def test_a_record_is_kept_for_at_least_a_month(template: dict[str, Any]) -> None:
    """The record stops a second purchase. SQS repeats an event for 14 days at most."""
    parameter = template["Parameters"]["RecordRetentionDays"]
    assert parameter["MinValue"] == 30
    assert parameter["Default"] == RECORD_KEPT_DAYS
