"""Random histories of duplicate events, crashes, faults, clock jumps, pauses and spent budgets. None may lose money."""

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from seedance.jobs.switch import switch
from stage import Stage
from verdict import always, in_the_end
from wire import REFUSED, How
from world import ROUND_SECONDS, SKEWS, World, png, s3_event

MOST_JOBS = 4
MOST_DAYS = 3
"""A result lives for seven days; a history must not outlast it."""

FAULTS = {
    "v2": (
        *(("submit", kind) for kind in ("http-429", "http-500", "http-504", "reset-before-accept")),
        *(("submit", kind) for kind in ("reset-after-accept", "504-after-accept", "no-request-id", "malformed-json")),
        *(("submit", kind) for kind in ("http-522", "http-523", "cloudflare-after-accept")),
        *(("result", kind) for kind in ("http-401", "http-404", "http-500", "reset", "malformed-json", "output-null")),
        *(("submit", kind) for kind in ("far-reset", "echo", "half-emoji", "deep", "http-406-loose")),
        *(("submit", kind) for kind in ("http-402-credits", "http-429-credits", "http-429-concurrency")),
        *(("result", kind) for kind in ("far-reset", "echo", "half-emoji", "deep", "gzip-bomb", "foreign-id")),
        *(("result", kind) for kind in ("poison-metrics", "output-in-text")),
        *(("job", kind) for kind in ("fail-with-echo", "fail-half-emoji")),
        *(("job", kind) for kind in ("fail", "late", "vanish", "flapping", "stuck-processing")),
    ),
    "v1": (
        *(("v1", kind) for kind in ("http-429", "http-500", "http-504", "reset-before-accept", "cut-off")),
        *(("v1", kind) for kind in ("reset-after-accept", "504-after-accept", "empty-body", "malformed-json")),
        *(("v1", kind) for kind in ("far-reset", "echo", "half-emoji", "deep", "http-406-loose", "http-402-credits")),
        ("job", "fail"),
    ),
}
BOTH = (
    *(("history", kind) for kind in ("http-500", "reset", "malformed-json", "deep", "echo", "huge")),
    *(("history-id", kind) for kind in ("http-404", "http-500", "reset", "foreign-id", "malformed-json")),
    *(("media", kind) for kind in ("truncated", "html", "media-500", "reset-midway")),
)
OPTIONS: dict[str, dict[str, Any]] = {"cut-off": {"seconds": 0.0}, "http-429": {"seconds": 20.0}}


def play(stage: Stage, number: int, steps: int, part: int = 20) -> None:
    """Play the given number of histories of up to ``steps`` steps; a ``part`` always gives the same ones. Raises the
    violation of the first history that has one.

    The history is reported as it was played: shrinking it takes hundreds of plays, which looks like a hang.
    """
    wanted = settings(
        max_examples=number,
        stateful_step_count=steps,
        phases=(Phase.explicit, Phase.generate),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(part)(histories(stage)), settings=wanted)


def histories(stage: Stage) -> type[RuleBasedStateMachine]:
    """The state machine of the random histories, on this stage."""

    class Histories(RuleBasedStateMachine):
        world: World
        transport: str
        events: list[dict[str, Any]]
        days: int

        @initialize(
            transport=st.sampled_from(["v2", "v2", "v1"]),
            budget=st.sampled_from(["0", "0", "0.3"]),
            resubmit=st.sampled_from(["no", "yes"]),
            skew=st.sampled_from(SKEWS),
            bodies=st.sampled_from(["mixed", "mixed", "mixed", "hidden", "cut", "none"]),
            adversary=st.integers(0, 2**32 - 1),
            data=st.data(),
        )
        def deploy(
            self,
            *,
            transport: str,
            budget: str,
            resubmit: str,
            skew: float,
            bodies: str,
            adversary: int,
            data: st.DataObject,
        ) -> None:
            self.world = stage.world(adversary, DAILY_BUDGET_USD=budget, RESUBMIT_LOST=resubmit)
            self.world.adversary.refused = REFUSED
            self.world.drift(skew)
            self.world.sandbox.configure(history_bodies=bodies)
            self.transport, self.events, self.days = transport, [], 0
            if transport == "v1":
                # The blocking call waits for its video, so the stand-in itself has to be fast.
                self.world.sandbox.configure(time_scale=0.001)
            self._upload()
            self._meet_trouble(data)
            self._ask()

        # what users do ------------------------------------------------------------------------------------------

        @precondition(lambda self: len(self.events) < MOST_JOBS)
        @rule(data=st.data())
        def upload(self, data: st.DataObject) -> None:
            self._meet_trouble(data)
            self._upload()

        @precondition(lambda self: len(self.events) < MOST_JOBS)
        @rule(data=st.data())
        def ask(self, data: st.DataObject) -> None:
            self._meet_trouble(data)
            self._ask()

        def _upload(self, number: int | None = None) -> None:
            key, body = f"uploads/{len(self.events) if number is None else number}.png", png()
            about = {"resolution": "480p"} | ({"model": "seedance-pro", "transport": "v1"} if self._is_v1 else {})
            self.events.append(s3_event(key, self.world.put(key, body, about), len(body)))
            self.world.send(self.events[-1])

        def _ask(self, number: int | None = None) -> None:
            about = {"model": "seedance-pro", "transport": "v1"} if self._is_v1 else {}
            key = f"call-{len(self.events) if number is None else number}"
            self.world.ask(key, parameters={"resolution": "480p"}, **about)
            self.events.append({"Records": []})

        @rule()
        def pause(self) -> None:
            switch().pause("a person stopped them")

        @rule()
        def resume(self) -> None:
            self.world.resume()

        @rule()
        def redrive(self) -> None:
            self.world.redrive()

        @precondition(lambda self: self.events)
        @rule(number=st.integers(0, MOST_JOBS - 1))
        def cancel(self, number: int) -> None:
            jobs = self.world.all_jobs()
            if jobs:
                self.world.cancel(jobs[number % len(jobs)].job_id)

        @precondition(lambda self: self.events)
        @rule(number=st.integers(0, MOST_JOBS - 1), pay=st.booleans())
        def retry(self, number: int, *, pay: bool) -> None:
            """A video is bought again only if the provider failed to make it: any other may still be made."""
            jobs = self.world.all_jobs()
            if jobs:
                job = jobs[number % len(jobs)]
                self.world.retry(job.job_id, pay=pay and job.code == "PROVIDER_JOB_FAILED")

        # what AWS does ------------------------------------------------------------------------------------------

        @precondition(lambda self: self.events)
        @rule(data=st.data())
        def deliver_an_event_again(self, data: st.DataObject) -> None:
            self.world.send(data.draw(st.sampled_from(self.events)))

        @precondition(lambda self: len(self.events) < MOST_JOBS)
        @rule(number=st.integers(0, MOST_JOBS - 1))
        def use_a_key_again(self, number: int) -> None:
            """Another version of an object is another job; another call with the same idempotency key is not."""
            number %= len(self.events)
            if self.events[number]["Records"]:
                self._upload(number)
            else:
                self._ask(number)
                self.events.pop()

        @rule(number=st.integers(1, 12))
        def let_things_happen(self, number: int) -> None:
            for _ in range(number):
                self.world.happen()

        @rule()
        def call_reconcile(self) -> None:
            self.world.reconcile()

        @rule(ahead=st.integers(0, 40), how=st.sampled_from(How))
        def something_dies(self, ahead: int, how: How) -> None:
            self.world.wire.strike_next(ahead, how)
            for _ in range(30):
                if self.world.wire.struck or not self.world.happen():
                    break

        @rule(ahead=st.integers(0, 12), how=st.sampled_from(How))
        def reconcile_dies(self, ahead: int, how: How) -> None:
            self.world.wire.strike_next(ahead, how)
            self.world.reconcile()

        @precondition(lambda self: self.world.runs)
        @rule()
        def an_execution_is_stopped(self) -> None:
            self.world.stop(self.world.runs[0])

        # what the provider and the clock do -----------------------------------------------------------------------

        @rule(data=st.data())
        def order_a_fault(self, data: st.DataObject) -> None:
            self._order(data.draw(st.sampled_from((*FAULTS[self.transport], *BOTH))))

        def _meet_trouble(self, data: st.DataObject) -> None:
            """Half of the jobs meet a fault: one that is ordered too late would have no effect."""
            if data.draw(st.booleans()):
                self._order(data.draw(st.sampled_from(FAULTS[self.transport])))

        def _order(self, fault: tuple[str, str]) -> None:
            on, kind = fault
            self.world.sandbox.fault(on, kind, **OPTIONS.get(kind, {}))

        @rule()
        def run_out_of_credits(self) -> None:
            self.world.sandbox.configure(credits=0.01)

        @rule(skew=st.sampled_from(SKEWS))
        def the_providers_clock_drifts(self, skew: float) -> None:
            self.world.drift(skew)

        @rule(seconds=st.sampled_from([5, 80, 400, 1000, 3700]))
        def jump(self, seconds: int) -> None:
            self.world.pass_time(seconds)

        @precondition(lambda self: self.days < MOST_DAYS)
        @rule()
        def sleep_till_tomorrow(self) -> None:
            self.days += 1
            for _ in range(3):  # the schedule runs at night too, and at most one round of it can crash
                self.world.pass_time(ROUND_SECONDS)
                self.world.reconcile()
            self.world.next_day()

        # what must hold -------------------------------------------------------------------------------------------

        @invariant()
        def the_law_holds(self) -> None:
            self._judge(always(self.world))

        def teardown(self) -> None:
            """Ordered faults still strike; then all faults end, and every job comes to its end."""
            if not hasattr(self, "world"):
                return
            world = self.world
            world.wire.target = None
            world.settle()
            self.the_law_holds()
            world.recover()
            world.redrive()
            for _ in range(3):
                world.top_up_and_resume()
                world.settle()
                world.next_day()  # for jobs that wait for the next day's budget
                world.settle()
            self._judge(in_the_end(world, asked=len(self.events)))

        @property
        def _is_v1(self) -> bool:
            return self.transport == "v1"

        def _judge(self, findings: Iterable[str]) -> None:
            found = list(findings)
            assert not found, f"{found}\n{json.dumps(self.world.log, indent=1)}"

    return Histories
