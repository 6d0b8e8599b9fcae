"""Measures the rate limit: the real Submit and Poll against the stand-in's sliding window, in virtual time.

The use cases, the pacer and the store are the layer's own, on moto's DynamoDB. The stand-in is the real server and
enforces the limit. Only time is simulated (benchmarks/virtual_time.py), and with it the waits of the workflow and the
queue: an invocation starts up to LATENESS_SECONDS late.
"""

import asyncio
import contextlib
import io
import math
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import boto3
from moto import mock_aws
from moto.dynamodb.models import table as moto_table
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]
from seedance.aws.job_table import JobTable
from seedance.aws.table import CALENDAR, IN_FLIGHT
from seedance.jobs import catalogue
from seedance.jobs.handoff import LONGEST_DELAY_SECONDS
from seedance.jobs.job import Job, State
from seedance.jobs.store import JobStore
from seedance.jobs.switch import Switch
from seedance.pacing import poll_schedule
from seedance.pacing.durations import Durations
from seedance.pacing.pacer import Pacer
from seedance.paid_call import Sending
from seedance.poll import Poll
from seedance.provider.client import Provider
from seedance.submit import Submit

from benchmarks.blind import Blind
from benchmarks.report import Table
from benchmarks.virtual_time import VirtualTime
from local.sandbox import Sandbox, running
from local.sandbox.inprocess import KEY

MODEL = "seedance-1.5-pro"
AVERAGE = catalogue.find(MODEL).average_seconds
MOST_POLLS = 20
"""PollsPerVideo for these runs: so high that only the limit restricts polls."""
CV_SIGMA = 0.43
"""Sigma of a lognormal distribution with a coefficient of variation of 0.45."""
LATENESS_SECONDS = 1.2
"""The longest delay of an invocation: the workflow's own delay, a cold start, the network."""
PROMPT = "The product turns."
"""The same for all, so that the stand-in encodes only one video."""
TABLE = "jobs"
ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "moto",
    "AWS_SECRET_ACCESS_KEY": "moto",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "POWERTOOLS_METRICS_NAMESPACE": "SeedancePipeline",
    "POWERTOOLS_SERVICE_NAME": "benchmark",
}
LIMITS = (5, 50, 60, 120)
LOADS = (0.05, 0.1, 0.2, 0.3, 0.4)
SEEDS = 3


@dataclass
class Run:
    """The results of a load. Times are in the provider's seconds."""

    lags: list[float] = field(default_factory=list)
    """From a video's end to the poll that found it."""
    waits: list[float] = field(default_factory=list)
    """From a job's arrival to its accepted submit."""
    totals: list[float] = field(default_factory=list)
    polls: int = 0
    wakes: int = 0
    """Invocations of submit."""
    refused: int = 0
    """429s."""
    ended: float = 0.0
    """When the last video was found."""


class CalendarInMemory:
    """A DynamoDB client that keeps the calendar itself: moto takes 50 ms to return so long an item.

    ``seen`` is called with the name of each call that it answers.
    """

    def __init__(self, client: Any) -> None:
        self.seen: Callable[[str], object] = lambda _: None
        self._client = client
        self._item: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def batch_get_item(self, *, RequestItems: Any) -> Any:  # noqa: N803 - boto3's names
        if {"job_id": {"S": CALENDAR}} not in RequestItems[TABLE]["Keys"]:
            return self._client.batch_get_item(RequestItems=RequestItems)
        self.seen("BatchGetItem")
        held = self._client.get_item(TableName=TABLE, Key={"job_id": {"S": IN_FLIGHT}}).get("Item")
        return {"Responses": {TABLE: [item for item in (self._item, held) if item]}}

    def put_item(self, *, TableName: str, Item: Any, **condition: Any) -> None:  # noqa: N803
        if Item["job_id"]["S"] != CALENDAR:
            self._client.put_item(TableName=TableName, Item=Item, **condition)
            return
        self.seen("PutItem")
        if condition.get("ExpressionAttributeValues", {}).get(":read") != self._item.get("version"):
            raise AssertionError("in virtual time, nobody else changes the calendar in between")
        self._item = Item


class Traffic:
    """A stack's submits and polls, in virtual time."""

    def __init__(
        self, sandbox: Sandbox, limit: int, most_polls: float, blind: tuple[float, float] | None = None
    ) -> None:
        self.run = Run()
        self.sandbox = sandbox
        self.limit = limit
        self.random = random.Random(1)  # noqa: S311 - runs should be repeatable
        self.begin = float(round(time.time()))
        self.time = VirtualTime(self.begin, self._moved)
        client = boto3.client("dynamodb", region_name="eu-central-1")
        table = JobTable(TABLE, client, self.time)
        self.calendar = CalendarInMemory(client)
        self.store = JobStore(table)
        self.first_wait = blind[0] if blind else None
        self.pacer: Any = (
            Blind(self.time, *blind)
            if blind
            else Pacer(
                JobTable(TABLE, self.calendar, self.time),  # type: ignore[arg-type]
                requests_per_minute=limit,
                max_in_flight=10_000,
                most_polls=most_polls,
            )
        )
        hosts = frozenset({urlsplit(sandbox.url).netloc})
        self.provider = Provider(sandbox.url, sandbox.url, sandbox.url, key=lambda: KEY, media_hosts=hosts)
        media: Any = None  # no images here
        pacer: Any = self.pacer
        sending = Sending(self.store, Switch(table), self.provider, media, pacer, "link", clock=self.time)
        self.submit = Submit(
            self.store,
            self.provider,
            None,  # type: ignore[arg-type]  # no notifications here
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            Durations(table),
            sending,
            clock=self.time,
        )
        self.poll = Poll(self.store, self.provider, pacer, Durations(table), clock=self.time)

    def arrive(self, moment: float, number: int) -> None:
        """Create a job ``moment`` seconds after the start."""
        model = catalogue.find(MODEL)
        job = Job(
            job_id=f"api-{number:032x}",
            state=State.RECEIVED,
            source="api",
            name="n",
            folder="api",
            model=MODEL,
            transport="v2",
            parameters=catalogue.validate(model, {"prompt": PROMPT}, has_image=False),
            expected_seconds=model.average_seconds,
        )

        def act() -> None:
            self.store.create(job)
            self.send(job, 0)

        self.time.at(self.begin + moment, act)

    # what AWS does --------------------------------------------------------------------------------------------

    def send(self, job: Job, delay_seconds: float = 0) -> None:
        """The queue in front of submit. Like SQS, it delays a message by 15 minutes at most."""
        turn = job.turn_at

        def act() -> None:
            self.run.wakes += 1
            self.submit.advance(self._job(job.job_id), turn)

        self._invoke(min(LONGEST_DELAY_SECONDS, math.ceil(delay_seconds)), act)

    def start(self, job: Job, wait: float = 1.0, slot: int | None = None) -> None:
        """The workflow."""
        self.run.waits.append(self.time() - job.created_at)
        self._wait_and_poll(job.job_id, self.first_wait or wait, slot)

    def _wait_and_poll(self, job_id: str, wait: float, slot: int | None) -> None:
        def act() -> None:
            answer = self.poll(job_id, slot)
            self.run.polls += 1
            if answer["status"] == "RUNNING":
                self._wait_and_poll(job_id, answer["wait_seconds"], answer["slot"])
                return
            assert answer["status"] == "COMPLETED", answer  # noqa: S101
            self._found(self.store.get(job_id))

        self._invoke(max(1, round(wait)), act)

    def _found(self, job: Job | None) -> None:
        assert job is not None and job.submitted_at is not None  # noqa: S101
        made = self.sandbox.state.jobs[job.request_id or ""]
        now = self.time()
        self.run.lags.append(now - self.begin - made.accepted_at - made.total_seconds)
        self.run.totals.append(now - job.created_at)
        self.run.ended = max(self.run.ended, now - self.begin)
        self.store.close(job, State.COMPLETED)

    def _invoke(self, after: float, act: Callable[[], None]) -> None:
        self.time.at(self.time() + after + self.random.uniform(0.05, LATENESS_SECONDS), act)

    def _job(self, job_id: str) -> Job:
        job = self.store.get(job_id)
        assert job is not None  # noqa: S101
        return job

    def _moved(self, now: float) -> None:
        clock = self.sandbox.state.clock

        async def move() -> None:
            clock.change(clock.scale, now - self.begin)

        asyncio.run_coroutine_threadsafe(move(), self.sandbox.loop).result()
        for job in list(self.sandbox.state.running.values()):
            if clock.now() >= job.accepted_at + job.total_seconds:
                self.sandbox.finished(job.request_id)


@contextmanager
def stack(limit: int) -> Iterator[Sandbox]:
    """An empty table, and a provider that allows ``limit`` requests a minute and whose clock is stopped."""
    table = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]["JobTable"]["Properties"]
    wanted = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    with (
        mock_aws(),
        # moto copies the whole table for each part of a transaction, to undo it if a later part fails. Here, only the
        # first part of a transaction can fail: nobody else has the job, and neither budget nor MaxInFlight is reached.
        mock.patch.object(moto_table.Table, "__deepcopy__", lambda table, _: table, create=True),
        running(rate_limit=limit, jitter=CV_SIGMA, time_scale=1e9, credits=1e6, fps=1) as sandbox,
    ):
        boto3.client("dynamodb", region_name="eu-central-1").create_table(
            TableName=TABLE, **{name: table[name] for name in wanted}
        )
        yield sandbox


def drive(
    limit: int,
    arrivals: list[float],
    most_polls: float,
    *,
    blind: tuple[float, float] | None = None,
    seed: int = 0,
) -> Run:
    """Process jobs that arrive at these moments. ``blind`` is the first wait and the step of an alternative."""
    os.environ |= ENVIRONMENT
    # The functions write their log and metrics to standard output.
    with stack(limit) as sandbox, contextlib.redirect_stdout(io.StringIO()):
        sandbox.state._random.seed(seed)
        traffic = Traffic(sandbox, limit, most_polls, blind)
        for number, moment in enumerate(arrivals):
            traffic.arrive(moment, number)
        traffic.time.run()
        refused = sandbox.summary()["by_status_code"].get("429", 0)
    traffic.run.refused = refused
    return traffic.run


def stream(limit: int, load: float, count: int, seed: int = 7) -> list[float]:
    """Poisson arrivals of ``load`` times the limit a minute."""
    rnd, moment, moments = random.Random(seed), 0.0, []  # noqa: S311
    for _ in range(count):
        moment += rnd.expovariate(limit * load / 60)
        moments.append(moment)
    return moments


def ideal_lag(load: float) -> float:
    """The mean lag if all requests that submits leave were used for polls at the best moments."""
    sigma, step = poll_schedule.PUBLISHED_SIGMA, 0.02
    log_median = math.log(AVERAGE) - sigma**2 / 2
    integral = 0.0  # of sqrt(f S) over time, in steps of z
    for number in range(-300, 300):
        z = number * step
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        running = math.erfc(z / math.sqrt(2)) / 2
        integral += math.sqrt(density * running * sigma * math.exp(log_median + sigma * z)) * step
    return integral**2 / (2 * (1 / load - 1 - 0.5))


def main() -> str:
    """Run everything. Returns the tables in Markdown."""
    return "\n\n".join([_WORDS, loads(), burst(), throughput()])


_WORDS = f"""Videos of {MODEL} ({AVERAGE:.0f} s on average, CV 0.45). R is the limit in requests per minute; the load is
the rate of new jobs. The ideal lag is that of the same number of requests if each poll came at its best moment:
K²/(2 (p - 1/2)) with p = R/arrivals - 1 polls per video (see pacing/poll_schedule.py). PollsPerVideo is {MOST_POLLS}
here, so that only the limit restricts polls; with the template's 5 the lag at low loads is that of five polls.
"Every 2 s" and the other loops poll without a calendar; their rejected requests cost nothing here."""


def _table(header: list[str], rows: list[list[str]]) -> str:
    return Table("rate_limit", "", header, rows).text


@dataclass(frozen=True)
class Case:
    """The arguments of ``drive``, for another process."""

    limit: int
    arrivals: tuple[float, ...]
    blind: tuple[float, float] | None = None
    seed: int = 0

    def __call__(self) -> Run:
        return drive(self.limit, list(self.arrivals), MOST_POLLS, blind=self.blind, seed=self.seed)


def _run(case: Case) -> Run:
    return case()


def _all(cases: list[Case]) -> list[Run]:
    """Run each case in a separate process, one per core. In virtual time this does not change the results."""
    with ProcessPoolExecutor(max_tasks_per_child=1, mp_context=get_context("spawn")) as lanes:
        return list(lanes.map(_run, cases))


def _count(limit: int, load: float) -> int:
    """The jobs of a run: eight minutes of arrivals, so that most arrive in a steady state, with a minimum."""
    least = 60 if limit == min(LIMITS) else 240 if load == min(LOADS) else 120
    return max(least, round(limit * load * 8))


def loads() -> str:
    """Measure streams of arrivals at four limits."""
    pairs = [(limit, load) for limit in LIMITS for load in LOADS]
    cases = [Case(limit, tuple(stream(limit, load, _count(limit, load)))) for limit, load in pairs]
    rows = []
    for (limit, load), case, run in zip(pairs, cases, _all(cases), strict=True):
        lag, ideal, count = statistics.mean(run.lags), ideal_lag(load), len(case.arrivals)
        rows.append(
            [
                str(limit),
                f"{load:.2f} R",
                f"{len(run.lags)} of {count}",
                str(run.refused),
                f"{statistics.mean(run.waits):.1f}",
                f"{run.polls / count:.1f}",
                f"{lag:.1f}",
                f"{ideal:.1f}",
                f"{lag / ideal:.2f}",
            ]
        )
    return _table(
        ["R", "load", "served", "429s", "submit wait (s)", "polls per video", "mean lag (s)", "ideal (s)", "ratio"],
        rows,
    )


def burst() -> str:
    """Measure sixty jobs at once at 60 requests a minute, compared with the alternatives."""
    peers: dict[str, tuple[float, float] | None] = {
        "calendar": None,
        "every 2 s": (2.0, 2.0),
        "every 10 s": (10.0, 10.0),
        "p10, then every 20 s": (0.53 * AVERAGE, 20.0),
    }
    runs = _all([Case(60, (0.0,) * 60, peer, seed) for peer in peers.values() for seed in range(SEEDS)])
    results = {name: runs[number * SEEDS : (number + 1) * SEEDS] for number, name in enumerate(peers)}
    rows = []
    for name, own in results.items():
        against = results["every 2 s"]
        mean = [statistics.mean(a.totals) / statistics.mean(b.totals) for a, b in zip(own, against, strict=True)]
        end = [a.ended / b.ended for a, b in zip(own, against, strict=True)]
        rows.append(
            [
                name,
                f"{statistics.median(run.refused for run in own):.0f}",
                f"{statistics.median(run.polls / 60 for run in own):.1f}",
                f"{statistics.median(statistics.mean(run.totals) for run in own):.0f}",
                f"{statistics.median(mean):.2f}",
                f"{statistics.median(run.ended for run in own):.0f}",
                f"{statistics.median(end):.2f}",
            ]
        )
    return _table(
        ["60 jobs at once, R = 60", "429s", "polls per video", "mean time (s)", "ratio", "last video (s)", "ratio"],
        rows,
    )


def throughput() -> str:
    """Measure how close a long backlog comes to R/2 videos a minute."""
    rows = []
    for case, run in zip(cases := [Case(50, (0.0,) * 300), Case(120, (0.0,) * 300)], _all(cases), strict=True):
        count, found = len(case.arrivals), sorted(run.totals)
        # The middle half excludes the time until the first video and after the last submit.
        rate = (count // 2) / (found[3 * count // 4] - found[count // 4]) * 60
        polls, half = f"{run.polls / count:.2f}", case.limit / 2
        rows.append(
            [str(case.limit), str(count), str(run.refused), polls, f"{rate:.1f}", f"{half:.0f}", f"{rate / half:.2f}"]
        )
    return _table(["R", "jobs at once", "429s", "polls per video", "videos per minute", "R/2", "ratio"], rows)


if __name__ == "__main__":
    print(main())
