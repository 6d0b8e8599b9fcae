"""Serves what was built by `make reference`: the description of the API and that of the models.

Building them needs pydantic, which would double what these calls load.
"""

from functools import cache
from pathlib import Path

OPENAPI = "openapi.json"
MODELS = "models.json"


@cache
def read(name: str) -> str:
    """The text of a built file."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
