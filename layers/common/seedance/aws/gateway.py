"""Reads events of API Gateway (REST API, proxy integration). Pure.

API Gateway passes on what a client sends, and a person can invoke the function with any event. So a value in an event
may be missing or of another type; then it counts as not given.
"""

import base64
from collections.abc import Mapping
from typing import Any, TypedDict

from seedance import bounds
from seedance.errors import InvalidRequest

GZIP = ("\x1f", "H4sI")
"""How gzip begins, as text and in base64 (RFC 1952: 1f 8b 08)."""

MOST_BODY_BYTES = 256 * 1024
"""For a request. The longest that is accepted has about 100 KB: a prompt and 16 addresses."""


class Response(TypedDict):
    """What API Gateway expects from the function."""

    statusCode: int
    headers: dict[str, str]
    body: str


def route(event: object) -> tuple[str, str]:
    """The method and the resource, such as ``("GET", "/videos/{job_id}")``. Empty if the event has none."""
    found = _map(event)
    return _text(found.get("httpMethod")) or "", _text(found.get("resource")) or ""


def path_parameter(event: Mapping[str, Any], name: str) -> str:
    """A parameter of the path; empty if it has none of this name."""
    return _text(_map(event.get("pathParameters")).get(name)) or ""


def header(event: Mapping[str, Any], name: str) -> str | None:
    """A header, by its name in lower case. None if it is missing."""
    for given, value in _map(event.get("headers")).items():
        if isinstance(given, str) and given.lower() == name:
            return _text(value)
    return None


def caller(event: Mapping[str, Any]) -> str:
    """The caller, to keep the Idempotency-Keys of different callers apart: the id of the checked API key.

    Some emulators of API Gateway do not pass the id. The key itself distinguishes callers just as well.
    """
    identity = _map(_map(event.get("requestContext")).get("identity"))
    return bounds.well_formed(_text(identity.get("apiKeyId")) or header(event, "x-api-key") or "")


def body(event: Mapping[str, Any]) -> str | None:
    """The request's body as text. Raises InvalidRequest if it is too large, or bytes that are not UTF-8."""
    found = event.get("body")
    if found is None:
        return None
    if not isinstance(found, str):
        raise InvalidRequest("body", f"must be text, not {type(found).__name__}")
    if event.get("isBase64Encoded"):
        try:
            found = base64.b64decode(found, validate=True).decode()
        except ValueError:
            raise InvalidRequest("body", f"must be JSON in UTF-8{_compressed(event)}") from None
    elif (start := found.lstrip("\ufeff \t\r\n")[:1]) and start != "{" and (packed := _compressed(event)):
        raise InvalidRequest("body", f"must be JSON in UTF-8{packed}")
    if len(found.encode(errors="replace")) > MOST_BODY_BYTES:
        limit = f"is larger than {MOST_BODY_BYTES // 1024} KB"
        raise InvalidRequest("body", f"{limit}; upload an image to the bucket and name it in image_key")
    return found


def query(event: Mapping[str, Any]) -> dict[str, str]:
    """The parameters of the query. Raises InvalidRequest if one is given twice."""
    found = dict(_map(event.get("queryStringParameters")))
    for name, values in _map(event.get("multiValueQueryStringParameters")).items():
        if isinstance(values, list) and values:
            if len(values) > 1:
                raise InvalidRequest(str(name), "is given twice")
            found[name] = values[0]
    return {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, str)}


def has_parameter(event: Mapping[str, Any], name: str) -> bool:
    """Whether the query has a parameter, with whatever value."""
    places = ("queryStringParameters", "multiValueQueryStringParameters")
    return any(name in _map(event.get(place)) for place in places)


def _compressed(event: Mapping[str, Any]) -> str:
    """Words about a compressed body, empty if it is not said to be compressed, or not recognized as gzip.

    API Gateway unpacks what it knows. So only an emulator passes on compressed bytes: as base64, or as broken text.
    """
    encoding = header(event, "content-encoding") or ""
    if not encoding and str(event.get("body")).startswith(GZIP):
        encoding = "gzip"
    return f", and not compressed with {bounds.shown(encoding)}" if encoding.lower() not in ("", "identity") else ""


def _map(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
