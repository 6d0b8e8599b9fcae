"""The stack on a laptop: the emulator up, template.yaml deployed into it, outputs written down.

`home/outputs.json` is there as long as the stack is meant to be; see local.launch for what else is kept.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Self

import httpx

from local import aws, launch, processes
from local.gate import HEALTH
from local.launch import HOME, STACK_NAME, TITLES
from local.options import (
    DEFAULT_PORT,
    SECRET_NAME,
    Provider,
    StackError,
    choose_provider,
    template_parameters,
)
from local.sigv4 import Credentials

Say = Callable[[str], None]

_KEPT = "kept"
_KEEP_SECONDS = 30.0
"""How long a server gets to write down what it keeps."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A local stack, as its outputs.json tells of it."""

    endpoint_url: str
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    region: str = aws.REGION
    outputs: dict[str, str] = field(default_factory=dict)
    api_key: str = ""
    sandbox_url: str | None = None
    pids: dict[str, int] = field(default_factory=dict)
    provider: str = "sandbox"
    time_scale: float = 1.0
    parameters: dict[str, str] = field(default_factory=dict)
    """Those that were given a value of their own."""
    notification_queue_url: str = ""
    """A queue subscribed to the notifications: the emulator delivers no mails."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The stack from its outputs.json. Raises StackError when that is none."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise StackError(f"{path} is no outputs file of a local stack ({error})") from error

    @property
    def access(self) -> aws.Access:
        """What calls on its AWS are made with."""
        return aws.Access(self.endpoint_url, Credentials(self.access_key_id, self.secret_access_key))

    @property
    def gone(self) -> list[str]:
        """What of it no longer runs, by name."""
        return [name for name in self.pids if name not in launch.running(self.pids)]

    def check(self) -> None:
        """Raise StackError unless all of it runs and answers."""
        gone = self.gone
        if len(gone) == len(self.pids):
            raise StackError("the local stack no longer runs; run `seedance up`")
        if gone:
            raise StackError(f"{_named(gone)} is gone; run `seedance down`, then `seedance up`")
        if not self.secret_access_key:
            raise StackError("an earlier release started the local stack; run `seedance down`, then `seedance up`")
        urls = {"emulator": f"{self.endpoint_url}{HEALTH}", "sandbox": self.sandbox_url or ""}
        if silent := [name for name in self.pids if not launch.answers(urls[name])]:
            raise StackError(f"{_named(silent)} does not answer; run `seedance down`, then `seedance up`")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked for. None leaves the choice to the stack, and fits one that is already up."""

    port: int | None = None
    """0 takes any free port."""
    provider: str | None = None
    time_scale: float | None = None
    home: Path = HOME
    keep: bool = False
    """Whether the stack can be restarted."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """The template's, where its defaults won't do."""


def up(options: Options, say: Say) -> tuple[Stack, bool]:
    """The stack, ready, and whether it had to be started.

    Raises StackError when it can't be had. Whatever ends it early, it leaves nothing running.
    """
    scale = 1.0 if options.time_scale is None else options.time_scale
    with _alone(options.home):
        if already := _already_up(options):
            return already, False
        provider = choose_provider(options.provider or "sandbox", os.environ, scale)
        port = _port(options.port)
        try:
            return _start(options, provider, port, scale, say), True
        except BaseException:
            down(options.home)
            raise


def down(home: Path) -> list[str]:
    """Stop what ``up`` started; the titles of what still ran. Logs, builds and videos stay."""
    with processes.uninterrupted():
        still = launch.running(launch.recorded(home))
        for pid in still.values():
            processes.stop(pid)
        for leftover in ("outputs.json", "pids.json"):
            (home / leftover).unlink(missing_ok=True)
        for folder in ("tmp", _KEPT):  # the next stack is a new one
            shutil.rmtree(home / folder, ignore_errors=True)
    return [TITLES.get(name, name) for name in still]


def restart(home: Path) -> None:
    """Stop the servers of a stack with a stand-in, and start them again from what they kept (``Options.keep``)."""
    stack = Stack.read(home / "outputs.json")
    secret = aws.client(stack.access, "secretsmanager").get_secret_value(SecretId=SECRET_NAME)["SecretString"]
    # The functions first: whoever still waits for the stand-in may be answered.
    for name in ("emulator", "sandbox"):
        processes.stop(stack.pids[name], _KEEP_SECONDS)
    started = launch.Launch(home)
    provider = Provider("sandbox", key=secret, base_url=stack.sandbox_url)
    emulator_ready = launch.start_emulator(started, stack.access, provider, keep=home / _KEPT)
    launch.start_sandbox(started, stack.time_scale, provider, keep=home / _KEPT)
    emulator_ready()
    aws.scale_waits(stack.access, stack.time_scale)
    launch.write_json(home / "outputs.json", asdict(replace(stack, pids=started.pids)))


def _start(options: Options, provider: Provider, port: int, scale: float, say: Say) -> Stack:
    home = options.home
    kept = home / _KEPT if options.keep else None
    endpoint = f"http://127.0.0.1:{port}"
    at = aws.Access(endpoint, launch.credentials(home / _KEPT))
    started = launch.Launch(home)
    # The build needs neither server and takes longest: it runs while they start.
    with launch.building(started) as template:
        say("starting the local AWS" + (" and the provider's stand-in" if provider.is_sandbox else ""))
        emulator_ready = launch.start_emulator(started, at, provider, keep=kept)
        makes_videos = launch.start_sandbox(started, scale, provider, keep=kept) if provider.is_sandbox else provider
        emulator_ready()
        aws.scale_waits(at, scale)
        secret = aws.create_secret(at, SECRET_NAME, makes_videos.key or "")
        aws.create_bucket(at, launch.ARTIFACTS)
        say("building the functions' layer")
        built = template()
    say("deploying template.yaml")
    parameters = {**template_parameters(makes_videos, scale, secret), **options.parameters}
    launch.deploy(started, at, built, parameters)
    outputs = aws.stack_outputs(at, STACK_NAME)
    # The output is the address that AWS would give it; the emulator serves the same API here.
    api_id = httpx.URL(outputs["ApiUrl"]).host.partition(".")[0]
    outputs["ApiUrl"] = f"{endpoint}/_aws/execute-api/{api_id}/v1"
    notifications = aws.subscribe_queue(at, outputs["NotificationTopicArn"], f"{STACK_NAME}-notifications")
    stack = Stack(
        endpoint_url=endpoint,
        **asdict(at.credentials),
        outputs=outputs,
        api_key=aws.api_key(at, outputs["ApiKeyId"]),
        sandbox_url=makes_videos.base_url if provider.is_sandbox else None,
        pids=started.pids,
        provider=provider.text,
        time_scale=scale,
        parameters=dict(options.parameters),
        notification_queue_url=notifications,
    )
    launch.write_json(home / "outputs.json", asdict(stack))
    return stack


def _already_up(options: Options) -> Stack | None:
    path = options.home / "outputs.json"
    if not path.exists():
        if left := launch.running(launch.recorded(options.home)):
            raise StackError(f"an interrupted `seedance up` left {_named(left)} running; run `seedance down`")
        return None
    stack = Stack.read(path)
    if len(stack.gone) == len(stack.pids):
        return None  # the machine was restarted, say: nothing to stop, nothing to keep
    stack.check()
    if different := _differences(stack, options):
        raise StackError(
            f"a stack with provider {stack.provider} and time scale {stack.time_scale:g} is up at "
            f"{stack.endpoint_url}; run `seedance down` before `seedance up {different}`"
        )
    return stack


def _differences(stack: Stack, options: Options) -> str:
    asked = []
    if options.port not in (None, 0, httpx.URL(stack.endpoint_url).port):
        asked.append(f"--port {options.port}")
    if options.provider is not None and options.provider.rstrip("/") != stack.provider:
        asked.append(f"--provider {options.provider}")
    if options.time_scale not in (None, stack.time_scale):
        asked.append(f"--time-scale {options.time_scale}")
    asked += [
        f"--parameter {name}={value}"
        for name, value in options.parameters.items()
        if stack.parameters.get(name) != value
    ]
    return " ".join(asked)


def _port(wanted: int | None) -> int:
    if wanted == 0:
        return processes.free_port()
    port = DEFAULT_PORT if wanted is None else wanted
    if processes.listens(port):
        holder = processes.listener(port) or "another program"
        raise StackError(f"port {port} is taken by {holder}; choose another with --port (0 takes a free one)")
    return port


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackError(f"another `seedance up` is at work in {home}; wait for it, or stop it") from None
        yield


def _named(names: "list[str] | dict[str, int]") -> str:
    return " and ".join(TITLES.get(name, name) for name in names)
