"""The sandbox for tests: a real server on a real socket, in a thread of this process."""

import asyncio
import contextlib
import functools
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from local.sandbox.server import listening
from local.sandbox.state import Config, Job, State

KEY = "SG_0123456789abcdef"  # made up; has the format of a key


@functools.cache
def _tls() -> ssl.SSLContext:
    """One context for all clients. Otherwise each would load the certificates, which takes longer than most tests."""
    return ssl.create_default_context()


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox. `state` is read-only; changes go through `/_sandbox`, so that they run on its own loop."""

    url: str
    state: State
    loop: asyncio.AbstractEventLoop
    control: httpx.Client
    """A client without a key, for `/_sandbox` and for files."""

    def client(self, **options: Any) -> httpx.Client:
        """A client with a valid key."""
        return httpx.Client(base_url=self.url, headers={"x-api-key": KEY}, verify=_tls(), **options)

    def fault(self, on: str, kind: str, **options: Any) -> None:
        """Order a fault. It strikes once by default (`times`)."""
        self._control("POST", "faults", {"on": on, "kind": kind, **options})

    def configure(self, **values: Any) -> None:
        """Change values of `Config` that can be changed while the server runs."""
        self._control("POST", "config", values)

    def reset(self) -> None:
        self._control("POST", "reset", None)

    def summary(self) -> dict[str, Any]:
        """What was accepted and billed, and what was submitted twice."""
        return dict(self._control("GET", "summary", None))

    def calls(self, path: str = "") -> list[dict[str, Any]]:
        """The logged calls whose path contains `path`, oldest first."""
        return list(self._control("GET", f"calls?path={path}", None)["calls"])

    def finished(self, request_id: str, seconds: float = 20.0) -> Job:
        """Wait until the job is COMPLETED or FAILED, at most `seconds` (wall-clock)."""
        job = self.state.jobs[request_id]
        waiting = asyncio.wait_for(job.done.wait(), seconds)
        asyncio.run_coroutine_threadsafe(waiting, self.loop).result()
        return job

    def _control(self, method: str, path: str, body: Any) -> Any:
        answer = self.control.request(method, f"/_sandbox/{path}", json=body)
        if answer.is_error:
            raise ValueError(answer.json()["error"])
        return answer.json()


@contextlib.contextmanager
def running(**config: Any) -> Iterator[Sandbox]:
    """Run the sandbox on a free port, as a context manager. The arguments are `Config`'s fields."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sandbox", daemon=True)
    thread.start()
    server = listening(Config(**config))
    try:
        url, state = asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        try:
            with httpx.Client(base_url=url, verify=_tls()) as control:
                yield Sandbox(url, state, loop, control)
        finally:
            asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
