"""Checks the lines and chunks of a batch's plan when they are read, because anybody may have edited them. Pure."""

from typing import NamedTuple, TypedDict, final

from seedance import bounds
from seedance.aws.checks import Check, any_of, is_text, map_of, whole
from seedance.jobs.creation import PlannedRow

MOST_ROWS = 100
"""Rows in a chunk of a plan: as many jobs as one read of the table returns."""


@final
class RejectedRow(TypedDict):
    """An invalid row of a batch's plan. ``row`` and ``columns``: see PlannedRow."""

    row: int
    columns: dict[str, str]
    error: str


PlanLine = PlannedRow | RejectedRow


class Chunk(NamedTuple):
    """A chunk of a plan: its first byte, the byte after its last, its first and last row."""

    begins: int
    ends: int
    first: int
    last: int


def planned_row(row: object) -> str | None:
    """The name of the invalid field in a line of a batch's plan, or None if the line is valid."""
    if not isinstance(row, dict) or not bounds.is_well_formed(row):
        return "line"
    checks: dict[str, Check] = {"row": lambda value: whole(value, 1, 1_000_000) is not None, "columns": any_of(dict)}
    if "error" in row:
        checks["error"] = any_of(str)
    else:
        image: Check = map_of(is_text, "bucket", "key", "content_type")
        checks |= {"model": is_text, "transport": is_text, "parameters": any_of(dict)}
        if "metadata" in row:  # not in a plan of release 0.1.0
            checks["metadata"] = any_of(dict)
        checks["image"] = lambda value: value is None or image(value)
    return next((name for name, check in checks.items() if name not in row or not check(row[name])), None)


def chunk(value: object) -> Chunk | None:
    """A chunk as plan returned it. None if it is invalid."""
    if not isinstance(value, (list, tuple)) or len(value) != 4:
        return None
    begins, ends, first, last = (whole(part, 0, 10**12) for part in value)
    if begins is None or ends is None or first is None or last is None:
        return None
    valid = begins <= ends and 1 <= first <= last < first + MOST_ROWS
    return Chunk(begins, ends, first, last) if valid else None
