"""The local stack: starts the emulator, deploys template.yaml to it, and writes its outputs.

`home/outputs.json` exists from `up` to `down`. See local.launch for the other files.
"""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import httpx

from local import aws, keeping, launch, processes
from local.gate import HEALTH
from local.keeping import Kept
from local.launch import HOME, STACK_NAME, TITLES
from local.options import (
    DEFAULT_PORT,
    SECRET_NAME,
    WEBHOOK_SECRET_NAME,
    Provider,
    StackError,
    choose_provider,
    template_parameters,
)
from local.sigv4 import Credentials

Say = Callable[[str], None]

_FORMER = frozenset({"notification_queue_url"})
"""Fields of earlier releases, which a kept stack may have."""

_DERIVED = ("api_url", "console_url")
"""Entries of outputs.json that follow from the others, for people and programs that read it."""

_KEEP_SECONDS = 30.0
"""How long a server has to write its state when it stops."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A local stack, as described by its outputs.json."""

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
    """The parameters that differ from their defaults."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The stack from its outputs.json. Raises StackError if the file is invalid."""
        try:
            return cls.of(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise StackError(f"{path} is not the outputs.json of a local stack ({error})") from error

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """The stack from these values, which may be of an earlier release. Raises TypeError."""
        return cls(**{name: value for name, value in facts.items() if name not in {*_FORMER, *_DERIVED}})

    def facts(self) -> dict[str, Any]:
        """What its outputs.json has."""
        return {**asdict(self), **{name: getattr(self, name) for name in _DERIVED}}

    @property
    def api_url(self) -> str:
        """The API's address."""
        return self.outputs.get("ApiUrl", "")

    @property
    def console_url(self) -> str:
        """The console's address, signed in: a browser keeps the part after # to itself. Empty for earlier releases."""
        address = self.outputs.get("ConsoleUrl")
        return f"{address}#key={self.api_key}" if address else ""

    @property
    def access(self) -> aws.Access:
        """The address and credentials of its AWS."""
        return aws.Access(self.endpoint_url, Credentials(self.access_key_id, self.secret_access_key))

    @property
    def gone(self) -> list[str]:
        """The names of its programs that no longer run."""
        return [name for name in self.pids if name not in launch.running(self.pids)]

    def check(self) -> None:
        """Raise StackError unless all its programs run and respond."""
        gone = self.gone
        if len(gone) == len(self.pids):
            raise StackError("the local stack is no longer running; run `seedance up`")
        if "emulator" in gone:
            raise StackError(f"{_named(gone)} is no longer running; run `seedance up`")
        if gone:
            raise StackError(f"{_named(gone)} is no longer running; run `seedance down`, then `seedance up`")
        if not self.secret_access_key:
            raise StackError(
                "the local stack was started by an earlier release; run `seedance down`, then `seedance up`"
            )
        urls = {"emulator": f"{self.endpoint_url}{HEALTH}", "sandbox": self.sandbox_url or ""}
        if silent := [name for name in self.pids if not launch.answers(urls[name])]:
            raise StackError(f"{_named(silent)} does not respond; run `seedance down`, then `seedance up`")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The requested options. None means the default, and matches any stack that is already running."""

    port: int | None = None
    """0 picks any free port."""
    provider: str | None = None
    time_scale: float | None = None
    home: Path = HOME
    keep: bool = False
    """Whether the stack can be restarted."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Template parameters that differ from their defaults."""
    hurried: bool = True
    """Whether ``time_scale`` also shortens the schedules. Not for tests that run rounds of reconcile themselves."""


def up(options: Options, say: Say) -> tuple[Stack, bool]:
    """Return the running stack, and whether it had to be started.

    A kept stack continues where it stopped. Raises StackError if it can't be started. If anything interrupts this, no
    program is left running.
    """
    with _alone(options.home):
        if already := _already_up(options):
            return already, False
        kept = Kept.read(options.home)
        if kept:
            options = _as_kept(options, Stack.of(kept.stack))
        scale = 1.0 if options.time_scale is None else options.time_scale
        provider = choose_provider(options.provider or "sandbox", os.environ, scale)
        options = replace(options, time_scale=scale, port=_port(options.port))
        try:
            if kept and (stack := _go_on(options, kept, provider, say)):
                return stack, True
            # The kept stack can't be used, but its start time is still needed to search the history for its requests.
            since = kept.since if kept else time.time()
            return _start(options, provider, say, since), True
        except BaseException:
            down(options.home)
            if kept and keeping.is_kept(options.home):
                kept.write(options.home)  # the next attempt must also know whether it was stopped cleanly
            raise


def down(home: Path) -> list[str]:
    """Stop what ``up`` started. Returns the titles of the stopped programs. Logs, builds and kept data stay.

    With the provider's stand-in, nothing is kept, and the next stack is a new one.
    """
    kept = keeping.is_kept(home)
    with processes.uninterrupted():
        still = launch.running(launch.recorded(home))
        for name, pid in still.items():
            processes.stop(pid, _KEEP_SECONDS if kept and name == "emulator" else processes.STOP_SECONDS)
        if kept and "emulator" in still and (record := Kept.read(home)):
            record.marked(clean=True).write(home)
        for leftover in ("outputs.json", "pids.json"):
            (home / leftover).unlink(missing_ok=True)
        for folder in ("tmp", *([] if kept else [keeping.FOLDER])):
            shutil.rmtree(home / folder, ignore_errors=True)
    return [TITLES.get(name, name) for name in still]


def restart(home: Path) -> None:
    """Stop the servers of a stack with a stand-in, and start them again from their kept state (``Options.keep``)."""
    stack = Stack.read(home / "outputs.json")
    secret = aws.client(stack.access, "secretsmanager").get_secret_value(SecretId=SECRET_NAME)["SecretString"]
    # The functions first, so that calls in progress still get the stand-in's response.
    for name in ("emulator", "sandbox"):
        processes.stop(stack.pids[name], _KEEP_SECONDS)
    started = launch.Launch(home)
    provider = Provider("sandbox", key=secret, base_url=stack.sandbox_url)
    emulator_ready = launch.start_emulator(started, stack.access, provider, keep=home / keeping.FOLDER)
    launch.start_sandbox(started, stack.time_scale, provider, keep=home / keeping.FOLDER)
    emulator_ready()
    aws.scale_waits(stack.access, stack.time_scale)
    launch.write_json(home / "outputs.json", replace(stack, pids=started.pids).facts())


def _as_kept(options: Options, stack: Stack) -> Options:
    """The options with which a kept stack continues. Raises StackError if they need another stack."""
    wanted = (options.provider or stack.provider).rstrip("/")
    if wanted != stack.provider:
        raise StackError(
            f"{options.home} has a kept stack with provider {stack.provider} and its paid videos: "
            f"`seedance up --provider {stack.provider}` continues with it, `seedance down --purge` deletes it, and "
            "SEEDANCE_HOME=FOLDER starts another one in FOLDER"
        )
    port = httpx.URL(stack.endpoint_url).port
    if options.port not in (None, 0, port):
        raise StackError(f"the kept stack uses port {port}; omit --port {options.port}")
    scale = stack.time_scale if options.time_scale is None else options.time_scale
    parameters = {**stack.parameters, **options.parameters}
    return replace(options, provider=stack.provider, port=port, time_scale=scale, parameters=parameters)


def _go_on(options: Options, kept: Kept, provider: Provider, say: Say) -> Stack | None:
    """Start the kept stack again. Returns None if its deployment is lost; then its data is moved to another folder."""
    home, before = options.home, Stack.of(kept.stack)
    at, scale = before.access, options.time_scale or 1.0
    kept.marked(clean=False).write(home)
    started = launch.Launch(home)
    with launch.building(started) as template:
        say("starting the local AWS with its kept data")
        launch.start_emulator(started, at, provider, keep=home / keeping.FOLDER, schedule_scale=_hurry(options))()
        if not aws.is_deployed(at, STACK_NAME):
            processes.stop(started.pids["emulator"])
            say(f"the kept stack can't be used; it was moved to {keeping.set_aside(home)}")
            return None
        aws.scale_waits(at, scale)
        aws.change_secret(at, SECRET_NAME, provider.key or "")
        built = template()
    build = launch.build_digest(launch.ROOT)
    parameters = dict(options.parameters)
    if (build, parameters, scale) != (kept.build, before.parameters, before.time_scale):
        say("deploying template.yaml")
        secrets = aws.secret_arn(at, SECRET_NAME), aws.webhook_secret(at, WEBHOOK_SECRET_NAME)
        launch.deploy(started, at, built, {**template_parameters(provider, scale, *secrets), **parameters})
    stack = replace(before, outputs=_outputs(at), pids=started.pids, time_scale=scale, parameters=parameters)
    _write(home, stack, Kept(since=kept.since, build=build, stack=asdict(stack)))
    return stack


def _start(options: Options, provider: Provider, say: Say, since: float) -> Stack:
    home, scale = options.home, options.time_scale or 1.0
    kept = home / keeping.FOLDER if options.keep or not provider.is_sandbox else None
    at = aws.Access(f"http://127.0.0.1:{options.port}", launch.credentials(home / keeping.FOLDER))
    started = launch.Launch(home)
    # The build takes longest and needs no server, so it runs while they start.
    with launch.building(started) as template:
        say("starting the local AWS" + (" and the provider's stand-in" if provider.is_sandbox else ""))
        emulator_ready = launch.start_emulator(started, at, provider, keep=kept, schedule_scale=_hurry(options))
        makes_videos = launch.start_sandbox(started, scale, provider, keep=kept) if provider.is_sandbox else provider
        emulator_ready()
        aws.scale_waits(at, scale)
        secret = aws.create_secret(at, SECRET_NAME, makes_videos.key or "")
        webhook_secret = aws.webhook_secret(at, WEBHOOK_SECRET_NAME)
        aws.create_bucket(at, launch.ARTIFACTS)
        say("building the functions' layer")
        built = template()
    say("deploying template.yaml")
    parameters = {**template_parameters(makes_videos, scale, secret, webhook_secret), **options.parameters}
    launch.deploy(started, at, built, parameters)
    outputs = _outputs(at)
    stack = Stack(
        endpoint_url=at.endpoint_url,
        **asdict(at.credentials),
        outputs=outputs,
        api_key=aws.api_key(at, outputs["ApiKeyId"]),
        sandbox_url=makes_videos.base_url if provider.is_sandbox else None,
        pids=started.pids,
        provider=provider.text,
        time_scale=scale,
        parameters=dict(options.parameters),
    )
    build = launch.build_digest(launch.ROOT)
    _write(home, stack, None if provider.is_sandbox else Kept(since=since, build=build, stack=asdict(stack)))
    return stack


def _hurry(options: Options) -> float:
    return (options.time_scale or 1.0) if options.hurried else 1.0


def _outputs(at: aws.Access) -> dict[str, str]:
    outputs = aws.stack_outputs(at, STACK_NAME)
    # The output is the address on AWS. The emulator serves the same API at this address.
    api_id = httpx.URL(outputs["ApiUrl"]).host.partition(".")[0]  # LinkUrl has the emulator's address already
    outputs["ApiUrl"] = f"{at.endpoint_url}/_aws/execute-api/{api_id}/v1"
    outputs["ConsoleUrl"] = f"{outputs['ApiUrl']}/"
    return outputs


def _write(home: Path, stack: Stack, kept: Kept | None) -> None:
    if kept:
        aws.save(stack.access)
        kept.write(home)
    launch.write_json(home / "outputs.json", stack.facts())


def _already_up(options: Options) -> Stack | None:
    path = options.home / "outputs.json"
    if not path.exists():
        if left := launch.running(launch.recorded(options.home)):
            raise StackError(f"an interrupted `seedance up` left {_named(left)} running; run `seedance down`")
        return None
    stack = Stack.read(path)
    if len(stack.gone) == len(stack.pids):
        return None  # for example after a reboot: there is nothing to stop or keep
    if "emulator" in stack.gone:
        down(options.home)  # the jobs are gone with it, so there is nothing to lose
        return None
    stack.check()
    if different := _differences(stack, options):
        raise StackError(
            f"a stack with provider {stack.provider} and time scale {stack.time_scale:g} is running at "
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
        raise StackError(f"port {port} is used by {holder}; choose another with --port (0 picks a free one)")
    return port


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackError(f"another `seedance up` is running in {home}; wait for it, or stop it") from None
        yield


def _named(names: "list[str] | dict[str, int]") -> str:
    return " and ".join(TITLES.get(name, name) for name in names)
