"""Plain descriptions of network errors, for people; the log keeps the original text. Pure."""

import socket
import ssl
from collections.abc import Iterator

from seedance import masking

_CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, "the host's certificate is not valid"),
    (ssl.SSLError, "the TLS handshake failed"),
    (socket.gaierror, "the host name could not be resolved"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionResetError, "the connection was reset"),
    (BrokenPipeError, "the connection was closed"),
)
"""Errors of the operating system, the most specific first."""

_KINDS = {
    "ConnectTimeout": "the connection timed out",
    "ReadTimeout": "the response timed out",
    "WriteTimeout": "the request could not be sent in time",
    "PoolTimeout": "no connection was free in time",
    "ConnectError": "the connection could not be opened",
    "ProxyError": "the proxy refused the request",
    "LocalProtocolError": "the request is not valid HTTP",
    "RemoteProtocolError": "the connection ended before the response was complete",
    "NetworkError": "the connection broke",
    "DecodingError": "the response could not be decoded",
    "ConnectTimeoutError": "the connection timed out",
    "ReadTimeoutError": "the response timed out",
    "NewConnectionError": "the connection could not be opened",
    "ProtocolError": "the connection broke",
    "DecodeError": "the response could not be decoded",
}
"""Errors of httpx and urllib3, by class name so that neither has to be imported."""


def reason(error: BaseException) -> str:
    """Why a request failed, such as ``the connection was reset``. ``error`` is from httpx or urllib3."""
    for one in _chain(error):
        for kind, words in _CAUSES:
            if isinstance(one, kind):
                return words
    for base in type(error).__mro__:
        if base.__name__ in _KINDS:
            return _KINDS[base.__name__]
    # For example an invalid address or header: the error's own message is the best description.
    return masking.signatures(str(error)) or type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
