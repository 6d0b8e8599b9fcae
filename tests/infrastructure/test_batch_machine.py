"""House rules for a batch's workflow: planned before taken in, repeatable, every way out tells people or alarms."""

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


def test_these_are_the_tasks_and_each_is_a_function(tasks: dict[str, Any], resources: dict[str, Any]) -> None:
    assert set(tasks) == set(TASKS)
    substitutions = resources["VideoBatchStateMachine"]["Properties"]["DefinitionSubstitutions"]
    for name, task in tasks.items():
        assert substitutions[task["Resource"].removeprefix("${").removesuffix("}")] == {
            "Fn::GetAtt": [f"{name}Function", "Arn"]
        }
    assert len(substitutions) == len(tasks)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_waits_longer_than_its_function_may_run_and_is_tried_again(
    tasks: dict[str, Any], functions: dict[str, Any], task: str
) -> None:
    assert tasks[task]["TimeoutSeconds"] > functions[TASKS[task]]["Timeout"]
    busy, retry = tasks[task]["Retry"]
    assert set(busy["ErrorEquals"]) == {"Lambda.TooManyRequestsException", "Lambda.ServiceException", "Lambda.Unknown"}
    assert busy["MaxAttempts"] * busy["MaxDelaySeconds"] > 2 * 3600  # its own jobs keep the account busy
    assert retry["ErrorEquals"] == ["States.ALL"]  # each of them may be repeated: none of them buys
    for one in (busy, retry):
        assert one["BackoffRate"] >= 2
        assert one["MaxDelaySeconds"] <= 600
        assert one["Comment"]


def test_nothing_is_taken_in_before_everything_is_planned(
    workflows: dict[str, Any], states: dict[str, dict[str, Any]]
) -> None:
    assert workflows["video_batch"]["StartAt"] == "Plan"
    assert states["Plan"]["Next"] == "PlanOutcome"
    assert states["PlanOutcome"]["Choices"] == [
        {"Variable": "$.status", "StringEquals": TaskStatus.PLANNED, "Next": "TakeIn"}
    ]
    assert states["PlanOutcome"]["Default"] == "Refused"
    assert [name for name, state in states.items() if "TakeIn" in (state.get("Next"), state.get("Default"))] == []


def test_the_map_is_distributed_bounded_and_tolerates_what_the_plan_says(
    states: dict[str, dict[str, Any]], child: dict[str, Any]
) -> None:
    fan_out = states["TakeIn"]
    assert child["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert fan_out["ItemsPath"] == "$.chunks"
    assert fan_out["ItemSelector"]["chunk.$"] == "$$.Map.Item.Value"
    assert 1 <= fan_out["MaxConcurrency"] <= 10
    assert fan_out["ToleratedFailurePercentagePath"] == "$.tolerated_percent"
    assert fan_out["ResultPath"] is None  # ten thousand children's answers are more than a state may hold
    assert list(child["States"]) == [child["StartAt"]] == ["Enqueue"]


def test_whatever_a_task_raises_people_are_told_or_an_alarm_goes_off(states: dict[str, dict[str, Any]]) -> None:
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


def test_a_look_leads_to_a_wait_as_long_as_it_says(states: dict[str, dict[str, Any]]) -> None:
    assert states["Wait"] == {"Type": "Wait", "SecondsPath": "$.wait_seconds", "Next": "Collect"}
    assert states["Collect"]["Next"] == "CollectOutcome"


def test_what_is_not_obvious_says_why(workflows: dict[str, Any], states: dict[str, dict[str, Any]]) -> None:
    assert workflows["video_batch"]["Comment"]
    for name in ("Plan", "TakeIn", "Refused", "Done", "Crashed"):
        assert states[name]["Comment"]


def test_the_language_is_one_that_every_emulator_reads(workflows: dict[str, Any]) -> None:
    assert workflows["video_batch"].get("QueryLanguage", "JSONPath") == "JSONPath"


def test_these_are_the_state_machines(resources: dict[str, Any], root: Path) -> None:
    machines = {
        name: resource["Properties"]
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Serverless::StateMachine"
    }
    assert sorted(machines) == ["VideoBatchStateMachine", "VideoJobStateMachine"]
    files = {machine["DefinitionUri"] for machine in machines.values()}
    assert files == {f"statemachine/{path.name}" for path in (root / "statemachine").iterdir()}


def test_mails_are_about_batches_as_a_whole(resources: dict[str, Any]) -> None:
    # The filter works on attributes by default; a job of a batch has this one, a summary has others.
    assert resources["NotificationMail"]["Properties"]["FilterPolicy"] == {"batch": [{"exists": False}]}


def test_the_map_may_run_its_own_children_and_no_others(resources: dict[str, Any], workflows: dict[str, Any]) -> None:
    policy = resources["VideoBatchMapPolicy"]["Properties"]
    assert policy["Roles"] == [{"Ref": "VideoBatchStateMachineRole"}]
    start, follow = policy["PolicyDocument"]["Statement"]
    assert (start["Action"], start["Resource"]) == ("states:StartExecution", {"Ref": "VideoBatchStateMachine"})
    assert follow["Action"] == ["states:DescribeExecution", "states:StopExecution"]
    label = workflows["video_batch"]["States"]["TakeIn"]["Label"]
    endings = [resource["Fn::Sub"].rpartition("VideoBatchStateMachine.Name}")[2] for resource in follow["Resource"]]
    assert endings == [":*", f"/{label}:*"]
