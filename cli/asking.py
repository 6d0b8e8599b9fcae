"""Invokes the repair function, for people's decisions about jobs and for the provider's history."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from cli import progress
from cli.target import CommandError, Target

if TYPE_CHECKING:  # the module imports the provider's client, which no command needs
    from seedance.upkeep.questions import Answer, Question, ShownRequest

MOST_PAGES = 2000
"""200,000 requests of one model: more than anybody buys in a day."""

ANSWER_SECONDS = 270.0
"""How long to wait for the repair function: its timeout of 240 s plus a cold start."""

_WORDS = {
    "history": "reading the provider's history",
    "requests of": "reading the provider's history",
    "unowned": "reading the provider's history",
    "release": "releasing held jobs",
    "resume": "releasing held jobs",
    "redrive": "putting messages back",
}


class NeedsPayment(CommandError):
    """A retry would buy the video again. ``usd`` is its estimate."""

    def __init__(self, message: str, usd: float) -> None:
        super().__init__(message)
        self.usd = usd


def ask_repair(target: Target, **question: "Unpack[Question]") -> "Answer":
    """Invoke the repair function, which has the provider's key and the rules about money.

    Raises CommandError if it refuses, NeedsPayment if it would have to buy a video.

    The call is never retried: after a client timeout, a retry would run the function twice at the same time.
    """
    with progress.working(_WORDS.get(question["ask"], "asking the stack")):
        said: Answer = _invoke(target, "RepairFunctionName", question)
    if "needs_usd" in said:
        raise NeedsPayment(said["error"], said["needs_usd"])
    if "error" in said:
        raise CommandError(said["error"])
    return said


def reconcile(target: Target) -> dict[str, int]:
    """Run a round of reconcile now and return what it did. Raises CommandError."""
    with progress.working("running a round of reconcile"):
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


@dataclass(frozen=True)
class Done:
    """What a repeated request did: the number of items, and for ``release`` those that do not fit in the budget."""

    number: int
    left: int = 0
    left_usd: float = 0.0
    room_usd: float | None = None
    budget_usd: float | None = None


def to_its_end(target: Target, ask: str) -> Done:
    """Repeat a request until all its work is done. Raises CommandError."""
    done = Done(0)
    more, since = True, 0.0
    while more:
        answer = ask_repair(target, since=since, room_usd=done.room_usd, ask=ask)
        more, since = answer["more"], answer["since"]
        done = Done(
            done.number + answer["number"],
            done.left + answer.get("left", 0),
            done.left_usd + answer.get("left_usd", 0.0),
            answer.get("room_usd"),
            answer.get("budget_usd"),
        )
    return done
