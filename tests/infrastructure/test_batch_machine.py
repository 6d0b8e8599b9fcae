"""House rules for the batch workflow: planned before enqueued, repeatable, every exit notifies or raises an alarm."""

import json
from pathlib import Path
from typing import Any

import pytest
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from seedance.batches.plan_lines import MOST_ROWS
from seedance.enqueue import STOPPED_SECONDS
from seedance.jobs.job import State
from seedance.jobs.tasks import BatchInput, TaskStatus
from seedance.notices.batch_message import BatchStatus
from seedance.pacing.pacer import FULL_SECONDS

from tests.infrastructure.reading import of_type, resolved

TASKS = {"Plan": "plan", "Enqueue": "enqueue", "Collect": "collect"}
# Step Functions developer guide, "Handle Lambda service exceptions".
BUSY = {
    "Lambda.TooManyRequestsException",
    *("Lambda.ServiceException", "Lambda.AWSLambdaException"),
    *("Lambda.SdkClientException", "Lambda.ClientExecutionTimeoutException"),
}
KILLED = {"Lambda.Unknown", "Sandbox.Timedout"}
EVENTS_A_ROUND = 9
"""In a child's history: five of a task that runs a function, two of a Choice, two of a Wait."""


@pytest.fixture(scope="module")
def states(workflows: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(workflows["video_batch"]["States"])


@pytest.fixture(scope="module")
def child(states: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return dict(states["TakeIn"]["ItemProcessor"])


@pytest.fixture(scope="module")
def tasks(states: dict[str, dict[str, Any]], child: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: state for name, state in {**states, **child["States"]}.items() if state["Type"] == "Task"}


def test_every_task_is_listed_and_runs_a_function(tasks: dict[str, Any], resources: dict[str, Any]) -> None:
    assert set(tasks) == set(TASKS)
    substitutions = resources["VideoBatchStateMachine"]["Properties"]["DefinitionSubstitutions"]
    for name, task in tasks.items():
        assert substitutions[task["Resource"].removeprefix("${").removesuffix("}")] == {
            "Fn::GetAtt": [f"{name}Function", "Arn"]
        }
    assert len(substitutions) == len(tasks)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_outlasts_its_functions_timeout_and_is_retried(
    tasks: dict[str, Any], functions: dict[str, Any], task: str
) -> None:
    assert tasks[task]["TimeoutSeconds"] > functions[TASKS[task]]["Timeout"]
    busy, killed, retry = tasks[task]["Retry"]
    assert set(busy["ErrorEquals"]) == BUSY
    assert busy["MaxAttempts"] * busy["MaxDelaySeconds"] > 2 * 3600  # the batch's own jobs keep the account busy
    assert set(killed["ErrorEquals"]) == KILLED
    assert killed["MaxAttempts"] >= 4
    assert retry["ErrorEquals"] == ["States.ALL"]  # all of them may be repeated: none buys anything
    for one in (busy, killed, retry):
        assert one["BackoffRate"] >= 2
        assert one["MaxDelaySeconds"] <= 600
        assert one["Comment"]


def test_nothing_is_enqueued_before_everything_is_planned(
    workflows: dict[str, Any], states: dict[str, dict[str, Any]]
) -> None:
    assert workflows["video_batch"]["StartAt"] == "Begin"
    assert states["Begin"]["Choices"] == [{"Variable": "$.chunks", "IsPresent": True, "Next": "TakeIn"}]
    assert states["Begin"]["Default"] == "Plan"
    assert not {"chunks", "status"} & set(BatchInput.__annotations__)  # no manifest is mistaken for a plan
    assert states["Plan"]["Next"] == "PlanOutcome"
    assert states["PlanOutcome"]["Choices"] == [
        {"Variable": "$.status", "StringEquals": TaskStatus.PLANNED, "Next": "TakeIn"},
        {"Variable": "$.status", "StringEquals": TaskStatus.UNAPPROVED, "Next": "Unapproved"},
    ]
    assert states["PlanOutcome"]["Default"] == "Refused"
    assert [name for name, state in states.items() if "TakeIn" in (state.get("Next"), state.get("Default"))] == []


def test_the_map_is_distributed_bounded_and_uses_the_plans_tolerance(
    states: dict[str, dict[str, Any]], child: dict[str, Any]
) -> None:
    fan_out = states["TakeIn"]
    assert child["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert fan_out["ItemsPath"] == "$.chunks"
    assert fan_out["ItemSelector"]["chunk.$"] == "$$.Map.Item.Value"
    assert fan_out["ItemSelector"]["next"] == 0
    assert fan_out["MaxConcurrency"] == 1  # each child that waits for room costs transitions
    assert fan_out["ToleratedFailurePercentagePath"] == "$.tolerated_percent"
    assert (
        fan_out["ResultPath"] is None
    )  # the results of ten thousand child executions exceed the size limit of a state
    assert child["StartAt"] == "Enqueue"


def test_a_child_feeds_its_chunk_as_there_is_room(child: dict[str, Any]) -> None:
    states = child["States"]
    assert list(states) == ["Enqueue", "EnqueueOutcome", "WaitForRoom", "Enqueued"]
    assert states["Enqueue"]["Next"] == "EnqueueOutcome"
    assert states["EnqueueOutcome"]["Choices"] == [
        {"Variable": "$.status", "StringEquals": TaskStatus.RUNNING, "Next": "WaitForRoom"}
    ]
    assert states["EnqueueOutcome"]["Default"] == "Enqueued"
    wait = states["WaitForRoom"]
    assert (wait["Type"], wait["SecondsPath"], wait["Next"]) == ("Wait", "$.wait_seconds", "Enqueue")
    assert states["Enqueued"]["Type"] == "Succeed"


def test_a_childs_history_stays_below_the_limit_of_25000_events() -> None:
    # A round feeds at least one row, unless submits are stopped, or other batches have all shares for 14 minutes.
    for seconds, days in ((STOPPED_SECONDS, 50), (FULL_SECONDS, 9)):
        assert MOST_ROWS * EVENTS_A_ROUND + days * 86_400 / seconds * EVENTS_A_ROUND < 25_000


def test_any_error_of_a_task_leads_to_a_notification_or_an_alarm(states: dict[str, dict[str, Any]]) -> None:
    caught = {name: state["Catch"] for name, state in states.items() if "Catch" in state}
    assert set(caught) == {"Plan", "TakeIn", "Collect"}
    for name, target in (("Plan", "Collect"), ("TakeIn", "Wait"), ("Collect", "Crashed")):
        assert caught[name] == [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.exception", "Next": target}]
    assert states["CollectOutcome"]["Choices"] == [
        {"Variable": "$.status", "StringEquals": "RUNNING", "Next": "Wait"},
        {"Variable": "$.exception", "IsPresent": True, "Next": "Crashed"},
    ]
    assert states["CollectOutcome"]["Default"] == "Done"
    assert states["Crashed"]["Type"] == "Fail"
    assert {name for name, state in states.items() if state["Type"] == "Succeed"} == {
        *("Unapproved", "Refused", "Done")
    }


def test_a_check_is_followed_by_the_wait_that_it_returned(states: dict[str, dict[str, Any]]) -> None:
    assert states["Wait"] == {"Type": "Wait", "SecondsPath": "$.wait_seconds", "Next": "Collect"}
    assert states["Collect"]["Next"] == "CollectOutcome"


def test_unusual_states_have_a_comment(workflows: dict[str, Any], states: dict[str, dict[str, Any]]) -> None:
    assert workflows["video_batch"]["Comment"]
    for name in ("Begin", "Plan", "TakeIn", "Unapproved", "Refused", "Done", "Crashed"):
        assert states[name]["Comment"]


def test_the_query_language_is_supported_by_every_emulator(workflows: dict[str, Any]) -> None:
    assert workflows["video_batch"].get("QueryLanguage", "JSONPath") == "JSONPath"


@pytest.mark.parametrize("name", ["video_batch", "video_job"])
def test_a_parser_of_the_states_language_accepts_it(workflows: dict[str, Any], name: str) -> None:
    AmazonStateLanguageParser.parse(json.dumps(workflows[name]).replace("${", "arn:aws:lambda:us-east-1:1:function:"))
    with pytest.raises(Exception, match="ASL"):
        AmazonStateLanguageParser.parse(json.dumps({**workflows[name], "StartAt": {}}))


def test_every_state_machine_is_listed(resources: dict[str, Any], root: Path) -> None:
    machines = {
        name: resource["Properties"]
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Serverless::StateMachine"
    }
    assert sorted(machines) == ["VideoBatchStateMachine", "VideoJobStateMachine"]
    files = {machine["DefinitionUri"] for machine in machines.values()}
    assert files == {f"statemachine/{path.name}" for path in (root / "statemachine").iterdir()}


def mailed(policy: dict[str, Any], attributes: dict[str, str]) -> bool:
    """Whether a filter policy on attributes lets a message through, for the operators that ours has."""

    def matches(rule: Any, value: str | None) -> bool:
        ((name, operand),) = rule.items()
        match name:
            case "exists":
                return (value is not None) is operand
            case "prefix":
                return value is not None and value.startswith(operand)
            case "anything-but":
                return value is not None and value not in operand
        raise AssertionError(rule)

    return all(any(matches(rule, attributes.get(name)) for rule in rules) for name, rules in policy.items())


@pytest.mark.parametrize(
    ("mail_for", "states"),
    [
        ("all", {state for state in State if state.terminal} | {State.HELD}),
        ("failures", {State.FAILED, State.EXPIRED, State.REJECTED, State.HELD}),
        ("none", set()),
    ],
)
def test_emails_are_about_these_jobs_and_always_about_whole_batches(
    *, template: dict[str, Any], mail_for: str, states: set[State]
) -> None:
    conditions = {name: template["Conditions"][name]["Fn::Equals"] for name in ("MailsAllJobs", "MailsNoJobs")}
    assert all(compared[0] == {"Ref": "MailFor"} for compared in conditions.values())
    true = [name for name, compared in conditions.items() if compared[1] == mail_for]
    assert template["Parameters"]["MailFor"]["AllowedValues"] == ["all", "failures", "none"]
    mail = resolved(template["Resources"]["NotificationMail"]["Properties"], true)
    policy = mail["FilterPolicy"]
    assert "FilterPolicyScope" not in mail  # the default is the message's attributes
    told = [state for state in State if state.terminal or state is State.HELD]
    assert {state for state in told if mailed(policy, {"status": state.value, "source": "api"})} == states
    for state in told:
        assert not mailed(policy, {"status": state.value, "source": "batch", "batch": "batch-1"})
    for status in BatchStatus:
        assert mailed(policy, {"status": status.value, "source": "batch"})


def test_the_other_subscribers_of_the_topic_get_everything(resources: dict[str, Any]) -> None:
    subscriptions = of_type(resources, "AWS::SNS::Subscription")
    assert sorted(subscriptions) == ["AlarmMail", "NotificationMail"]
    assert "FilterPolicy" not in resources["NotificationTopic"]["Properties"]


def test_the_map_may_start_only_its_own_child_executions(resources: dict[str, Any], workflows: dict[str, Any]) -> None:
    policy = resources["VideoBatchMapPolicy"]["Properties"]
    assert policy["Roles"] == [{"Ref": "VideoBatchStateMachineRole"}]
    start, follow = policy["PolicyDocument"]["Statement"]
    assert (start["Action"], start["Resource"]) == ("states:StartExecution", {"Ref": "VideoBatchStateMachine"})
    assert follow["Action"] == ["states:DescribeExecution", "states:StopExecution"]
    label = workflows["video_batch"]["States"]["TakeIn"]["Label"]
    endings = [resource["Fn::Sub"].rpartition("VideoBatchStateMachine.Name}")[2] for resource in follow["Resource"]]
    assert endings == [":*", f"/{label}:*"]
