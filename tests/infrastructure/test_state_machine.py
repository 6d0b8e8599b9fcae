"""House rules for the job workflow: nothing hangs, nothing is bought twice, and every exit closes the record."""

import builtins
import inspect
from typing import Any

import pytest
from seedance import errors
from seedance.fail import ENDS
from seedance.jobs.job import TERMINAL
from seedance.jobs.tasks import TaskStatus

TASKS = ["Fail", "Finalize", "Generate", "Poll"]
# What each task may return as "status"; the Choice after it must handle each word or send it to Fail.
OUTCOMES = {
    "Poll": {"RUNNING", "COMPLETED", "FAILED", "EXPIRED", "HELD"},
    "Generate": {"COMPLETED", "POSTPONED", "UNCERTAIN", "FAILED"},
    "Finalize": {"COMPLETED", "FAILED", "HELD", "NOT_READY"},
}
# The next state for each outcome. Fail is every Choice's default.
NEXT = {
    "Poll": {"RUNNING": "Wait", "COMPLETED": "Finalize", "FAILED": "Fail", "EXPIRED": "Fail", "HELD": "Fail"},
    "Generate": {"COMPLETED": "Finalize", "POSTPONED": "WaitToGenerate", "UNCERTAIN": "Uncertain", "FAILED": "Fail"},
    "Finalize": {"COMPLETED": "Done", "FAILED": "Fail", "HELD": "Fail", "NOT_READY": "Fail"},
}
# For a task that buys a video, only an error that proves that the function did not run may be retried.
BUYS = {"Generate"}
DID_NOT_RUN = {"Lambda.TooManyRequestsException"}
# Step Functions developer guide, "Handle Lambda service exceptions". The function may or may not have run.
SERVICE = {
    *("Lambda.ServiceException", "Lambda.AWSLambdaException"),
    *("Lambda.SdkClientException", "Lambda.ClientExecutionTimeoutException"),
}
# The function ran and was killed. The same page: Lambda.Unknown includes out of memory and a timeout, for which newer
# runtimes return Sandbox.Timedout.
KILLED = {"Lambda.Unknown", "Sandbox.Timedout"}


@pytest.fixture(scope="module")
def states(workflow: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(workflow["States"])


def following(state: dict[str, Any]) -> set[str]:
    direct = {state[name] for name in ("Next", "Default") if name in state}
    inner = {entry["Next"] for name in ("Choices", "Catch") for entry in state.get(name, [])}
    return direct | inner


def branch(states: dict[str, Any], task: str, status: str) -> str:
    choice = states[states[task]["Next"]]
    assert choice["Type"] == "Choice"
    return next(
        (c["Next"] for c in choice["Choices"] if (c["Variable"], c.get("StringEquals")) == ("$.status", status)),
        choice["Default"],
    )


def test_every_task_is_listed_and_runs_a_function(states: dict[str, Any], resources: dict[str, Any]) -> None:
    tasks = {name: state["Resource"] for name, state in states.items() if state["Type"] == "Task"}
    assert sorted(tasks) == TASKS
    substitutions = resources["VideoJobStateMachine"]["Properties"]["DefinitionSubstitutions"]
    for name, resource in tasks.items():
        placeholder = resource.removeprefix("${").removesuffix("}")
        assert substitutions[placeholder] == {"Fn::GetAtt": [f"{name}Function", "Arn"]}
    assert len(substitutions) == len(tasks)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_outlasts_its_functions_timeout(states: dict[str, Any], functions: dict[str, Any], task: str) -> None:
    assert states[task]["TimeoutSeconds"] >= functions[task.lower()]["Timeout"]


@pytest.mark.parametrize("task", TASKS)
def test_any_error_of_a_task_closes_the_record(states: dict[str, Any], task: str) -> None:
    (catch,) = states[task]["Catch"]
    assert catch["ErrorEquals"] == ["States.ALL"]
    assert catch["ResultPath"] == "$.exception"  # job_id is kept, so that Fail finds the record
    assert catch["Next"] == ("Crashed" if task == "Fail" else "Fail")


@pytest.mark.parametrize("task", sorted(set(TASKS) - BUYS))
def test_a_task_that_costs_nothing_is_retried_for_long(states: dict[str, Any], task: str) -> None:
    busy, killed, retry = states[task]["Retry"]
    # First, so that throttling does not use up the attempts for real errors.
    assert set(busy["ErrorEquals"]) == DID_NOT_RUN | SERVICE
    assert busy["MaxAttempts"] * busy["MaxDelaySeconds"] >= 1800
    assert set(killed["ErrorEquals"]) == KILLED
    assert killed["MaxAttempts"] >= 8
    assert retry["ErrorEquals"] == ["States.ALL"]
    assert retry["MaxAttempts"] >= 8
    for one in (killed, retry):
        assert one["BackoffRate"] >= 2
        assert one["MaxDelaySeconds"] <= 600


@pytest.mark.parametrize("task", sorted(BUYS))
def test_a_task_that_buys_is_retried_only_if_it_did_not_run(states: dict[str, Any], task: str) -> None:
    (retry,) = states[task]["Retry"]
    assert set(retry["ErrorEquals"]) == DID_NOT_RUN
    assert not DID_NOT_RUN & (SERVICE | KILLED)
    assert retry["MaxAttempts"] * retry["MaxDelaySeconds"] >= 1800


def test_submit_is_no_task_so_no_retry_can_repeat_it(states: dict[str, Any]) -> None:
    assert not [name for name, state in states.items() if "Submit" in name + state.get("Resource", "")]


def test_every_error_name_exists(states: dict[str, Any]) -> None:
    known = {name for name, thing in vars(errors).items() if inspect.isclass(thing)} | set(vars(builtins))
    named = {
        error
        for state in states.values()
        for entry in [*state.get("Retry", []), *state.get("Catch", [])]
        for error in entry["ErrorEquals"]
    }
    assert named
    aws = {"States.ALL"} | DID_NOT_RUN | SERVICE | KILLED
    assert named <= aws | known


@pytest.mark.parametrize("task", OUTCOMES)
def test_each_outcome_of_a_task_leads_to_its_state(states: dict[str, Any], task: str) -> None:
    assert set(NEXT[task]) == OUTCOMES[task]
    assert {status: branch(states, task, status) for status in OUTCOMES[task]} == NEXT[task]


@pytest.mark.parametrize("task", OUTCOMES)
def test_a_choice_checks_only_for_outcomes_of_its_task(states: dict[str, Any], task: str) -> None:
    choice = states[states[task]["Next"]]
    assert choice["Default"] == "Fail"
    assert {c["StringEquals"] for c in choice["Choices"]} <= OUTCOMES[task]


def test_every_outcome_belongs_to_a_task() -> None:
    of_plan = {"PLANNED", "UNAPPROVED", "REFUSED"}
    assert set.union(*OUTCOMES.values()) | of_plan == set(TaskStatus)


def test_fail_ends_jobs_only_for_outcomes_of_a_task() -> None:
    assert set(ENDS) == {TaskStatus.FAILED, TaskStatus.EXPIRED}
    assert set(ENDS.values()) <= TERMINAL


@pytest.mark.parametrize("task", OUTCOMES)
def test_an_unknown_outcome_leads_to_fail_which_leaves_the_job_open(states: dict[str, Any], task: str) -> None:
    assert branch(states, task, "PAUSED") == "Fail"
    assert "PAUSED" not in ENDS


def test_an_unexpected_end_fails_the_execution_to_raise_an_alarm(states: dict[str, Any]) -> None:
    choice = states[states["Fail"]["Next"]]
    assert choice["Choices"] == [{"Variable": "$.unexpected", "BooleanEquals": True, "Next": "Crashed"}]
    assert choice["Default"] == "Done"
    assert states["Crashed"]["Type"] == "Fail"


def test_waits_are_as_long_as_the_previous_task_returned(states: dict[str, Any]) -> None:
    waits = [state for state in states.values() if state["Type"] == "Wait"]
    assert len(waits) == 2
    assert all(wait["SecondsPath"] == "$.wait_seconds" for wait in waits)


def test_every_state_is_reachable_and_leads_to_an_end(workflow: dict[str, Any], states: dict[str, Any]) -> None:
    reached = {workflow["StartAt"]}
    while fresh := {target for name in reached for target in following(states[name])} - reached:
        reached |= fresh
    assert reached == set(states)
    ends = {name for name, state in states.items() if state["Type"] in ("Succeed", "Fail")}
    leading = set(ends)
    while fresh := {name for name, state in states.items() if following(state) & leading} - leading:
        leading |= fresh
    assert leading == set(states)
    assert not [name for name, state in states.items() if not following(state) and name not in ends]


def test_the_transport_decides_the_first_step(states: dict[str, Any]) -> None:
    assert states["Transport"]["Choices"] == [{"Variable": "$.transport", "StringEquals": "v1", "Next": "Generate"}]
    assert states["Transport"]["Default"] == "Wait"


def test_unusual_states_have_a_comment(workflow: dict[str, Any], states: dict[str, Any]) -> None:
    assert workflow["Comment"]
    for state in states.values():
        if state["Type"] in ("Succeed", "Fail"):
            assert state["Comment"]
    assert all(retry["Comment"] for name in TASKS if name != "Fail" for retry in states[name]["Retry"])


def test_the_query_language_is_supported_by_every_emulator(workflow: dict[str, Any]) -> None:
    assert workflow.get("QueryLanguage", "JSONPath") == "JSONPath"
