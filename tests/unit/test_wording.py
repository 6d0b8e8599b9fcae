"""Network errors as readable messages: no error number, no class name, nothing that only a log needs."""

import re
import socket
import ssl
from typing import Any

import httpx
import pytest
import urllib3.exceptions
from seedance.provider.trouble import reason


def caused(error: Exception, by: Exception, *, raised: bool) -> Exception:
    """The error as httpx raises it, two layers above what the system said."""
    middle = OSError("between")
    error.__cause__ = middle
    setattr(middle, "__cause__" if raised else "__context__", by)
    return error


@pytest.mark.parametrize("raised", [True, False])
@pytest.mark.parametrize(
    ("by", "says"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), "the connection was reset"),
        (ConnectionRefusedError(111, "Connection refused"), "the connection was refused"),
        (BrokenPipeError(32, "Broken pipe"), "the connection was closed"),
        (socket.gaierror(-2, "Name or service not known"), "the host name could not be resolved"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), "the TLS handshake failed"),
        (ssl.SSLCertVerificationError(1, "self-signed"), "the host's certificate is not valid"),
    ],
)
def test_the_system_error_decides_the_message(*, by: Exception, says: str, raised: bool) -> None:
    assert reason(caused(httpx.ReadError("[Errno 104] Connection reset by peer"), by, raised=raised)) == says


NUMBERS = "[Errno 104] _ssl.c:1006"
NOBODY: Any = None


@pytest.mark.parametrize(
    "error",
    [
        *(kind(NUMBERS) for kind in (httpx.ConnectTimeout, httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout)),
        *(kind(NUMBERS) for kind in (httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.CloseError)),
        *(kind(NUMBERS) for kind in (httpx.ProxyError, httpx.RemoteProtocolError, httpx.DecodingError)),
        urllib3.exceptions.ConnectTimeoutError(NUMBERS),
        urllib3.exceptions.ReadTimeoutError(NOBODY, "", NUMBERS),
        urllib3.exceptions.NewConnectionError(NOBODY, NUMBERS),
        urllib3.exceptions.ProtocolError(NUMBERS),
        urllib3.exceptions.ProxyError(NUMBERS, Exception()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_network_error_has_its_own_message(error: Exception) -> None:
    words = reason(error)
    assert re.fullmatch(r"[a-z' ]+", words)
    assert type(error).__name__.lower() not in words


def test_an_error_without_a_known_message_uses_its_own_text() -> None:
    assert reason(httpx.InvalidURL("no port 99999")) == "no port 99999"
    assert reason(httpx.UnsupportedProtocol("")) == "UnsupportedProtocol"


def test_a_suppressed_context_is_not_the_cause() -> None:
    error = httpx.ReadTimeout("too late")
    error.__context__ = ConnectionResetError()
    assert reason(error) == "the connection was reset"
    error.__cause__ = None  # as "raise ... from None" does
    assert reason(error) == "the response timed out"
