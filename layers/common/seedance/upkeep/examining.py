"""Examining: what only a function of the stack can see, for `seedance doctor`. Reads only; costs nothing.

Answers never contain the provider's key, and of the provider's responses only their structure: names of fields, types,
hosts of links, prices.
"""

import platform
from collections.abc import Callable, Mapping
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, TypedDict

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

import seedance
from seedance import bounds
from seedance.errors import NotPossible, SeedanceError
from seedance.jobs import reasons
from seedance.jobs.job import ErrorFacts
from seedance.media.buckets import Media
from seedance.provider import bodies
from seedance.provider.client import Provider
from seedance.provider.payloads import Answer, single_row, usable_id

NOBODYS_VIDEO = "videos/doctor/does-not-exist.mp4"
"""A key that no job has. A link to it shows whether signed links lead to the bucket, and reveals nothing."""

_PRICES = ("cost", "credits_deduction")
_WORDS = ("status", "model_status", "model_name")
_MOST_FIELDS = 50
_LONGEST = 60


class Seen(TypedDict):
    """The structure of a response: its HTTP status, and its JSON as described by ``shape``."""

    status: int
    shape: Any


class Examined(TypedDict, total=False):
    """What ``examine`` returns, by what was asked."""

    release: str
    python: str
    machine: str
    bytecode: bool
    """Whether the layer has bytecode. Without it, each cold start compiles the source."""
    balance_usd: float | None
    link: str
    record: Seen
    row: Seen
    trouble: ErrorFacts
    """Why it could not be found out."""


def examine(provider: Provider, media: Callable[[], Media], what: str, request_id: str = "") -> Examined:
    """Look at one thing: ``release``, ``balance``, ``link`` or, with its id, ``request``.

    An expected error is returned as ``trouble``. Raises NotPossible for anything else.
    """
    try:
        match what:
            case "release":
                return _release()
            case "balance":
                return {"balance_usd": provider.balance()}
            case "link":
                return {"link": media().video_link(NOBODYS_VIDEO, "nobody")}
            case "request" if usable_id(request_id):
                record, row = provider.responses(request_id)
                return {"record": _seen(record, record.said), "row": _seen(row, single_row(row.said))}
    except SeedanceError as error:
        return {"trouble": reasons.of(error).error}
    raise NotPossible(f"this release can't examine {bounds.shown(what)!r} {bounds.shown(request_id)!r}")


def _release() -> Examined:
    return {
        "release": seedance.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "bytecode": Path(cache_from_source(__file__)).exists(),
    }


def _seen(answer: Answer, said: object) -> Seen:
    return {"status": answer.status, "shape": shape(said)}


def shape(said: object, name: str = "") -> Any:
    """The structure of a JSON value: types instead of values. Only prices and status words are kept.

    A link is shown by its host, a text by its notation.
    """
    if isinstance(said, Mapping):
        fields = list(said.items())[:_MOST_FIELDS]
        return {str(key)[:_LONGEST]: shape(value, str(key)) for key, value in fields}
    if isinstance(said, list):
        return [shape(one, name) for one in said[:3]]
    if said is None or isinstance(said, bool):
        return said
    if isinstance(said, (int, float)):
        return said if name in _PRICES else "number"
    return _text(str(said), name)


def _text(said: str, name: str) -> str:
    if name in _WORDS:
        return said[:_LONGEST]
    if said.lower().startswith(("http://", "https://")):
        try:
            return f"link to {parse_url(said).host}"
        except LocationParseError:
            return "text"
    if said.startswith("{"):
        try:
            bodies.parsed(said.encode(errors="replace"))
        except bodies.Unreadable:
            return "text in braces"
        return "JSON text"
    return "text" if said else "empty text"
