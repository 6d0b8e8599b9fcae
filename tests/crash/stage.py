"""Sets up worlds: moto behind HTTP, the provider's stand-in, and one clock for all."""

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import adversary
import aws_limits
import calls_to_aws
import certifi
import pytest
import shortcut
import wire
from adversary import Adversary
from calls_to_aws import Seen
from moto.server import ThreadedMotoServer
from seedance import clock, observability
from seedance.aws import clients
from seedance.provider import client
from seedance.provider import http as lines
from webhook_receiver import Receiver, receiving
from world import ALL_FUNCTIONS, REGION, SCHEDULE_SECONDS, Calendar, World, app, forget, http

from local.sandbox import Sandbox, running
from local.sandbox import clock as sandbox_clock
from local.sandbox import state as sandbox_state
from local.sandbox.inprocess import KEY

RECEIVER = "the receiver"
"""The value of WEBHOOK_URL in a scenario; the receiver's port is not known before."""


@dataclass
class Stage:
    """The servers. ``world`` empties them for the next scenario."""

    patch: pytest.MonkeyPatch
    aws_url: str
    sandbox: Sandbox
    calendar: Calendar
    wire: wire.Wire
    receiver: Receiver
    resources: dict[str, str] = field(default_factory=dict)
    seen: set[Seen] = field(default_factory=set)
    """The permissions that the functions have used."""
    listed: set[Seen] = field(default_factory=calls_to_aws.committed)

    def deploy(self) -> None:
        """Create the stack's resources, once for all worlds."""
        http().post(f"{self.aws_url}/moto-api/reset").raise_for_status()
        stack = World(self.sandbox, self.aws_url)
        stack.create(KEY)
        names = ("queue", "notification_queue", "topic", "secret", "webhook_secret", "state_machine", "batch_machine")
        self.resources = {name: getattr(stack, name) for name in names}

    def names(self) -> dict[str, str]:
        """The template's resources, by the names that they have here."""
        return World(self.sandbox, self.aws_url, **self.resources).names()

    def see(self, used: Seen) -> None:
        """Note a permission that a function has used; one that is not in the list is a finding."""
        self.seen.add(used)
        if used not in self.listed:
            self.wire.adversary.findings.append(f"a call that infrastructure/calls.json does not have: {used}")

    def patience(self, patch: pytest.MonkeyPatch, seconds: float) -> None:
        """Limit how long the functions wait for the provider."""
        for name in ("SUBMIT_SECONDS", "STATUS_SECONDS", "GENERATE_SECONDS", "UPLOAD_SECONDS"):
            patch.setattr(client, name, seconds)
        patch.setattr(lines, "STRIDE_SECONDS", seconds)

    def world(self, seed: int = 0, **environment: str) -> World:
        """Return an empty stack, deployed with these parameters. ``seed`` is the adversary's.

        With ``WEBHOOK_URL=RECEIVER``, webhooks are sent to the receiver.
        """
        hooked = environment.get("WEBHOOK_URL") == RECEIVER
        environment |= {"WEBHOOK_URL": self.receiver.url, "WEBHOOKS": "yes"} if hooked else {}
        self.receiver.reset()
        self.wire = wire.Wire(adversary=Adversary(seed, now=self.calendar.time))
        self.calendar.restart()
        shortcut.empty(REGION)
        self.sandbox.reset()
        stack = World(
            self.sandbox,
            self.aws_url,
            **self.resources,
            adversary=self.wire.adversary,
            wire=self.wire,
            calendar=self.calendar,
            receiver=self.receiver if hooked else None,
        )
        for name, value in {**stack.environment(), **environment}.items():
            self.patch.setenv(name, value)
        forget()
        stack.next_round = self.calendar.time() + seed % SCHEDULE_SECONDS
        return stack


@contextmanager
def stage() -> Iterator[Stage]:
    """The servers for as long as the block lasts."""
    for verb in ALL_FUNCTIONS:
        app(verb)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    calendar, patch = Calendar(), pytest.MonkeyPatch()
    folder = tempfile.TemporaryDirectory()
    try:
        with running(time_scale=1.0, fps=1) as sandbox, receiving() as receiver:
            _environment(patch, f"http://{host}:{port}", Path(folder.name))
            _on_calendar(patch, calendar)
            set_up = Stage(patch, f"http://{host}:{port}", sandbox, calendar, wire.Wire(), receiver)
            shortcut.install(patch)
            wire.install(patch, lambda: set_up.wire)
            adversary.install(
                patch, lambda: set_up.wire.adversary if set_up.wire.verb else None, lambda: str(set_up.wire.verb)
            )
            adversary.watch(patch, lambda: set_up.wire.adversary)
            patch.setattr(*aws_limits.hook())
            calls_to_aws.install(patch, lambda: set_up.wire.verb, set_up.names, set_up.see)
            patch.setattr(observability, "_metrics", lambda: set_up.wire.meter)
            _forget_clients()
            set_up.deploy()
            yield set_up
    finally:
        patch.undo()
        _forget_clients()
        server.stop()
        folder.cleanup()


def _environment(patch: pytest.MonkeyPatch, url: str, folder: Path) -> None:
    end = "-----END CERTIFICATE-----\n"
    one = folder / "one.pem"  # nothing here uses TLS, and loading all 140 takes each client 25 ms
    one.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "SSL_CERT_FILE": str(one),
        "POWERTOOLS_METRICS_NAMESPACE": "SeedancePipeline",
        "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    }.items():
        patch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        patch.delenv(name, raising=False)


def _on_calendar(patch: pytest.MonkeyPatch, calendar: Calendar) -> None:
    """Let the functions and the stand-in read the calendar instead of the machine's clock.

    Sleeping moves the calendar on, so nobody waits.
    """
    fake = SimpleNamespace(time=calendar.time, monotonic=time.monotonic, sleep=calendar.sleep)
    for module in (clock, sandbox_clock, sandbox_state):
        assert vars(module)["time"] is time, module
        patch.setattr(module, "time", fake)


def _forget_clients() -> None:
    forget()
    for thing in (clients._session, clients._client):
        thing.cache_clear()
