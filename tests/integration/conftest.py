"""Fixtures of the integration tests: moto served over HTTP, the stand-in, and an empty stack for each test."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import adversary
import aws_limits
import botocore.endpoint
import calls_to_aws
import certifi
import httpx
import pytest
from api_calls import BODY, HISTORY, SLUG, completed, submitted
from calls_to_aws import Seen
from moto.server import ThreadedMotoServer
from pipeline import REGION, RUNNING, Change, Pipeline, http

from local.sandbox import Sandbox, running
from local.sandbox.inprocess import KEY


def forget(*, clients: bool) -> None:
    """Empty the functions' caches, as a fresh Lambda environment would have them; AWS clients only if asked."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("seedance.", "app_of_")) and (clients or name != "seedance.aws.clients"):
            for thing in list(vars(module).values()):
                if hasattr(thing, "cache_clear"):
                    thing.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def strict_services() -> Iterator[None]:
    """AWS refuses what the real one refuses."""
    with aws_limits.enforced():
        yield


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with one certificate: nothing here uses TLS, and loading all 140 takes each client 25 ms."""
    end = "-----END CERTIFICATE-----\n"
    path = tmp_path_factory.mktemp("tls") / "one.pem"
    path.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    return str(path)


@pytest.fixture(scope="module")
def aws_url() -> Iterator[str]:
    """The URL where moto serves AWS: a real server, so that others can fetch a signed link."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    forget(clients=True)
    yield f"http://{host}:{port}"
    forget(clients=True)
    server.stop()


@pytest.fixture(scope="module")
def provider_server() -> Iterator[Sandbox]:
    with running(time_scale=1.0, fps=1) as sandbox:
        yield sandbox


@pytest.fixture
def pipeline(
    *,
    aws_url: str,
    provider_server: Sandbox,
    one_authority: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Pipeline]:
    """An empty stack at the mercy of an adversary, and a freshly reset stand-in."""
    http().post(f"{aws_url}/moto-api/reset").raise_for_status()
    provider_server.reset()
    for name, value in {
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "SSL_CERT_FILE": one_authority,
        "POWERTOOLS_METRICS_NAMESPACE": "SeedancePipeline",
        "POWERTOOLS_LOG_LEVEL": "ERROR",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    stack = Pipeline(provider_server, aws_url)
    stack.create(KEY)
    stack.adversary.seed = crc32(request.node.name.encode())
    stack.adversary.now = lambda: time.time() + stack.passed
    adversary.install(monkeypatch, lambda: stack.adversary)
    adversary.watch(monkeypatch, lambda: stack.adversary)
    names, used = stack.names(), set[Seen]()
    calls_to_aws.install(monkeypatch, lambda: next(iter(RUNNING), None), lambda: names, used.add)
    # botocore waits before it retries a throttled call; here nothing waits.
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _: None))
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    forget(clients=False)
    yield stack
    assert stack.adversary.findings == []
    assert used <= calls_to_aws.committed()


@pytest.fixture
def set_up(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Change:
    """Deploy the stack with other parameters, named like the functions' environment variables."""

    def change(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name.upper(), value)
        forget(clients=False)

    return change


@pytest.fixture
def new_environment() -> Callable[[], None]:
    """Make every function start cold."""
    return lambda: forget(clients=False)


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a method raise once, when ``when`` is true for its arguments: the function crashes right there."""

    def order(owner: type, method: str, when: Callable[..., bool] = lambda *_, **__: True, *, after: bool) -> None:
        original, armed = getattr(owner, method), [True]

        def dying(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not (armed[0] and when(*args, **kwargs)):
                return original(self, *args, **kwargs)
            armed[0] = False
            if after:
                original(self, *args, **kwargs)
            raise RuntimeError("killed")

        monkeypatch.setattr(owner, method, dying)

    return order


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    # Fast enough to wait for a job, slow enough that its record does not expire while a busy machine encodes the video.
    with running(time_scale=0.001, fps=6) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: Sandbox) -> Sandbox:
    """The stand-in alone, freshly reset."""
    server.reset()
    return server


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with sandbox.client() as client:
        yield client


@pytest.fixture
def call(sandbox: Sandbox, api: httpx.Client) -> Callable[[str], httpx.Response]:
    """Make the call that belongs to a stage."""

    def make(stage: str) -> httpx.Response:
        match stage:
            case "submit":
                return api.post(f"/v2/{SLUG}", json=BODY)
            case "v1":
                return api.post(f"/v1/{SLUG}", json=BODY)
            case "status" | "result":
                return api.get(submitted(api)[f"{'status' if stage == 'status' else 'response'}_url"])
            case "history":
                return api.get(HISTORY)
            case "history-id":
                return api.get(f"{HISTORY}/{submitted(api)['request_id']}")
            case "credits":
                return api.get("/v1/get-user-credits")
            case "upload":
                return api.post("/upload-asset", json={"data_urls": ["data:image/png;base64,aGVsbG8="]})
        return api.get(f"/media/{completed(sandbox, api)['request_id']}.mp4")

    return make
