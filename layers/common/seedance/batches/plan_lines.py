"""What a line of a batch's plan and a chunk of it may be: checked when they are read, whoever wrote them. Pure."""

from seedance.aws.checks import Check, any_of, is_text, map_of, whole

MOST_ROWS = 100
"""Of a chunk of a plan: what is read from the table at once."""


def planned_row(row: object) -> str | None:
    """What is wrong with a line of a batch's plan, by its field; None when it can be worked with."""
    if not isinstance(row, dict):
        return "line"
    checks: dict[str, Check] = {"row": lambda value: whole(value, 1, 1_000_000) is not None, "columns": any_of(dict)}
    if "error" in row:
        checks["error"] = any_of(str)
    else:
        image: Check = map_of(is_text, "bucket", "key", "content_type")
        checks |= {"model": is_text, "transport": is_text, "parameters": any_of(dict)}
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
