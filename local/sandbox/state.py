"""The provider's state: the account, its jobs, its rate limit, and the log of all calls."""

import asyncio
import hashlib
import json
import math
import random
import re
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from zlib import crc32

from local.sandbox import answers
from local.sandbox.clock import Clock
from local.sandbox.faults import Faults
from local.sandbox.models import MODELS, Order, Reading, cost_usd, order_again

RECORD_SECONDS = 3600.0  # a request's record, from its submission (the model pages: "retained for 1 hour")
MEDIA_SECONDS = 7 * 86400.0  # a result file (contract)
QUEUED_SHARE = 0.1  # made up: the part of a job's duration that it is QUEUED
VALIDATION = ("mixed", "submit", "queued")
READINGS = ("learned", "pages")
HISTORY_BODIES = ("mixed", "object", "json", "python", "hidden", "cut", "none")
LOGGED_CALLS = 100_000
LOGGED_TEXT = 4096  # characters of a string in a logged body; otherwise uploads would fill the memory

_KEY = re.compile(r"SG_[0-9a-fA-F]{16}")
_SIGNATURE = re.compile(r"x-amz-.*|awsaccesskeyid|signature|expires|key-pair-id|policy", re.IGNORECASE)


@dataclass(kw_only=True)
class Config:
    """The sandbox's configuration. Times are in provider seconds (see `clock`) unless they say wall-clock."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 picks a free port."""
    time_scale: float = 1.0
    """Wall-clock seconds per provider second: 0.1 runs ten times faster."""
    clock_offset: float = 0.0
    """Sets the provider's clock ahead; 3700 makes all records expire."""
    clock_skew: float = 0.0
    """Wall-clock seconds by which the times that the provider reports are ahead of ours (negative: behind)."""
    api_keys: tuple[str, ...] = ("any",)
    """`any` accepts everything in the format of a key: SG_ and 16 hex digits. All keys belong to one account."""
    teammates: tuple[str, ...] = ()
    """Keys of another member of the account's team. The history lists their requests, but does not find them by id."""
    credits: float = 100.0
    """USD."""
    price_factor: float = 1.0
    """Multiplies the prices of requests that are accepted from now on."""
    rate_limit: int = 0
    """Allowed calls of /v1 and /v2 in any `rate_window`, submits and GETs together; 0 means no limit."""
    rate_window: float = 60.0
    fps: int = 24
    jitter: float = 0.0
    """Sigma of the lognormal factor on a job's duration. Its mean is always 1."""
    v1_answer: Literal["video", "json"] = "video"
    validation: Literal["mixed", "submit", "queued"] = "mixed"
    """When v2 checks parameters: at the submit (400 or 422), or after the request is queued (then it is FAILED).
    ``mixed``: one or the other, always the same for the same body."""
    reading: Reading = "learned"
    """How the model pages are read where they are silent (see ``models``)."""
    sample_image: bool = True
    """Whether a model whose page has a sample image animates it if the first image is left out."""
    history_bodies: Literal["mixed", "object", "json", "python", "hidden", "cut", "none"] = "mixed"
    """How the history shows the request body: as an object, as JSON text or in Python's notation (``mixed``: in turn);
    without addresses, cut off, or not at all."""
    video_tail: str = ""
    """Bytes behind the last box of each video, in hex. Players ignore them."""
    retired: tuple[str, ...] = ()
    """Models that answer 410."""
    state: Path | None = None
    """The file in which a clean stop saves all state for the next start. The media files are stored beside it."""

    FIXED: ClassVar[frozenset[str]] = frozenset({"host", "port", "state"})
    """The fields that can't be changed while the server runs."""

    def __post_init__(self) -> None:
        self.api_keys, self.retired = tuple(self.api_keys), tuple(self.retired)
        self.teammates = tuple(self.teammates)
        self.credits = float(self.credits)
        if self.time_scale <= 0 or self.rate_window <= 0 or self.fps < 1:
            raise ValueError("time_scale, rate_window and fps must be greater than 0")
        if not 0 <= self.price_factor < math.inf:
            raise ValueError("price_factor must be a number of at least 0")
        if self.rate_limit < 0 or self.jitter < 0:
            raise ValueError("rate_limit and jitter must not be negative")
        _ = self.tail
        if self.v1_answer not in ("video", "json"):
            raise ValueError("v1_answer must be video or json")
        if self.validation not in VALIDATION or self.reading not in READINGS:
            raise ValueError(f"validation must be {', '.join(VALIDATION)}; reading must be {', '.join(READINGS)}")
        if self.history_bodies not in HISTORY_BODIES:
            raise ValueError(f"history_bodies must be one of {', '.join(HISTORY_BODIES)}")
        if unknown := set(self.retired) - MODELS.keys():
            raise ValueError(f"unknown model: {', '.join(sorted(unknown))}")

    @property
    def tail(self) -> bytes:
        """``video_tail`` as bytes. Raises `ValueError` if it is not hex."""
        return bytes.fromhex(self.video_tail)

    def changed(self, wishes: dict[str, Any]) -> "Config":
        """A copy with some values changed. Raises `ValueError` or `TypeError` for invalid values."""
        values = self.changeable()
        if unknown := wishes.keys() - values.keys():
            raise ValueError(f"can't change {sorted(unknown)}; only {sorted(values)} can be changed")
        return replace(self, **wishes)

    def changeable(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.FIXED}


@dataclass(kw_only=True)
class Job:
    """One accepted request. `accepted_at` uses the provider's clock, `created` and `updated` are Unix seconds."""

    request_id: str
    transport: str
    """v1 or v2. A blocking call has no v2 record."""
    order: Order
    body: dict[str, Any]
    """As sent, because the history shows it."""
    member: str = ""
    """The fingerprint of the key that sent it if it is a teammate's; "" for the account's own."""
    refusal: str | None = None
    """What is wrong with the parameters, if that is found only after the request is queued."""
    accepted_at: float
    created: float
    updated: float
    queue_seconds: float
    total_seconds: float
    cost: float
    seed: int
    status: str = "QUEUED"
    error: str | None = None
    remaining_credits: float | None = None
    render: str | None = None
    """The shared encoding's file name, without suffix."""
    fault: str | None = None
    fault_options: dict[str, Any] = field(default_factory=dict)
    hidden_gets: int = 0
    """How many more GETs answer 404 (the flapping fault)."""
    done: asyncio.Event = field(default_factory=asyncio.Event, repr=False, compare=False)

    @property
    def running(self) -> bool:
        return self.status in ("QUEUED", "PROCESSING")

    @property
    def number(self) -> int:
        """A number derived from the id, for what differs between requests."""
        return crc32(self.request_id.encode())

    def as_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("done", "order")}

    @classmethod
    def from_json(cls, data: dict[str, Any], slug: str) -> "Job":
        job = cls(order=order_again(MODELS[slug], data["body"]), **data)
        if not job.running:
            job.done.set()
        return job


@dataclass(kw_only=True)
class Call:
    """One entry of the log. `key` is a fingerprint; the key itself is never stored."""

    n: int
    at: str
    at_unix: float
    method: str
    path: str
    query: str
    key: str | None
    body: Any = None
    status: int | str | None = None
    """The HTTP status; `reset`, `timeout` or `cut` if a fault prevented a response; None while the call is open."""
    request_id: str | None = None
    """The request id of the job that this call created."""
    fault: str | None = None


class RateLimit:
    """A sliding window over the allowed calls. Refused calls do not count."""

    def __init__(self) -> None:
        self._admitted: deque[float] = deque()

    def admit(self, now: float, limit: int, window: float) -> float | None:
        """None if the call is allowed, else the time (provider seconds) of the next allowed call."""
        while self._admitted and self._admitted[0] <= now - window:
            self._admitted.popleft()
        if limit and len(self._admitted) >= limit:
            return self._admitted[-limit] + window
        self._admitted.append(now)
        return None


class State:
    """The complete state. Handlers run on one loop and never await between read and write, so no lock is needed."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = Clock(config.time_scale, config.clock_offset)
        self.forget()

    def forget(self) -> None:
        """Reset to an empty account with the configured credits."""
        self.credits = self.config.credits
        self.jobs: dict[str, Job] = {}
        self.running: dict[str, Job] = {}
        self.calls: deque[Call] = deque(maxlen=LOGGED_CALLS)
        self.call_count = 0
        self.rate = RateLimit()
        self.faults = Faults()
        self._random = random.Random(20)  # noqa: S311 - equal runs should go alike

    def reconfigure(self, config: Config, *, balance: bool) -> None:
        """Use another configuration. `balance` also sets the account's balance to its credits."""
        self.config = config
        self.clock.change(config.time_scale, config.clock_offset)
        if balance:
            self.credits = config.credits

    # the account ------------------------------------------------------------------------------------------

    def knows_key(self, key: str) -> bool:
        known = key in self.config.api_keys or key in self.config.teammates
        return known or ("any" in self.config.api_keys and _KEY.fullmatch(key) is not None)

    def member(self, key: str | None) -> str:
        """The member of the team to whom a key belongs: "" for the account's own, else a fingerprint."""
        return fingerprint(key) if key and key in self.config.teammates else ""

    def validates_late(self, slug: str, body: dict[str, Any]) -> bool:
        """Whether an invalid body is refused only after it was queued."""
        if self.config.validation == "mixed":
            return crc32(json.dumps([slug, body], sort_keys=True).encode()) % 2 == 1
        return self.config.validation == "queued"

    def can_pay(self, order: Order) -> bool:
        """Whether the balance covers this order in addition to all running ones.

        Made up: how the gateway treats running orders is not documented. Here the balance never falls below zero.
        """
        now = self.clock.now()
        reserved = sum(job.cost for job in self.running.values() if now - job.accepted_at < RECORD_SECONDS)
        return self.credits + 1e-9 >= reserved + cost_usd(order, self.config.price_factor)

    def wall_time(self) -> float:
        """The Unix time according to the provider's clock."""
        return time.time() + self.config.clock_skew

    # jobs -------------------------------------------------------------------------------------------------

    def accept(
        self, order: Order, body: dict[str, Any], transport: str, *, member: str = "", refusal: str | None = None
    ) -> Job:
        """Queue a job. From now on it is billed unless it fails, whatever response the caller receives."""
        sigma = self.config.jitter
        total = MODELS[order.slug].average_seconds * self._random.lognormvariate(-(sigma**2) / 2, sigma)
        wall = self.wall_time()
        job = Job(
            request_id=str(uuid.uuid4()),
            transport=transport,
            order=order,
            body=body,
            member=member,
            refusal=refusal,
            accepted_at=self.clock.now(),
            created=wall,
            updated=wall,
            queue_seconds=round(total * QUEUED_SHARE, 3),
            total_seconds=round(total, 3),
            cost=cost_usd(order, self.config.price_factor),
            seed=order.seed if order.seed is not None else self._random.randint(1, 999_999),
        )
        self.jobs[job.request_id] = self.running[job.request_id] = job
        return job

    def start(self, job: Job) -> None:
        job.status, job.updated = "PROCESSING", self.wall_time()

    def complete(self, job: Job) -> None:
        """Set the job to COMPLETED and charge it. It is only charged here, because a failure costs nothing."""
        self.credits = round(self.credits - job.cost, 6)
        job.remaining_credits = self.credits
        self._finish(job, "COMPLETED")

    def fail(self, job: Job, words: str) -> None:
        job.error = words
        self._finish(job, "FAILED")

    def _finish(self, job: Job, status: str) -> None:
        job.status, job.updated = status, self.wall_time()
        self.running.pop(job.request_id, None)
        job.done.set()

    def record(self, request_id: str) -> Job | None:
        """The v2 record of a request; None if it is unknown or its hour is over."""
        job = self.jobs.get(request_id)
        if job is None or job.transport != "v2":
            return None
        age = self.clock.now() - job.accepted_at
        vanishes = job.fault_options["seconds"] if job.fault == "vanish" else RECORD_SECONDS
        return job if age < min(vanishes, RECORD_SECONDS) else None

    def has_media(self, job: Job) -> bool:
        return job.status == "COMPLETED" and self.clock.now() - job.accepted_at < MEDIA_SECONDS

    # the log ----------------------------------------------------------------------------------------------

    def log(self, method: str, path: str, query: str, key: str | None, body: Any) -> Call:
        self.call_count += 1
        now = time.time()
        call = Call(
            n=self.call_count,
            at=answers.iso(now),
            at_unix=now,
            method=method,
            path=path,
            query=query,
            key=fingerprint(key) if key else None,
            body=_shortened(body),
        )
        self.calls.append(call)
        return call

    def summary(self) -> dict[str, Any]:
        """A summary for tests: how much was accepted and billed, and what was submitted twice."""
        jobs = self.jobs.values()
        billed = [job for job in jobs if job.status == "COMPLETED"]
        same: dict[str, list[str]] = {}
        for job in jobs:
            same.setdefault(_order_key(job), []).append(job.request_id)
        return {
            "accepted": len(self.jobs),
            "billed": len(billed),
            "billed_usd": round(sum(job.cost for job in billed), 6),
            "running": len(self.running),
            "failed": sum(job.status == "FAILED" for job in jobs),
            "sampled": sum(job.order.sample for job in jobs),
            "credits": self.credits,
            "calls": self.call_count,
            "by_status_code": dict(Counter(str(call.status) for call in self.calls)),
            "duplicates": [
                {"model": self.jobs[ids[0]].order.slug, "request_ids": ids, "body": self.jobs[ids[0]].body}
                for ids in same.values()
                if len(ids) > 1
            ],
        }

    # across a restart -------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write everything except the open faults. The provider's clock stops until `load`."""
        content = {
            "clock": self.clock.now(),
            "credits": self.credits,
            "call_count": self.call_count,
            "calls": [asdict(call) for call in self.calls],
            "jobs": [[job.order.slug, job.as_json()] for job in self.jobs.values()],
        }
        written = path.with_name(path.name + ".new")
        written.write_text(json.dumps(content))
        written.replace(path)

    def load(self, path: Path) -> None:
        content = json.loads(path.read_text())
        self.clock = Clock(self.config.time_scale, self.config.clock_offset, content["clock"])
        self.credits, self.call_count = content["credits"], content["call_count"]
        self.calls.extend(Call(**call) for call in content["calls"])
        for slug, data in content["jobs"]:
            job = Job.from_json(data, slug)
            self.jobs[job.request_id] = job
            if job.running:
                self.running[job.request_id] = job


def fingerprint(key: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def _shortened(value: Any) -> Any:
    """A logged body with long strings (data URLs) cut."""
    match value:
        case str() if len(value) > LOGGED_TEXT:
            return f"{value[:64]}… ({len(value)} characters)"
        case dict():
            return {key: _shortened(item) for key, item in value.items()}
        case list():
            return [_shortened(item) for item in value]
    return value


def _order_key(job: Job) -> str:
    return json.dumps([job.order.slug, _unsigned(job.body)], sort_keys=True)


def _unsigned(value: Any) -> Any:
    """A body without the signatures in its URLs, so that two links to one image count as the same order."""
    match value:
        case str() if value.startswith(("http://", "https://")):
            parts = urlsplit(value)
            kept: Iterable[tuple[str, str]] = parse_qsl(parts.query, keep_blank_values=True)
            query = urlencode([(name, item) for name, item in kept if not _SIGNATURE.fullmatch(name)])
            return urlunsplit(parts._replace(query=query))
        case dict():
            return {key: _unsigned(item) for key, item in value.items()}
        case list():
            return [_unsigned(item) for item in value]
    return value
