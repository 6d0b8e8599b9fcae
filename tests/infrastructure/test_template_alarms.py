"""House rules for template.yaml: the alarms, who hears them, the dashboard, and what they cost."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from seedance.observability import ALARMING

from tests.infrastructure.reading import of_type, resolved

OURS = "SeedancePipeline"
MOST_ALARMS = 20
MOST_USD = 5.0

STEPS = {"Poll", "Generate", "Finalize", "Fail"}
BATCH_STEPS = {"Plan", "Enqueue", "Collect"}
OUTWARD = {"Announce", "Deliver", "Watch"}
PUBLISHED_REGULARLY = {"BudgetCommittedPercent", "PriceDriftPercent"}
"""Metrics with a threshold: percentages, not counts of events."""


@pytest.fixture(scope="module")
def alarms(resources: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return of_type(resources, "AWS::CloudWatch::Alarm")


def metrics_of(alarm: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What an alarm reads, as (namespace, metric, resource or stack)."""
    if "Metrics" not in alarm:
        return [_metric(alarm)]
    return [_metric(one["MetricStat"]["Metric"]) for one in alarm["Metrics"] if "MetricStat" in one]


def _metric(metric: dict[str, Any]) -> tuple[str, str, str]:
    value = metric["Dimensions"][0]["Value"]
    name = value["Ref"] if "Ref" in value else value["Fn::GetAtt"][0]
    return metric["Namespace"], metric["MetricName"], name


def test_there_are_at_most_twenty_alarms(alarms: dict[str, Any]) -> None:
    assert len(alarms) == 20
    assert len(alarms) <= MOST_ALARMS


@pytest.mark.parametrize(
    ("alarm", "namespace", "metrics", "of"),
    [
        ("DeadLetterAlarm", "AWS/SQS", {"ApproximateNumberOfMessagesVisible"}, {"IntakeDeadLetterQueue"}),
        ("ReconcileDeadLetterAlarm", "AWS/SQS", {"ApproximateNumberOfMessagesVisible"}, {"ReconcileDeadLetterQueue"}),
        ("SubmitErrorsAlarm", "AWS/Lambda", {"Errors"}, {"SubmitFunction"}),
        ("StepErrorsAlarm", "AWS/Lambda", {"Errors"}, {f"{name}Function" for name in STEPS}),
        ("BatchErrorsAlarm", "AWS/Lambda", {"Errors"}, {f"{name}Function" for name in BATCH_STEPS}),
        ("ReconcileAlarm", "AWS/Lambda", {"Errors"}, {"ReconcileFunction"}),
        ("RepairAlarm", "AWS/Lambda", {"Errors"}, {"RepairFunction"}),
        ("OutwardErrorsAlarm", "AWS/Lambda", {"Errors"}, {f"{name}Function" for name in OUTWARD}),
        (
            "AnnounceDeadLetterAlarm",
            "AWS/SQS",
            {"ApproximateNumberOfMessagesVisible"},
            {"AnnounceDeadLetterQueue", "WebhookDeadLetterQueue"},
        ),
        *(
            (alarm, "AWS/States", {"ExecutionsFailed", "ExecutionsAborted", "ExecutionsTimedOut"}, {machine})
            for alarm, machine in (("WorkflowAlarm", "VideoJobStateMachine"), ("BatchAlarm", "VideoBatchStateMachine"))
        ),
        ("ApiAlarm", "AWS/ApiGateway", {"5XXError"}, {"AWS::StackName"}),
        ("UncertainAlarm", OURS, {"JobsUncertain"}, {"AWS::StackName"}),
        ("HeldAlarm", OURS, {"JobsHeld"}, {"AWS::StackName"}),
        ("PausedAlarm", OURS, {"SubmitsPaused"}, {"AWS::StackName"}),
        ("StuckAlarm", OURS, {"JobsStuck"}, {"AWS::StackName"}),
    ],
)
def test_one_event_raises_its_alarm(
    alarms: dict[str, Any], alarm: str, namespace: str, metrics: set[str], of: set[str]
) -> None:
    found = alarms[alarm]
    assert set(metrics_of(found)) == {(namespace, metric, name) for metric in metrics for name in of}
    assert (found["Threshold"], found["ComparisonOperator"]) == (0, "GreaterThanThreshold")
    assert found["TreatMissingData"] == "notBreaching"
    statistics = {one["MetricStat"]["Stat"] for one in found.get("Metrics", []) if "MetricStat" in one}
    assert (statistics or {found["Statistic"]}) == ({"Maximum"} if namespace == "AWS/SQS" else {"Sum"})


def test_every_functions_errors_raise_an_alarm(alarms: dict[str, Any], resources: dict[str, Any]) -> None:
    """An error of a function behind the API is a 502 for the caller (API Gateway, Lambda proxy integrations)."""
    watched = {name for alarm in alarms.values() for _, metric, name in metrics_of(alarm) if metric == "Errors"} | {
        *("ApiFunction", "ConsoleFunction")
    }
    assert watched == set(of_type(resources, "AWS::Serverless::Function"))


def test_every_workflow_that_ends_badly_raises_an_alarm(alarms: dict[str, Any], resources: dict[str, Any]) -> None:
    watched = {name for alarm in alarms.values() for space, _, name in metrics_of(alarm) if space == "AWS/States"}
    assert watched == set(of_type(resources, "AWS::Serverless::StateMachine"))


def test_an_alarm_on_several_metrics_adds_them_and_catches_late_values(alarms: dict[str, Any]) -> None:
    for name, alarm in alarms.items():
        if "Metrics" not in alarm:
            continue
        total, *parts = alarm["Metrics"]
        assert total["Expression"] == "SUM(METRICS())", name
        assert "ReturnData" not in total
        assert len({part["Id"] for part in alarm["Metrics"]}) == len(alarm["Metrics"])
        for part in parts:
            assert part["ReturnData"] is False
            assert part["MetricStat"]["Period"] == 300


@pytest.mark.parametrize(
    ("alarm", "metric", "statistic", "threshold", "operator"),
    [
        ("BudgetAlarm", "BudgetCommittedPercent", "Maximum", 80, "GreaterThanOrEqualToThreshold"),
        ("PriceDriftAlarm", "PriceDriftPercent", "Maximum", 5, "GreaterThanThreshold"),
        ("OldestMessageAlarm", "ApproximateAgeOfOldestMessage", "Maximum", 3600, "GreaterThanThreshold"),
        ("ReconcileSilentAlarm", "Invocations", "Sum", 1, "LessThanThreshold"),
    ],
)
def test_a_limit_raises_its_alarm(
    *, alarms: dict[str, Any], alarm: str, metric: str, statistic: str, threshold: int, operator: str
) -> None:
    found = alarms[alarm]
    assert (found["MetricName"], found["Statistic"]) == (metric, statistic)
    assert (found["Threshold"], found["ComparisonOperator"]) == (threshold, operator)
    # Only the absence of rounds is a reason by itself.
    assert found["TreatMissingData"] == ("breaching" if alarm == "ReconcileSilentAlarm" else "notBreaching")


def test_a_waiting_job_does_not_make_its_message_old(alarms: dict[str, Any], resources: dict[str, Any]) -> None:
    """A message may be delayed for 15 minutes, or fail five times, before its age means anything."""
    queue = resources["IntakeQueue"]["Properties"]
    patience = queue["VisibilityTimeout"] * queue["RedrivePolicy"]["maxReceiveCount"]
    assert alarms["OldestMessageAlarm"]["Threshold"] > patience + 15 * 60


def test_reconcile_is_missed_after_more_than_one_round(alarms: dict[str, Any], functions: dict[str, Any]) -> None:
    (event,) = functions["reconcile"]["Events"].values()
    assert event["Properties"]["Schedule"] == "rate(5 minutes)"
    assert alarms["ReconcileSilentAlarm"]["Period"] == 3 * 5 * 60


def test_every_alarm_says_what_to_look_at_and_is_sent(alarms: dict[str, Any], root: Path) -> None:
    runbook = (root / "docs/operations.md").read_text()
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}], name
        assert alarm["EvaluationPeriods"] == 1, name
        assert alarm["AlarmDescription"].rstrip().endswith("."), name
        assert f"alarm `{name}`" in runbook, name
    assert "an hour" in alarms["ReconcileDeadLetterAlarm"]["AlarmDescription"]
    several = {"StepErrorsAlarm": STEPS, "BatchErrorsAlarm": BATCH_STEPS, "OutwardErrorsAlarm": OUTWARD}
    for name, functions in several.items():  # their message names no function
        assert all(function.lower() in alarms[name]["AlarmDescription"].lower() for function in functions)
        assert "dashboard" in alarms[name]["AlarmDescription"]


def test_our_alarms_read_metrics_that_the_code_writes(
    alarms: dict[str, Any], template: dict[str, Any], root: Path
) -> None:
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["POWERTOOLS_METRICS_NAMESPACE"] == OURS
    source = "".join(path.read_text() for path in (root / "layers/common/seedance").rglob("*.py"))
    counted = set()
    for alarm in alarms.values():
        if alarm.get("Namespace") != OURS:
            continue
        assert alarm["Dimensions"] == [{"Name": "service", "Value": variables["POWERTOOLS_SERVICE_NAME"]}]
        metric = alarm["MetricName"]
        assert f'"{metric}"' in source
        if metric not in PUBLISHED_REGULARLY:
            assert f'count("{metric}")' in source
            counted.add(metric)
    assert counted == ALARMING


def test_cloudwatch_may_publish_to_the_alarms_topic(resources: dict[str, Any], template: dict[str, Any]) -> None:
    """A policy replaces the topic's default one, which would have allowed it."""
    (policy,) = of_type(resources, "AWS::SNS::TopicPolicy").values()
    assert policy["Topics"] == [{"Ref": "AlarmTopic"}]
    (allowed,) = policy["PolicyDocument"]["Statement"]
    assert (allowed["Effect"], allowed["Action"], allowed["Resource"]) == (
        "Allow",
        "sns:Publish",
        {"Ref": "AlarmTopic"},
    )
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allowed["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    # CloudWatch may not use the key alias/aws/sns, so an encrypted topic would receive no alarms.
    assert "KmsMasterKeyId" not in resources["AlarmTopic"]["Properties"]
    # No settings that all APIs of a region share.
    assert not of_type(template["Resources"], "AWS::ApiGateway::Account")


@pytest.fixture(scope="module")
def dashboard(resources: dict[str, Any]) -> list[dict[str, Any]]:
    (found,) = of_type(resources, "AWS::CloudWatch::Dashboard").values()
    return list(json.loads(found["DashboardBody"]["Fn::Sub"])["widgets"])


def test_the_dashboard_begins_with_all_alarms(dashboard: list[dict[str, Any]], alarms: dict[str, Any]) -> None:
    first, *charts = dashboard
    assert (first["type"], first["y"]) == ("alarm", 0)
    assert first["properties"]["alarms"] == [f"${{{name}.Arn}}" for name in alarms]
    assert {chart["type"] for chart in charts} == {"metric"}
    assert all(chart["properties"]["title"] and chart["properties"]["region"] == "${AWS::Region}" for chart in charts)


def test_the_charts_of_the_dashboard_fill_its_24_columns_and_do_not_overlap(dashboard: list[dict[str, Any]]) -> None:
    cells = [
        (x, y)
        for widget in dashboard
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(cells) == len(set(cells)) == 24 * (max(y for _, y in cells) + 1)
    assert max(x for x, _ in cells) == 23


def test_the_dashboard_shows_existing_metrics_and_stays_in_the_free_tier(
    dashboard: list[dict[str, Any]], resources: dict[str, Any], root: Path
) -> None:
    rows = [row for widget in dashboard[1:] for row in widget["properties"]["metrics"]]
    assert len(rows) <= 50  # more would cost $3 a month even among an account's first three dashboards
    source = "".join(path.read_text() for path in (root / "layers/common/seedance").rglob("*.py"))
    for row in rows:
        for name in re.findall(r"\$\{(\w+)[.}]", " ".join(filter(lambda part: isinstance(part, str), row))):
            assert name in resources, row
        if row[0] == OURS:
            assert f'"{row[1]}"' in source
    shown = {row[3] for row in rows if row[:2] == ["AWS/Lambda", "Errors"]}
    assert shown == {f"${{{name}}}" for name in of_type(resources, "AWS::Serverless::Function")}


def test_without_aws_or_by_choice_there_is_no_dashboard(template: dict[str, Any]) -> None:
    (found,) = (r for r in template["Resources"].values() if r["Type"] == "AWS::CloudWatch::Dashboard")
    wanted = {"Fn::Equals": [{"Ref": "Dashboard"}, "yes"]}
    assert found["Condition"] == "WantsDashboard"
    assert template["Conditions"]["WantsDashboard"] == {"Fn::And": [wanted, {"Condition": "OnAws"}]}


def test_the_standing_cost_is_the_documented_sum_and_at_most_five_dollars(alarms: dict[str, Any], root: Path) -> None:
    """The table "standing cost" in docs/operations.md, whose rows for alarms and metrics follow from the template."""
    text = (root / "docs/operations.md").read_text()
    table = text.partition("| standing cost, a month")[2].partition("\n\n")[0].replace("**", "")
    rows = dict(re.findall(r"^\| (.+?) \| \$(\d+\.\d\d) \|$", table, flags=re.MULTILINE))
    (number,) = (name for name in rows if name.startswith("alarms"))
    read = sum(len(metrics_of(alarm)) for alarm in alarms.values())
    assert f"{len(alarms)} alarms" in text
    assert f"{read} metrics" in number
    assert float(rows[number]) == pytest.approx(0.10 * read)
    total = float(rows.pop("sum"))
    assert total == pytest.approx(sum(map(float, rows.values())))
    assert total <= MOST_USD


def test_metric_math_is_left_to_aws(template: dict[str, Any], alarms: dict[str, Any]) -> None:
    """The local emulator refuses a template with such an alarm. All other alarms are deployed there too."""
    for name, alarm in alarms.items():
        assert template["Resources"][name].get("Condition") == ("OnAws" if "Metrics" in alarm else None)


def test_the_reading_of_conditions_itself() -> None:
    nothing = {"Ref": "AWS::NoValue"}
    value = [1, {"Fn::If": ["A", 2, nothing]}, {"x": {"Fn::If": ["B", nothing, 3]}}]
    assert resolved(value, ["A"]) == [1, 2, {"x": 3}]
    assert resolved(value, ["B"]) == [1, {}]
