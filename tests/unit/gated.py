"""The gate in front of an emulator that records what reaches it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from local.gate import Gate
from local.sigv4 import Credentials

PORT = 4566
URL = f"http://127.0.0.1:{PORT}"
OURS = Credentials("SEEDANCE0001", "secret")
STRANGER = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
MAIL = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
API = "/_aws/execute-api/d4000456/v1/videos"


@dataclass
class Emulator:
    """The emulator behind the gate: it records what reaches it, answers, and lets every web page read the response."""

    reached: list[tuple[str, str, bytes]] = field(default_factory=list)
    answer: bytes = b"{}"

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        self.reached.append((scope["method"], scope["raw_path"].decode(), body))
        headers = [(b"Access-Control-Allow-Origin", b"*"), (b"access-control-allow-headers", b"*"), (b"etag", b'"1"')]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.answer})


Ask = Callable[..., httpx.Response]


def asking(emulator: Emulator) -> Ask:
    """Sends a request to the gate; ``now`` is the gate's clock."""

    def send(method: str, url: str, now: Callable[[], float] = time.time, **options: Any) -> httpx.Response:
        gate: Any = Gate(emulator, PORT, OURS, now)

        async def sent() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url=URL) as client:
                return await client.request(method, url, **options)

        return asyncio.run(sent())

    return send
