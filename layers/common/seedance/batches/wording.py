"""How values from a manifest are shown in messages. Pure."""

import re
from collections.abc import Sequence

UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""What is not plain text: control characters, and halves of characters."""

_LONGEST = 80


def shown(text: str) -> str:
    """The user's text, shortened, in plain characters only."""
    plain = UNWRITABLE.sub("?", text)
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 3] + "..."


def numbered(count: int, thing: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def listed(things: Sequence[str], count: int) -> str:
    """The first of ``count`` things, and how many more there are."""
    more = count - len(things)
    if more > 0:
        return f"{', '.join(things)} and {more:,} more"
    return " and ".join(filter(None, (", ".join(things[:-1]), things[-1])))
