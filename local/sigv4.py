"""Checks AWS Signature Version 4 as AWS does: whether the request is unchanged and has not expired. Pure.

A request has its signature in the ``Authorization`` header or, for a presigned link, in its query.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

SKEW_SECONDS = 15 * 60
"""The largest difference between a signed request's date and ours. AWS's limit."""

LONGEST_LINK_SECONDS = 7 * 24 * 3600
"""The longest validity of a presigned link. AWS's limit."""

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")


class Refused(Exception):
    """The request is refused: AWS's error ``code`` for it, and the reason as a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class Credentials:
    """The credentials that requests are signed with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)

    @classmethod
    def random(cls) -> "Credentials":
        """New random credentials: 20 characters and 160 bits, with only characters that are safe in a shell."""
        return cls(f"SEEDANCE{secrets.token_hex(6).upper()}", secrets.token_hex(20))


@dataclass(frozen=True)
class Request:
    """A request as received: path and query percent-encoded, header names in lower case.

    All text is Latin-1, one character per byte.
    """

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]

    def values(self, name: str) -> list[str]:
        """All values of a header, in order."""
        return [value for known, value in self.headers if known == name]

    def header(self, name: str) -> str:
        """A header's value; "" if it is missing."""
        return ",".join(self.values(name))


@dataclass(frozen=True)
class Signature:
    """The signature of a request, with its key id and date. Nothing is verified before ``check``."""

    key_id: str
    date: str
    region: str
    service: str
    signed_headers: str
    value: str
    time: str
    expires: str | None = None
    """The validity of a presigned link in seconds; None for a signature in the header."""

    @property
    def presigned(self) -> bool:
        """Whether it is a presigned link."""
        return self.expires is not None

    def payload(self, request: Request) -> str | None:
        """The value used for the body in the signature; None if that is the SHA-256 of the actual body."""
        return UNSIGNED_PAYLOAD if self.presigned else request.header("x-amz-content-sha256") or None

    def check(self, request: Request, payload: str, secret: str, now: float) -> None:
        """Raise Refused unless ``secret`` signed this request with this ``payload``, and it is valid at ``now``."""
        if "host" not in self.signed_headers.split(";"):
            raise Refused("SignatureDoesNotMatch", "the signature does not include the header Host")
        expected = hmac.new(
            _signing_key(secret, self.date, self.region, self.service),
            self._string_to_sign(request, payload).encode(errors="replace"),
            hashlib.sha256,
        ).hexdigest()
        if not hmac.compare_digest(expected.encode(), self.value.encode(errors="replace")):
            raise Refused(
                "SignatureDoesNotMatch", "the signature does not match: wrong secret, or the request was changed"
            )
        self._check_time(now)

    def _check_time(self, now: float) -> None:
        try:
            signed_at = datetime.strptime(self.time, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
            lasts = int(self.expires) if self.expires is not None else SKEW_SECONDS
        except ValueError:
            raise _incomplete("its date or its duration is invalid") from None
        if not self.time.startswith(self.date):
            raise _incomplete("its date differs from the date of its scope")
        if not 0 < lasts <= LONGEST_LINK_SECONDS:
            raise _incomplete(f"a link must be valid for 1 to {LONGEST_LINK_SECONDS} seconds")
        if now > signed_at + lasts:
            expired = "the link has expired" if self.presigned else "the request was signed too long ago"
            raise Refused("AccessDenied" if self.presigned else "RequestTimeTooSkewed", expired)
        if now < signed_at - SKEW_SECONDS:
            raise Refused("RequestTimeTooSkewed", "the request was signed in the future; check the clocks")

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
    """The request's signature, or None if it has none. Raises Refused if it is malformed."""
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
        raise _incomplete("only links for s3 are allowed")
    return signature


def check_form(fields: Mapping[str, str], key_ids: Sequence[str], secret: str) -> None:
    """Raise Refused unless ``secret`` signed a form's policy. Its conditions and its end are S3's to check.

    Source: S3 API reference, "Browser-Based Uploads Using POST": the signature is that of the policy in base64.
    """
    algorithm, credential, value = (fields[f"x-amz-{name}"] for name in ("algorithm", "credential", "signature"))
    signature = _signature(algorithm, credential, "policy", value, time=fields["x-amz-date"])
    if signature.service != "s3" or signature.key_id not in key_ids:
        raise Refused("InvalidAccessKeyId", "the form is not signed with this stack's credentials for s3")
    key = _signing_key(secret, signature.date, signature.region, signature.service)
    expected = hmac.new(key, fields["policy"].encode("latin-1", errors="replace"), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.value.encode(errors="replace")):
        raise Refused("SignatureDoesNotMatch", "the form's signature does not match: its policy was changed")


def is_digest(payload: str) -> bool:
    """Whether this is the SHA-256 of a body. S3 clients send other values for unsigned bodies."""
    return bool(_HEX_DIGEST.fullmatch(payload))


def _signature(
    algorithm: str, credential: str, signed_headers: str, value: str, *, time: str, expires: str | None = None
) -> Signature:
    if algorithm != _ALGORITHM:
        raise _incomplete(f"the algorithm must be {_ALGORITHM}")
    scope = credential.split("/")
    if len(scope) != 5 or scope[4] != "aws4_request":
        raise _incomplete("its credential must be KEY_ID/DATE/REGION/SERVICE/aws4_request")
    if not (signed_headers and value and time):
        raise _incomplete("it must have signed headers, a date and a signature")
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
    # S3 signs a key unchanged, with double slashes and dots. All other services sign the normalised path, with its
    # percent signs encoded again.
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
