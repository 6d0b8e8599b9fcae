"""The API's answers: JSON, and problems (RFC 9457). Pure."""

import json
from http import HTTPStatus
from typing import NotRequired, TypedDict

from seedance.aws import fields
from seedance.aws.gateway import Response
from seedance.errors import (
    Allowed,
    BadRecord,
    Conflict,
    DearerThanBudget,
    InvalidRequest,
    NeedsPayment,
    NotFound,
    NotPossible,
    SeedanceError,
)

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

MOST_RESPONSE_CHARACTERS = 3_000_000
"""For a response's body. Lambda's limit is 6 MB for the whole response, in which the body is a string, so that each
quotation mark and backslash of its JSON counts twice (Lambda developer guide, quotas)."""

TITLES = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
}
"""The titles of problems: RFC 9110's names of their statuses, which differ between releases of Python."""


class ProblemError(TypedDict):
    """The error in the form of release 0.1.0, kept for one release."""

    message: str
    code: str
    field: NotRequired[str]


class Problem(TypedDict):
    """Why a call was refused, as in RFC 9457."""

    type: str
    """Always about:blank: `code` says what the problem is."""
    title: str
    status: NotRequired[int]
    detail: str
    """A sentence for people."""
    code: str
    """For machines; it never changes."""
    field: NotRequired[str]
    """The field, parameter or header that is the reason."""
    allowed: NotRequired[Allowed]
    """The field's allowed values, or in words if they can't be listed."""
    estimate_usd: NotRequired[float]
    """If the video would have to be bought again: about what it would cost."""
    error: ProblemError
    """As in release 0.1.0. It will be removed: use `detail`, `code` and `field`."""


def answer(status: HTTPStatus, body: object, **headers: str) -> Response:
    """A response with a JSON body. Underscores in the headers' names stand for dashes."""
    return written(status, fields.json_text(body, MOST_RESPONSE_CHARACTERS), **headers)


def written(status: HTTPStatus, body: str, **headers: str) -> Response:
    """A response whose body is JSON already."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"statusCode": status, "headers": {"Content-Type": JSON, **named}, "body": body}


def refusal(error: SeedanceError) -> Response | None:
    """The response for an error that a call may cause. None for any other, which is a fault of ours."""
    match error:
        case InvalidRequest():
            # 400: the body can't be read. 422: it can be read, but a value is not allowed.
            status = 400 if error.field == "body" else 422
            return problem(status, str(error), error.code, error.field, error.allowed)
        case NeedsPayment():
            return problem(409, str(error), error.code, estimate_usd=error.usd)
        case Conflict() | NotPossible() | DearerThanBudget():
            return problem(409, str(error), error.code)
        case BadRecord():
            return problem(500, str(error), error.code, error.field)
        case NotFound():
            return problem(404, str(error), error.code)
    return None


def problem(
    status: int,
    message: str,
    code: str,
    field: str | None = None,
    allowed: Allowed | None = None,
    *,
    estimate_usd: float | None = None,
) -> Response:
    """The response for a refused call."""
    old = ProblemError(message=message, code=code)
    said: Problem = {
        "type": "about:blank",
        "title": TITLES[status],
        "status": status,
        "detail": message,
        "code": code,
        "error": old,
    }
    if field is not None:
        old["field"] = said["field"] = field
    if allowed is not None:
        said["allowed"] = allowed
    if estimate_usd is not None:
        said["estimate_usd"] = round(estimate_usd, 4)
    return {"statusCode": status, "headers": {"Content-Type": PROBLEM_JSON}, "body": json.dumps(said)}
