"""The prefixes of the upload bucket under which POST /uploads puts files. Neither starts anything by itself. Pure."""

POSTED_IMAGES = "images/posted/"
"""Images. template.yaml deletes them after 30 days, and nothing else under ``images/``."""

STAGED = "staged/"
"""Manifests of batches, until they are started. template.yaml deletes them after 30 days."""


def usable(given: tuple[str, ...]) -> tuple[str, ...]:
    """The prefixes of the images that an API caller may use: the stack's own, and that of posted images."""
    return given if POSTED_IMAGES.startswith(given) else (*given, POSTED_IMAGES)
