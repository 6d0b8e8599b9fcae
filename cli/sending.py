"""Sends orders, uploads and calls that make videos: none twice, and never without a word about what became of it."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

import httpx
import typer
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, HTTPClientError
from seedance.clock import CLOCK

from cli.output import warn
from cli.target import CommandError, Target

PATIENCE_SECONDS = 60.0
"""How long S3 may take to answer an upload."""

_ATTEMPTS = 4
_FIRST_WAIT_SECONDS = 0.5
_NOT_SENT = (EndpointConnectionError, ConnectTimeoutError)
_TURNED_AWAY = "SlowDown"
"""S3's code for a request that it did not carry out, because there were too many (Amazon S3 API, error responses)."""


class Unanswered(CommandError):
    """The order may have arrived, or not."""


def may_have_arrived(error: BaseException) -> bool:
    """Whether an order may have arrived although it ended with this error."""
    match error:
        case KeyboardInterrupt() | SystemExit() | Unanswered():
            return True
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout() | httpx.UnsupportedProtocol():
            return False
        case httpx.HTTPError() | HTTPClientError():
            return not isinstance(error, _NOT_SENT)
        case ClientError():
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return status >= 500 and not _turned_away(error)
        case _:
            return False


@contextlib.contextmanager
def order(advice: str) -> Iterator[None]:
    """An order is sent inside. If nobody can say whether it arrived, ``advice`` is printed before the error goes on."""
    try:
        yield
    except BaseException as error:
        if may_have_arrived(error):
            warn(advice)
        raise


@contextlib.contextmanager
def placed(what: str) -> Iterator[None]:
    """An order was placed, and what is inside may fail. ``what`` is then printed, so that nobody repeats the order."""
    try:
        yield
    except (CommandError, typer.Exit):
        raise  # which name it themselves
    except BaseException:
        warn(what)
        raise


def put(s3: Any, opened: Callable[[], AbstractContextManager[BinaryIO]], **about: Any) -> dict[str, Any]:
    """Upload what makes videos, as exactly one version. ``s3``: a client that repeats nothing.

    AWS's clients repeat an upload whose answer they miss. Here, each version is an order and is paid. So an upload is
    repeated only if it certainly did not arrive.
    """
    for attempt in CLOCK.attempts(_ATTEMPTS, _FIRST_WAIT_SECONDS):
        try:
            with opened() as body:
                return dict(s3.put_object(Body=body, **about))
        except (*_NOT_SENT, ClientError) as error:
            if attempt == _ATTEMPTS or not (isinstance(error, _NOT_SENT) or _turned_away(error)):
                raise
    raise AssertionError("unreachable")


def client(target: Target) -> Any:
    """The client for uploads that make videos. It repeats nothing."""
    return target.client("s3", PATIENCE_SECONDS)


def _turned_away(error: Exception) -> bool:
    return isinstance(error, ClientError) and error.response["Error"]["Code"] == _TURNED_AWAY
