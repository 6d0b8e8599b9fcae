"""The fault matrix: every fault of the provider's stand-in at every stage, once and for hours, judged like a crash."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from scenarios import AFTER_THE_HOUR, BEFORE_THE_HOUR, Scenario, blocking, held_up, meets, uploaded
from seedance.jobs.job import State
from stage import Stage
from verdict import in_the_end
from wire import REFUSED
from world import World

from local.sandbox.kinds import KINDS, STAGES

NOT_CALLED = {"status": "/status", "credits": "get-user-credits"}
"""Stages of the stand-in that no function calls, and what would show in a call's name if one did."""

HOURS = 2 * 3600.0
"""How long a lasting fault lasts."""

HANGS_SECONDS = 1.2
"""For how long a provider hangs, by the clock on the wall; the functions lose patience before."""

FORBIDDEN = frozenset({"output-forbidden-host", "output-http-scheme", "redirect-forbidden", "output-two-videos"})
"""Results that must not be fetched, or not without a person's choice, though they are paid for."""

UNPRICED = frozenset({"poison-metrics"})
"""An impossible price is dropped: the job settles its estimate until reconcile finds the price in the history."""


@dataclass(frozen=True)
class Meeting:
    """A job that meets a fault."""

    stage: str
    kind: str
    lasting: bool

    def __str__(self) -> str:
        return f"{self.stage} | {self.kind} | {'for hours' if self.lasting else 'once'}"

    @property
    def faithful(self) -> bool:
        """Whether the provider, in the end, gives what it was paid for."""
        # What the history does not show for a request's id, its list does.
        survived = self.stage == "history-id" or (self.stage == "history" and self.kind != "no-rows")
        return self.kind not in FORBIDDEN | UNPRICED and (not self.lasting or survived)

    @property
    def hangs(self) -> bool:
        return self.kind.startswith(("timeout", "drip")) or self.kind == "trickle"

    def scenario(self) -> Scenario:
        begin, environment = uploaded(), {}
        if self.stage == "v1":
            begin = blocking()
        elif self.stage == "upload":
            environment = {"IMAGE_DELIVERY": "upload"}
        elif self.stage == "history":
            begin = meets("submit", "reset-after-accept", begin)
        elif self.stage == "history-id":
            begin = held_up(AFTER_THE_HOUR, begin)
        elif self.lasting and self.stage == "result":
            begin = held_up(BEFORE_THE_HOUR, begin)
        begin = meets(self.stage, self.kind, begin, times=0 if self.lasting else 1, **self._options())
        return Scenario(str(self), begin, environment=environment)

    def _options(self) -> dict[str, float]:
        if self.hangs:
            return {"seconds": HANGS_SECONDS / (1 if self.kind.startswith("timeout") else 10)}
        if self.kind == "http-429":
            return {"seconds": 600_000.0 if self.stage == "v1" else 600.0}  # v1's stand-in runs a thousand times faster
        return {"slow": {"seconds": 0.05}, "cut-off": {"seconds": 0.0}}.get(self.kind, {})


def meetings() -> list[Meeting]:
    """All of them. What hangs is met once only: each meeting takes a real second."""
    return [
        Meeting(stage, kind.name, lasting)
        for stage in STAGES
        for kind in KINDS.values()
        if stage in kind.stages and stage not in NOT_CALLED
        for lasting in ((False,) if Meeting(stage, kind.name, False).hangs else (False, True))
    ]


def judge(stage: Stage, meeting: Meeting) -> tuple[str, list[str]]:
    """How the job ends, and what of that must not be."""
    worlds: list[World] = []
    found: list[str] = []

    def prepare(world: World) -> None:
        worlds.append(world)
        world.recovers_at = world.now() + HOURS
        world.adversary.refused = REFUSED

    def look(world: World) -> None:
        found.extend(in_the_end(world, faithful=meeting.faithful))

    try:
        with stage.patch.context() as patch:
            if meeting.hangs:
                stage.patience(patch, HANGS_SECONDS / 2)
            meeting.scenario().play(stage, prepare, look)
        end = "+".join(job.state for job in worlds[0].all_jobs())
        found.extend(_next_job(worlds[0]))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        return "?", [*found, f"the run raised {error!r}"]
    return end, found


def _next_job(world: World) -> Iterator[str]:
    """Once the provider is well again, the next picture becomes a video: nothing that was stored stays wrong."""
    world.recover()
    world.adversary.refused = 0.0  # a call that fails for good around the POST leaves a job HELD, rightly
    world.top_up_and_resume()
    world.settle()  # at the scenario's own time scale: a v1 call that was held is made now, and blocks
    world.sandbox.configure(time_scale=1.0)
    job_id = world.upload("uploads/next.png", resolution="480p")
    world.settle()
    job = next(job for job in world.all_jobs() if job.job_id == job_id)
    if job.state is not State.COMPLETED:
        yield f"the next job is {job.state} ({job.error})"


@dataclass(frozen=True)
class Line:
    """A stage's line of the table."""

    stage: str
    met: int
    ends: dict[str, int]
    violations: tuple[str, ...]


def line(stage: Stage, name: str) -> Line:
    """All meetings at one stage of the stand-in."""
    found = Line(name, 0, {}, ())
    for meeting in meetings():
        if meeting.stage == name:
            end, violations = judge(stage, meeting)
            found = replace(
                found,
                met=found.met + 1,
                ends={**found.ends, end: found.ends.get(end, 0) + 1},
                violations=(*found.violations, *(f"{meeting}: {text}" for text in violations)),
            )
    return found
