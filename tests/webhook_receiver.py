"""A receiver of webhooks: an HTTP server that keeps what it gets, and answers as it is told."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Received(NamedTuple):
    """A webhook as it arrived, and the answer to it."""

    path: str
    headers: dict[str, str]
    body: str
    answered: int


@dataclass
class Receiver:
    """``answers``: status and headers of the next answers; after those, 204."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)

    def will(self, *statuses: int, **headers: str) -> None:
        """Answer the next webhooks like this. Underscores in header names stand for dashes."""
        self.answers += [
            (status, {name.replace("_", "-"): value for name, value in headers.items()}) for status in statuses
        ]

    @property
    def accepted(self) -> list[Received]:
        return [one for one in self.received if 200 <= one.answered < 300]

    def reset(self) -> None:
        self.received.clear()
        self.answers.clear()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver, for as long as the block lasts."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            status, headers = receiver.answers.popleft() if receiver.answers else (204, {})
            about = {name.lower(): value for name, value in self.headers.items()}
            receiver.received.append(Received(self.path, about, body, status))
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hooks/video"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
