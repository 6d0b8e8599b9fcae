"""Invokes the repair function, for people's decisions about jobs and for the provider's history."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from cli.target import CommandError, Target

if TYPE_CHECKING:  # the module imports the provider's client, which no command needs
    from seedance.questions import Question
    from seedance.repair import Answer, ShownRequest

MOST_PAGES = 2000
"""200,000 requests of one model: more than anybody buys in a day."""

ANSWER_SECONDS = 270.0
"""How long to wait for the repair function: its timeout of 240 s plus a cold start."""


def ask_repair(target: Target, **question: "Unpack[Question]") -> "Answer":
    """Invoke the repair function, which has the provider's key and the rules about money.

    Raises CommandError if it refuses.

    The call is never retried: after a client timeout, a retry would run the function twice at the same time.
    """
    said: Answer = _invoke(target, "RepairFunctionName", question)
    if "error" in said:
        raise CommandError(said["error"])
    return said


def reconcile(target: Target) -> dict[str, int]:
    """Run a round of reconcile now and return what it did. Raises CommandError."""
    return dict(_invoke(target, "ReconcileFunctionName", {})["done"])


def _invoke(target: Target, output: str, event: Mapping[str, object]) -> Any:
    answer = target.client("lambda", ANSWER_SECONDS).invoke(
        FunctionName=target.output(output), Payload=json.dumps(event).encode()
    )
    said = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise CommandError(f"the function crashed: {said.get('errorMessage', said)}")
    return said


def redrive_events(target: Target) -> int:
    """Announce again what could not be announced, and send webhooks again. Returns their number.

    Raises CommandError.
    """
    number, more = 0, "AnnounceFunctionName" in target.outputs  # a stack of an earlier release announces nothing
    question = {"ask": "redrive"}
    while more:
        answer = _invoke(target, "AnnounceFunctionName", question)
        number, more = number + answer["number"], answer["more"]
        question["run"] = answer["run"]
    return number


def history(target: Target, model: str, since: float, until: float) -> "Iterator[ShownRequest]":
    """The provider's history of a model between two Unix times, in the form that repair returns.

    Calls repair once for each part of the history. Raises CommandError.
    """
    page: int | None = 1
    seen: set[tuple[str, str | None]] = set()
    while page is not None:
        if page > MOST_PAGES:
            raise CommandError(f"the history of {model} does not end: it continues after page {MOST_PAGES}")
        answer = ask_repair(target, ask="history", model=model, since=since, until=until, page=page)
        for row in answer["rows"]:
            # A request that is made in the meantime shifts the pages, so some rows are returned twice.
            if (known := (row["request_id"], row["url"])) not in seen:
                seen.add(known)
                yield row
        page = answer["next"]


def index_all(target: Target) -> Iterator[int]:
    """Repeat the request to index jobs until there are none left. Yields how many were added so far, after each call.

    Raises CommandError.
    """
    number, more, step, since = 0, True, 0, 0.0
    while more:
        answer = ask_repair(target, ask="index", step=step, since=since)
        number, more, step, since = number + answer["number"], answer["more"], answer["step"], answer["since"]
        yield number


def to_its_end(target: Target, ask: str) -> int:
    """Repeat a request until all its work is done. Returns the number of items processed. Raises CommandError."""
    number, more, since = 0, True, 0.0
    while more:
        answer = ask_repair(target, since=since, ask=ask)
        number, more, since = number + answer["number"], answer["more"], answer["since"]
    return number
