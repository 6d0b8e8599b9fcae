"""House rules for template.yaml. They read the file itself, because emulators ignore unknown settings."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from seedance.config import (
    AnnounceSettings,
    ApiSettings,
    CollectSettings,
    ConsoleSettings,
    DeliverSettings,
    EnqueueSettings,
    IntakeSettings,
    LinkSettings,
    PlanSettings,
    ProviderSettings,
    ReconcileSettings,
    RepairSettings,
    Settings,
)
from seedance.jobs.catalogue import MODELS
from seedance.rest.routes import ROUTES

from tests.infrastructure.reading import as_list, of_type, statements

FUNCTIONS = [
    *("announce", "api", "collect", "console", "deliver", "enqueue", "fail", "finalize", "generate", "plan", "poll"),
    *("reconcile", "repair", "submit", "watch"),
]
SETTINGS = {
    **dict.fromkeys(("finalize", "fail"), LinkSettings),
    "submit": IntakeSettings,
    "api": ApiSettings,
    "collect": CollectSettings,
    "reconcile": ReconcileSettings,
    "repair": RepairSettings,
    "plan": PlanSettings,
    "enqueue": EnqueueSettings,
    "announce": AnnounceSettings,
    "deliver": DeliverSettings,
    "console": ConsoleSettings,
}
CALL_THE_PROVIDER = {"submit", "poll", "generate", "finalize", "reconcile", "repair"}
PARAMETERS = [
    *("SegmindBaseUrl", "SegmindMediaHosts", "SegmindApiKeySecretArn"),
    *("DefaultModel", "DefaultPrompt", "NotificationEmail", "MailFor"),
    *("ConsoleOrigins", "VideoLinkDays", "DomainName", "DomainCertificateArn"),
    *("SegmindHistoryUrl", "DailyBudgetUsd", "ResubmitLost", "BatchToleratedFailurePercent"),
    *("EventBusName", "WebhookUrl", "WebhookSecretArn"),
]
OUTPUTS = [
    *("UploadBucketName", "VideoBucketName", "JobTableName", "StateMachineArn", "NotificationTopicArn"),
    *(
        "SubmitQueueUrl",
        "DeadLetterQueueUrl",
        "ApiUrl",
        "ApiKeyId",
        "ReconcileFunctionName",
        "RepairFunctionName",
        "AnnounceFunctionName",
        "BatchStateMachineArn",
        "LinkUrl",
        "ConsoleUrl",
    ),
]
MACHINES = ["VideoBatchStateMachine", "VideoJobStateMachine"]
BANNERS = ["Parameters", "Storage", "Intake", "API", "Workflow", "Batches", "Notification"]
BANNERS += ["Events", "Operations", "Outputs"]


def keys_of(node: yaml.Node) -> list[str]:
    assert isinstance(node, yaml.MappingNode)
    return [key.value for key, _ in node.value]


def test_every_function_is_listed(functions: dict[str, Any], root: Path) -> None:
    assert sorted(functions) == FUNCTIONS
    assert sorted(path.name for path in (root / "functions").iterdir() if path.is_dir()) == FUNCTIONS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_folder_has_one_file_and_an_empty_init(root: Path, name: str) -> None:
    folder = root / "functions" / name
    assert {path.name for path in folder.iterdir() if path.name != "__pycache__"} == {"app.py", "__init__.py"}
    assert (folder / "__init__.py").read_bytes() == b""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_its_own_timeout(functions: dict[str, Any], name: str) -> None:
    assert 1 <= functions[name]["Timeout"] <= 900


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_built_by_the_layers_makefile(resources: dict[str, Any], name: str) -> None:
    ((title, resource),) = (
        (title, resource)
        for title, resource in resources.items()
        if resource.get("Properties", {}).get("CodeUri") == f"functions/{name}"
    )
    assert title == f"{name.capitalize()}Function"  # the makefile finds the folder by it
    where = "layers/common"
    assert resource["Metadata"] == {"BuildMethod": "makefile", "ContextPath": where, "WorkingDirectory": where}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_log_group_with_retention_next_to_it(
    functions: dict[str, Any], resources: dict[str, Any], name: str
) -> None:
    group = functions[name]["LoggingConfig"]["LogGroup"]["Ref"]
    assert resources[group]["Type"] == "AWS::Logs::LogGroup"
    assert resources[group]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert resources[group]["Properties"]["LogGroupName"]["Fn::Sub"].endswith(f"-{name}")
    order = list(resources)
    (function,) = (n for n, r in resources.items() if r.get("Properties", {}).get("CodeUri") == f"functions/{name}")
    assert order.index(group) == order.index(function) + 1


def test_every_log_group_has_retention(resources: dict[str, Any]) -> None:
    groups = of_type(resources, "AWS::Logs::LogGroup")
    assert len(groups) == len(FUNCTIONS) + len(MACHINES)
    assert all(group["RetentionInDays"] for group in groups.values())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_policy_without_wildcards(functions: dict[str, Any], name: str) -> None:
    assert "Role" not in functions[name]
    allowed = statements(functions[name]["Policies"])
    assert bool(allowed) == bool(NEEDED[name])
    for statement in allowed:
        assert statement["Sid"]
        assert statement["Effect"] == ("Deny" if statement["Sid"] in ("NoPlans", "NoSheets") else "Allow")
        assert all("*" not in action for action in as_list(statement["Action"])), statement["Sid"]
        assert all(resource != "*" for resource in as_list(statement["Resource"])), statement["Sid"]
        assert "NotAction" not in statement
        assert "NotResource" not in statement


@pytest.mark.parametrize("name", MACHINES)
def test_a_workflows_only_wildcard_is_for_log_delivery(resources: dict[str, Any], name: str) -> None:
    policies = resources[name]["Properties"]["Policies"]
    stars = [s for s in statements(policies) if "*" in json.dumps(s["Resource"])]
    assert [statement["Sid"] for statement in stars] == ["DeliverLogs"]
    assert all(action.startswith("logs:") and "*" not in action for action in stars[0]["Action"])
    invoked = {p["LambdaInvokePolicy"]["FunctionName"]["Ref"] for p in policies if "LambdaInvokePolicy" in p}
    machine = resources[name]["Properties"]["DefinitionSubstitutions"]
    assert invoked == {target["Fn::GetAtt"][0] for target in machine.values()}


KEEP = {"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}

ENDINGS = ("csv", "jsonl")

# What each function calls, and therefore what its policy must allow: no more, no less.
NEEDED = {
    "submit": {
        *("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions"),
        *("secretsmanager:GetSecretValue", "states:StartExecution", "sqs:SendMessage", "sns:Publish", *KEEP),
        "dynamodb:Query",
    },
    "api": {
        *("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"),
        *("dynamodb:Query", "dynamodb:DeleteItem", "sqs:SendMessage", "s3:PutObject", "states:StartExecution", *KEEP),
    },
    "watch": {"dynamodb:GetItem", "s3:GetObject"},
    "console": set(),  # anybody may call it
    "poll": {"secretsmanager:GetSecretValue", *KEEP},
    "generate": {
        *("secretsmanager:GetSecretValue", *KEEP),
        *("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:PutObject", "s3:AbortMultipartUpload"),
    },
    "finalize": {
        *("dynamodb:GetItem", "dynamodb:UpdateItem", "sns:Publish"),
        *("s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"),
    },
    "plan": {
        *("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:PutObject", "s3:AbortMultipartUpload"),
        *("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "sns:Publish"),
    },
    "enqueue": {"s3:GetObject", "sqs:SendMessage", *KEEP},
    "collect": {
        *("s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "sns:Publish"),
        *("dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:UpdateItem", "sqs:SendMessage"),
    },
    "fail": {"dynamodb:GetItem", "dynamodb:UpdateItem", "sns:Publish", "s3:GetObject"},
    "reconcile": {
        *("dynamodb:Query", "secretsmanager:GetSecretValue", *(KEEP - {"dynamodb:BatchGetItem"})),
        *("states:StartExecution", "states:DescribeExecution", "sqs:SendMessage", "sns:Publish", "s3:GetObject"),
    },
    "repair": {
        *("dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:Query"),
        *("states:StartExecution", "states:DescribeExecution", "sns:Publish", "s3:GetObject"),
        *("secretsmanager:GetSecretValue", "sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage"),
    },
    "announce": {
        *("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"),
        *("events:PutEvents", "sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "dynamodb:DeleteItem"),
    },
    "deliver": {
        *("dynamodb:GetItem", "dynamodb:PutItem", "secretsmanager:GetSecretValue"),
        "sqs:ChangeMessageVisibility",
    },
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_permissions_it_needs_and_no_others(functions: dict[str, Any], name: str) -> None:
    allowed = {
        action
        for statement in statements(functions[name]["Policies"])
        if statement["Effect"] == "Allow"
        for action in as_list(statement["Action"])
    }
    assert allowed == NEEDED[name]


@pytest.mark.parametrize(
    ("name", "denied"),
    [
        *(
            (name, {"plans/*", *(f"{folder}/*.{ending}" for folder in ("batches", "staged") for ending in ENDINGS)})
            for name in ("submit", "generate")
        ),
        *((name, {"plans/*"}) for name in ("api", "plan")),  # they read manifests; the API signs links to results
    ],
)
def test_a_function_that_reads_images_reads_no_plans_and_no_sheets(
    functions: dict[str, Any], name: str, denied: set[str]
) -> None:
    refused = [s for s in statements(functions[name]["Policies"]) if s["Effect"] == "Deny"]
    assert {arn["Fn::Sub"] for s in refused for arn in as_list(s["Resource"])} == {
        f"${{UploadBucket.Arn}}/{prefix}" for prefix in denied
    }
    assert all(s["Action"] == ["s3:GetObject", "s3:GetObjectVersion"] for s in refused)


def test_only_functions_that_sign_links_to_videos_may_read_them(functions: dict[str, Any]) -> None:
    readers = {
        name
        for name, properties in functions.items()
        for statement in statements(properties["Policies"])
        if "s3:GetObject" in as_list(statement["Action"]) and "VideoBucket" in json.dumps(statement["Resource"])
    }
    assert readers == {"submit", "api", "finalize", "fail", "reconcile", "repair", "watch"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_environment_has_a_variable_for_each_setting_and_no_other(
    functions: dict[str, Any], template: dict[str, Any], name: str
) -> None:
    own = functions[name].get("Environment", {}).get("Variables", {})
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    given = {variable for variable in {**shared, **own} if not variable.startswith("POWERTOOLS_")}
    kinds = [SETTINGS.get(name, Settings), *([ProviderSettings] if name in CALL_THE_PROVIDER else [])]
    assert given == {name.upper() for kind in kinds for name in kind.types()}
    assert not set(own) & set(shared)


def test_common_settings_are_in_globals(template: dict[str, Any]) -> None:
    shared = template["Globals"]["Function"]
    assert shared["Handler"] == "app.handler"
    assert shared["Runtime"] == {"Ref": "Runtime"}
    assert shared["Architectures"] == [{"Ref": "Architecture"}]
    assert shared["Layers"] == [{"Ref": "CommonLayer"}]
    assert shared["Tracing"] == "Active"


@pytest.mark.parametrize(("parameter", "default"), [("Runtime", "python3.13"), ("Architecture", "arm64")])
def test_the_runtime_is_a_parameter(template: dict[str, Any], parameter: str, default: str) -> None:
    assert template["Parameters"][parameter]["Default"] == default


def test_the_documented_parameters_and_outputs_exist(template: dict[str, Any]) -> None:
    assert set(PARAMETERS) <= set(template["Parameters"])
    assert set(OUTPUTS) <= set(template["Outputs"])
    assert template["Parameters"]["SegmindBaseUrl"]["Default"] == "https://api.segmind.com"
    assert template["Parameters"]["SegmindMediaHosts"]["Default"] == "images.segmind.com"


def test_all_parameters_and_outputs_are_described_and_grouped(template: dict[str, Any]) -> None:
    for described in (template["Parameters"], template["Outputs"]):
        assert all(entry["Description"] for entry in described.values())
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [parameter for group in groups for parameter in group["Parameters"]]
    assert sorted(shown) == sorted(template["Parameters"])


def test_the_allowed_models_are_those_of_the_catalogue(template: dict[str, Any]) -> None:
    parameter = template["Parameters"]["DefaultModel"]
    assert parameter["AllowedValues"] == list(MODELS)
    assert parameter["Default"] in MODELS


def test_no_parameter_is_a_secret(template: dict[str, Any]) -> None:
    assert "Default" not in template["Parameters"]["SegmindApiKeySecretArn"]
    assert not [
        name for name in template["Parameters"] if name.lower().endswith(("key", "password", "token", "secret"))
    ]


def test_a_functions_queue_has_a_visibility_timeout_of_six_function_timeouts(
    resources: dict[str, Any], functions: dict[str, Any]
) -> None:
    fed = {
        event["Properties"]["Queue"]["Fn::GetAtt"][0]: properties["Timeout"]
        for properties in functions.values()
        for event in properties.get("Events", {}).values()
        if event["Type"] == "SQS"
    }
    assert fed
    for queue, time_out in fed.items():
        assert resources[queue]["Properties"]["VisibilityTimeout"] >= 6 * time_out


def test_every_queue_is_encrypted_and_has_the_longest_retention(resources: dict[str, Any]) -> None:
    for name, queue in of_type(resources, "AWS::SQS::Queue").items():
        assert queue["SqsManagedSseEnabled"] is True
        # A dropped round of reconcile is made up for by the next one: an hour is enough to notice it.
        assert queue["MessageRetentionPeriod"] == (3600 if name == "ReconcileDeadLetterQueue" else 14 * 24 * 3600)


def test_every_functions_queue_has_a_dead_letter_queue_with_an_alarm(
    resources: dict[str, Any], functions: dict[str, Any]
) -> None:
    queues = of_type(resources, "AWS::SQS::Queue")
    dead = {
        queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        for queue in queues.values()
        if "RedrivePolicy" in queue
    }
    dead |= {
        properties["DeadLetterQueue"]["TargetArn"]["Fn::GetAtt"][0]
        for properties in functions.values()
        if "DeadLetterQueue" in properties
    }
    dead |= {
        mapping["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"][0]
        for mapping in of_type(resources, "AWS::Lambda::EventSourceMapping").values()
    }
    assert set(queues) - dead == {"IntakeQueue", "WebhookQueue"}
    metrics = [
        metric
        for alarm in of_type(resources, "AWS::CloudWatch::Alarm").values()
        for metric in [alarm, *(one["MetricStat"]["Metric"] for one in alarm.get("Metrics", []) if "MetricStat" in one)]
    ]
    watched = {
        dimension["Value"]["Fn::GetAtt"][0]
        for metric in metrics
        if metric.get("MetricName") == "ApproximateNumberOfMessagesVisible"
        for dimension in metric["Dimensions"]
    }
    assert watched == dead


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_asynchronously_invoked_function_has_a_dead_letter_queue_and_an_alarm(
    functions: dict[str, Any], resources: dict[str, Any], name: str
) -> None:
    asynchronous = {event["Type"] for event in functions[name].get("Events", {}).values()} - {"SQS", "Api"}
    assert bool(asynchronous) is ("DeadLetterQueue" in functions[name]) is (name == "reconcile")
    if asynchronous:
        assert functions[name]["DeadLetterQueue"]["Type"] == "SQS"
        (function,) = (n for n, r in resources.items() if r.get("Properties", {}).get("CodeUri") == f"functions/{name}")
        watched = [
            alarm["MetricName"]
            for alarm in of_type(resources, "AWS::CloudWatch::Alarm").values()
            if {"Name": "FunctionName", "Value": {"Ref": function}} in alarm.get("Dimensions", [])
        ]
        assert watched == ["Errors", "Invocations"]


def test_rounds_of_reconcile_neither_wait_nor_are_retried(functions: dict[str, Any]) -> None:
    reconcile = functions["reconcile"]
    (event,) = reconcile["Events"].values()
    assert (event["Type"], event["Properties"]["Schedule"]) == ("Schedule", "rate(5 minutes)")
    assert reconcile["Timeout"] < 5 * 60
    # 60 seconds is the shortest age that Lambda allows (botocore's model of PutFunctionEventInvokeConfig).
    assert reconcile["EventInvokeConfig"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}


def test_by_default_there_is_no_budget_and_nothing_is_resubmitted(template: dict[str, Any]) -> None:
    assert template["Parameters"]["DailyBudgetUsd"]["Default"] == "0"
    assert template["Parameters"]["ResubmitLost"]["Default"] == "no"
    assert template["Parameters"]["ResubmitLost"]["AllowedValues"] == ["no", "yes"]
    assert template["Parameters"]["SegmindHistoryUrl"]["Default"].startswith("https://")


def test_the_intake_reports_partial_batch_failures(functions: dict[str, Any]) -> None:
    source = functions["submit"]["Events"]["Intake"]["Properties"]
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["BatchSize"] == 1


def test_the_gateway_unpacks_requests_and_packs_responses_of_every_size(resources: dict[str, Any]) -> None:
    assert resources["Api"]["Properties"]["MinimumCompressionSize"] == 0


def test_the_api_needs_a_key_on_every_path(resources: dict[str, Any], functions: dict[str, Any]) -> None:
    assert resources["Api"]["Properties"]["Auth"] == {"ApiKeyRequired": True}
    routes = set()
    for event in functions["api"]["Events"].values():
        assert event["Type"] == "Api"
        assert event["Properties"]["RestApiId"] == {"Ref": "Api"}
        assert "Auth" not in event["Properties"]
        routes.add(f"{event['Properties']['Method'].upper()} {event['Properties']['Path']}")
    assert routes == set(ROUTES)
    plan_key = resources["ApiUsagePlanKey"]["Properties"]
    assert (plan_key["KeyId"], plan_key["UsagePlanId"]) == ({"Ref": "ApiKey"}, {"Ref": "ApiUsagePlan"})


def test_the_api_responds_before_the_gateway_times_out(functions: dict[str, Any]) -> None:
    assert functions["api"]["Timeout"] <= 29


def test_the_topic_for_jobs_is_encrypted(resources: dict[str, Any]) -> None:
    assert resources["NotificationTopic"]["Properties"]["KmsMasterKeyId"]


def test_arns_name_no_partition_no_region_and_no_account(root: Path) -> None:
    text = (root / "template.yaml").read_text() + "".join(
        path.read_text() for path in (root / "statemachine").iterdir()
    )
    assert "arn:aws:" not in text
    for service in ("s3", "cloudwatch"):  # principals are named like this in every partition
        text = text.replace(f"Service: {service}.amazonaws.com", "")
    assert "amazonaws.com" not in text
    assert "us-east-1" not in text


def test_the_sections_are_in_order(root: Path) -> None:
    lines = (root / "template.yaml").read_text().splitlines()
    banners = [line.strip("#─ ") for line in lines if line.startswith("# ──")]
    assert banners == BANNERS


def test_no_yaml_key_is_duplicated(root: Path) -> None:
    pending = [yaml.compose((root / "template.yaml").read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.MappingNode):
            keys = keys_of(node)
            assert len(keys) == len(set(keys)), keys
            pending += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value
