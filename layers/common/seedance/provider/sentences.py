"""Extracts the text of a response in any form: nested JSON, a list, JSON in a string, plain text, HTML. Pure."""

import json
import re
from collections.abc import Iterator
from typing import Any

from seedance import masking
from seedance.provider import bodies

SENTENCE_CHARACTERS = 500
"""The length to which a reason is cut, so that it stays readable."""

_WORDS_CHARACTERS = 20_000
"""How much of a response's text is searched."""

_REASONS = (
    *("error_description", "error", "message", "msg", "detail", "details", "errors", "reason", "description"),
    "title",
)
"""Fields that give a reason, the most specific first."""

_ECHOES = frozenset({"input", "inputs", "request", "parameters", "params", "body", "payload", "prompt"})
"""Fields in which a response repeats the request. A prompt may say anything, so it is not a reason."""

_JSON_IN_JSON = 3
"""How many levels of JSON inside JSON strings are read."""


def sentence(value: object) -> str | None:
    """The reason in a value, on one line and cut to a readable length. None if it has none."""
    if not value or value is True:
        return None
    found = _reason(value, _JSON_IN_JSON)
    if found is None:
        if isinstance(value, str):
            return None  # a web page without a title
        found = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
    return masking.signatures(found[:SENTENCE_CHARACTERS])


def sentence_of(said: object, text: str) -> str | None:
    """The reason in a whole response. ``said`` is its JSON, or None; then ``text`` is its body."""
    if said is None and text.lstrip().startswith(("{", "[")):
        return None  # cut-off JSON is not readable for people
    found = _reason(text if said is None else said, _JSON_IN_JSON)
    return masking.signatures(found[:SENTENCE_CHARACTERS]) if found else None


def words_of(said: object, text: str) -> str:
    """All text of a response except what it repeats from the request, one piece per line."""
    pieces = _pieces(text if said is None else said, _JSON_IN_JSON)
    return "\n".join(pieces)[:_WORDS_CHARACTERS]


def _reason(value: object, unfold: int) -> str | None:
    match value:
        case str():
            inner = _json_in(value) if unfold else None
            return _plain(value) if inner is None else _reason(inner, unfold - 1)
        case {"msg": str() as message, "loc": [*where]} if message:  # as FastAPI reports a field
            return f"{'.'.join(str(part) for part in where)}: {message}"
        case dict():
            named = (_reason(value[name], unfold) for name in _REASONS if name in value)
            deeper = (
                _reason(inner, unfold)
                for name, inner in value.items()
                if isinstance(inner, (dict, list)) and name not in _ECHOES and name not in _REASONS
            )
            return next(filter(None, named), None) or next(filter(None, deeper), None)
        case list():
            found = [reason for item in value[:3] if (reason := _reason(item, unfold))]
            return "; ".join(dict.fromkeys(found)) or None
    return None


def _pieces(value: object, unfold: int) -> Iterator[str]:
    match value:
        case str():
            inner = _json_in(value) if unfold else None
            if inner is not None:
                yield from _pieces(inner, unfold - 1)
            elif plain := _plain(value):
                yield plain
        case list():
            for item in value:
                yield from _pieces(item, unfold)
        case dict():
            for name, item in value.items():
                if item is True:  # {"insufficient_credits": true}
                    yield str(name)
                elif name not in _ECHOES:
                    yield from _pieces(item, unfold)


def _json_in(text: str) -> Any:
    """The JSON in a string, or None if it has none."""
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        return bodies.parsed(text.encode(errors="replace"))
    except bodies.Unreadable:
        return None


def _plain(text: str) -> str | None:
    """A text on one line; for a web page, its title."""
    if re.match(r"\s*<(?:!--|(?:!doctype|\?xml|html|head|body|title|center|h1|div)\b)", text, re.IGNORECASE):
        title = re.search(r"<title[^<>]*>([^<]*)</title", text[:_WORDS_CHARACTERS], re.IGNORECASE)
        if title is None:
            return None
        from html import unescape  # noqa: PLC0415 - loads a table of two thousand names, rarely needed

        text = unescape(title[1])
    return " ".join(text.split()) or None
