"""Values that spreadsheets and data frames write differently, and their only possible meaning. Pure."""

import re
from functools import cache
from typing import get_args

from seedance.jobs import catalogue

_TIME = re.compile(
    r"(?:(?:1899-12-3[01]|1900-01-0[01])[ T])?"  # the day zero of spreadsheets
    r"(\d{1,2}):(\d{1,2})(?::00(?:\.0+)?)?\s*([ap]\.?m\.?)?",
    re.IGNORECASE,
)
_NO_TEXTS = frozenset(
    {"nan", "none", "null", "nil", "n/a", "#n/a", "<na>", "undefined"}
    | {"#ref!", "#value!", "#name?", "#div/0!", "#num!", "#null!", "#spill!", "#calc!"}
)
_TEXTS = frozenset({"prompt", "model", "transport", "image_key", "first_image", "last_image"})
"""Options whose values are never numbers, by their group (see ``group``)."""


def group(option: str) -> str:
    """One name for all names of an option."""
    return "first_image" if option == "image_key" else catalogue.COMMON_NAMES.get(option, option)


def meant(option: str, value: object) -> object:
    """The only possible meaning of an option's value: ``16:9`` for the time 16:09, 5 for ``5.0``. Else the value."""
    kind = group(option)
    if kind == "aspect_ratio":
        return (isinstance(value, str) and _ratio(value)) or value
    if kind in _TEXTS or isinstance(value, bool):
        return value
    number = catalogue.whole_number(value)
    if isinstance(number, int) and str(number) != str(value).strip():
        return number if isinstance(value, float) else str(number)
    return value


def _ratio(text: str) -> str | None:
    """The ratio that a spreadsheet took for a time of day, such as ``16:09``, ``09:16:00`` or ``4:09:00 PM``."""
    found = _TIME.fullmatch(text.strip())
    if not found:
        return None
    width, height, half = int(found[1]), int(found[2]), (found[3] or "").lower()
    if half:
        width = width % 12 + (12 if half.startswith("p") else 0)
    ratio = f"{width}:{height}"
    return ratio if ratio in choices("aspect_ratio") else None


def is_no_text(text: str) -> bool:
    """Whether it is what programs write for a missing value, or a spreadsheet's error."""
    return text.strip().casefold() in _NO_TEXTS


@cache
def choices(parameter: str) -> frozenset[str]:
    """The values that any model allows for a parameter with a list of values."""
    models = (model.parameters.model_fields[parameter].annotation for model in catalogue.MODELS.values())
    return frozenset(str(choice) for allowed in models for choice in get_args(allowed))
