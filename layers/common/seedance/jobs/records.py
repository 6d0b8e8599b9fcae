"""What a job's record may hold, attribute by attribute. Pure.

Of some values there is no safe default, since money or a video hangs on them: a record with a bad one is not read at
all, and the error names the value.
"""

import math
from collections.abc import Mapping
from typing import Any

from seedance.aws.checks import LATEST, Check, any_of, between, is_count, is_text, list_of, map_of, number
from seedance.errors import BadRecord

MOST_USD = 1_000_000.0
"""An amount above this is no booking for one job."""

LONGEST_MEAN_SECONDS = 36_000.0
"""Ten times the provider's hour: the mean of a model's videos is below it, whatever was learnt."""

_SIGMAS = (0.05, 5.0)
"""What a spread can be; what is learnt stays between 0.15 and 3."""

_moment = between(0, LATEST)
_amount = between(0, MOST_USD)

_stored = map_of(is_text, "bucket", "key", "sha256")

_NEEDED: dict[str, Check] = {
    "job_id": is_text,
    "state": is_text,  # whether it is one of ours, the job says
    "source": is_text,
    "name": any_of(str),
    "folder": any_of(str),
    "model": any_of(str),
    "transport": any_of(str),
    "parameters": any_of(dict),
    "entered": map_of(_moment),
    "image": map_of(is_text, "bucket", "key"),
    "created_at": _moment,
    "updated_at": _moment,
    "reserved_usd": _amount,
    "settled_usd": _amount,
    "reserved_day": is_text,
    "settled_days": map_of(between(-MOST_USD, MOST_USD)),
    "request_id": is_text,
    "earlier_request_ids": list_of(is_text),
    "resubmitted": any_of(bool),
    "result_url": is_text,
    "video": lambda value: _stored(value) and number(value.get("bytes"), 0, 1e15) is not None,
}
"""What a job's record must have right, if it has it: for these there is no safe default."""

_NULLABLE = frozenset({"image", "reserved_usd", "reserved_day", "settled_usd", "request_id", "result_url", "video"})
"""Of those, the ones that may be null, which is the same as not there."""

_OPTIONAL: dict[str, Check] = {
    "fingerprint": is_text,
    "batch": is_text,
    "row": is_count,
    "expected_seconds": between(0, LONGEST_MEAN_SECONDS),
    "sigma": between(*_SIGMAS),
    "attempts": is_count,
    "turn_at": between(0, math.inf),
    "executions": is_count,
    "submitted_at": _moment,
    "gone_polls": is_count,
    "last_frame_url": is_text,
    "answer": is_text,
    "held_day": is_text,
    "metrics": map_of(between(0, LATEST)),
    "cost_usd": between(0, 1000),  # as answers.price
    "error": map_of(any_of(str), "code", "message"),
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
