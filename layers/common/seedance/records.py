"""What a stored value may be: checked when it is read, whoever wrote it. Pure.

A value that can not be is dropped, and the reader's safe default takes its place. Of a job's record some values have
none, since money or a video hangs on them: such a record is not read at all, and the error names the value.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from seedance.errors import BadRecord

LATEST = 1e11
"""A moment beyond this is no Unix time in seconds (it is in the year 5138)."""

MOST_USD = 1_000_000.0
"""An amount above this is no booking for one job."""

LONGEST_MEAN_SECONDS = 36_000.0
"""Ten times the provider's hour: the mean of a model's videos is below it, whatever was learnt."""

_SIGMAS = (0.05, 5.0)
"""What a spread can be; what is learnt stays between 0.15 and 3."""

MOST_ROWS = 100
"""Of a chunk of a plan: what is read from the table at once."""

Check = Callable[[Any], bool]


def number(value: object, least: float, most: float) -> float | None:
    """The value if it is a number in these bounds, else None. True is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if least <= value <= most else None  # NaN is in no bounds


def whole(value: object, least: int, most: int) -> int | None:
    """The value if it is a whole number in these bounds, else None."""
    found = number(value, least, most)
    return int(found) if found is not None and float(found).is_integer() else None


def text(value: object) -> str | None:
    """The value if it is text with something in it, else None."""
    return value if isinstance(value, str) and value else None


def _any_of(*kinds: type) -> Check:
    return lambda value: isinstance(value, kinds)


def _between(least: float, most: float) -> Check:
    return lambda value: number(value, least, most) is not None


def _counts(value: object) -> bool:
    return whole(value, 0, 1_000_000) is not None


def _is_text(value: object) -> bool:
    return text(value) is not None


def _map_of(check: Check, *needed: str) -> Check:
    def holds(value: Any) -> bool:
        if not isinstance(value, dict) or not set(needed) <= set(value):
            return False
        return all(check(value[name]) for name in needed or value)

    return holds


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


_moment = _between(0, LATEST)
_amount = _between(0, MOST_USD)

_stored = _map_of(_is_text, "bucket", "key", "sha256")

_NEEDED: dict[str, Check] = {
    "job_id": _is_text,
    "state": _is_text,  # whether it is one of ours, the job says
    "source": _is_text,
    "name": _any_of(str),
    "folder": _any_of(str),
    "model": _any_of(str),
    "transport": _any_of(str),
    "parameters": _any_of(dict),
    "entered": _map_of(_moment),
    "image": _map_of(_is_text, "bucket", "key"),
    "created_at": _moment,
    "updated_at": _moment,
    "reserved_usd": _amount,
    "settled_usd": _amount,
    "reserved_day": _is_text,
    "settled_days": _map_of(_between(-MOST_USD, MOST_USD)),
    "request_id": _is_text,
    "earlier_request_ids": _list_of(_is_text),
    "resubmitted": _any_of(bool),
    "result_url": _is_text,
    "video": lambda value: _stored(value) and number(value.get("bytes"), 0, 1e15) is not None,
}
"""What a job's record must have right, if it has it: for these there is no safe default."""

_NULLABLE = frozenset({"image", "reserved_usd", "reserved_day", "settled_usd", "request_id", "result_url", "video"})
"""Of those, the ones that may be null, which is the same as not there."""

_OPTIONAL: dict[str, Check] = {
    "fingerprint": _is_text,
    "batch": _is_text,
    "row": _counts,
    "expected_seconds": _between(0, LONGEST_MEAN_SECONDS),
    "sigma": _between(*_SIGMAS),
    "attempts": _counts,
    "turn_at": _between(0, math.inf),
    "executions": _counts,
    "submitted_at": _moment,
    "gone_polls": _counts,
    "last_frame_url": _is_text,
    "answer": _is_text,
    "held_day": _is_text,
    "metrics": _map_of(_between(0, LATEST)),
    "cost_usd": _between(0, 1000),  # as answers.price
    "error": _map_of(_any_of(str), "code", "message"),
    "notified_at": _moment,
    "expires_at": _moment,
}


def job(record: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values of a job's record that can be, and the names of those that were dropped. Raises BadRecord."""
    values: dict[str, Any] = {}
    dropped = []
    for name, value in record.items():
        if value is None and (name in _OPTIONAL or name in _NULLABLE):
            continue
        if name in _NEEDED and (value is None or not is_usable(name, value)):
            raise BadRecord(str(record.get("job_id")), name, value)
        if is_usable(name, value):
            values[name] = value
        else:
            dropped.append(name)
    return values, dropped


def is_usable(name: str, value: object) -> bool:
    """Whether an attribute of a job's record can have this value."""
    check = _NEEDED.get(name) or _OPTIONAL.get(name)
    return value is None or check is None or check(value)


def planned_row(row: object) -> str | None:
    """What is wrong with a line of a batch's plan, by its field; None when it can be worked with."""
    if not isinstance(row, dict):
        return "line"
    checks: dict[str, Check] = {"row": lambda value: whole(value, 1, 1_000_000) is not None, "columns": _any_of(dict)}
    if "error" in row:
        checks["error"] = _any_of(str)
    else:
        image: Check = _map_of(_is_text, "bucket", "key", "content_type")
        checks |= {"model": _is_text, "transport": _is_text, "parameters": _any_of(dict)}
        checks["image"] = lambda value: value is None or image(value)
    return next((name for name, check in checks.items() if name not in row or not check(row[name])), None)


def chunk(value: object) -> tuple[int, int, int, int] | None:
    """A plan's chunk, if it is one: the bytes where it begins and ends, and its first and last row."""
    if not isinstance(value, (list, tuple)) or len(value) != 4:
        return None
    begins, ends, first, last = (whole(part, 0, 10**12) for part in value)
    if begins is None or ends is None or first is None or last is None:
        return None
    return (begins, ends, first, last) if begins <= ends and 1 <= first <= last < first + MOST_ROWS else None
