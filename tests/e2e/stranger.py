"""A stranger's web site on this machine, and what its pages try against a local stack."""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import BrowserContext, Response

_REFUSED = re.compile(r"^403 $|is not this server")
PAGE = Path(__file__).with_name("hostile_page.html")
FUNCTION = {
    "FunctionName": "evil",
    "Runtime": "python3.11",
    "Handler": "app.handler",
    "Role": "arn:aws:iam::000000000000:role/r",
    "Code": {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="},
}


class _Site(BaseHTTPRequestHandler):
    """`/` is the hostile page, `/mail?link=` shows a link, `/to?status=&url=` redirects."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/to":
            self._answer(int(asked["status"]), b"", Location=asked["url"])
        elif url.path == "/mail":
            self._answer(200, _mail(asked["link"]).encode())
        else:
            self._answer(200, PAGE.read_bytes())

    do_POST = do_GET  # noqa: N815 - the server's name for it

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "text/html", "Content-Length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _mail(link: str) -> str:
    href = link.replace("&", "&amp;").replace('"', "&quot;")
    return f'<p>Your video is ready: <a target="_blank" href="{href}">watch</a></p>'


@contextmanager
def site() -> Iterator[int]:
    """The site, on all names of this machine. Yields its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Wish:
    """A POST that would change something. A page may send it as JSON, or as a form with these fields."""

    path: str
    fields: list[tuple[str, str]] = field(default_factory=lambda: [("a", "b")])
    body: str = "{}"
    target: str = "evil"
    """The header X-Amz-Target, which only a permitted page may set."""


@dataclass(frozen=True)
class Plan:
    """What a page tries against one server."""

    reads: list[str]
    wishes: list[Wish]

    def short(self) -> "Plan":
        """A few of each."""
        return Plan(self.reads[:2], self.wishes[:5])

    def at(self, base: str) -> list[Any]:
        """The arguments of the page's `attack`, for the server at this address."""
        wishes = [{**vars(wish), "url": base + wish.path} for wish in self.wishes]
        return [[base + path for path in self.reads], wishes]


def against_aws(bucket: str, api: str = "/_aws/execute-api/x/v1") -> Plan:
    """S3, SQS, SNS, Lambda, Step Functions, Secrets Manager, the emulator's own addresses, and the deployed API."""
    secret = json.dumps({"SecretId": "segmind-api-key"})
    return Plan(
        reads=[
            *("/", f"/{bucket}?list-type=2", f"/{bucket}/uploads/product.jpg", "/2015-03-31/functions"),
            *("/?Action=ListQueues", "/?Action=ListUsers&Version=2010-05-08", "/_ministack/health"),
            *("/_ministack/ses/messages", f"{api}/models", f"{api}/videos"),
        ],
        wishes=[
            Wish("/", [("Action", "CreateQueue"), ("QueueName", "evil"), ("Version", "2012-11-05")], secret,
                 "secretsmanager.GetSecretValue"),
            Wish("/?Action=CreateTopic&Name=evil", [("Action", "CreateTopic"), ("Name", "evil")],
                 json.dumps({"QueueName": "evil"}), "AmazonSQS.CreateQueue"),
            Wish("/2015-03-31/functions", body=json.dumps(FUNCTION)),
            Wish(f"/{bucket}", [("key", "uploads/evil.jpg"), ("file", "picture")]),
            Wish("/", body=json.dumps({"stateMachineArn": "x"}), target="AWSStepFunctions.StartExecution"),
            Wish("/2015-03-31/functions/evil/invocations", body=json.dumps("/etc/passwd")),
            Wish("/_ministack/config", body=json.dumps({"stepfunctions._SFN_WAIT_SCALE": 0})),
            Wish(f"{api}/videos", body=json.dumps({"prompt": "evil"})),
            Wish(f"{api}/videos/x/retry"),
        ],
    )  # fmt: skip


STAND_IN = Plan(
    reads=[
        *("/_sandbox/jobs", "/_sandbox/calls", "/_sandbox/config", "/v1/get-user-credits"),
        *("/v2/requests/x", "/inference-request/request-history"),
    ],
    wishes=[
        Wish("/_sandbox/faults", body=json.dumps({"on": "submit", "kind": "http-500"})),
        Wish("/_sandbox/config", body=json.dumps({"credits": 0})),
        Wish("/v2/seedance-2.0-mini", body=json.dumps({"prompt": "evil"})),
        Wish("/upload-asset", body=json.dumps({"data_urls": ["data:,x"]})),
    ],
)


@dataclass
class Attack:
    """Pages of strangers against servers of this machine: what they tried and learned, and the servers' answers."""

    context: BrowserContext
    plans: dict[str, Plan]
    """What is tried, by the server's address."""
    tried: int = 0
    learned: list[str] = field(default_factory=list)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By address, by whatever name, and status."""

    def __post_init__(self) -> None:
        self._ports = {urlsplit(base).port for base in self.plans}
        self.context.on("response", self._count)

    def come_from(self, origin: str, base: str, names: Iterable[str] = ("127.0.0.1",), site: str = "") -> None:
        """Open the page at ``origin``, and let it try everything against a server, by these names of this machine.

        ``site``: where the page really comes from. This is DNS rebinding: afterwards the same name means the server.
        """
        page = self.context.new_page()
        if site:
            page.route(f"{origin}/", lambda route: route.continue_(url=f"{site}/"))
        page.goto(f"{origin}/")
        page.unroute_all()
        for name in names:
            plan = self.plans[base].at(on(name, base))
            for how in page.evaluate("WAYS"):
                for url, learned in page.evaluate("([how, plan]) => attack(how, ...plan)", [how, plan]):
                    self.tried += 1
                    # A page on the server's own (rebound) origin may read why it is refused, and nothing else.
                    if learned is not None and not (site and _REFUSED.search(learned)):
                        self.learned.append(f"{origin}: {how} {url}: {learned[:200]}")
        page.close()

    def _count(self, answer: Response) -> None:
        url = urlsplit(answer.url)
        if url.port in self._ports:
            self.answers[f"{url.scheme}://{url.netloc}", answer.status] += 1


def on(name: str, base: str) -> str:
    """The same server by another name."""
    return f"http://{name}:{urlsplit(base).port}"
