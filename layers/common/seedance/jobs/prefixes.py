"""The prefixes of the upload bucket under which POST /uploads puts files. Neither starts anything by itself. Pure."""

POSTED_IMAGES = "images/posted/"
"""Images. template.yaml deletes them after 30 days, and nothing else under ``images/``."""

SECRET_BYTES = 12
"""Random bytes that POST /uploads adds to a file's name, as hex digits, so that nobody can guess the key."""

STAGED = "staged/"
"""Manifests of batches, until they are started. template.yaml deletes them after 30 days."""


def usable(given: tuple[str, ...]) -> tuple[str, ...]:
    """The prefixes of the images that an API caller may use: the stack's own, and that of posted images."""
    return given if POSTED_IMAGES.startswith(given) else (*given, POSTED_IMAGES)


def posted_name(stem: str) -> str:
    """The name that a file under POSTED_IMAGES had before POST /uploads added to it, both without extension."""
    name, _, secret = stem.rpartition("-")
    return name if name and len(secret) == 2 * SECRET_BYTES else stem
