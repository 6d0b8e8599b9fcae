"""House rules for the batch workflow: planned before enqueued, repeatable, every exit notifies or raises an alarm."""

from pathlib import Path
from typing import Any

import pytest
from seedance.jobs.tasks import TaskStatus

TASKS = {"Plan": "plan", "Enqueue": "enqueue", "Collect": "collect"}


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
    busy, retry = tasks[task]["Retry"]
    assert set(busy["ErrorEquals"]) == {"Lambda.TooManyRequestsException", "Lambda.ServiceException", "Lambda.Unknown"}
    assert busy["MaxAttempts"] * busy["MaxDelaySeconds"] > 2 * 3600  # the batch's own jobs keep the account busy
    assert retry["ErrorEquals"] == ["States.ALL"]  # all of them may be repeated: none buys anything
    for one in (busy, retry):
        assert one["BackoffRate"] >= 2
        assert one["MaxDelaySeconds"] <= 600
        assert one["Comment"]


def test_nothing_is_enqueued_before_everything_is_planned(
    workflows: dict[str, Any], states: dict[str, dict[str, Any]]
) -> None:
    assert workflows["video_batch"]["StartAt"] == "Plan"
    assert states["Plan"]["Next"] == "PlanOutcome"
    assert states["PlanOutcome"]["Choices"] == [
        {"Variable": "$.status", "StringEquals": TaskStatus.PLANNED, "Next": "TakeIn"}
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
    assert 1 <= fan_out["MaxConcurrency"] <= 10
    assert fan_out["ToleratedFailurePercentagePath"] == "$.tolerated_percent"
    assert (
        fan_out["ResultPath"] is None
    )  # the results of ten thousand child executions exceed the size limit of a state
    assert list(child["States"]) == [child["StartAt"]] == ["Enqueue"]


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
    assert {name for name, state in states.items() if state["Type"] == "Succeed"} == {"Refused", "Done"}


def test_a_check_is_followed_by_the_wait_that_it_returned(states: dict[str, dict[str, Any]]) -> None:
    assert states["Wait"] == {"Type": "Wait", "SecondsPath": "$.wait_seconds", "Next": "Collect"}
    assert states["Collect"]["Next"] == "CollectOutcome"


def test_unusual_states_have_a_comment(workflows: dict[str, Any], states: dict[str, dict[str, Any]]) -> None:
    assert workflows["video_batch"]["Comment"]
    for name in ("Plan", "TakeIn", "Refused", "Done", "Crashed"):
        assert states[name]["Comment"]


def test_the_query_language_is_supported_by_every_emulator(workflows: dict[str, Any]) -> None:
    assert workflows["video_batch"].get("QueryLanguage", "JSONPath") == "JSONPath"


def test_every_state_machine_is_listed(resources: dict[str, Any], root: Path) -> None:
    machines = {
        name: resource["Properties"]
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Serverless::StateMachine"
    }
    assert sorted(machines) == ["VideoBatchStateMachine", "VideoJobStateMachine"]
    files = {machine["DefinitionUri"] for machine in machines.values()}
    assert files == {f"statemachine/{path.name}" for path in (root / "statemachine").iterdir()}


def test_emails_are_only_about_whole_batches(resources: dict[str, Any]) -> None:
    # Filters apply to message attributes by default; a batch job has this attribute, a summary has others.
    assert resources["NotificationMail"]["Properties"]["FilterPolicy"] == {"batch": [{"exists": False}]}


def test_the_map_may_start_only_its_own_child_executions(resources: dict[str, Any], workflows: dict[str, Any]) -> None:
    policy = resources["VideoBatchMapPolicy"]["Properties"]
    assert policy["Roles"] == [{"Ref": "VideoBatchStateMachineRole"}]
    start, follow = policy["PolicyDocument"]["Statement"]
    assert (start["Action"], start["Resource"]) == ("states:StartExecution", {"Ref": "VideoBatchStateMachine"})
    assert follow["Action"] == ["states:DescribeExecution", "states:StopExecution"]
    label = workflows["video_batch"]["States"]["TakeIn"]["Label"]
    endings = [resource["Fn::Sub"].rpartition("VideoBatchStateMachine.Name}")[2] for resource in follow["Resource"]]
    assert endings == [":*", f"/{label}:*"]
