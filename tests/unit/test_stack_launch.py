"""Starting and stopping programs, and their environment."""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import aws, launch, processes
from local.options import StackError
from local.sigv4 import Credentials

WAITS = "import time; time.sleep(60)"


def python(code: str, home: Path) -> int:
    return processes.start([sys.executable, "-c", code], env=dict(os.environ), cwd=home, log=home / "log").pid


def ends(pid: int) -> bool:
    for _ in range(100):
        if processes.command_line(pid) is None:
            return True
        time.sleep(0.02)
    return False


def test_a_process_is_identified_by_pid_and_command_line(tmp_path: Path) -> None:
    pid = python(WAITS, tmp_path)
    try:
        assert processes.is_running(pid, "time.sleep(60)")
        assert not processes.is_running(pid, "ministack"), "the pid of another process"
    finally:
        processes.stop(pid)
    assert not processes.is_running(pid, "time.sleep(60)")


def test_a_process_is_stopped_with_its_children(tmp_path: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    child = f"{stubborn} {WAITS}"
    starts = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}]);"
    pid = python(f"{starts} print(p.pid, flush=True); {WAITS}", tmp_path)
    while not (tmp_path / "log").read_text().strip():
        time.sleep(0.02)
    grandchild = int((tmp_path / "log").read_text())

    processes.stop(pid)

    assert ends(pid)
    assert ends(grandchild)


def test_stopping_an_ended_process_is_no_error(tmp_path: Path) -> None:
    pid = python("pass", tmp_path)
    assert ends(pid) or processes.stop(pid) is None
    processes.stop(pid)


@pytest.fixture
def listens_to_ctrl_c() -> Iterator[None]:
    """Restore the handling of Ctrl-C, which a shell disables for a test run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listens_to_ctrl_c")
def test_ctrl_c_is_delayed_until_a_critical_section_ends() -> None:
    order = []
    with pytest.raises(KeyboardInterrupt):
        with processes.uninterrupted():
            signal.raise_signal(signal.SIGINT)
            order.append("finished")
        order.append("never")
    assert order == ["finished"]


@pytest.mark.usefixtures("listens_to_ctrl_c")
def test_signal_handlers_are_restored_after_a_critical_section() -> None:
    before = signal.getsignal(signal.SIGINT)
    with processes.uninterrupted():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_a_tail_is_the_last_nonempty_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("one\n\ntwo\nthree\n\n")
    assert processes.tail(log, 2) == "two\nthree"
    assert processes.tail(tmp_path / "none") == ""


def test_a_started_process_is_recorded_at_once(tmp_path: Path) -> None:
    started = launch.Launch(tmp_path)
    child = started.start("sam build", [sys.executable, "-c", WAITS], dict(os.environ))
    try:
        assert launch.recorded(tmp_path) == {"sam build": child.pid}
    finally:
        processes.stop(child.pid)


def test_the_output_of_a_failed_tool_is_quoted(tmp_path: Path) -> None:
    started = launch.Launch(tmp_path)
    child = started.start(
        "sam deploy", [sys.executable, "-c", "import sys; sys.exit('no such bucket')"], dict(os.environ)
    )
    with pytest.raises(StackError, match=r"`sam deploy` failed; .*sam-deploy.log ends with:\nno such bucket"):
        started.finish("sam deploy", child, 10)
    assert launch.recorded(tmp_path) == {}


def test_the_output_of_a_server_that_fails_to_start_is_quoted(tmp_path: Path) -> None:
    started = launch.Launch(tmp_path)
    child = started.start("emulator", [sys.executable, "-c", "import sys; sys.exit('port in use')"], dict(os.environ))
    with pytest.raises(StackError, match=r"the local AWS stopped during startup; .*\nport in use"):
        started.until("emulator", child, lambda: False)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"emulator": "x"}', '{"emulator": null}', "{"])
def test_a_corrupt_record_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "pids.json").write_text(text)
    assert launch.recorded(tmp_path) == {}


def test_files_are_readable_only_by_their_owner(tmp_path: Path) -> None:
    launch.write_json(tmp_path / "outputs.json", {"api_key": "secret"})
    assert json.loads((tmp_path / "outputs.json").read_text()) == {"api_key": "secret"}
    assert (tmp_path / "outputs.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["outputs.json"]


def test_credentials_are_random_and_created_once(tmp_path: Path) -> None:
    made = launch.credentials(tmp_path / "kept")
    assert launch.credentials(tmp_path / "kept") == made
    other = launch.credentials(tmp_path / "other")
    assert made.access_key_id != other.access_key_id
    assert made.secret_access_key != other.secret_access_key
    assert len(made.secret_access_key) == 40
    assert (tmp_path / "kept/credentials.json").stat().st_mode & 0o777 == 0o600
    assert made.secret_access_key not in repr(made)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    layer = tmp_path / "layers" / "common" / "seedance"
    (layer / "__pycache__").mkdir(parents=True)
    (layer / "job.py").write_text("a = 1")
    (tmp_path / "functions" / "submit").mkdir(parents=True)
    (tmp_path / "template.yaml").write_text("Resources: {}")
    return tmp_path


def test_unchanged_code_is_built_once(checkout: Path) -> None:
    before = launch.build_digest(checkout)
    (checkout / "layers" / "common" / "seedance" / "__pycache__" / "job.pyc").write_bytes(b"new")
    (checkout / "README.md").write_text("new")
    assert launch.build_digest(checkout) == before


@pytest.mark.parametrize(
    "change",
    [
        *("template.yaml", "functions/submit/app.py"),
        *("layers/common/seedance/job.py", "layers/common/requirements.txt"),
    ],
)
def test_changed_code_is_built_again(checkout: Path, change: str) -> None:
    before = launch.build_digest(checkout)
    (checkout / change).write_text("new")
    assert launch.build_digest(checkout) != before


def test_a_renamed_module_counts_as_a_change(checkout: Path) -> None:
    before = launch.build_digest(checkout)
    module = checkout / "layers" / "common" / "seedance" / "job.py"
    module.rename(module.with_name("work.py"))
    assert launch.build_digest(checkout) != before


def test_the_emulator_gets_none_of_the_users_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "SEGMIND_API_KEY", "PYTHONPATH", "HTTP_PROXY"):
        monkeypatch.setenv(name, "stale")
    assert "stale" not in launch._minimal_environment(tmp_path).values()


def test_the_build_keeps_what_pip_needs_and_drops_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "needed")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "MAKEFLAGS", "MAKELEVEL", "PYTHONPATH", "SEGMIND_API_KEY"):
        monkeypatch.setenv(name, "stale")
    env = launch._build_environment()
    assert (env["PIP_INDEX_URL"], env["HTTPS_PROXY"]) == ("needed", "needed")
    assert "stale" not in env.values()
    assert env["LAYER_TARGET"] == "host"
    # `make` would split a path that contains a space.
    assert shutil.which(env["PYTHON"], path=env["PATH"]) == sys.executable


def test_a_client_gets_none_of_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "a-profile-that-is-gone")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    client = aws.client.__wrapped__(aws.Access("http://127.0.0.1:4566", Credentials("id", "secret")), "s3")
    assert client.meta.endpoint_url == "http://127.0.0.1:4566"
    assert client.meta.region_name == aws.REGION
    assert os.environ["AWS_PROFILE"] == "a-profile-that-is-gone", "restored afterwards"
    assert "AWS_CONFIG_FILE" not in os.environ
