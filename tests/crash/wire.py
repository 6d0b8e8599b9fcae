"""Every call of a function to AWS or to the provider passes through here: calls are counted, and one may be broken.

The calls are found by instrumenting botocore, httpx and urllib3, not listed by hand: a new call is in the matrix
from the next run on.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import botocore.endpoint
import httpx
import pytest
import shortcut
import urllib3
from adversary import Adversary
from aws_lambda_powertools.metrics import MetricUnit
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session

T = TypeVar("T")
REFUSED = 0.02
"""The share of calls that the adversary throttles for good, once a call was broken."""

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UPLOADED = re.compile(r"asset-[0-9a-f]+\.\w+")


class Killed(BaseException):
    """The function's process was killed. No ``except Exception`` can catch this."""


class How(StrEnum):
    """What happens to a call."""

    BEFORE = "killed before it"
    AFTER = "killed after it"
    LOST = "took effect, timed out"
    REPEATED = "took effect, timed out, sent again by botocore"


@dataclass(frozen=True, order=True)
class Call:
    """A function's ``nth`` call of this kind, counted from 1."""

    verb: str
    name: str
    nth: int

    @property
    def ways(self) -> tuple[How, ...]:
        """The ways to break it; the provider's client repeats nothing by itself."""
        return (How.BEFORE, How.AFTER, How.LOST) if self.name[:1].isupper() else tuple(How)

    def __str__(self) -> str:
        return f"{self.verb} · {self.name} · {self.nth}"


class Meter:
    """The functions' metrics: they are written when the handler returns, unless it was killed."""

    def __init__(self) -> None:
        self.written: Counter[str] = Counter()
        self.killed = False
        self._counted: list[str] = []

    @property
    def metric_set(self) -> list[str]:
        return self._counted

    def add_metric(self, *, name: str, unit: object, value: float) -> None:
        self._counted += [name] * (int(value) if unit is MetricUnit.Count else 1)

    def flush_metrics(self) -> None:
        if not self.killed:  # a killed process runs no ``finally``
            self.written.update(self._counted)
        self._counted.clear()


@dataclass
class Wire:
    """The calls so far, and the call to break."""

    calls: list[Call] = field(default_factory=list)
    target: Call | None = None
    how: How | None = None
    struck: bool = False
    """Whether the target was met."""
    down: set[tuple[str, str]] = field(default_factory=set)
    """Function and call that time out without any effect, for as long as they are in here."""
    meter: Meter = field(default_factory=Meter)
    adversary: Adversary = field(default_factory=Adversary)
    watched: bool = True
    """Whether calls are counted, and may be broken."""
    nastier: int | None = None
    """The adversary's seed once the target was met: until then all plays of a scenario are the same."""
    verb: str | None = None
    """The function that runs now; calls outside of one are the tests' own."""
    dead: bool = False
    meanwhile: "tuple[Call, Callable[[], object]] | None" = None
    """What another invocation does right before this call, at the same time as the running one."""
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _again: bool = False
    _kept: Any = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def strike(self, target: Call, how: How, nastier: int | None = None) -> None:
        """Break this call when it is made next. ``nastier``: the adversary's seed from then on."""
        self.target, self.how, self.struck, self.nastier = target, how, False, nastier

    def strike_next(self, ahead: int, how: How) -> None:
        """Break the call that comes after ``ahead`` others, whichever it is."""
        self.target, self.how, self.struck = Call("", "", ahead), how, False

    @contextmanager
    def inside(self, verb: str) -> Iterator[None]:
        """While a function runs."""
        self.verb, self.dead, self.meter.killed = verb, False, False
        try:
            yield
        finally:
            self.verb, self._again, self._kept = None, False, None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """While another function runs in the middle of a call of this one."""
        kept = self.verb, self.dead, self.meter.killed, self._again, self._kept
        try:
            yield
        finally:
            self.verb, self.dead, self.meter.killed, self._again, self._kept = kept

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """While a function runs whose calls are of no interest."""
        self.watched = False
        try:
            yield
        finally:
            self.watched = True

    def through(
        self, name: str, perform: Callable[[], T], lost: Callable[[], Exception], close: Callable[[T], object]
    ) -> T:
        """Process a call on its way."""
        verb = self.verb
        if verb is None:
            return perform()
        with self._lock:
            if self.dead:
                raise Killed
            if (verb, name) in self.down:
                raise lost()
            if not self.watched:
                return perform()
            self._counts[verb, name] += 1
            call = Call(verb, name, self._counts[verb, name])
            self.calls.append(call)
            if self.meanwhile and self.meanwhile[0] == call:
                act, self.meanwhile = self.meanwhile[1], None
                with self.aside():
                    act()
            hit = not self.struck and self._is_target(call)
            self.struck = self.struck or hit
        if hit:
            self.adversary.spare()
            if self.nastier is not None:
                self.adversary.turn_nasty(self.nastier, REFUSED)
        if not hit or (self.how is How.REPEATED and How.REPEATED not in call.ways):
            return perform()
        if self.how is How.REPEATED:
            self._again = True
            return perform()
        if self.how is not How.BEFORE:
            close(perform())
        if self.how is How.LOST:
            raise lost()
        self.dead = self.meter.killed = True
        raise Killed

    def _is_target(self, call: Call) -> bool:
        target = self.target
        if target is None or target.name:
            return target == call
        self.target = Call("", "", target.nth - 1)
        return target.nth == 0

    def send(self, request: Any) -> Any:
        """One attempt of botocore's."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return kept
        answer = shortcut.answer(request, self.adversary.stream)
        if not self._again:
            return answer
        self._again = False
        if b"TransactWriteItems" in request.headers.get("X-Amz-Target", b""):
            # With the client's request token, DynamoDB answers the repetition like the first; moto does not support it.
            self._kept = answer
        raise ReadTimeoutError(endpoint_url=request.url)


def _name(method: str, path: str) -> str:
    return f"{method} {_UPLOADED.sub('{asset}', _ID.sub('{id}', path))}"


def install(patch: pytest.MonkeyPatch, current: Callable[[], Wire]) -> None:
    """Route the calls of the AWS clients and of the provider's client through the current wire."""
    endpoint, session = botocore.endpoint.Endpoint, URLLib3Session
    api_call, handle, urlopen = endpoint._send_request, httpx.HTTPTransport.handle_request, urllib3.PoolManager.urlopen

    def send_request(self: Any, request: Any, operation: Any) -> Any:
        return current().through(
            f"{operation.service_model.service_name}.{operation.name}",
            lambda: api_call(self, request, operation),
            lambda: ReadTimeoutError(endpoint_url=request["url"]),
            lambda _: None,
        )

    def send(_: Any, request: Any) -> Any:
        return current().send(request)

    def handle_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        return current().through(
            _name(request.method, request.url.path),
            lambda: handle(self, request),
            lambda: httpx.ReadTimeout("timed out", request=request),
            lambda answer: answer.close(),
        )

    def download(self: urllib3.PoolManager, method: str, url: str, **options: Any) -> Any:
        path = urllib3.util.parse_url(url).path or "/"
        return current().through(
            _name(method, path),
            lambda: urlopen(self, method, url, **options),
            lambda: urllib3.exceptions.ReadTimeoutError(cast(Any, self), path, "timed out"),
            lambda answer: answer.close(),
        )

    patch.setattr(endpoint, "_send_request", send_request)
    patch.setattr(urllib3.PoolManager, "urlopen", download)
    patch.setattr(session, "send", send)
    patch.setattr(httpx.HTTPTransport, "handle_request", handle_request)
    # botocore waits before it retries; here nothing waits.
    patch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _: None))
