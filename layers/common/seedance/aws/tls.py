"""The TLS context, shared by all clients of a process.

Loading the certificates of about 140 authorities takes as long as a call. botocore would load them again for each of
its connections, and httpx for each of its clients.
"""

import ssl
from functools import cache

import certifi

from seedance.config import authorities


@cache
def trust() -> ssl.SSLContext:
    """The context with certifi's authorities, or those in the environment variable ``SSL_CERT_FILE``."""
    return ssl.create_default_context(cafile=authorities() or certifi.where())
