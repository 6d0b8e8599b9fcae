"""A caller's own words for a job: its name, and metadata, which the pipeline keeps and returns. Pure."""

import re
from collections.abc import Iterable, Sequence

from seedance.bounds import one_line, shown
from seedance.errors import InvalidRequest

NAME_CHARACTERS = 100
DERIVED_CHARACTERS = 60
"""Of a name that is made from a prompt or a file's name: enough to know a video by."""
PAIRS = 20
PAIR_NAME_CHARACTERS = 64
PAIR_VALUE_CHARACTERS = 256
METADATA_BYTES = 2048
"""Names and values together, in UTF-8: as much as an upload can carry (S3 user guide, object metadata)."""

_NAMES_SHOWN = 5
_NOT_A_NAME = re.compile(r"[\x00-\x1f\x7f/\\\ud800-\udfff]")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def name(given: object) -> str | None:
    """The name of a job, if one is given. It becomes a file name, so it has no slashes. Raises InvalidRequest."""
    if given is None:
        return None
    if (
        not isinstance(given, str)
        or not 0 < len(given.strip()) <= NAME_CHARACTERS
        or given.strip().startswith(".")
        or _NOT_A_NAME.search(given)
    ):
        words = f"text of 1 to {NAME_CHARACTERS} characters in one line, without / and \\, not beginning with a dot"
        raise InvalidRequest("name", f"must be {words}", allowed=words)
    return given.strip()


def derived_name(text: str) -> str | None:
    """A name like one that a caller may give, from the beginning of any text: whole words, if the first one fits.

    None if nothing is left of it.
    """
    words = _NOT_A_NAME.sub(" ", one_line(text)).lstrip(". ").split()
    made = ""
    for word in words:
        longer = f"{made} {word}" if made else word[:DERIVED_CHARACTERS]
        if len(longer) > DERIVED_CHARACTERS:
            break
        made = longer
    return made.lstrip(". ").rstrip(" .,;:!?-") or None


def metadata(given: object) -> dict[str, str]:
    """The metadata of a job, empty if none is given. Raises InvalidRequest."""
    if given is None:
        return {}
    if not isinstance(given, dict) or len(given) > PAIRS:
        words = f"a JSON object with at most {PAIRS} pairs"
        raise InvalidRequest("metadata", f"must be {words}", allowed=words)
    for key, value in given.items():
        if not _is_pair_name(key):
            words = f"text of 1 to {PAIR_NAME_CHARACTERS} characters"
            raise InvalidRequest("metadata", f"has a name that is not {words}", allowed=words)
        if not _is_pair_value(value):
            words = f"text of at most {PAIR_VALUE_CHARACTERS} characters"
            raise InvalidRequest("metadata", f"the value of {key!r} must be {words}", allowed=words)
    if sum(_bytes(key, value) for key, value in given.items()) > METADATA_BYTES:
        raise InvalidRequest("metadata", f"has more than {METADATA_BYTES} bytes, names and values together")
    return dict(given)


def fitting(pairs: Iterable[tuple[str, object]]) -> tuple[dict[str, str], list[str]]:
    """The first pairs that fit into a job's metadata, and the names of the others. Nothing is cut and nothing raised.

    For pairs that were perhaps not meant for this pipeline: an upload's metadata, and columns of a table.
    """
    kept: dict[str, str] = {}
    left_out: list[str] = []
    room = METADATA_BYTES
    for key, value in pairs:
        fits = len(kept) < PAIRS and key not in kept and _is_pair_name(key)
        if fits and isinstance(value, str) and _is_pair_value(value) and _bytes(key, value) <= room:
            kept[key] = value
            room -= _bytes(key, value)
        else:
            left_out.append(key)
    return kept, left_out


def left_out_note(names: Sequence[str]) -> str:
    """The sentence about pairs that did not fit."""
    told = ", ".join(shown(one) for one in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return (
        f"Not kept as metadata: {told}{more}. There is room for {PAIRS} pairs of plain text, with values of at most "
        f"{PAIR_VALUE_CHARACTERS} characters, and {METADATA_BYTES} bytes in all."
    )


def _is_pair_name(key: str) -> bool:
    return 0 < len(key) <= PAIR_NAME_CHARACTERS and not _NOT_TEXT.search(key)


def _is_pair_value(value: object) -> bool:
    return isinstance(value, str) and len(value) <= PAIR_VALUE_CHARACTERS and not _NOT_TEXT.search(value)


def _bytes(key: str, value: str) -> int:
    return len(key.encode()) + len(value.encode())
