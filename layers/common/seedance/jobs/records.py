"""The valid values of each attribute of a job's record. Pure.

Some values have no safe default, because money or a video depends on them. A record with an invalid one can't be read,
and the error names the value.
"""

import math
from collections.abc import Mapping
from typing import Any

from seedance.aws.checks import LATEST, Check, any_of, between, is_count, is_text, list_of, map_of, number
from seedance.aws.fields import OBJECT_KEY_BYTES
from seedance.errors import BadRecord
from seedance.jobs.tokens import is_token

MOST_USD = 1_000_000.0
"""A larger amount can't be a booking for one job."""

LONGEST_MEAN_SECONDS = 36_000.0
"""Ten times the provider's hour. The learned mean duration of a model's videos is always below it."""

_SIGMAS = (0.05, 5.0)
"""The limit of a spread. Learned values are between 0.15 and 3."""

_moment = between(0, LATEST)
_amount = between(0, MOST_USD)

_image = map_of(is_text, "bucket", "key")
_stored = map_of(is_text, "bucket", "key", "sha256")


def _has_key(value: Any) -> bool:
    """Whether the ``key`` of a file can be one in S3. A longer one makes no link."""
    return len(value["key"].encode()) <= OBJECT_KEY_BYTES


def _is_past_reason(value: Any) -> bool:
    if not map_of(any_of(str), "state", "code", "message")(value) or not map_of(_moment, "at")(value):
        return False
    checks = {"attempt": is_count, "times": is_count, "last_at": _moment}
    return all(check(value[name]) for name, check in checks.items() if name in value)


def _is_retry(value: Any) -> bool:
    """Whether a retry is as the API writes it. An edited one is dropped, so that nothing is bought for it."""
    if not map_of(_moment, "asked_at")(value) or not map_of(any_of(bool), "pay")(value):
        return False
    checks = {"max_usd": _amount, "ended_at": _moment, "said": any_of(str), "estimate_usd": _amount}
    return all(check(value[name]) for name, check in checks.items() if name in value)


_NEEDED: dict[str, Check] = {
    "job_id": is_text,
    "state": is_text,  # Job checks that it is a known state
    "source": is_text,
    "name": any_of(str),
    "folder": any_of(str),
    "model": any_of(str),
    "transport": any_of(str),
    "parameters": any_of(dict),
    "entered": map_of(_moment),
    "image": lambda value: _image(value) and _has_key(value),
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
    "video": lambda value: _stored(value) and _has_key(value) and number(value.get("bytes"), 0, 1e15) is not None,
}
"""Attributes that must be valid if they are present, because they have no safe default."""

_NULLABLE = frozenset({"image", "reserved_usd", "reserved_day", "settled_usd", "request_id", "result_url", "video"})
"""Those of them that may be null, which means absent."""

_OPTIONAL: dict[str, Check] = {
    "notes": list_of(is_text),
    "fingerprint": is_text,
    "batch": is_text,
    "row": is_count,
    "month": is_text,
    "expected_seconds": between(0, LONGEST_MEAN_SECONDS),
    "sigma": between(*_SIGMAS),
    "attempts": is_count,
    "turn_at": between(0, math.inf),
    "executions": is_count,
    "submitted_at": _moment,
    "gone_polls": is_count,
    "result_at": _moment,
    "copied_again": any_of(bool),
    "last_frame_url": is_text,
    "answer": is_text,
    "held_day": is_text,
    "metadata": map_of(any_of(str)),
    "metrics": map_of(between(0, LATEST)),
    "cost_usd": between(0, 1000),  # as answers.price
    "error": map_of(any_of(str), "code", "message"),
    "past_reasons": list_of(_is_past_reason),
    "retry": _is_retry,
    "notified_at": _moment,
    "link_token": lambda value: isinstance(value, str) and is_token(value),
    "link_until": _moment,
    "expires_at": _moment,
}


def job(record: Mapping[str, object]) -> tuple[dict[str, Any], list[str]]:
    """The valid values of a job's record, and the names of the dropped invalid ones. Raises BadRecord."""
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
    """Whether this value is valid for an attribute of a job's record."""
    check = _NEEDED.get(name) or _OPTIONAL.get(name)
    return value is None or check is None or check(value)
