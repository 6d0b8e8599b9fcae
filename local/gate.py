"""Access control for the local AWS: it accepts only requests signed with this stack's credentials, none from web pages.

The emulator itself does not check callers, and it can run code as the user who started it. The gate wraps its ASGI
application, so that no port bypasses it.
"""

import hashlib
import json
import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from xml.sax.saxutils import escape

from local import forms, origin, sigv4
from local.sigv4 import Credentials, Refused, Request, Signature

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

SAVE = "/_seedance/save"
"""With PERSIST_STATE, a request to this path makes the emulator write its complete state to disk."""

HEALTH = "/_ministack/health"
"""Open to all programs on this machine, because it only reports the status and changes nothing."""

FUNCTIONS_KEY_ID = "000000000000"
"""The access key id that the emulator gives to functions: the account number. Their secret is the stack's."""

_API = re.compile(r"/(_aws/execute-api/[^/]+/|restapis/[^/]*/[^/]*/_user_request_(/|$))")
"""Calls of a deployed API. As on AWS they are not signed; API Gateway requires the API key."""

_OPENED = re.compile(r"/_aws/execute-api/[^/]+/(w/[^/]+|v1/)")
"""What people open from a mail or another page without a key: a lasting link to a video, and the console's page. It
changes nothing, and the page that led there can neither read nor embed it."""

_BUCKET = re.compile(r"/[a-z0-9][a-z0-9.-]{2,62}/?")

_XML_SERVICES = ("s3", "cloudformation", "iam", "sns", "sts")
"""Services whose clients expect errors as XML; the others expect JSON."""

_log = logging.getLogger(__name__)


class Gate:
    """An ASGI application that wraps another one."""

    def __init__(self, app: App, port: int, credentials: Credentials, clock: Callable[[], float] = time.time) -> None:
        self._app, self._port, self._clock = app, port, clock
        self._secret = credentials.secret_access_key
        self._key_ids = (credentials.access_key_id, FUNCTIONS_KEY_ID)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # this stack has no WebSocket API; closing before accepting gives a 403
            await send({"type": "websocket.close", "code": 1008})
            return
        request = _request(scope)
        signature = None
        try:
            signature = sigv4.read(request)
            self._check_origin(request, signature)
            body = await self._check_signature(request, scope["path"], signature, receive)
        except Refused as refused:
            _log.warning("refused %s %s: %s", request.method, request.path, refused.message)
            await _refuse(scope, send, refused, signature)
            return
        await self._app(scope, body, _for_browsers(send, link=bool(signature and signature.presigned)))

    def _check_origin(self, request: Request, signature: Signature | None) -> None:
        link = _OPENED.fullmatch(request.path) if signature is None else signature.presigned
        if why := origin.refusal(request.method, request.headers, self._port, signed_link=bool(link)):
            raise Refused("AccessDenied", why)

    async def _check_signature(
        self, request: Request, path: str, signature: Signature | None, receive: Receive
    ) -> Receive:
        """Check the request and return its body, to be received again. Raises Refused if it is not allowed."""
        if signature is None:
            if _API.match(path) or (path == HEALTH and request.method in ("GET", "HEAD")):
                return receive
            if _is_form(request):
                pieces, again = await _read(receive)
                fields = forms.signed_fields(request.header("content-type"), b"".join(pieces))
                sigv4.check_form(fields, self._key_ids, self._secret)
                return again
            raise Refused(
                "MissingAuthenticationToken",
                'the request is not signed; run `eval "$(seedance env)"` to set this stack\'s credentials in the shell',
            )
        if signature.key_id not in self._key_ids:
            raise Refused(
                "InvalidAccessKeyId" if signature.service == "s3" else "InvalidClientTokenId",
                f'access key id {signature.key_id} is not this stack\'s; run `eval "$(seedance env)"` in the shell',
            )
        payload = signature.payload(request)
        if payload is not None:
            # First, and before the body is read.
            signature.check(request, payload, self._secret, self._clock())
            if not sigv4.is_digest(payload):
                return receive
        pieces, again = await _read(receive)
        digest = _sha256(pieces)
        if payload is None:
            signature.check(request, digest, self._secret, self._clock())
        elif digest != payload:
            raise Refused("XAmzContentSHA256Mismatch", "the body does not match the signed hash")
        return again


def _is_form(request: Request) -> bool:
    """Whether this is a form that uploads a file to S3."""
    a_form = request.header("content-type").lower().startswith("multipart/form-data")
    at_a_bucket = _BUCKET.fullmatch(request.path) and not request.query and not request.header("x-amz-target")
    return bool(request.method == "POST" and a_form and at_a_bucket)


def _request(scope: Message) -> Request:
    return Request(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=[(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]],
    )


async def _read(receive: Receive) -> tuple[list[bytes], Receive]:
    """A body in pieces, and the body to be received again. The emulator also holds the whole body in memory."""
    messages: deque[Message] = deque()
    more = True
    while more:
        message = await receive()
        messages.append(message)
        more = message["type"] == "http.request" and message.get("more_body", False)

    async def again() -> Message:
        return messages.popleft() if messages else await receive()

    return [message.get("body", b"") for message in messages], again


def _sha256(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _for_browsers(send: Send, *, link: bool) -> Send:
    """Remove the CORS headers, because the emulator allows pages of all origins to read the response.

    An object behind a link may be a page. On AWS it has another origin than the console; here it has the same, so none
    of its scripts run.
    """

    async def sends(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", [])
            kept = [(name, value) for name, value in headers if not name.lower().startswith(b"access-control-")]
            if link:
                kept.append((b"content-security-policy", b"script-src 'none'; object-src 'none'"))
            message = {**message, "headers": kept}
        await send(message)

    return sends


async def _refuse(scope: Message, send: Send, refused: Refused, signature: Signature | None) -> None:
    """Send a 403 in the format of the requested service, so that its client shows the message."""
    if signature and signature.service in _XML_SERVICES:
        kind = "application/xml"
        words = f"<Code>{refused.code}</Code><Message>{escape(refused.message)}</Message>"
        body = f"<ErrorResponse><Error><Type>Sender</Type>{words}</Error></ErrorResponse>"
    else:
        kind = "application/json"
        body = json.dumps({"__type": refused.code, "message": refused.message})
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body.encode())).encode())]
    if scope["http_version"].startswith("1"):
        # The body may not have been read. Then the connection can't be reused.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})
