"""What broke on the way to somebody else, in words for people; the log keeps the raw text. Pure."""

import socket
import ssl
from collections.abc import Iterator

from seedance import masking

_CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, "the host's certificate is not a valid one"),
    (ssl.SSLError, "no secure connection (TLS) could be set up"),
    (socket.gaierror, "the host's name is not known"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionResetError, "the connection was reset"),
    (BrokenPipeError, "the connection was closed"),
)
"""What the operating system said, the most telling first."""

_KINDS = {
    "ConnectTimeout": "no connection came about in time",
    "ReadTimeout": "no answer came in time",
    "WriteTimeout": "the request could not be sent in time",
    "PoolTimeout": "no connection was free in time",
    "ConnectError": "no connection came about",
    "ProxyError": "the proxy did not let the request through",
    "RemoteProtocolError": "the connection ended without a whole answer",
    "NetworkError": "the connection broke",
    "DecodingError": "the answer could not be read",
    "ConnectTimeoutError": "no connection came about in time",
    "ReadTimeoutError": "no answer came in time",
    "NewConnectionError": "no connection came about",
    "ProtocolError": "the connection broke",
    "DecodeError": "the answer could not be read",
}
"""httpx's and urllib3's kinds of error, by the names of their classes: a name needs no import."""


def reason(error: BaseException) -> str:
    """Why a request or its answer broke off: ``the connection was reset``. ``error`` is httpx's or urllib3's."""
    for one in _chain(error):
        for kind, words in _CAUSES:
            if isinstance(one, kind):
                return words
    for base in type(error).__mro__:
        if base.__name__ in _KINDS:
            return _KINDS[base.__name__]
    # An address or a header that can't be: its own words say it best.
    return masking.signatures(str(error)) or type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
