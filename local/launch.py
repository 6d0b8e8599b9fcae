"""Starts the programs of a local stack, records them, and waits for them.

home/pids.json      the running programs; written at the first start, so that `down` always finds them
home/tmp/           the emulator's scratch space
home/kept/          what both servers keep across a restart, if that is enabled; the stack's credentials
home/*.log          the output of the emulator, the stand-in, the build and the deployment
ROOT/.seedance/build/<digest>/   the result of `sam build` for one version of the template and the code
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx

from local import aws, processes
from local.gate import HEALTH
from local.options import Provider, StackError, scale_text
from local.sigv4 import Credentials

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".seedance"
STACK_NAME = "seedance"
ARTIFACTS = f"{STACK_NAME}-artifacts"
"""The bucket for a deployment's files."""

TITLES = {"emulator": "the local AWS", "sandbox": "the provider's stand-in"}
_MARKS = {"emulator": "ministack", "sandbox": "local.sandbox"}
"""A part of their command lines, to identify them: a pid alone may belong to another program by now."""

_BIN = Path(sys.executable).parent
_BUILDS = HOME / "build"
_OLD_BUILD_SECONDS = 3600
_READY_SECONDS = 20.0
_BUILD_SECONDS = 300.0
_DEPLOY_SECONDS = 180.0
_CONCURRENT_WORKERS = 24
"""The emulator's limit of concurrent functions: each is a Python process, and without a limit memory runs out."""


class Launch:
    """The programs that one ``up`` starts. Each is recorded as soon as it runs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.pids: dict[str, int] = {}
        shutil.rmtree(home / "tmp", ignore_errors=True)
        (home / "tmp").mkdir(parents=True)
        self._record()

    def start(self, name: str, command: Sequence[str | Path], env: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start a program under this name."""
        with processes.uninterrupted():
            child = processes.start(command, env=env, cwd=ROOT, log=self.log(name))
            self.pids[name] = child.pid
            self._record()
        return child

    def finish(self, name: str, child: subprocess.Popen[bytes], seconds: float) -> None:
        """Wait until a program ends successfully. Raises StackError with the end of its log."""
        try:
            code = child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise StackError(f"`{name}` did not end within {seconds:.0f} s{self._said(name)}") from None
        del self.pids[name]
        self._record()
        if code != 0:
            raise StackError(f"`{name}` failed{self._said(name)}")

    def until(self, name: str, child: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
        """Wait until a server is ready. Raises StackError with the end of its log."""
        deadline = time.monotonic() + _READY_SECONDS
        while not ready():
            if child.poll() is not None:
                raise StackError(f"{TITLES[name]} stopped during startup{self._said(name)}")
            if time.monotonic() > deadline:
                raise StackError(f"{TITLES[name]} was not ready within {_READY_SECONDS:.0f} s{self._said(name)}")
            time.sleep(0.05)

    def log(self, name: str) -> Path:
        """The log file of a program."""
        return self.home / f"{name.replace(' ', '-')}.log"

    def _said(self, name: str) -> str:
        return f"; {self.log(name)} ends with:\n{processes.tail(self.log(name))}"

    def _record(self) -> None:
        write_json(self.home / "pids.json", self.pids)


def start_emulator(
    launch: Launch, at: aws.Access, provider: Provider, *, keep: Path | None = None, schedule_scale: float = 1.0
) -> Callable[[], None]:
    """Start the local AWS. The returned call waits until it is ready.

    Its schedules run in their time multiplied by ``schedule_scale``.
    With ``keep``, it continues from the state in that folder, and writes its state there at a clean stop. Running
    executions of state machines are lost by that: they are FAILED.
    """
    env = _minimal_environment(launch.home) | {
        "GATEWAY_PORT": str(httpx.URL(at.endpoint_url).port),
        "AWS_ACCESS_KEY_ID": at.credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": at.credentials.secret_access_key,
        # Otherwise it also listens on 8883 and, with a file server, on 2222, on all addresses of this machine.
        "IOT_MTLS_ENABLED": "false",
        "SFTP_ENABLED": "false",
        "LAMBDA_ACCOUNT_CONCURRENCY": str(_CONCURRENT_WORKERS),
        "SCHEDULE_SCALE": scale_text(schedule_scale),
    }
    if keep:
        env["INBOX_FILE"] = str(keep / "inbox.jsonl")
        env |= {"PERSIST_STATE": "1", "STATE_DIR": str(keep / "aws")}
        env |= {"S3_PERSIST": "1", "S3_DATA_DIR": str(keep / "s3")}
    if not provider.is_sandbox:
        # If this machine reaches the internet through a proxy, the provider is reached through it too.
        ways = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
        env |= {name: value for name, value in os.environ.items() if name.upper() in ways}
        env["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1", "localhost"]))
    child = launch.start("emulator", [sys.executable, "-m", "local.ministack_server"], env)
    url = f"{at.endpoint_url}{HEALTH}"
    return lambda: launch.until("emulator", child, lambda: answers(url))


def start_sandbox(launch: Launch, scale: float, provider: Provider, *, keep: Path | None = None) -> Provider:
    """Start the provider's stand-in and wait until it is ready. Returns the provider with its address and a key.

    With ``keep``, it continues from the state in that folder, and writes its state there at a clean stop.
    """
    key = provider.key or f"SG_{secrets.token_hex(8)}"
    port = httpx.URL(provider.base_url).port if provider.base_url else 0
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "local.sandbox",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--api-key",
        key,
    ]
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        command += ["--state", keep / "sandbox.json"]
    env = _minimal_environment(launch.home)
    child = launch.start("sandbox", [*command, "--time-scale", scale_text(scale)], env)
    ready = "sandbox ready on "

    def address() -> str:
        said = launch.log("sandbox").read_text(errors="replace").splitlines(keepends=True)
        line = next((line for line in said if line.startswith(ready) and line.endswith("\n")), "")
        return line.removeprefix(ready).strip()

    launch.until("sandbox", child, lambda: bool(address()))
    return replace(provider, key=key, base_url=address())


def built_template() -> Path:
    """The path of the template that `sam build` makes of this state of the code. It may not exist yet."""
    return _BUILDS / build_digest(ROOT) / "template.yaml"


@contextlib.contextmanager
def building(launch: Launch) -> Iterator[Callable[[], Path]]:
    """Build while the block runs, unless this version is already built. The yielded call waits for the template."""
    result = built_template().parent
    if built_template().exists():
        yield built_template
        return
    # Built in another folder and then moved into place, because two stacks may build at the same time.
    beside = _BUILDS / f"new-{os.getpid()}"
    command: list[str | Path] = [_BIN / "sam", "build", "--template-file", ROOT / "template.yaml"]
    command += ["--build-dir", beside]
    child = launch.start("sam build", command, _build_environment())

    def template() -> Path:
        launch.finish("sam build", child, _BUILD_SECONDS)
        with contextlib.suppress(OSError):  # another build was faster, with the same result
            beside.rename(result)
        for old in _BUILDS.iterdir():
            if old.is_dir() and old != result and time.time() - old.stat().st_mtime > _OLD_BUILD_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        return result / "template.yaml"

    try:
        yield template
    finally:
        if child.poll() is None:
            processes.stop(child.pid)
        shutil.rmtree(beside, ignore_errors=True)


def build_digest(root: Path) -> str:
    """A digest of everything that `sam build` reads: the template, the layer, functions, pages, the Python version."""
    digest = hashlib.sha256(f"{sys.version} {sys.platform} {os.uname().machine}".encode())
    folders = (root / "layers" / "common", root / "functions", root / "web")
    found = [path for folder in folders for path in folder.rglob("*")]
    files = [path for path in found if path.is_file() and "__pycache__" not in path.parts]
    for path in [root / "template.yaml", *sorted(files)]:
        digest.update(f"\0{path.relative_to(root)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def declared_parameters() -> dict[str, Any]:
    """The template's parameter declarations."""
    from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # noqa: PLC0415 - slow, and rarely asked for

    return dict(yaml_parse((ROOT / "template.yaml").read_text())["Parameters"])


def deploy(launch: Launch, at: aws.Access, template: Path, parameters: dict[str, str]) -> None:
    """Run `sam deploy`, as for AWS."""
    command: list[str | Path] = [_BIN / "sam", "deploy", "--template-file", template]
    command += ["--stack-name", STACK_NAME, "--s3-bucket", ARTIFACTS, "--capabilities", "CAPABILITY_IAM"]
    # A section that does not exist in samconfig.toml, because the settings there are for AWS.
    command += ["--config-env", "local", "--no-confirm-changeset", "--no-progressbar"]
    given = {**parameters, "LocalAddress": at.endpoint_url}
    command += ["--parameter-overrides", *(f"{name}={value}" for name, value in given.items())]
    env = _minimal_environment(launch.home) | aws.environment(at)
    env |= {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "1"}
    launch.finish("sam deploy", launch.start("sam deploy", command, env), _DEPLOY_SECONDS)


def _minimal_environment(home: Path) -> dict[str, str]:
    # Almost nothing from the user's environment: the emulator passes its environment on to the functions, where a
    # forgotten AWS_PROFILE or AWS_ENDPOINT_URL would override the stack's.
    return {
        "PATH": f"{_BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": os.environ.get("HOME", str(home)),
        "TMPDIR": str((home / "tmp").resolve()),
        "LANG": "C.UTF-8",
    }


def _build_environment() -> dict[str, str]:
    # pip needs the user's proxies and indexes. The layer's `make` must not treat ours as its parent.
    foreign = ("AWS_", "SAM_", "MAKE", "MFLAGS", "PYTHON", "SEGMIND_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env["PATH"] = f"{_BIN}{os.pathsep}{env.get('PATH', os.defpath)}"
    # By name, found through PATH, because `make` splits a path with spaces.
    return env | {"PYTHON": Path(sys.executable).name, "LAYER_TARGET": "host", "SAM_CLI_TELEMETRY": "0", **aws.NO_FILES}


def credentials(kept: Path) -> Credentials:
    """The stack's credentials, kept in that folder. Created once, so that links and shells work after a restart."""
    path = kept / "credentials.json"
    if path.exists():
        return Credentials(**json.loads(path.read_text()))
    kept.mkdir(mode=0o700, exist_ok=True)
    made = Credentials.random()
    write_json(path, asdict(made))
    return made


def running(pids: dict[str, int]) -> dict[str, int]:
    """The programs that are still running."""
    return {name: pid for name, pid in pids.items() if processes.is_running(pid, _MARKS.get(name, name))}


def recorded(home: Path) -> dict[str, int]:
    """The recorded programs, by name."""
    try:
        pids = json.loads((home / "pids.json").read_text())
        return {str(name): int(pid) for name, pid in pids.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def answers(url: str) -> bool:
    """Whether a server responds."""
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


def write_json(path: Path, value: object) -> None:
    """Write a file that only its owner can read. It is moved into place, so that it is never read half-written."""
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    beside.touch(mode=0o600)
    beside.write_text(json.dumps(value, indent=2) + "\n")
    beside.rename(path)
