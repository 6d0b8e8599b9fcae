"""Where the parts of the server find each other: aiohttp's typed keys of the application and of a request."""

from typing import Any

from aiohttp import web

from local.sandbox.state import Call, State
from local.sandbox.studio import Studio

STATE: web.AppKey[State] = web.AppKey("state", State)
STUDIO: web.AppKey[Studio] = web.AppKey("studio", Studio)
CALL: web.RequestKey[Call] = web.RequestKey("call", Call)
BODY: web.RequestKey[Any] = web.RequestKey("body", object)
"""The request's JSON; None if it is none."""


def base_url(request: web.Request) -> str:
    """This server as the caller knows it."""
    return f"{request.scheme}://{request.host}"
