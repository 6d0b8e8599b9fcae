"""The soak test: many uploads with repeated events, faults, killed workers and a restart. Then the day must balance.

``python -m tests.soak.run --uploads 300`` runs it on its own stack and prints a table; ``--output`` also writes it to a
file. Exits with 1 if a video was bought twice or lost, or if a notification is missing.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from seedance.jobs.job import Hold, Job, State
from seedance.reconcile import GENERATING_SECONDS

from cli import asking, balance
from cli.target import CommandError, Target
from local import processes
from local import stack as local_stack
from tests.e2e.deployed import Deployed

TIME_SCALE = 0.05
AT_ONCE = 14
"""The jobs in progress at a time. The emulator runs 24 functions at a time."""

REDELIVERY_SECONDS = 70
"""The intake queue's visibility timeout here. The six minutes that AWS requires would be most of the test."""

RECONCILE_SECONDS = 5.0
LOOK_SECONDS = 0.5
MODELS = ("seedance-1.0-pro-fast", "seedance-1.0-pro-fast", "seedance-2.0-mini", "seedance-1.5-pro", "seedance-pro")
FAULTS: tuple[dict[str, Any], ...] = (
    {"on": "submit", "kind": "504-after-accept"},
    {"on": "submit", "kind": "reset-after-accept"},
    {"on": "submit", "kind": "no-request-id"},
    {"on": "submit", "kind": "reset-before-accept"},
    {"on": "submit", "kind": "http-502-html"},
    {"on": "submit", "kind": "http-429", "seconds": 5.0},
    {"on": "submit", "kind": "timeout-after-accept", "seconds": 60.0},
    {"on": "result", "kind": "http-500"},
    {"on": "result", "kind": "malformed-json"},
    {"on": "result", "kind": "output-null"},
    {"on": "job", "kind": "flapping"},
    {"on": "job", "kind": "fail"},
    {"on": "media", "kind": "reset-midway"},
    {"on": "media", "kind": "media-500", "times": 2},
    {"on": "media", "kind": "html", "times": 2},
)


@dataclass
class Tally:
    """What the test did to the stack, what people and reconcile did, and what is wrong."""

    done: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


class Soak:
    """One soak test on one stack."""

    def __init__(self, world: Deployed, home: Path, uploads: int, seed: int) -> None:
        self.world, self.home, self.uploads = world, home, uploads
        self.target = Target(world.stack.outputs, world.stack)
        self.tally = Tally()
        self.random = random.Random(seed)  # noqa: S311 - runs should be repeatable
        self.jobs: list[str] = []
        self._reconciled = 0.0
        self._begun = time.monotonic()

    def run(self, seconds: float) -> None:
        """Run the whole test within this time."""
        deadline = time.monotonic() + seconds
        self.world.client("sqs").set_queue_attributes(
            QueueUrl=self.world.output("SubmitQueueUrl"), Attributes={"VisibilityTimeout": str(REDELIVERY_SECONDS)}
        )
        disturb = {
            self.uploads // 4: self.kill_workers,
            self.uploads // 2: self.restart,
            self.uploads * 3 // 4: self.kill_workers,
        }
        for number in range(self.uploads):
            self._wait(lambda: self._open() < AT_ONCE, deadline)
            self.upload(number)
            if number in disturb:
                disturb[number]()
        self.say(f"{self.uploads} images uploaded")
        self._wait(lambda: self._open() == 0, deadline)
        self.check()

    def upload(self, number: int) -> None:
        """Upload an image. Every tenth event is delivered twice, every tenth upload meets a fault."""
        prompt = f"soak {number:04d}."
        if number % 10 == 3:
            fault = FAULTS[number // 10 % len(FAULTS)]
            url = f"{self.world.stack.sandbox_url}/_sandbox/faults"
            self.world.api.post(url, json={**fault, "prompt_contains": prompt}).raise_for_status()
            self.tally.faults[f"{fault['kind']} on {fault['on']}"] += 1
        put = self.world.upload
        if number % 10 == 7:
            put = self.world.upload_twice_told
            self.tally.done["delivered twice"] += 1
        about = {"model": self.random.choice(MODELS), "prompt": prompt, "resolution": "480p"}
        if number % 10 == 5:
            about |= {"model": "seedance-pro", "transport": "v1"}
        self.jobs.append(put(f"uploads/{number:04d}.jpg", **about))

    def kill_workers(self) -> None:
        """Kill every Lambda worker of this stack with SIGKILL, whatever it is doing."""
        self._busy()
        killed = 0
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            line = processes.command_line(int(process.name)) or ""
            if str(self.home / "tmp") in line and "_worker.py" in line:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed += 1
        self.say(f"killed {killed} workers")
        self.tally.done["workers killed"] += killed
        self.tally.done["rounds of kill -9"] += 1

    def restart(self) -> None:
        """Stop the stack and start it again with its saved state."""
        self._busy()
        self.say("restarting the stack")
        stopped = time.time()
        local_stack.restart(self.home)
        self.world.configure()
        self._skip_quarter_of_an_hour(stopped)
        dead = self._executions("FAILED")
        self.say(f"restarted; {dead} executions were lost")
        self.tally.done["restarts of the stack"] += 1
        self.tally.done["executions lost by the restart"] += dead

    def _skip_quarter_of_an_hour(self, stopped: float) -> None:
        """Age interrupted v1 calls. A v1 call only counts as dead after 15 minutes; here it is known to be dead."""
        for job_id, state in self.world.states().items():
            job = self.target.jobs.get(job_id)
            if job and state is State.SUBMITTING and job.transport == "v1" and job.updated_at < stopped:
                self.world.back_in_time(job_id, state, GENERATING_SECONDS)
                self.tally.done["v1 calls cut off"] += 1

    def check(self) -> None:
        """Check the result for violations."""
        self.say("checking")
        wrong = self.tally.violations
        heard = self._heard()
        for job_id in self.jobs:
            job = self.target.jobs.get(job_id)
            if job is None:
                wrong.append(f"job {job_id} was never created")
                continue
            self.tally.done[f"jobs {job.state.value}"] += 1
            if job.notified_at is None or job.state.value not in heard.get(job_id, []):
                wrong.append(f"no notification that job {job_id} is {job.state.value}")
            if job.state is State.COMPLETED and not self._right(job):
                wrong.append(f"job {job_id} has a different video from the provider's")
            if job.state is State.FAILED and (job.error or {}).get("code") != "PROVIDER_JOB_FAILED":
                wrong.append(f"job {job_id} failed: {job.error}")
            if job.error:
                self.tally.reasons[job.error["message"]] += 1
        self.tally.done["messages repeated"] = sum(
            count - 1 for told in heard.values() for count in Counter(told).values() if count > 1
        )
        for day in sorted({datetime.fromtimestamp(t, UTC).date() for t in (time.time(), time.time() - 900)}):
            found = balance.ledger(self.target, day)
            for name in ("duplicates", "orphans", "unreconciled"):
                self.tally.done[name] += len(getattr(found, name))
                wrong += [f"{name} {day}: {line}" for line in getattr(found, name)]
            self.tally.done["cents settled"] += round(100 * found.day.settled)
            self.tally.done["cents charged"] += round(100 * found.charged_usd)
        accepted = self.world.sandbox("summary")
        self.tally.done["requests accepted"] = accepted["accepted"]
        self.tally.done["videos billed"] = accepted["billed"]

    def say(self, what: str) -> None:
        """Print progress."""
        print(f"{time.monotonic() - self._begun:6.1f} s  {what}", file=sys.stderr, flush=True)

    # waiting ------------------------------------------------------------------------------------------------------

    def _wait(self, ready: Any, deadline: float) -> None:
        """Wait, and meanwhile do what the schedule and the operators would do."""
        while not ready():
            if time.monotonic() > deadline:
                states = self.world.states()
                late = {job_id: states.get(job_id, "no record") for job_id in self.jobs}
                raise SystemExit(f"not finished in time: { {k: str(v) for k, v in late.items() if not _over(v)} }")
            if time.monotonic() - self._reconciled > RECONCILE_SECONDS:
                self._care()
                self._reconciled = time.monotonic()
            time.sleep(LOOK_SECONDS)

    def _care(self) -> None:
        # The function may run in a worker that is killed. The next round then does the work.
        with contextlib.suppress(CommandError, BotoCoreError, ClientError):
            for what, count in asking.reconcile(self.target).items():
                self.tally.done[f"reconcile {what}"] += count
            self.tally.done["dead letters put back"] += asking.to_its_end(self.target, ask="redrive")
        for job_id, state in self.world.states().items():
            if state not in (State.HELD, State.FAILED):
                continue
            job = self.target.jobs.get(job_id)
            assert job is not None  # its state was read before
            code = (job.error or {}).get("code")
            if job.state is State.HELD and code == Hold.LOST:
                asking.ask_repair(self.target, ask="resolve", job_id=job_id, resubmit=True)
                self.tally.done["a person resubmitted"] += 1
            elif job.state is State.FAILED and code == "RESULT_NOT_A_VIDEO":
                asking.ask_repair(self.target, ask="retry", job_id=job_id, pay=False)
                self.tally.done["a person retried the copy"] += 1

    def _open(self) -> int:
        states = self.world.states()
        return sum(not _over(states.get(job_id)) for job_id in self.jobs)

    def _busy(self) -> None:
        """Wait until there is work in progress that could be lost."""
        deadline = time.monotonic() + 10
        while self._executions("RUNNING") < 3 and time.monotonic() < deadline:
            time.sleep(0.05)

    def _executions(self, status: str) -> int:
        pages = self.world.client("stepfunctions").get_paginator("list_executions")
        machine = self.world.output("StateMachineArn")
        return sum(len(page["executions"]) for page in pages.paginate(stateMachineArn=machine, statusFilter=status))

    # checking -----------------------------------------------------------------------------------------------------

    def _heard(self) -> dict[str, list[str]]:
        """The states in each job's notifications."""
        heard: dict[str, list[str]] = {}
        for message in self.world.received(self.world.queue):
            body = json.loads(message["Message"])
            heard.setdefault(body["job_id"], []).append(body["status"])
        return heard

    def _right(self, job: Job) -> bool:
        made = self.world.api.get(f"{self.world.stack.sandbox_url}/media/{job.request_id}.mp4").content
        key = (job.video or {}).get("key", "")
        stored = self.world.client("s3").get_object(Bucket=self.world.output("VideoBucketName"), Key=key)
        return bool(stored["Body"].read() == made)


def _over(state: Any) -> bool:
    return isinstance(state, State) and state.terminal


def table(soak: Soak, seconds: float) -> str:
    """The result as a Markdown table."""
    done = soak.tally.done
    shown = {
        "uploads": soak.uploads,
        "delivered twice": done["delivered twice"],
        "with a fault of the provider": soak.tally.faults.total(),
        "Lambda workers killed (kill -9)": f"{done['workers killed']} in {done['rounds of kill -9']} rounds",
        "restarts of the whole stack": done["restarts of the stack"],
        "executions lost by the restart": done["executions lost by the restart"],
        "v1 calls interrupted by the restart": done["v1 calls cut off"],
        "actions of reconcile": ", ".join(
            f"{count} {name.removeprefix('reconcile ')}" for name, count in done.items() if "reconcile " in name
        ),
        "decisions by a person": f"{done['a person resubmitted']} resubmitted (never arrived), "
        f"{done['a person retried the copy']} copied again",
        "dead letters put back": done["dead letters put back"],
        "jobs at the end": ", ".join(
            f"{count} {name.removeprefix('jobs ')}" for name, count in done.items() if name.startswith("jobs ")
        ),
        "requests accepted by the provider": f"{done['requests accepted']}, {done['videos billed']} billed",
        "settled by us": f"${done['cents settled'] / 100:.2f}",
        "charged by the provider": f"${done['cents charged'] / 100:.2f}",
        "notifications repeated": done["messages repeated"],
        "**duplicates**": done["duplicates"],
        "**orphans**": done["orphans"],
        "**unreconciled**": done["unreconciled"],
        "**violations of any kind**": len(soak.tally.violations),
        "time": f"{seconds:.0f} s",
    }
    lines = ["| what | number |", "|---|---|", *(f"| {name} | {value} |" for name, value in shown.items())]
    lines += [
        "",
        "Faults: " + ", ".join(f"{count} x {name}" for name, count in sorted(soak.tally.faults.items())) + ".",
    ]
    lines += ["", "Jobs without a video: " + "; ".join(f"{n} x {why}" for why, n in soak.tally.reasons.items())]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run", description="Runs the soak test.")
    parser.add_argument("--uploads", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=600.0, help="the longest time that it may take")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="also write the table to this file, as Markdown")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        home = Path(folder)
        try:
            options = local_stack.Options(
                port=0, provider="sandbox", time_scale=TIME_SCALE, home=home, keep=True, hurried=False
            )
            world = Deployed(local_stack.up(options, lambda _: None)[0])
            world.configure()
            begun = time.monotonic()
            soak = Soak(world, home, wanted.uploads, wanted.seed)
            soak.run(wanted.seconds)
        finally:
            local_stack.down(home)
    result = table(soak, time.monotonic() - begun)
    print(result)
    for violation in soak.tally.violations:
        print(f"violation: {violation}")
    if wanted.output:
        command = f"`python -m tests.soak.run --uploads {wanted.uploads}`"
        title = f"# Soak test\n\nWritten by {command} on {datetime.now(UTC).date()}.\n\n"
        wanted.output.write_text(title + result)
    return 1 if soak.tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
