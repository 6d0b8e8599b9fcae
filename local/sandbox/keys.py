"""aiohttp's typed keys, under which the server's parts are stored in the application and in a request."""

from typing import Any

from aiohttp import web

from local.sandbox.state import Call, State
from local.sandbox.studio import Studio

STATE: web.AppKey[State] = web.AppKey("state", State)
STUDIO: web.AppKey[Studio] = web.AppKey("studio", Studio)
CALL: web.RequestKey[Call] = web.RequestKey("call", Call)
BODY: web.RequestKey[Any] = web.RequestKey("body", object)
"""The request's JSON; None if it is not valid JSON."""


def base_url(request: web.Request) -> str:
    """The address under which the caller reached this server."""
    return f"{request.scheme}://{request.host}"
