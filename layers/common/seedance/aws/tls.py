"""Whom we trust on a TLS line: one context for every client of a process.

Reading the certificates of some 140 authorities takes as long as a call. botocore would read them again at
each of its connections, and httpx at each of its clients.
"""

import ssl
from functools import cache

import certifi

from seedance.config import authorities


@cache
def trust() -> ssl.SSLContext:
    """The context: certifi's authorities, or those of ``SSL_CERT_FILE`` in the environment."""
    return ssl.create_default_context(cafile=authorities() or certifi.where())
