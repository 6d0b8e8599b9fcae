"""Lambda handler of the API: POST /videos, GET /videos/{job_id} and GET /models, behind an API key."""

import json
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from seedance.api import api, describe
from seedance.aws import lambda_entry
from seedance.errors import BadRecord, Conflict, InvalidRequest
from seedance.jobs import catalogue
from seedance.observability import logger

app = APIGatewayRestResolver()


def _answer(status: HTTPStatus, body: Any) -> Response[str]:
    return Response(status, content_types.APPLICATION_JSON, json.dumps(body))


def _error(status: HTTPStatus, message: str, **facts: str) -> Response[str]:
    return _answer(status, {"error": {"message": message, **facts}})


@app.exception_handler(InvalidRequest)  # type: ignore[untyped-decorator]  # untyped in Powertools
def _invalid(error: InvalidRequest) -> Response[str]:
    # 400: the body can't be read. 422: it can be read, but a value is not allowed.
    status = HTTPStatus.BAD_REQUEST if error.field == "body" else HTTPStatus.UNPROCESSABLE_ENTITY
    return _error(status, str(error), field=error.field, code=error.code)


@app.exception_handler(Conflict)  # type: ignore[untyped-decorator]
def _conflict(error: Conflict) -> Response[str]:
    return _error(HTTPStatus.CONFLICT, str(error), code=error.code)


@app.exception_handler(BadRecord)  # type: ignore[untyped-decorator]
def _unreadable(error: BadRecord) -> Response[str]:
    logger().error("a record can't be read", extra={"job_id": error.job_id, "field": error.field})
    return _error(HTTPStatus.INTERNAL_SERVER_ERROR, str(error), field=error.field, code=error.code)


@app.not_found
def _no_route(_: Exception) -> Response[str]:
    message = "Not found. Available: POST /videos, GET /videos/{job_id}, GET /models"
    return _error(HTTPStatus.NOT_FOUND, message, code="NOT_FOUND")


def _caller() -> str:
    """The caller, to keep the Idempotency-Keys of different callers apart: the id of the checked API key.

    Some emulators of API Gateway do not pass the id. The key itself distinguishes callers just as well.
    """
    event = app.current_event
    return event.request_context.identity.api_key_id or event.headers.get("x-api-key", "")


@app.post("/videos")
def create_video() -> Response[str]:
    event = app.current_event
    try:
        body = event.decoded_body
    except ValueError:
        raise InvalidRequest("body", "must be JSON in UTF-8") from None
    job = api().create_video(body, caller=_caller(), idempotency_key=event.headers.get("idempotency-key"))
    return _answer(HTTPStatus.ACCEPTED, describe(job, None))


@app.get("/videos/<job_id>")
def get_video(job_id: str) -> Response[str]:
    video = api().video(job_id)
    if video is None:
        return _error(HTTPStatus.NOT_FOUND, f"job {job_id} does not exist", code="NOT_FOUND")
    return _answer(HTTPStatus.OK, video)


@app.get("/models")
def list_models() -> Response[str]:
    return _answer(HTTPStatus.OK, {"models": catalogue.describe()})


@lambda_entry.observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Routes a REST API event; see seedance.api."""
    return app.resolve(event, context)
