"""What the bought videos show about the provider: the files, and its responses about the requests. Costs nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from seedance.jobs.job import Job, State

from cli import actions
from cli.demo import DemoFailed, Played, play
from cli.doctor.deployment import Deployment
from cli.doctor.spending import TEXT, Bought
from cli.target import CommandError, home

if TYPE_CHECKING:
    from seedance.upkeep.examining import Examined
    from seedance.upkeep.questions import ShownRequest

RECORD_SECONDS = 3600.0
"""How long the provider keeps a request's record, in its time."""

_MARGIN_SECONDS = 120.0
_HTTP_SECONDS = 20.0


@dataclass
class Evidence:
    """The evidence, by the name of the video. What could not be had is a sentence, or missing."""

    bought: Bought
    files: dict[str, Path | str] = field(default_factory=dict)
    played: dict[str, Played] = field(default_factory=dict)
    seen: dict[str, "Examined"] = field(default_factory=dict)
    """The structure of the provider's responses about each request."""
    rows: dict[str, "list[ShownRequest]"] = field(default_factory=dict)
    """The history's rows about each job, with the jobs that they name."""
    listed: "list[ShownRequest]" = field(default_factory=list)
    """The list's rows about the request of the video from text, one for each output."""
    keyless: dict[str, int | str] = field(default_factory=dict)
    """The HTTP status of each result, for a client without a key."""
    old: "Examined | None" = None
    """The responses about a request that is older than an hour."""
    troubles: list[str] = field(default_factory=list)
    """What could not be read, and why."""

    @property
    def made(self) -> dict[str, Job]:
        """The jobs that have a video."""
        return {name: job for name, job in self.bought.jobs.items() if job.state is State.COMPLETED}

    @contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Note it if something can't be read, and continue."""
        try:
            yield
        except (CommandError, ClientError, BotoCoreError) as error:
            self.troubles.append(f"{what}: {error}")

    def shape(self, name: str) -> dict[str, Any]:
        """The structure of the response about a finished request. Empty if there is none."""
        found = self.seen.get(name, {}).get("record", {}).get("shape")
        return found if isinstance(found, dict) else {}

    def row(self, name: str) -> dict[str, Any]:
        """The structure of a request's row in the history. Empty if there is none."""
        found = self.seen.get(name, {}).get("row", {}).get("shape")
        return found if isinstance(found, dict) else {}


def gather(of: Deployment, bought: Bought) -> Evidence:
    """Look at everything once: soon, because the provider forgets a request after an hour."""
    found = Evidence(bought)
    for name in bought.job_ids:
        job = bought.jobs.get(name)
        found.files[name] = _file(of, name, job) if job else "its job did not appear"
        if job and job.request_id:
            with found.reading(f"the request of {name}"):
                found.seen[name] = seen = of.examine("request", job.request_id)
                if trouble := seen.get("trouble"):
                    found.troubles.append(f"the request of {name}: {trouble['message']}")
                found.rows[name] = of.ask(ask="requests of", job_id=job.job_id)["rows"]
    for name, file in found.files.items():
        if isinstance(file, Path):
            try:
                found.played[name] = play(file)
            except DemoFailed as error:
                found.files[name] = str(error)
    for name, job in found.made.items():
        found.keyless[name] = _keyless(of, job)
    with found.reading("the history"):
        if TEXT in found.made:
            found.listed = _listed(of, found.made[TEXT])
    with found.reading("an old request"):
        found.old = _old(of)
    return found


def _file(of: Deployment, name: str, job: Job) -> Path | str:
    """The video as a file on this machine, or why there is none."""
    file = home() / "doctor" / f"{name}.mp4"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    try:
        actions.fetch(of.target, job, file)
    except CommandError as error:
        return str(error)
    return file


def _keyless(of: Deployment, job: Job) -> int | str:
    """The HTTP status of the first byte of a result, asked for without a key and without following redirects."""
    if not job.result_url:
        return "no address"
    with httpx.Client(timeout=_HTTP_SECONDS, trust_env=of.target.local is None) as client:
        try:
            with client.stream("GET", job.result_url, headers={"Range": "bytes=0-0"}) as answer:
                return answer.status_code
        except httpx.HTTPError as error:
            return f"no answer: {error}"


def _listed(of: Deployment, job: Job) -> "list[ShownRequest]":
    said = of.ask(ask="history", model=job.model, since=job.created_at, until=time.time(), page=1)
    return [row for row in said["rows"] if row["request_id"] == job.request_id]


def _old(of: Deployment) -> "Examined | None":
    """The responses about the newest request whose record the provider should have deleted."""
    limit = (RECORD_SECONDS + _MARGIN_SECONDS) * of.target.time_scale
    for listed in of.target.jobs.newest(State.COMPLETED, limit=200):
        if time.time() - listed.updated_at > limit and (job := of.target.jobs.get(listed.job_id)) and job.request_id:
            return of.examine("request", job.request_id)
    return None
