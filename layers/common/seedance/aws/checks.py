"""Checks stored values when they are read, because anybody may have edited them. Pure.

An invalid value is dropped, and the reader uses its safe default instead.
"""

from collections.abc import Callable
from typing import Any

LATEST = 1e11
"""A number above this is not a Unix time in seconds (it would be in the year 5138)."""

Check = Callable[[Any], bool]


def number(value: object, least: float, most: float) -> float | None:
    """The value if it is a number within these bounds, else None. Booleans are not numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if least <= value <= most else None  # false for NaN


def whole(value: object, least: int, most: int) -> int | None:
    """The value if it is a whole number within these bounds, else None."""
    found = number(value, least, most)
    return int(found) if found is not None and float(found).is_integer() else None


def text(value: object) -> str | None:
    """The value if it is non-empty text, else None."""
    return value if isinstance(value, str) and value else None


def count_or_zero(value: object) -> int:
    """The value if it is a count, else 0."""
    return whole(value, 0, 1_000_000) or 0


def any_of(*kinds: type) -> Check:
    """A check that a value has one of these types."""
    return lambda value: isinstance(value, kinds)


def between(least: float, most: float) -> Check:
    """A check that a value is a number within these bounds."""
    return lambda value: number(value, least, most) is not None


def is_count(value: object) -> bool:
    """Whether the value is a count."""
    return whole(value, 0, 1_000_000) is not None


def is_text(value: object) -> bool:
    """Whether the value is non-empty text."""
    return text(value) is not None


def map_of(check: Check, *needed: str) -> Check:
    """A check for a map whose values pass ``check``. With ``needed``, only those keys are required and checked."""

    def holds(value: Any) -> bool:
        if not isinstance(value, dict) or not set(needed) <= set(value):
            return False
        return all(check(value[name]) for name in needed or value)

    return holds


def list_of(check: Check) -> Check:
    """A check for a list whose values pass ``check``."""
    return lambda value: isinstance(value, list) and all(map(check, value))
