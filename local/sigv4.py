"""AWS Signature Version 4 as AWS checks it: is this the request that was signed, and is it in time? Pure.

A request carries its signature in the ``Authorization`` header, or in its query: a presigned link.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

SKEW_SECONDS = 15 * 60
"""How far a signed request's date may be from ours. AWS's own limit."""

LONGEST_LINK_SECONDS = 7 * 24 * 3600
"""How long a presigned link may work. AWS's own limit."""

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")


class Refused(Exception):
    """A request that is not let in: the error ``code`` AWS has for it, and why in a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class Credentials:
    """What requests are signed with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)

    @classmethod
    def random(cls) -> "Credentials":
        """New ones: 20 characters and 160 bits, all of them safe in a shell."""
        return cls(f"SEEDANCE{secrets.token_hex(6).upper()}", secrets.token_hex(20))


@dataclass(frozen=True)
class Request:
    """A request as it came over the wire: path and query percent-encoded, names of headers in lower case.

    All of it is Latin-1, a character for each byte.
    """

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]

    def values(self, name: str) -> list[str]:
        """Every value of a header, in order."""
        return [value for known, value in self.headers if known == name]

    def header(self, name: str) -> str:
        """A header's value; "" without it."""
        return ",".join(self.values(name))


@dataclass(frozen=True)
class Signature:
    """What a request says about who signed it, and when. Nothing of it is checked before ``check``."""

    key_id: str
    date: str
    region: str
    service: str
    signed_headers: str
    value: str
    time: str
    expires: str | None = None
    """For how many seconds a presigned link works; None for a signature in the header."""

    @property
    def presigned(self) -> bool:
        """Whether it is a presigned link."""
        return self.expires is not None

    def payload(self, request: Request) -> str | None:
        """What stands for the body in the signature; None when that is the SHA-256 of the body itself."""
        return UNSIGNED_PAYLOAD if self.presigned else request.header("x-amz-content-sha256") or None

    def check(self, request: Request, payload: str, secret: str, now: float) -> None:
        """Raise Refused unless ``secret`` signed this request, with this ``payload``, for now (Unix seconds)."""
        if "host" not in self.signed_headers.split(";"):
            raise Refused("SignatureDoesNotMatch", "the signature does not cover the header Host")
        expected = hmac.new(
            _signing_key(secret, self.date, self.region, self.service),
            self._string_to_sign(request, payload).encode(errors="replace"),
            hashlib.sha256,
        ).hexdigest()
        if not hmac.compare_digest(expected.encode(), self.value.encode(errors="replace")):
            raise Refused(
                "SignatureDoesNotMatch", "the signature does not match: another secret, or the request was changed"
            )
        self._check_time(now)

    def _check_time(self, now: float) -> None:
        try:
            signed_at = datetime.strptime(self.time, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
            lasts = int(self.expires) if self.expires is not None else SKEW_SECONDS
        except ValueError:
            raise _incomplete("its date or its duration is none") from None
        if not self.time.startswith(self.date):
            raise _incomplete("its date is not the date of its scope")
        if not 0 < lasts <= LONGEST_LINK_SECONDS:
            raise _incomplete(f"a link works for 1 to {LONGEST_LINK_SECONDS} seconds")
        if now > signed_at + lasts:
            expired = "the link has expired" if self.presigned else "the request was signed too long ago"
            raise Refused("AccessDenied" if self.presigned else "RequestTimeTooSkewed", expired)
        if now < signed_at - SKEW_SECONDS:
            raise Refused("RequestTimeTooSkewed", "the request was signed in the future; compare the clocks")

    def _string_to_sign(self, request: Request, payload: str) -> str:
        names = self.signed_headers.split(";")
        headers = [f"{name}:{','.join(' '.join(value.split()) for value in request.values(name))}\n" for name in names]
        canonical = "\n".join(
            [
                request.method,
                _canonical_path(request.path, self.service),
                _canonical_query(request.query),
                "".join(headers),
                self.signed_headers,
                payload,
            ]
        )
        scope = f"{self.date}/{self.region}/{self.service}/aws4_request"
        return "\n".join([_ALGORITHM, self.time, scope, hashlib.sha256(canonical.encode("latin-1")).hexdigest()])


def read(request: Request) -> Signature | None:
    """The request's signature; None for a request without. Raises Refused when it makes no sense."""
    authorization = request.header("authorization")
    if authorization:
        algorithm, _, rest = authorization.partition(" ")
        fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
        named = [fields.get(name, "") for name in ("Credential", "SignedHeaders", "Signature")]
        return _signature(algorithm, *named, time=request.header("x-amz-date"))
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in _pairs(request.query)}
    if "X-Amz-Signature" not in fields:
        return None
    named = [fields.get(f"X-Amz-{name}", "") for name in ("Algorithm", "Credential", "SignedHeaders", "Signature")]
    signature = _signature(*named, time=fields.get("X-Amz-Date", ""), expires=fields.get("X-Amz-Expires", ""))
    if signature.service != "s3":
        raise _incomplete("links are signed for s3 only")
    return signature


def is_digest(payload: str) -> bool:
    """Whether that is the SHA-256 of a body. S3's clients have words for a body that they do not sign."""
    return bool(_HEX_DIGEST.fullmatch(payload))


def _signature(
    algorithm: str, credential: str, signed_headers: str, value: str, *, time: str, expires: str | None = None
) -> Signature:
    if algorithm != _ALGORITHM:
        raise _incomplete(f"the algorithm must be {_ALGORITHM}")
    scope = credential.split("/")
    if len(scope) != 5 or scope[4] != "aws4_request":
        raise _incomplete("its credential must be key id/date/region/service/aws4_request")
    if not (signed_headers and value and time):
        raise _incomplete("it needs its signed headers, a date and a signature")
    key_id, date, region, service, _ = scope
    return Signature(key_id, date, region, service, signed_headers, value, time, expires)


def _incomplete(why: str) -> Refused:
    return Refused("IncompleteSignature", f"the signature can't be read: {why}")


@lru_cache(maxsize=64)
def _signing_key(secret: str, *scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (*scope, "aws4_request"):
        key = hmac.new(key, part.encode(errors="replace"), hashlib.sha256).digest()
    return key


def _canonical_path(path: str, service: str) -> str:
    # S3 signs a key as it is, with its double slashes and dots; every other service signs the path tidied up, and
    # its percent signs encoded once more.
    if service == "s3":
        return quote_from_bytes(unquote_to_bytes(path), safe="/" + _UNRESERVED)
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    slash = "/" if parts and path.endswith("/") else ""
    return quote(f"/{'/'.join(parts)}{slash}", safe="/" + _UNRESERVED)


def _canonical_query(query: str) -> str:
    pairs = [(name, value) for name, value in _pairs(query) if name != b"X-Amz-Signature"]
    encoded = sorted(
        (quote_from_bytes(name, safe=_UNRESERVED), quote_from_bytes(value, safe=_UNRESERVED)) for name, value in pairs
    )
    return "&".join(f"{name}={value}" for name, value in encoded)


def _pairs(query: str) -> list[tuple[bytes, bytes]]:
    split = (part.partition("=") for part in query.split("&") if part)
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in split]
