"""What the provider's answers say, whatever shape they come in. Pure."""

import ast
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from seedance import masking
from seedance.errors import UnexpectedAnswer
from seedance.provider import bodies, links
from seedance.provider.links import Result, Sent
from seedance.provider.sentences import sentence

_ID = re.compile(r"(?=[_.:-]*[A-Za-z0-9])[A-Za-z0-9_.:-]{1,128}")
"""A request id that may stand in an address, a log and a table's key. The provider's own are UUIDs of 36 letters."""

DEAREST_USD = 1000.0
"""A price above this is a mistake: the most expensive video of our models costs a few dollars."""

LONGEST_BODY = 100_000
"""Characters of a body in Python's notation that are read. A prompt of 5000 letters and 18 addresses have 40 000."""

EXCERPT_CHARACTERS = 500


class ProviderStatus(StrEnum):
    """The closed set of a request's states; anything else raises UnexpectedAnswer."""

    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Answer:
    """An answer on HTTP, all of it, whichever client brought it. The names of ``headers`` are in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    fault: str = ""
    """Why ``body`` is not the whole of it: ``it is longer than 1 MB``."""

    @property
    def said(self) -> Any:
        """The body as JSON; None if it is none, or too much of it."""
        return self._read[0]

    @property
    def unreadable(self) -> str:
        """Why the body can't be read as JSON, in words; "" if it can."""
        return self._read[1]

    @property
    def text(self) -> str:
        """The body as text, in whatever state it is."""
        return self.body.decode(errors="replace")

    @property
    def excerpt(self) -> str:
        """The beginning of the body, for the log."""
        return masking.signatures(self.text[:EXCERPT_CHARACTERS])

    @cached_property
    def _read(self) -> tuple[Any, str]:
        if self.fault:
            return None, self.fault
        try:
            return bodies.parsed(self.body), ""
        except bodies.Unreadable as error:
            return None, str(error)


@dataclass(frozen=True)
class Standing:
    """How a request stands: the answer to one GET of its result."""

    status: ProviderStatus
    result: Result = field(default_factory=Result)
    """Where the video is, once COMPLETED."""
    error: str | None = None
    cost_usd: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """``inference``, ``queue`` and ``total``, in the provider's seconds."""

    @property
    def output(self) -> str | None:
        """The video's address; None where the answer has none, or none that may be followed."""
        return self.result.video

    @property
    def last_frame(self) -> str | None:
        """The address of the last frame, if the answer has one."""
        return self.result.last_frame


@dataclass(frozen=True)
class HistoryRow:
    """One request as the provider's history shows it, days after its record is gone."""

    request_id: str
    """"" where the row has none, or none that can be read: it is somebody's request all the same."""
    status: str
    """COMPLETED, FAILED, or a word for "not over yet"."""
    body: dict[str, Any] | None
    """What was sent; None where that can't be read. For comparing only: it is not masked."""
    url: str | None
    """The video's address, on whatever host. None where the row is a last frame's."""
    error: str | None
    cost_usd: float | None
    created_at: float | None
    """When the provider took it, as a Unix time."""
    model: str | None = None
    """The model's name; None where the row does not say."""


def moment(text: object) -> float | None:
    """A time of the provider's, ISO 8601 and UTC where it does not say, as a Unix time."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def request_id(answer: object) -> str | None:
    """The id in a submit's answer; None when there is none that can be asked for and stored, or there are two."""
    found = usable_id(answer.get("request_id")) if isinstance(answer, dict) else None
    return None if found is None or others(answer, found) else found


def usable_id(found: object) -> str | None:
    """A request id as it was given; None where it is none that can be asked for and stored."""
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def others(answer: object, request_id: str) -> set[str]:
    """The requests that an answer is about, by its id and its addresses, other than the one that was asked for."""
    if not isinstance(answer, dict):
        return set()
    named = {str(answer["request_id"])} if answer.get("request_id") not in (None, "") else set()
    for name in ("status_url", "response_url", "poll_url"):
        if isinstance(answer.get(name), str) and (found := re.search(r"/requests/([^/?#]+)", answer[name])):
            named.add(unquote(found[1]))
    return {name for name in named if name.strip().lower() != request_id.lower()}


def standing(answer: dict[str, Any]) -> Standing:
    """An answer to a GET of a result. Raises UnexpectedAnswer for a status that no document has."""
    word = answer["status"]
    try:
        status = ProviderStatus(str(word).upper())
    except ValueError:
        raise UnexpectedAnswer(f"The provider reports the status {word!r}, which it does not document.") from None
    metrics = answer.get("metrics")
    metrics = metrics if isinstance(metrics, dict) else {}
    return Standing(
        status,
        error=sentence(answer.get("error")),
        cost_usd=price(metrics.get("cost")),
        metrics={
            name: number
            for name in ("inference", "queue", "total")
            if (number := _number(metrics.get(f"{name}_time"))) is not None
        },
    )


def history_rows(answer: object) -> list[Any] | None:
    """The rows of a page of the history; None when there are none to be found in the answer."""
    if isinstance(answer, dict):
        answer = next((answer[name] for name in ("data", "results", "items", "requests") if name in answer), None)
    return answer if isinstance(answer, list) else None


def pages(answer: object) -> int | None:
    """How many pages the history says that it has; None when it does not say."""
    count = answer.get("total_pages") if isinstance(answer, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def history_row(row: object, hosts: Collection[str] = ()) -> HistoryRow:
    """One row of the history, whatever it looks like. ``hosts``: see links.check."""
    if not isinstance(row, dict):
        return HistoryRow("", "", None, None, None, None, None)
    body = request_body(row.get("request_body"))
    result = links.read(row.get("generation_url"), hosts, Sent.of([row.get("request_body"), body]))
    return HistoryRow(
        row["request_id"] if isinstance(row.get("request_id"), str) else "",
        str(row.get("model_status", "")).upper(),
        body,
        result.video or result.elsewhere,
        sentence(row.get("error")),
        price(row.get("credits_deduction")),
        moment(row.get("created_at") or row.get("model_created")),
        row["model_name"] if isinstance(row.get("model_name"), str) else None,
    )


def request_body(said: object) -> dict[str, Any] | None:
    """What was sent, as a row of the history repeats it: an object, JSON text, or a string in Python's notation.

    None where it is none of them, or empty.
    """
    for _ in range(3):  # JSON may be in a string of JSON
        if isinstance(said, str):
            said = _read(said)
    return said if isinstance(said, dict) and said else None


def _read(text: str) -> Any:
    try:
        return bodies.parsed(text.encode(errors="replace"))
    except bodies.Unreadable:
        pass
    try:
        if len(text) <= LONGEST_BODY:
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # all that it documents
        pass
    return None


def price(value: object) -> float | None:
    """A price in USD that one video can have; None for anything else, which then counts as not reported."""
    number = _number(value)
    return number if number is not None and 0 <= number <= DEAREST_USD else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
