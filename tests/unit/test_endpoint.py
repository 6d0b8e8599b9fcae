"""The receiver of webhooks: only public addresses over https, no redirects, and no answer that it can't digest."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from announcements import HOOK, KEY
from seedance.config import Hook
from seedance.errors import ConfigurationError
from seedance.events import endpoint as module
from seedance.events.endpoint import KEYS_SECONDS, SECONDS, Answer, Endpoint, Gone, SigningKeys, is_public
from seedance.events.signing import keys_in
from standardwebhooks import Webhook
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProtocolError, ReadTimeoutError, SSLError

WEBHOOK: Any = {"id": "evt_1", "payload": '{"type":"video.state_changed"}'}
PUBLIC = "93.184.215.14"


class Net:
    """The internet: what names resolve to, what answers there, and the requests so far."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {"hooks.example": [PUBLIC]}
        self.asked: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.answers: list[urllib3.HTTPResponse | Exception] = []
        self.pools: list[dict[str, Any]] = []

    def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        if host not in self.names and not host[0].isdigit() and ":" not in host:
            raise socket.gaierror("Name or service not known")
        return [(2, 1, 6, "", (address, port)) for address in self.names.get(host, [host])]

    def pool(self, **options: Any) -> Any:
        self.pools.append(options)
        net = self

        class Pool(urllib3.PoolManager):
            def urlopen(self, method: str, url: str, **asked: Any) -> Any:  # type: ignore[override]
                net.requests.append({"method": method, "url": url, **asked})
                answer = net.answers.pop(0) if net.answers else urllib3.HTTPResponse(status=204)
                if isinstance(answer, Exception):
                    raise answer
                return answer

        return Pool()


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    found = Net()
    monkeypatch.setattr(module.socket, "getaddrinfo", found.getaddrinfo)
    monkeypatch.setattr(module, "PoolManager", found.pool)
    return found


@pytest.fixture
def post(world: Any, net: Net) -> Callable[..., Answer]:
    def make(url: str = HOOK) -> Answer:
        return Endpoint(Hook(url), lambda: keys_in(KEY), world.clock).post(WEBHOOK)

    return make


def test_a_webhook_goes_to_the_address_that_was_checked(world: Any, net: Net, post: Any, monkeypatch: Any) -> None:
    assert post() == Answer(204, "the receiver answered 204")
    (sent,) = net.requests
    assert (sent["method"], sent["url"]) == ("POST", f"https://{PUBLIC}/video?token=1")
    assert sent["headers"]["Host"] == "hooks.example"
    assert net.pools[0]["server_hostname"] == "hooks.example"  # whose certificate is expected
    assert "assert_hostname" not in net.pools[0]
    assert net.asked == ["hooks.example"]  # once: what is resolved again may be another address
    assert (sent["redirect"], sent["retries"], sent["preload_content"]) == (False, False, False)
    monkeypatch.setattr("standardwebhooks.webhooks.datetime", _At(world.clock.now))
    assert Webhook(KEY).verify(sent["body"], sent["headers"]) == json.loads(WEBHOOK["payload"])


class _At:
    """A clock for the scheme's library."""

    def __init__(self, now: float) -> None:
        self._now = now

    def __getattr__(self, name: str) -> Any:
        from datetime import datetime  # noqa: PLC0415 - the real one, beside the fake

        return (lambda tz: datetime.fromtimestamp(self._now, tz)) if name == "now" else getattr(datetime, name)


PRIVATE = [
    *("127.0.0.1", "10.0.0.7", "172.16.0.1", "192.168.1.1", "169.254.169.254", "169.254.170.2", "100.64.0.1"),
    *("0.0.0.0", "255.255.255.255", "224.0.0.1", "192.0.2.1", "198.18.0.1"),  # noqa: S104 - addresses that must be refused
    *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    # An IPv4 address in another form.
    *("::ffff:10.0.0.7", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_only_public_addresses_are_connected_to(net: Net, post: Any, address: str) -> None:
    net.names["hooks.example"] = [address]
    answer = post()
    assert answer == Answer(None, f"hooks.example has the address {address}, which is not public")
    assert not answer.delivered
    assert net.requests == []


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


def test_one_private_address_among_public_ones_is_enough(net: Net, post: Any) -> None:
    net.names["hooks.example"] = [PUBLIC, "10.0.0.7"]
    assert post().status is None
    assert net.requests == []


@pytest.mark.parametrize(
    "url",
    ["https://10.0.0.7/x", "https://[::1]/x", "https://127.0.0.1/x", "https://2130706433/x", "https://localhost/x"],
)
def test_a_private_address_in_the_url_is_refused(net: Net, post: Any, url: str) -> None:
    net.names |= {"2130706433": ["127.0.0.1"], "localhost": ["127.0.0.1"]}
    assert "is not public" in post(url).why
    assert net.requests == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/hook", "http://localhost:9000/hook", "http://[::1]:9000/hook"])
def test_a_local_stack_may_send_to_this_machine(net: Net, post: Any, url: str) -> None:
    net.names["localhost"] = ["127.0.0.1"]
    assert post(url).delivered
    assert net.requests[0]["url"] in ("http://127.0.0.1:9000/hook", "http://[::1]:9000/hook")


def test_http_to_another_machine_is_refused(net: Net, post: Any) -> None:
    assert "http" in post("http://hooks.example/video").why
    assert (net.asked, net.requests) == ([], [])


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_failure_and_not_followed(net: Net, post: Any, status: int) -> None:
    net.answers = [urllib3.HTTPResponse(status=status, headers={"location": "http://169.254.169.254/"})]
    assert post() == Answer(status, f"the receiver answered {status}")
    assert len(net.requests) == 1


@pytest.mark.parametrize(("status", "delivered"), [(200, True), (202, True), (299, True), (300, False), (410, False)])
def test_only_2xx_is_a_delivery(net: Net, post: Any, status: int, *, delivered: bool) -> None:
    net.answers = [urllib3.HTTPResponse(status=status)]
    assert post().delivered is delivered


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("90", 90.0),
        (" 5 ", 5.0),
        ("Fri, 20 Nov 2026 09:00:00 GMT", None),
        ("-1", None),
        ("1e9", None),
        ("9" * 20, None),
    ],
)
def test_retry_after_is_read_if_it_is_a_number_of_seconds(
    net: Net, post: Any, said: str, seconds: float | None
) -> None:
    net.answers = [urllib3.HTTPResponse(status=503, headers={"retry-after": said})]
    assert post() == Answer(503, "the receiver answered 503", seconds)


_POOL: Any = None


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ReadTimeoutError(_POOL, "", "timed out"), "the response timed out"),
        (ProtocolError("broke"), "the connection broke"),
        (SSLError("bad certificate"), "bad certificate"),
    ],
)
def test_a_broken_connection_is_an_answer_too(net: Net, post: Any, error: Exception, why: str) -> None:
    net.names["hooks.example"] = [PUBLIC, "8.8.8.8"]
    net.answers = [error]
    assert post() == Answer(None, why)
    assert len(net.requests) == 1  # it may have been sent: that was the attempt


@pytest.mark.parametrize("error", [NewConnectionError(_POOL, "refused"), ConnectTimeoutError(_POOL, "timed out")])
def test_an_address_that_can_not_be_connected_to_is_followed_by_the_next(net: Net, post: Any, error: Exception) -> None:
    net.names["hooks.example"] = ["2606:4700:4700::1111", PUBLIC]
    net.answers = [error]
    assert post().delivered
    assert [sent["url"].split("/video")[0] for sent in net.requests] == [
        "https://[2606:4700:4700::1111]",
        f"https://{PUBLIC}",
    ]
    net.answers = [NewConnectionError(_POOL, "refused"), NewConnectionError(_POOL, "refused")]
    assert post() == Answer(None, "the connection could not be opened")


def test_an_unknown_name_is_a_failure(net: Net, post: Any) -> None:
    assert post("https://nowhere.example/") == Answer(None, "the host name could not be resolved")


def test_a_name_that_none_can_have_is_a_failure(monkeypatch: pytest.MonkeyPatch, net: Net, post: Any) -> None:
    def no_such_name(*_: Any, **__: Any) -> None:
        ("a" * 64).encode("idna")

    monkeypatch.setattr(module.socket, "getaddrinfo", no_such_name)
    assert "label" in post(f"https://{'a' * 64}.example/").why
    assert net.requests == []


def test_an_attempt_ends_before_its_function(template: dict[str, Any]) -> None:
    function = template["Resources"]["DeliverFunction"]["Properties"]
    assert function["Timeout"] > SECONDS + 10
    assert 15 <= SECONDS <= 30  # Standard Webhooks, "Request timeouts"


# keys -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def secret(world: Any) -> Iterator[str]:
    return world.aws["secretsmanager"].create_secret(Name="hooks", SecretString=f"{KEY}\n")["ARN"]  # type: ignore[no-any-return]


def test_the_keys_are_kept_for_a_while(world: Any, secret: str) -> None:
    keys = SigningKeys(secret, world.aws["secretsmanager"], world.clock)
    assert keys() == keys() == keys_in(KEY)
    assert len(world.called("GetSecretValue")) == 1
    other = f"{KEY} whsec_{'A' * 32}"
    world.aws["secretsmanager"].put_secret_value(SecretId=secret, SecretString=other)
    world.clock.now += KEYS_SECONDS
    assert keys() == keys_in(other)


def test_a_secret_that_can_not_be_read_is_named(world: Any) -> None:
    with pytest.raises(ConfigurationError, match="the secret nobody can't be read"):
        SigningKeys("nobody", world.aws["secretsmanager"], world.clock)()
    with pytest.raises(ConfigurationError, match="WebhookUrl needs WebhookSecretArn"):
        SigningKeys(None, world.aws["secretsmanager"], world.clock)()


# gone -----------------------------------------------------------------------------------------------------------


def test_a_receiver_is_gone_until_it_is_forgotten_and_only_under_this_address(world: Any) -> None:
    gone = Gone(world.table)
    assert not gone(Hook(HOOK))
    gone.mark(Hook(HOOK))
    gone.mark(Hook(HOOK))
    assert (gone(Hook(HOOK)), gone(Hook(f"{HOOK}2"))) == (True, False)
    gone.forget()
    assert not gone(Hook(HOOK))


def test_the_address_is_not_in_the_table(world: Any) -> None:
    Gone(world.table).mark(Hook(HOOK))
    (item,) = world.aws["dynamodb"].scan(TableName="jobs-of-tests")["Items"]
    assert "token" not in str(item)
    assert item["job_id"]["S"].startswith("webhook#")  # announce and deliver may change no other item
