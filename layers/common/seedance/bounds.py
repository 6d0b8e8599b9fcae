"""Bounds on text and JSON from people and other programs: how much of it is read, and how much a message repeats. Pure.

The bounds on the provider's responses are in provider.bodies.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any

MOST_LEVELS = 20
"""Levels of lists and objects in JSON. Our own formats have four; a column of the user's may have more."""

LONGEST_ECHO = 80
"""Characters of somebody else's text, such as a key or a field's name, that a message repeats."""

LONGEST_MESSAGE = 2000
"""Characters of a message in an error, a record, a response or a notification."""

MOST_DIGITS = 4000
"""Digits of a whole number. Python converts up to 4300, and raises ValueError for more."""

HALF = re.compile("[\ud800-\udfff]")
"""Half of a character (an unpaired surrogate): valid in JSON, but not in UTF-8, so nothing can store or send it."""

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+")
"""Line breaks and other characters that are not shown."""

_DOTS = "..."
_TOO_DEEP = f"is nested more than {MOST_LEVELS} levels deep"


def well_formed(text: str) -> str:
    """The text with characters that UTF-8 can't encode replaced."""
    return HALF.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The text without line breaks and control characters, with which it could imitate lines of our own."""
    return CONTROL.sub(" ", well_formed(text))


def shown(value: object) -> str:
    """A value from outside, for a message: on one line, and only its beginning and its end if it is long."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) > LONGEST_ECHO:
        end = LONGEST_ECHO // 3
        text = text[: LONGEST_ECHO - end - len(_DOTS)] + _DOTS + text[-end:]
    return one_line(text)


def message(text: str) -> str:
    """A whole message, well formed and of a limited length, whatever it quotes."""
    if len(text) > LONGEST_MESSAGE:
        text = text[: LONGEST_MESSAGE - len(_DOTS)] + _DOTS
    return well_formed(text)


def is_well_formed(value: object) -> bool:
    """Whether every text in a value that was read as JSON can be encoded in UTF-8."""
    return not HALF.search(json.dumps(value, ensure_ascii=False))


def read_json(text: str, *, finite: bool = False) -> Any:
    """Read JSON. Raises ValueError that says what is wrong: ``is nested more than 20 levels deep``.

    A name that is given twice is an error, because one of its values would be dropped silently. Numbers that are too
    large become infinite, so that the check of their field refuses them by its name; with ``finite``, they are errors,
    and so is ``NaN``.
    """
    whole, fraction, constant = _whole(finite), _finite if finite else None, _no_number if finite else None
    plain = text.removeprefix("\ufeff")
    try:
        value = json.loads(
            plain, object_pairs_hook=_unique, parse_int=whole, parse_float=fraction, parse_constant=constant
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise ValueError(f"is not valid JSON: {error.msg} ({where})") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if _levels_exceed(MOST_LEVELS, value):
        deep = _names(value)
        raise ValueError(f"{_TOO_DEEP}{f' in {shown(deep[0])!r}' if deep else ''}")
    return value


def _levels_exceed(most: int, value: Any) -> bool:
    level = [value]
    for _ in range(most + 1):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _names(value: Any) -> list[str]:
    """The names in an object whose values are nested too deep in it."""
    pairs = value.items() if isinstance(value, dict) else ()
    return [name for name, inner in pairs if _levels_exceed(MOST_LEVELS - 1, inner)]


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"has the name {shown(name)!r} twice")
        found[name] = value
    return found


def _whole(finite: bool) -> Callable[[str], int | float]:
    def number(digits: str) -> int | float:
        if len(digits) <= MOST_DIGITS:
            return int(digits)
        if finite:
            raise ValueError(f"has a number of {len(digits):,} digits")
        return -math.inf if digits.startswith("-") else math.inf

    return number


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"has the number {shown(digits)}, which is too large")
    return number


def _no_number(word: str) -> Any:
    raise ValueError(f"has {word}, which is not a number")
