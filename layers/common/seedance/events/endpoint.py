"""Sends webhooks to the stack's one receiver: only over https and only to public addresses, without redirects.

The receiver's name is resolved here, and the connection goes to the address that was checked. If the name were
resolved again for the connection, it could then lead to a service inside the account's network.
"""

import hashlib
import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError
from urllib3.util import Url, parse_url

from seedance.aws.job_table import JobTable
from seedance.aws.table import GONE
from seedance.aws.tls import trust
from seedance.clock import Clock
from seedance.config import Hook
from seedance.errors import ConfigurationError, ForbiddenSource
from seedance.events import signing
from seedance.events.hooks import Webhook
from seedance.provider import links
from seedance.provider.http import TOO_LONG, Limit, watched
from seedance.provider.trouble import reason

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

SECONDS = 15.0
"""The time limit of an attempt. Standard Webhooks recommends 15 to 30 seconds."""

CONNECT_SECONDS = 5.0
KEYS_SECONDS = 300.0
"""How long the signing keys are kept in memory. Then a changed secret is noticed."""

NO_MORE = 410
"""410 Gone: the receiver wants no more webhooks."""

_UNICAST = ipaddress.ip_network("2000::/3")
"""The public addresses of IPv6. Those of tunnels among them contain an IPv4 address, which may be a private one."""


@dataclass(frozen=True)
class Answer:
    """How an attempt ended. ``status`` is None if there was no response; ``why`` is for the log."""

    status: int | None
    why: str
    retry_after: float | None = None
    """The receiver's Retry-After in seconds."""

    @property
    def delivered(self) -> bool:
        """Whether the receiver accepted the webhook."""
        return self.status is not None and 200 <= self.status < 300


class SigningKeys:
    """The keys that webhooks are signed with, from a secret."""

    def __init__(self, secret: str | None, client: "SecretsManagerClient", clock: Clock) -> None:
        self._secret = secret
        self._client = client
        self._clock = clock
        self._keys: tuple[bytes, ...] = ()
        self._read_at = 0.0

    def __call__(self) -> Sequence[bytes]:
        """The keys. Raises ConfigurationError."""
        if not self._keys or self._clock() >= self._read_at + KEYS_SECONDS:
            self._keys, self._read_at = self._read(), self._clock()
        return self._keys

    def _read(self) -> tuple[bytes, ...]:
        if not self._secret:
            raise ConfigurationError("WebhookUrl needs WebhookSecretArn")
        try:
            found = self._client.get_secret_value(SecretId=self._secret)
        except (BotoCoreError, ClientError) as error:
            raise ConfigurationError(f"the secret {self._secret} can't be read: {error}") from error
        return signing.keys_in(found.get("SecretString", ""))


class Gone:
    """Whether the receiver has answered 410 Gone. Nothing more is sent to it then, until a person says otherwise."""

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def __call__(self, url: Hook) -> bool:
        return (self._table.get(GONE) or {}).get("address") == _digest(url)

    def mark(self, url: Hook) -> None:
        """Note that the receiver at this address is gone."""
        self._table.put({"job_id": GONE, "address": _digest(url), "gone_at": self._table.now()})

    def forget(self) -> None:
        """Let webhooks be sent again."""
        self._table.client.delete_item(TableName=self._table.name, Key={"job_id": {"S": GONE}})


def _digest(url: Hook) -> str:
    """An address may contain a secret."""
    return hashlib.sha256(url.encode()).hexdigest()


class Endpoint:
    """The receiver of the webhooks."""

    def __init__(self, url: Hook, keys: Callable[[], Sequence[bytes]], clock: Clock) -> None:
        self.url = url
        self._keys = keys
        self._clock = clock

    def post(self, webhook: Webhook) -> Answer:
        """Make one attempt. It never raises because of the receiver. Raises ConfigurationError."""
        keys = self._keys()
        headers = signing.headers(webhook["id"], self._clock(), webhook["payload"], keys)
        try:
            where = checked(self.url)
            addresses = public_addresses(where)
        except ForbiddenSource as error:
            return Answer(None, str(error))
        except (OSError, UnicodeError) as error:  # UnicodeError: no name can have such a part
            return Answer(None, reason(error))
        return _sent(where, addresses, headers, webhook["payload"].encode())


def checked(url: str) -> Url:
    """The receiver's address as it will be requested. Raises ForbiddenSource unless https, or http on loopback."""
    host = parse_url(url)
    default = host.port in (None, 443 if host.scheme == "https" else 80)
    name = (host.host or "").strip("[]")
    return links.check(url, {name if default else f"{name}:{host.port}"})


def public_addresses(where: Url) -> list[str]:
    """The IP addresses of the receiver. Raises ForbiddenSource if one of them is not public, OSError if there is none.

    An address on this machine is allowed only if it is written as one, with http: for a local stack.
    """
    host = (where.host or "").strip("[]")
    port = where.port or (443 if where.scheme == "https" else 80)
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if where.scheme == "https" and (inside := [address for address in found if not is_public(address)]):
        raise ForbiddenSource(f"{host} has the address {inside[0]}, which is not public", url=where.url)
    return list(dict.fromkeys(found))


def is_public(text: str) -> bool:
    """Whether an IP address can only be one on the public internet."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    return address in _UNICAST and address.is_global and not address.sixtofour and not address.teredo


def _sent(where: Url, addresses: Sequence[str], headers: dict[str, str], body: bytes) -> Answer:
    """The answer of the first address that can be connected to."""
    why = ""
    with Limit(SECONDS) as limit:
        for address in addresses:
            try:
                return _post(where, address, headers, body, limit)
            except (NewConnectionError, ConnectTimeoutError, MaxRetryError) as error:
                why = reason(error)  # nothing was sent
            except HTTPError as error:
                return Answer(None, TOO_LONG if limit.over else reason(error))
    return Answer(None, why)


def _post(where: Url, address: str, headers: dict[str, str], body: bytes, limit: Limit) -> Answer:
    there = where._replace(host=f"[{address}]" if ":" in address else address, auth=None, fragment=None)
    # The certificate is checked for the receiver's name, not for the address. (Not with assert_hostname, which would
    # switch off the check of the context, and that context belongs to all clients of this process.)
    with PoolManager(ssl_context=trust(), server_hostname=(where.host or "").strip("[]")) as pool:
        connections = pool.connection_from_url(there.url)
        connections.ConnectionCls = partial(watched, connections.ConnectionCls, limit)  # type: ignore[assignment]
        response = pool.urlopen(
            "POST",
            there.url,
            body=body,
            headers={
                **headers,
                "Host": where.netloc or "",
                "Content-Type": "application/json",
                "User-Agent": "seedance-pipeline",
            },
            timeout=Timeout(connect=CONNECT_SECONDS, read=SECONDS),
            redirect=False,
            retries=False,
            preload_content=False,
        )
        asked = response.headers.get("retry-after", "").strip()
        response.close()  # the body is of no interest
        if limit.over:  # when the limit shuts the socket, an incomplete head seems to end normally
            return Answer(None, TOO_LONG)
        return Answer(
            response.status,
            f"the receiver answered {response.status}",
            float(asked) if re.fullmatch(r"[0-9]{1,9}", asked) else None,
        )
