"""GET /videos: the stack's jobs, newest first, page by page."""

import base64
import difflib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypedDict

from seedance import bounds
from seedance.aws.checks import LATEST
from seedance.aws.fields import is_table_key
from seedance.errors import InvalidRequest
from seedance.jobs.by_month import ByMonth, Filters, Position, by_month
from seedance.jobs.job import State
from seedance.rest.views import ListedVideo, listed

USUAL, MOST = 20, 100
"""How many jobs a page has, by default and at most."""

SOURCES = ("upload", "api", "batch", "adopted")
LONGEST_TEXT = 1024
"""The longest value of a filter, in characters."""

LONGEST_CURSOR = 4096

_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_NUMBER = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")
_ZONE = re.compile(r"(?<=[0-9]) (?=[0-9]{2}:?[0-9]{2}$)")


class VideoList(TypedDict):
    """A page of jobs, newest first. It may have fewer jobs than asked for, even none, although there are more."""

    videos: list[ListedVideo]
    next_cursor: str | None
    """The `cursor` of the next page, with the same filters. null: this was the last page."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of the query: how its text is read, its JSON Schema, and what it is for."""

    read: Callable[[str, str], Any]
    schema: Mapping[str, Any]
    about: str


def _text(name: str, value: str) -> str:
    if not 0 < len(value) <= LONGEST_TEXT:
        raise InvalidRequest(name, f"must be text of 1 to {LONGEST_TEXT} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(name, "must be UTF-8") from None
    return value


def _states(name: str, value: str) -> tuple[State, ...]:
    known = {state.value for state in State}
    named = dict.fromkeys(part.strip() for part in value.split(","))
    if wrong := [one for one in named if one not in known]:
        what = f"must be one or more of {', '.join(State)}, separated by commas; not {bounds.shown(wrong[0])!r}"
        raise InvalidRequest(name, what, allowed=[state.value for state in State])
    return tuple(State(one) for one in named)


def _source(name: str, value: str) -> str:
    if value not in SOURCES:
        raise InvalidRequest(name, f"must be {', '.join(SOURCES[:-1])} or {SOURCES[-1]}", allowed=SOURCES)
    return value


def _moment(name: str, value: str) -> float:
    """Unix seconds from ISO 8601; without a zone, UTC. An unescaped + in a query arrives as a space."""
    try:
        moment = datetime.fromisoformat(_ZONE.sub("+", value.strip()[:64]))
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        seconds = -1.0
    if not 0 <= seconds <= LATEST:
        words = "a time in ISO 8601, such as 2026-11-20T09:30:00Z"
        raise InvalidRequest(name, f"must be {words}", allowed=words)
    return seconds


def _limit(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", value) or not 1 <= int(value) <= MOST:
        words = f"a whole number from 1 to {MOST}"
        raise InvalidRequest(name, f"must be {words}", allowed=words)
    return int(value)


_TEXT = {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}
_TIME = {"type": "string", "format": "date-time"}

PARAMETERS: Mapping[str, Parameter] = {
    "state": Parameter(
        _states,
        {"type": "array", "items": {"type": "string", "enum": [state.value for state in State]}, "minItems": 1},
        "Jobs in one of these states, separated by commas.",
    ),
    "model": Parameter(_text, _TEXT, "Jobs of this model."),
    "source": Parameter(
        _source,
        {"type": "string", "enum": list(SOURCES)},
        f"Jobs from {', '.join(SOURCES[:-1])} or {SOURCES[-1]}.",
    ),
    "batch": Parameter(_text, _TEXT, "Jobs of the batch with this id."),
    "name_prefix": Parameter(_text, _TEXT, "Jobs whose name begins with this text."),
    "created_since": Parameter(_moment, _TIME, "Jobs created at this time or later. Without a zone: UTC."),
    "created_before": Parameter(_moment, _TIME, "Jobs created before this time."),
    "updated_since": Parameter(
        _moment,
        _TIME,
        "Jobs that changed at this time or later. For a program that asks regularly: use the time of its last call, "
        "less a minute, because the list may lag a little.",
    ),
    "limit": Parameter(
        _limit,
        {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL},
        "The most jobs on a page.",
    ),
    "cursor": Parameter(
        lambda _, value: value,
        {"type": "string", "maxLength": LONGEST_CURSOR},
        "`next_cursor` of the page before, with the same filters.",
    ),
}
"""The parameters of the query. Any other is refused, because a misspelt filter would be a list of everything."""


@dataclass(frozen=True)
class Listing:
    """The use case and its dependency."""

    index: ByMonth

    def page(self, given: Mapping[str, str]) -> VideoList:
        """The page that the query's parameters ask for. Raises InvalidRequest."""
        check_names(given, PARAMETERS)
        read = {name: PARAMETERS[name].read(name, value) for name, value in given.items()}
        limit, cursor = read.pop("limit", USUAL), read.pop("cursor", None)
        wanted = Filters(states=read.pop("state", ()), **read)
        since, before = wanted.created_since, wanted.created_before
        if since is not None and before is not None and since >= before:
            raise InvalidRequest("created_before", "must be later than created_since")
        page = self.index.page(wanted, limit, None if cursor is None else _position(cursor, wanted))
        return {
            "videos": [listed(job) for job in page.jobs],
            "next_cursor": None if page.next is None else _cursor(page.next, wanted),
        }


def check_names(given: Mapping[str, str], known: Iterable[str]) -> None:
    """Raises InvalidRequest if a parameter of the query is not known."""
    names = list(known)
    for name in given:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            what = f"is not a parameter of this call{hint}; allowed: {', '.join(names)}"
            raise InvalidRequest(name, what, allowed=names)


def _digest(wanted: Filters) -> str:
    """A digest of the filters, so that a cursor is not used with others: it would skip or repeat jobs unnoticed."""
    return hashlib.sha256(json.dumps(asdict(wanted), sort_keys=True).encode()).hexdigest()[:12]


def _cursor(position: Position, wanted: Filters) -> str:
    parts = [_digest(wanted), position.month]
    if position.created_at is not None and position.job_id is not None:
        parts += [position.created_at, position.job_id]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _position(cursor: str, wanted: Filters) -> Position:
    """The position in a cursor. Raises InvalidRequest if we can't have made it for these filters."""
    wrong = InvalidRequest("cursor", "must be next_cursor of the page before, unchanged")
    try:
        parts = json.loads(base64.b64decode(cursor[:LONGEST_CURSOR] + "===", altchars=b"-_", validate=False))
    except (ValueError, RecursionError):
        raise wrong from None
    if not isinstance(parts, list) or len(parts) not in (2, 4) or not all(isinstance(part, str) for part in parts):
        raise wrong
    digest, month, *key = parts
    if not _MONTH.fullmatch(month):
        raise wrong
    if digest != _digest(wanted):
        raise InvalidRequest("cursor", "belongs to other filters; repeat the filters of the page before")
    if not key:
        return Position(month)
    created_at, job_id = key
    since, last = wanted.span
    if not _NUMBER.fullmatch(created_at) or not since <= float(created_at) <= last or not is_table_key(job_id):
        raise wrong
    return Position(month, created_at, job_id)


@cache
def listing() -> Listing:
    """The use case, configured for this stack."""
    return Listing(by_month())
