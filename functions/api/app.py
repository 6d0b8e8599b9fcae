"""Lambda entry of the API: POST /videos, GET /videos/{job_id}, GET /models behind an API key."""

import hmac
import json
from functools import cache
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from seedance import aws, catalogue
from seedance.api import api, describe
from seedance.config import api_settings
from seedance.errors import Conflict, InvalidRequest
from seedance.observability import observed

app = APIGatewayRestResolver()


def _answer(status: HTTPStatus, body: Any) -> Response[str]:
    return Response(status, content_types.APPLICATION_JSON, json.dumps(body))


def _error(status: HTTPStatus, message: str, **facts: str) -> Response[str]:
    return _answer(status, {"error": {"message": message, **facts}})


@app.exception_handler(InvalidRequest)  # type: ignore[untyped-decorator]  # Powertools has it untyped
def _invalid(error: InvalidRequest) -> Response[str]:
    # 400: what came can't be read at all. 422: it was understood and is not allowed.
    status = HTTPStatus.BAD_REQUEST if error.field == "body" else HTTPStatus.UNPROCESSABLE_ENTITY
    return _error(status, str(error), field=error.field, code=error.code)


@app.exception_handler(Conflict)  # type: ignore[untyped-decorator]
def _conflict(error: Conflict) -> Response[str]:
    return _error(HTTPStatus.CONFLICT, str(error), code=error.code)


@app.not_found
def _no_route(_: Exception) -> Response[str]:
    return _error(HTTPStatus.NOT_FOUND, "there is POST /videos, GET /videos/{job_id} and GET /models")


@cache
def _key_value(key_id: str) -> str:
    return str(aws.api_gateway().get_api_key(apiKey=key_id, includeValue=True).get("value", ""))


def _caller(resolver: APIGatewayRestResolver) -> str | None:
    """Whose API key this is.

    API Gateway has checked the key and names it. Where nothing in front did (an emulator, a stage whose
    method lost its setting), the key is checked here: every call to this API can cost money.
    """
    if named := resolver.current_event.request_context.identity.api_key_id:
        return str(named)
    key_id = api_settings().api_key_id
    given = resolver.current_event.headers.get("x-api-key", "")
    return key_id if given and hmac.compare_digest(given.encode(), _key_value(key_id).encode()) else None


def _key_required(resolver: APIGatewayRestResolver, proceed: NextMiddleware) -> Response[Any]:
    caller = _caller(resolver)
    if caller is None:
        return _error(HTTPStatus.FORBIDDEN, "x-api-key is missing or not the key of this API")
    resolver.append_context(caller=caller)  # type: ignore[no-untyped-call]
    return proceed(resolver)


app.use(middlewares=[_key_required])


@app.post("/videos")
def create_video() -> Response[str]:
    event = app.current_event
    try:
        body = event.decoded_body
    except ValueError:
        raise InvalidRequest("body", "must be JSON in UTF-8") from None
    job = api().create_video(body, caller=app.context["caller"], idempotency_key=event.headers.get("idempotency-key"))
    return _answer(HTTPStatus.ACCEPTED, describe(job, None))


@app.get("/videos/<job_id>")
def get_video(job_id: str) -> Response[str]:
    video = api().video(job_id)
    if video is None:
        return _error(HTTPStatus.NOT_FOUND, f"there is no job {job_id}")
    return _answer(HTTPStatus.OK, video)


@app.get("/models")
def list_models() -> Response[str]:
    return _answer(HTTPStatus.OK, {"models": catalogue.describe()})


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Routes a REST API event; see seedance.api."""
    return app.resolve(event, context)
