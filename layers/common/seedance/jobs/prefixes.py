"""The prefixes of the upload bucket under which POST /uploads puts files. Neither starts anything by itself. Pure."""

import re

POSTED_IMAGES = "images/posted/"
"""Images. template.yaml deletes them after 30 days, and nothing else under ``images/``."""

SECRET_BYTES = 12
"""Random bytes that POST /uploads adds to a file's name, as hex digits, so that nobody can guess the key."""

STAGED = "staged/"
"""Manifests of batches, until they are started. template.yaml deletes them after 30 days."""

_FOLDERS = "|".join(map(re.escape, (POSTED_IMAGES, STAGED)))
_POSTED = re.compile(rf"((?:{_FOLDERS})(?:.*/)?[^/]+)-[0-9a-f]{{{2 * SECRET_BYTES}}}(\.[^./]*)", re.DOTALL)


def usable(given: tuple[str, ...]) -> tuple[str, ...]:
    """The prefixes of the images that an API caller may use: the stack's own, and that of posted images."""
    return given if POSTED_IMAGES.startswith(given) else (*given, POSTED_IMAGES)


def readable(key: str) -> str:
    """A key as it was before POST /uploads added its secret, for names that people see. Any other key is unchanged."""
    found = _POSTED.fullmatch(key)
    return found[1] + found[2] if found else key
