"""Asks the repair function: what people decide about jobs, and what the provider's history has."""

import json
from collections.abc import Iterator
from typing import Any

from cli.target import CommandError, Target

ANSWER_SECONDS = 270.0
"""How long an answer of the repair function is waited for: its time-out of 240 s, and a start."""


def ask_repair(target: Target, **event: Any) -> dict[str, Any]:
    """Ask the repair function, which has the provider's key and the rules about money.

    Raises CommandError with its refusal.

    Asked once: a client that tires earlier and asks again would have it run twice at a time.
    """
    said = _invoke(target, "RepairFunctionName", event)
    if "error" in said:
        raise CommandError(said["error"])
    return said


def reconcile(target: Target) -> dict[str, int]:
    """Run a round of reconcile now; what it did. Raises CommandError."""
    return dict(_invoke(target, "ReconcileFunctionName", {})["done"])


def _invoke(target: Target, output: str, event: dict[str, Any]) -> dict[str, Any]:
    answer = target.client("lambda", ANSWER_SECONDS).invoke(
        FunctionName=target.output(output), Payload=json.dumps(event).encode()
    )
    said = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise CommandError(f"the function crashed: {said.get('errorMessage', said)}")
    return dict(said)


def history(target: Target, model: str, since: float, until: float) -> Iterator[dict[str, Any]]:
    """The provider's history of a model between two Unix times, as repair shows it, in as many answers as it takes.

    Raises CommandError.
    """
    page: int | None = 1
    seen: set[tuple[str, str | None]] = set()
    while page is not None:
        answer = ask_repair(target, ask="history", model=model, since=since, until=until, page=page)
        for row in answer["rows"]:
            # A request that is made meanwhile moves the others down the pages: some come twice.
            if (known := (row["request_id"], row["url"])) not in seen:
                seen.add(known)
                yield row
        page = answer.get("next")  # a function of an earlier release answers everything at once


def to_its_end(target: Target, **event: Any) -> int:
    """Ask for work that may take several calls, until it is done; how many it was done to. Raises CommandError."""
    number, more = 0, True
    while more:
        answer = ask_repair(target, **event)
        number, more = number + answer["number"], answer["more"]
    return number
