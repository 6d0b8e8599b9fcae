"""The stack on a laptop: the emulator up, template.yaml deployed into it, outputs written down.

`home/outputs.json` is there as long as the stack is meant to be; see local.launch for what else is kept.
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
from typing import Self

import httpx

from local import aws, keeping, launch, processes
from local.gate import HEALTH
from local.keeping import Kept
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

    One that was kept goes on where it stood. Raises StackError when it can't be had. Whatever ends it early, it
    leaves nothing running.
    """
    with _alone(options.home):
        if already := _already_up(options):
            return already, False
        kept = Kept.read(options.home)
        if kept:
            options = _as_kept(options, Stack(**kept.stack))
        scale = 1.0 if options.time_scale is None else options.time_scale
        provider = choose_provider(options.provider or "sandbox", os.environ, scale)
        options = replace(options, time_scale=scale, port=_port(options.port))
        try:
            if kept and (stack := _go_on(options, kept, provider, say)):
                return stack, True
            # Of a kept stack nothing could be used, but not what it bought: whoever asks the history has to know.
            since = kept.since if kept else time.time()
            return _start(options, provider, say, since), True
        except BaseException:
            down(options.home)
            if kept and keeping.is_kept(options.home):
                kept.write(options.home)  # whether it was stopped well the next try has to know, too
            raise


def down(home: Path) -> list[str]:
    """Stop what ``up`` started; the titles of what still ran. Logs and builds stay, and what is kept.

    With the provider's stand-in nothing is kept: the next stack is a new one.
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
    """Stop the servers of a stack with a stand-in, and start them again from what they kept (``Options.keep``)."""
    stack = Stack.read(home / "outputs.json")
    secret = aws.client(stack.access, "secretsmanager").get_secret_value(SecretId=SECRET_NAME)["SecretString"]
    # The functions first: whoever still waits for the stand-in may be answered.
    for name in ("emulator", "sandbox"):
        processes.stop(stack.pids[name], _KEEP_SECONDS)
    started = launch.Launch(home)
    provider = Provider("sandbox", key=secret, base_url=stack.sandbox_url)
    emulator_ready = launch.start_emulator(started, stack.access, provider, keep=home / keeping.FOLDER)
    launch.start_sandbox(started, stack.time_scale, provider, keep=home / keeping.FOLDER)
    emulator_ready()
    aws.scale_waits(stack.access, stack.time_scale)
    launch.write_json(home / "outputs.json", asdict(replace(stack, pids=started.pids)))


def _as_kept(options: Options, stack: Stack) -> Options:
    """The options that a kept stack goes on with. Raises StackError for wishes that are another stack's."""
    wanted = (options.provider or stack.provider).rstrip("/")
    if wanted != stack.provider:
        raise StackError(
            f"a stack with provider {stack.provider} is kept in {options.home}, with the videos that it paid for: "
            f"`seedance up --provider {stack.provider}` goes on with it, `seedance down --purge` deletes it, and "
            "SEEDANCE_HOME=FOLDER begins another one beside it"
        )
    port = httpx.URL(stack.endpoint_url).port
    if options.port not in (None, 0, port):
        raise StackError(f"the kept stack's addresses have port {port}; leave out --port {options.port}")
    scale = stack.time_scale if options.time_scale is None else options.time_scale
    parameters = {**stack.parameters, **options.parameters}
    return replace(options, provider=stack.provider, port=port, time_scale=scale, parameters=parameters)


def _go_on(options: Options, kept: Kept, provider: Provider, say: Say) -> Stack | None:
    """The kept stack, running again; None when its deployment is lost, and what is left of it is set aside."""
    home, before = options.home, Stack(**kept.stack)
    at, scale = before.access, options.time_scale or 1.0
    kept.marked(clean=False).write(home)
    started = launch.Launch(home)
    with launch.building(started) as template:
        say("starting the local AWS with what it kept")
        launch.start_emulator(started, at, provider, keep=home / keeping.FOLDER)()
        if not aws.is_deployed(at, STACK_NAME):
            processes.stop(started.pids["emulator"])
            say(f"the kept stack can't be used; it is set aside in {keeping.set_aside(home)}")
            return None
        aws.scale_waits(at, scale)
        aws.change_secret(at, SECRET_NAME, provider.key or "")
        built = template()
    build = launch.build_digest(launch.ROOT)
    parameters = dict(options.parameters)
    if (build, parameters, scale) != (kept.build, before.parameters, before.time_scale):
        say("deploying template.yaml")
        secret = aws.secret_arn(at, SECRET_NAME)
        launch.deploy(started, at, built, {**template_parameters(provider, scale, secret), **parameters})
    stack = replace(before, outputs=_outputs(at), pids=started.pids, time_scale=scale, parameters=parameters)
    _write(home, stack, Kept(since=kept.since, build=build, stack=asdict(stack)))
    return stack


def _start(options: Options, provider: Provider, say: Say, since: float) -> Stack:
    home, scale = options.home, options.time_scale or 1.0
    kept = home / keeping.FOLDER if options.keep or not provider.is_sandbox else None
    at = aws.Access(f"http://127.0.0.1:{options.port}", launch.credentials(home / keeping.FOLDER))
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
        notification_queue_url=aws.subscribe_queue(at, outputs["NotificationTopicArn"], f"{STACK_NAME}-notifications"),
    )
    build = launch.build_digest(launch.ROOT)
    _write(home, stack, None if provider.is_sandbox else Kept(since=since, build=build, stack=asdict(stack)))
    return stack


def _outputs(at: aws.Access) -> dict[str, str]:
    outputs = aws.stack_outputs(at, STACK_NAME)
    # The output is the address that AWS would give it; the emulator serves the same API here.
    api_id = httpx.URL(outputs["ApiUrl"]).host.partition(".")[0]
    outputs["ApiUrl"] = f"{at.endpoint_url}/_aws/execute-api/{api_id}/v1"
    return outputs


def _write(home: Path, stack: Stack, kept: Kept | None) -> None:
    if kept:
        aws.save(stack.access)
        kept.write(home)
    launch.write_json(home / "outputs.json", asdict(stack))


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
