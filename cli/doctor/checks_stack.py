"""Checks of the deployment: its state, versions, workflows, quotas, and recent failures."""

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import seedance
from botocore.exceptions import ClientError
from seedance import masking

from cli import show
from cli.doctor.deployment import Deployment, EarlierRelease
from cli.doctor.results import Result, failed, found, ok, when

FINE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "IMPORT_COMPLETE")

RECENT_SECONDS = 24 * 3600.0
"""How far back errors are looked for."""

RECENT_SECONDS = 3600.0
"""Errors older than this are shown, but do not fail their line, so that it passes once the cause is fixed."""

SKEW_SECONDS = 60.0
"""A fifth of the difference at which AWS refuses a signed request (five minutes; AWS General Reference, "Signature
Version 4")."""

SUBMITS_AT_A_TIME = 10
"""ScalingConfig.MaximumConcurrency of the submit function. A test compares it with the template."""

_SHOWN = 5
_LONGEST = 160
_PAGES = 5
_ERRORS = '?ERROR ?CRITICAL ?"Task timed out" ?"Runtime exited"'
"""Our lines have their level, and Lambda's own the rest. Matches more than errors; ``_error`` decides."""


def deployed(of: Deployment) -> Result:
    """The stack's last deployment succeeded."""
    if of.status in FINE:
        return ok(of.status)
    if of.status.endswith("_IN_PROGRESS"):
        return failed(of.status, remedy="Wait until the deployment has ended, then run the doctor again.")
    return failed(of.status)


def versions(of: Deployment) -> Result:
    """This command and the stack are of one release, all functions use the same layer and runtime, and the layer has
    bytecode for it."""
    functions = of.of_type("AWS::Lambda::Function")
    seen = {name: _configuration(of, physical) for name, physical in functions.items()}
    wrong = []
    try:
        about = of.examine("release")
    except EarlierRelease:
        return failed("the stack runs an earlier release, which can't answer the doctor")
    if about["release"] != seedance.__version__:
        wrong.append(f"the stack runs release {about['release']}, and this command is of {seedance.__version__}")
    for what in ("Runtime", "Layers", "Architectures"):
        values = {name: str(one[what]) for name, one in seen.items()}
        if len(set(values.values())) > 1:
            wrong.append(f"the functions have different {what.lower()}: {_grouped(values)}")
    wrong += [
        f"{name} is {one['State']}, its update {one['Update']}" for name, one in seen.items() if not one["Usable"]
    ]
    if not of.emulated:  # an emulator's functions run on its own Python
        runtime = f"python{about['python'].rpartition('.')[0]}"
        if any(one["Runtime"] != runtime for one in seen.values()):
            wrong.append(f"a function runs on {runtime}, not on its configured runtime")
        if not about["bytecode"]:
            wrong.append("the layer has no bytecode, so every cold start compiles it")
    return found(wrong, f"release {about['release']}, Python {about['python']} on {about['machine']}")


def _configuration(of: Deployment, name: str) -> dict[str, Any]:
    said = of.client("lambda").get_function_configuration(FunctionName=name)
    state, update = said.get("State", "Active"), said.get("LastUpdateStatus", "Successful")
    return {
        "Runtime": said.get("Runtime", ""),
        "Layers": sorted(layer["Arn"].rpartition(":layer:")[2] for layer in said.get("Layers", [])),
        "Architectures": said.get("Architectures", ["x86_64"]),
        "State": state,
        "Update": update,
        # Lambda makes a function Inactive that is not invoked for weeks; the next invocation wakes it.
        "Usable": state in ("Active", "Inactive") and update == "Successful",
    }


def _grouped(values: dict[str, str]) -> str:
    """Who has which value."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, value in values.items():
        groups[value].append(name)
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in groups.items())


def machines(of: Deployment) -> Result:
    """Step Functions finds no error in the definitions of the two state machines."""
    client, wrong = of.client("stepfunctions"), []
    for output in ("StateMachineArn", "BatchStateMachineArn"):
        machine = client.describe_state_machine(stateMachineArn=of.target.output(output))
        said = client.validate_state_machine_definition(
            definition=machine["definition"], type=machine["type"], severity="ERROR"
        )
        # Only ``result`` decides: AWS may add diagnostics (API reference, ValidateStateMachineDefinition).
        if said["result"] != "OK":
            for one in said["diagnostics"] or [{"message": "no diagnostics"}]:
                wrong.append(f"{machine['name']} {one.get('location', '')}: {one.get('code', '')} {one['message']}")
    return found(wrong, "both definitions are valid")


def quotas(of: Deployment) -> Result:
    """Lambda's concurrency in this account and region is enough for this stack alone."""
    limits = of.client("lambda").get_account_settings()["AccountLimit"]
    free, limit = limits["UnreservedConcurrentExecutions"], limits["ConcurrentExecutions"]
    needed = concurrency_needed(float(of.parameters.get("RequestsPerMinute", 50)))
    said = f"{free} of {limit} concurrent executions are unreserved; this stack needs up to {needed}"
    return ok(said) if free >= needed else failed(said)


def concurrency_needed(requests_per_minute: float) -> int:
    """How many functions of the stack run at the same time at full speed.

    All submits at a time; a poll takes under a second; half of the requests at most are submits, and a video's copy
    takes about 10 s; and seven for the API, reconcile, repair, batches, announce and two webhooks.
    """
    polls, copies = requests_per_minute / 60, requests_per_minute / 2 / 60 * 10
    return SUBMITS_AT_A_TIME + math.ceil(polls) + math.ceil(copies) + 7


def clock(of: Deployment) -> Result:
    """This machine's clock agrees with AWS's (the Date header of a response)."""
    client, before = of.client("sts"), time.time()
    try:
        said = client.get_caller_identity()
    except ClientError as error:  # a request that is refused because of the clock has the header too
        said = error.response
    after = time.time()
    header = {name.lower(): value for name, value in said["ResponseMetadata"].get("HTTPHeaders", {}).items()}
    if "date" not in header:
        return failed("the response of AWS has no Date header")
    theirs = parsedate_to_datetime(header["date"]).timestamp() + 0.5  # cut to the second
    ahead = (before + after) / 2 - theirs
    if abs(ahead) <= SKEW_SECONDS:
        return ok(f"within {max(1, math.ceil(abs(ahead)))} s of AWS's")
    return failed(f"{show.duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} AWS's")


def errors(of: Deployment) -> Result:
    """The logs of the functions have no errors of the last hour. The last ones of a day are shown."""
    now, client = time.time(), of.client("logs")
    lines, complete = [], True
    for name, group in of.of_type("AWS::Logs::LogGroup").items():
        if group.startswith("/aws/lambda/"):
            told, all_read = _logged(client, group, now)
            complete &= all_read
            lines += [(at, f"{name.removesuffix('LogGroup').lower()}: {said}") for at, said in told]
    lines.sort(reverse=True)
    more = "" if complete else ", and perhaps more"
    shown = [f"{when(at)} {said}" for at, said in lines[:_SHOWN]]
    recent = sum(now - at <= RECENT_SECONDS for at, _ in lines)
    if recent:
        return failed(f"{show.number(recent, 'error')} in the last hour, {len(lines)} in a day{more}", *shown)
    return ok(f"none in the last hour, {len(lines)} in a day{more}", *shown)


def _logged(client: Any, group: str, now: float) -> tuple[list[tuple[float, str]], bool]:
    """The errors of a day in a log group as (Unix time, text), and whether all of it was read."""
    given: dict[str, Any] = {
        "logGroupName": group,
        "startTime": int((now - RECENT_SECONDS) * 1000),
        "filterPattern": _ERRORS,
    }
    told = []
    for _ in range(_PAGES):
        try:
            page = client.filter_log_events(**given)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":  # nothing was ever logged
                return [], True
            raise
        for event in page["events"]:
            if said := _error(event["message"]):
                told.append((event["timestamp"] / 1000, said))
        if not page.get("nextToken"):
            return told, True
        given["nextToken"] = page["nextToken"]
    return told, False


def _error(line: str) -> str | None:
    """The error that a line of a log reports, as one line. None if it reports none."""
    try:
        said = json.loads(line)
    except ValueError:
        plain = any(mark in line for mark in ("[ERROR]", "Task timed out", "Runtime exited"))
        return _shortened(line) if plain else None
    if not isinstance(said, dict) or said.get("level") not in ("ERROR", "CRITICAL"):
        return None
    facts = [f"{name} {said[name]}" for name in ("job_id", "reason") if said.get(name)]
    return _shortened(", ".join([str(said.get("message", "")), *facts]))


def _shortened(text: str) -> str:
    line = " ".join(masking.signatures(text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def executions(of: Deployment) -> Result:
    """No workflow of a job or batch failed, was aborted or timed out in a day, unless its job has ended since."""
    wrong = [
        f"{one['status']} {when(one['stopDate'].timestamp())}: {one['name']}"
        for output in ("StateMachineArn", "BatchStateMachineArn")
        for one in _broken(of, of.target.output(output))
    ]
    if not wrong:
        return ok("none failed in a day")
    return failed(f"{show.number(len(wrong), 'workflow')} failed in a day", *wrong[:_SHOWN])


def _broken(of: Deployment, machine: str) -> Iterator[dict[str, Any]]:
    since = datetime.fromtimestamp(time.time() - RECENT_SECONDS, UTC)
    for status in ("FAILED", "TIMED_OUT", "ABORTED"):
        page = of.client("stepfunctions").list_executions(stateMachineArn=machine, statusFilter=status, maxResults=50)
        for one in page["executions"]:
            if one["stopDate"] >= since and not _ended_since(of, one["name"]):
                yield one


def _ended_since(of: Deployment, execution: str) -> bool:
    """Whether the execution's job has ended, in another execution or by a person's decision."""
    if execution.startswith("batch-"):
        return False
    name = "-".join(execution.split("-")[:2])  # without the number of a later execution
    job = of.target.jobs.get(name)
    return job is not None and job.state.terminal
