"""Reads the provider's responses, in all of their variants. Pure."""

import ast
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
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
"""A request id that is safe in an address, a log and a table key. The provider's are UUIDs with 36 characters."""

HIGHEST_USD = 1000.0
"""A price above this is a mistake: the most expensive video of our models costs a few dollars."""

LONGEST_BODY = 100_000
"""The maximum length of a body in Python notation. With a prompt of 5000 characters and 18 addresses it has 40,000."""

EXCERPT_CHARACTERS = 500


class ProviderStatus(StrEnum):
    """All states of a request. Any other raises UnexpectedAnswer."""

    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Answer:
    """A complete HTTP response, from either client. The names in ``headers`` are in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    fault: str = ""
    """Why ``body`` is incomplete, such as ``it is larger than 1 MB``."""

    @property
    def said(self) -> Any:
        """The body parsed as JSON. None if it is not JSON or exceeds a limit."""
        return self._read[0]

    @property
    def unreadable(self) -> str:
        """Why the body can't be read as JSON, as text; "" if it can."""
        return self._read[1]

    @property
    def text(self) -> str:
        """The body as text, whether or not it is valid UTF-8."""
        return self.body.decode(errors="replace")

    @property
    def excerpt(self) -> str:
        """The start of the body, for the log."""
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
    """The status of a request, from one GET of its result."""

    status: ProviderStatus
    result: Result = field(default_factory=Result)
    """The video's address, once COMPLETED."""
    error: str | None = None
    cost_usd: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    """``inference``, ``queue`` and ``total``, in the provider's seconds."""

    @property
    def output(self) -> str | None:
        """The video's address. None if the response has no usable one."""
        return self.result.video

    @property
    def last_frame(self) -> str | None:
        """The address of the last frame, if the response has one."""
        return self.result.last_frame


@dataclass(frozen=True)
class HistoryRow:
    """One row of the provider's history, which outlasts the request's record by days."""

    request_id: str
    """"" if the row has no readable id. It still stands for somebody's request."""
    status: str
    """COMPLETED, FAILED, or another word if the request has not ended."""
    body: dict[str, object] | None
    """What was sent. None if it can't be read. Only for comparison, because it is not masked."""
    url: str | None
    """The video's address, on any host. None if the row is that of a last frame."""
    error: str | None
    cost_usd: float | None
    created_at: float | None
    """When the provider accepted the request, as a Unix time."""
    model: str | None = None
    """The model's name, None if the row has none."""


def moment(text: object) -> float | None:
    """A time from the provider (ISO 8601, UTC if it has no time zone) as a Unix time. None if invalid."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def day_of(moment: float) -> str:
    """The UTC day of a Unix time, as the history's queries name it."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def request_id(answer: object) -> str | None:
    """The request id in the response to a submit. None if there is no usable id, or two different ones."""
    found = usable_id(answer.get("request_id")) if isinstance(answer, dict) else None
    return None if found is None or others(answer, found) else found


def usable_id(found: object) -> str | None:
    """The request id unchanged if it can be used in an address and stored, else None."""
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def others(answer: object, request_id: str) -> set[str]:
    """The other requests that a response names, in its id and its addresses, besides ``request_id``."""
    if not isinstance(answer, dict):
        return set()
    named = {str(answer["request_id"])} if answer.get("request_id") not in (None, "") else set()
    for name in ("status_url", "response_url", "poll_url"):
        if isinstance(answer.get(name), str) and (found := re.search(r"/requests/([^/?#]+)", answer[name])):
            named.add(unquote(found[1]))
    return {name for name in named if name.strip().lower() != request_id.lower()}


def standing(answer: Mapping[str, object]) -> Standing:
    """The status in the response to a GET of a result. Raises UnexpectedAnswer if the status is not documented."""
    word = answer["status"]
    try:
        status = ProviderStatus(str(word).upper())
    except ValueError:
        raise UnexpectedAnswer(f"The provider returned the undocumented status {word!r}.") from None
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


def single_row(answer: object) -> object:
    """The row in the response about one request: the response itself, or the first one that it contains."""
    if isinstance(answer, dict) and "request_id" in answer:
        return answer
    inside = answer.get("data") if isinstance(answer, dict) else answer
    return inside[0] if isinstance(inside, list) and inside else inside


def pages(answer: object) -> int | None:
    """The number of pages that a history response gives. None if it gives none."""
    count = answer.get("total_pages") if isinstance(answer, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def history_row(row: object, hosts: Collection[str] = ()) -> HistoryRow:
    """One row of the history, whatever its form. ``hosts``: see links.check."""
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


def merged(rows: Iterable[HistoryRow]) -> list[HistoryRow]:
    """Merge the rows of each request: the history has one per output, with the image's before or after the video's.

    A request with two different videos gets no address, because none is chosen. A row without an id is not merged.
    """
    requests: dict[str | int, list[HistoryRow]] = {}
    for number, row in enumerate(rows):
        requests.setdefault(row.request_id or number, []).append(row)
    return [_merged(some) if len(some) > 1 else some[0] for some in requests.values()]


def request_body(said: object) -> dict[str, object] | None:
    """What was sent, from a row of the history: an object, JSON text, or a string in Python notation.

    None if it is none of these, or empty.
    """
    for _ in range(3):  # JSON may be inside a JSON string
        if isinstance(said, str):
            said = _read(said)
    return said if isinstance(said, dict) and said else None


def balance(answer: object) -> float | None:
    """The balance in a response about credits, in USD, with the free ones. None if it has none."""
    given = answer if isinstance(answer, dict) else {}
    amounts = [_number(given.get(name)) for name in ("credits", "free-credits")]
    known = [amount for amount in amounts if amount is not None]
    return round(sum(known), 6) if known else None


def _merged(rows: list[HistoryRow]) -> HistoryRow:
    over = [row for row in rows if row.status in (ProviderStatus.COMPLETED, ProviderStatus.FAILED)]
    first = next((row for row in over if row.url), (over or rows)[0])
    prices = [row.cost_usd for row in rows if row.cost_usd is not None]
    return replace(
        first,
        body=next((row.body for row in rows if row.body), None),
        url=links.only_video(row.url for row in rows),
        cost_usd=max(prices, default=None),  # each row has the price of the whole request
    )


def _read(text: str) -> Any:
    try:
        return bodies.parsed(text.encode(errors="replace"))
    except bodies.Unreadable:
        pass
    try:
        if len(text) <= LONGEST_BODY:
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # all documented errors
        pass
    return None


def price(value: object) -> float | None:
    """A plausible price of one video in USD. None for anything else, which counts as not reported."""
    number = _number(value)
    return number if number is not None and 0 <= number <= HIGHEST_USD else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
