"""Signs webhooks by the scheme of Standard Webhooks 1.0.0 (standard-webhooks/standard-webhooks on GitHub). Pure."""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from seedance.errors import ConfigurationError

PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)
"""The lengths of a key that the specification allows, in bytes."""


def keys_in(text: str) -> tuple[bytes, ...]:
    """The keys in the secret's text: ``whsec_`` and base64, one or more, with whitespace between them.

    With more than one, webhooks have a signature for each, so that receivers can change keys one after the other.
    Raises ConfigurationError, which does not repeat the text.
    """
    keys = tuple(map(_key, text.split()))
    if not keys:
        raise ConfigurationError("the secret for webhooks is empty")
    return keys


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(PREFIX) or len(key) not in _KEY_BYTES:
        raise ConfigurationError("each key in the secret for webhooks must be whsec_ and 24 to 64 bytes in base64")
    return key


def headers(webhook_id: str, moment: float, payload: str, keys: Sequence[bytes]) -> dict[str, str]:
    """The headers of an attempt at this Unix time. Each attempt is signed anew: receivers refuse old ones."""
    timestamp = str(int(moment))
    signed = f"{webhook_id}.{timestamp}.{payload}".encode()
    signatures = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
