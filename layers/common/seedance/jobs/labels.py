"""A caller's own words for a job: its name, and metadata, which the pipeline keeps and returns. Pure."""

import re

from seedance.errors import InvalidRequest

NAME_CHARACTERS = 100
PAIRS = 20
PAIR_NAME_CHARACTERS = 64
PAIR_VALUE_CHARACTERS = 256
METADATA_BYTES = 2048
"""Names and values together, in UTF-8: as much as an upload can carry (S3 user guide, object metadata)."""

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


def metadata(given: object) -> dict[str, str]:
    """The metadata of a job, empty if none is given. Raises InvalidRequest."""
    if given is None:
        return {}
    if not isinstance(given, dict) or len(given) > PAIRS:
        words = f"a JSON object with at most {PAIRS} pairs"
        raise InvalidRequest("metadata", f"must be {words}", allowed=words)
    for key, value in given.items():
        if not 0 < len(key) <= PAIR_NAME_CHARACTERS or _NOT_TEXT.search(key):
            words = f"text of 1 to {PAIR_NAME_CHARACTERS} characters"
            raise InvalidRequest("metadata", f"has a name that is not {words}", allowed=words)
        if not isinstance(value, str) or len(value) > PAIR_VALUE_CHARACTERS or _NOT_TEXT.search(value):
            words = f"text of at most {PAIR_VALUE_CHARACTERS} characters"
            raise InvalidRequest("metadata", f"the value of {key!r} must be {words}", allowed=words)
    if sum(len(key.encode()) + len(value.encode()) for key, value in given.items()) > METADATA_BYTES:
        raise InvalidRequest("metadata", f"has more than {METADATA_BYTES} bytes, names and values together")
    return dict(given)
