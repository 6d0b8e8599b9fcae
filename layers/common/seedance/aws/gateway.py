"""Reads events of API Gateway (REST API, proxy integration) and makes responses. Pure.

API Gateway passes on what a client sends, and a person can invoke the function with any event. So a value in an event
may be missing or of another type; then it counts as not given.
"""

import base64
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypedDict

from seedance import bounds
from seedance.aws import fields
from seedance.errors import InvalidRequest

MOST_BODY_BYTES = 256 * 1024
"""For a request. The longest that is accepted has about 100 KB: a prompt and 16 addresses."""

MOST_RESPONSE_CHARACTERS = 3_000_000
"""For a response's body. Lambda's limit is 6 MB for the whole response, in which the body is a string, so that each
quotation mark and backslash of its JSON counts twice (Lambda developer guide, quotas)."""


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
    """A header, by its name in lower case. None if it is not there."""
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
    if len(found.encode(errors="replace")) > MOST_BODY_BYTES:
        limit = f"is larger than {MOST_BODY_BYTES // 1024} KB"
        raise InvalidRequest("body", f"{limit}; upload an image to the bucket and name it in image_key")
    return found


def response(status: HTTPStatus, said: object) -> Response:
    """A response with a body of JSON."""
    text = fields.json_text(said, MOST_RESPONSE_CHARACTERS)
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": text}


def error(status: HTTPStatus, message: str, **facts: str) -> Response:
    """A response with an error, in the form that template.yaml gives to the gateway's own errors."""
    return response(status, {"error": {"message": bounds.message(message), **facts}})


def _compressed(event: Mapping[str, Any]) -> str:
    encoding = header(event, "content-encoding")
    return f", and not compressed with {bounds.shown(encoding)}" if encoding else ""


def _map(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
