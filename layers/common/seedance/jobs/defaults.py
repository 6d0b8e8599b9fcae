"""The stack's default options for a video. Pure.

In a module of its own, because the API's calls that only read start without pydantic, which requests imports.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Defaults:
    """The model, prompt and transport of a request that does not name one."""

    model: str
    prompt: str
    transport: str
