"""Questions to the repair function: what each needs, and their checks. And the types of its answers. Pure.

Anyone who may invoke the function can ask anything, by the `seedance` command or by hand. Some questions buy a video,
so a value of the wrong type is never converted: the text "no" is not false.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Required, TypedDict, cast

from seedance import bounds
from seedance.aws.checks import LATEST, Check, any_of, between, whole
from seedance.errors import InvalidRequest, NotPossible
from seedance.jobs.budget import MOST_A_DAY_USD
from seedance.jobs.retrying import LEAST_USD, MOST_USD

if TYPE_CHECKING:
    from seedance.upkeep.examining import Examined

LONGEST_LINK = 8192
"""Characters of a video's address. The provider's have about 100; a signed one has up to 2000."""

LONGEST_REASON = 500
"""Characters of the reason for a pause, which every held job and its notification repeat."""

LONGEST_ID = 2048
"""Characters of an id: DynamoDB's limit for a key. Whether an id exists is checked elsewhere."""


class ShownRequest(TypedDict):
    """A row of the provider's history for people: without the request body, but with the job that it names."""

    job_id: str | None
    request_id: str
    status: str
    url: str | None
    error: str | None
    cost_usd: float | None
    created_at: float | None
    model: str | None


class Question(TypedDict, total=False):
    """A command's request. ``QUESTIONS`` says what each ``ask`` needs."""

    ask: Required[str]
    job_id: str
    model: str
    request_id: str
    since: float
    until: float
    page: int
    pay: bool
    max_usd: float
    adopt: str | None
    link: str | None
    resubmit: bool
    give_up: bool
    reason: str | None
    batch_id: str
    room_usd: float | None
    step: int
    what: str


class Answer(TypedDict, total=False):
    """What Repair.answer returns for a question. ``next`` is the next page to request, None after the last."""

    error: str
    rows: list[ShownRequest]
    next: int | None
    incomplete: str | None
    state: str
    said: str
    requests: list[ShownRequest]
    job_id: str
    under_way: int
    fresh: bool
    number: int
    more: bool
    since: float
    step: int
    room_usd: float | None
    left: int
    left_usd: float
    budget_usd: float | None
    reason: str | None
    needs_usd: float
    examined: "Examined"


class _Field(NamedTuple):
    check: Check
    words: str
    needed: bool = True


def _text_of(most: int, *, needed: bool = True) -> _Field:
    def fits(value: object) -> bool:
        return isinstance(value, str) and 0 < len(value) <= most and bounds.is_well_formed(value)

    return _Field(fits, f"must be text of 1 to {most} characters", needed)


def _moment(*, needed: bool) -> _Field:
    return _Field(between(0, LATEST), "must be a Unix time in seconds", needed)


_ID, _MODEL, _SINCE = _text_of(LONGEST_ID), _text_of(100), _moment(needed=True)
_GO_ON = {"since": _moment(needed=False)}
_STEP = _Field(lambda value: whole(value, 0, 100) is not None, "must be a whole number", needed=False)
_LIMIT = _Field(between(LEAST_USD, MOST_USD), f"must be a number from {LEAST_USD:g} to {MOST_USD:g}", needed=False)
_FLAG = _Field(any_of(bool), "must be true or false", needed=False)
_BATCH = _Field(
    lambda value: isinstance(value, str) and re.fullmatch("batch-[0-9a-f]{32}", value) is not None,
    "must be a batch's id, such as batch-0123456789abcdef0123456789abcdef",
)

QUESTIONS: dict[str, dict[str, _Field]] = {
    "history": {
        "model": _MODEL,
        "since": _SINCE,
        "until": _SINCE,
        "page": _Field(lambda value: whole(value, 1, 1_000_000) is not None, "must be a whole number from 1 on"),
    },
    "requests of": {"job_id": _ID},
    "adopt": {"job_id": _ID, "request_id": _ID},
    "retry": {"job_id": _ID, "pay": _FLAG._replace(needed=True), "max_usd": _LIMIT},
    "resolve": {
        "job_id": _ID,
        "adopt": _text_of(LONGEST_ID, needed=False),
        "link": _text_of(LONGEST_LINK, needed=False),
        "resubmit": _FLAG,
        "give_up": _FLAG,
    },
    "cancel": {"job_id": _ID},
    "unowned": {"model": _MODEL, "since": _SINCE},
    "take over": {"model": _MODEL, "request_id": _ID},
    "go on": {},
    "pause": {"reason": _text_of(LONGEST_REASON, needed=False)},
    "resume": _GO_ON,
    "release": {**_GO_ON, "room_usd": _Field(between(0, MOST_A_DAY_USD), "must be an amount in USD", needed=False)},
    "redrive": _GO_ON,
    "index": {"step": _STEP, **_GO_ON},
    "restart": {"batch_id": _BATCH},
    "examine": {"what": _text_of(100), "request_id": _text_of(LONGEST_ID, needed=False)},
}
"""The fields of each question."""


def checked(question: object) -> Question:
    """The question's fields, without those that are null. Raises InvalidRequest, or NotPossible for an unknown one."""
    if not isinstance(question, Mapping):
        raise InvalidRequest("question", f"must be an object, not {type(question).__name__}")
    given = {name: value for name, value in question.items() if value is not None}
    ask = given.get("ask")
    fields = QUESTIONS.get(ask) if isinstance(ask, str) else None
    if fields is None:
        raise NotPossible(f"this release does not support the request {bounds.shown(ask)!r}")
    for name in given:
        if name != "ask" and name not in fields:
            raise NotPossible(f"this release does not support {bounds.shown(name)!r} in the request {ask!r}")
    for name, (check, words, needed) in fields.items():
        if name not in given:
            if needed:
                raise InvalidRequest(name, f"is missing; it {words}")
        elif not check(given[name]):
            raise InvalidRequest(name, f"{words}, not {bounds.shown(given[name])!r}")
    return cast(Question, given)
