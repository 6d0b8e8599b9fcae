"""The functions of the batch's state machine, and a batch that the API plans, approves and cancels.

All unit tests can use the fixtures: conftest.py imports them.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from described import faults
from seedance.batches.links import SheetLinks
from seedance.batches.stopping import Stopping
from seedance.collect import Collect
from seedance.enqueue import Enqueue
from seedance.jobs.defaults import Defaults
from seedance.jobs.job import State, batch_job_id
from seedance.plan import Plan
from seedance.rest.batches import BatchCalls

UPLOADS, KEY = "example-uploads", "staged/shop/spring.csv"
TABLE = "jobs-of-tests"
HEADER = "prompt,model,sku\n"
ROWS = HEADER + "It turns,,S\n" * 8 + "A lake,seedance-pro,S\n" + ",,bad\n"


@dataclass
class Stack:
    """The API's calls and the functions of the batch's state machine, which the tests run by hand."""

    world: Any
    calls: BatchCalls
    plan: Plan
    enqueue: Enqueue
    collect: Collect

    def put(self, text: str = ROWS, key: str = KEY) -> str:
        return str(self.world.aws["s3"].put_object(Bucket=UPLOADS, Key=key, Body=text.encode())["VersionId"])

    def create(self, *, key: str = KEY, **body: Any) -> Any:
        shown = self.calls.create(json.dumps({"manifest_key": key, **body}))
        assert faults("Batch", json.loads(json.dumps(shown))) == []
        return shown

    def planned(self, text: str = ROWS, **body: Any) -> str:
        """A batch whose plan execution has ended. Returns its id."""
        self.put(text)
        batch = str(self.create(**body)["batch_id"])
        self.run(batch)
        return batch

    def run(self, name: str) -> Any:
        """What the execution of this name does until its rows are fed. Returns the state that collect takes."""
        given = self.given(name)
        state = given if "chunks" in given else self.plan(given)
        if state["status"] == "PLANNED":
            for chunk in state["chunks"]:
                self.feed(state, chunk)
        return state

    def feed(self, state: Any, chunk: Any) -> Any:
        child = {**{name: state[name] for name in ("batch_id", "key", "plan_key")}, "chunk": chunk, "next": 0}
        return self.enqueue(child)

    def given(self, name: str) -> Any:
        arn = self.world.arns.batch_machine.replace(":stateMachine:", ":execution:")
        described = self.world.aws["stepfunctions"].describe_execution(executionArn=f"{arn}:{name}")
        return json.loads(described["input"])

    def executions(self) -> list[str]:
        listed = self.world.aws["stepfunctions"].list_executions(stateMachineArn=self.world.arns.batch_machine)
        return sorted(one["name"] for one in listed["executions"])

    def look(self, batch: str) -> Any:
        shown = self.calls.look(batch)
        assert faults("Batch", json.loads(json.dumps(shown))) == []
        return shown

    def all_end(self, batch: str, rows: int, cost: float = 0.25) -> None:
        for row in range(1, rows + 1):
            if job := self.world.store.get(batch_job_id(batch, row)):
                self.world.put(replace(job, state=State.COMPLETED, cost_usd=cost))


@pytest.fixture
def plan(world: Any) -> Plan:
    """20 % of the rows may be invalid."""
    defaults = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")
    bills, batches = world.store.bills, world.batch_store
    return Plan(world.sheets, world.media, world.notifier, bills, batches, defaults, 20.0, clock=world.clock)


@pytest.fixture
def enqueue(world: Any) -> Enqueue:
    return Enqueue(world.store, world.sheets, world.queue, world.register, world.pacer, world.switch, world.batch_store)


@pytest.fixture
def collect(world: Any) -> Collect:
    stops = Stopping(world.store, world.queue)
    return Collect(world.register, world.sheets, world.notifier, world.batch_store, stops, clock=world.clock)


@pytest.fixture
def stack(world: Any, plan: Plan, enqueue: Enqueue, collect: Collect) -> Stack:
    links, stops = SheetLinks(UPLOADS, world.aws["s3"]), Stopping(world.store, world.queue)
    calls = BatchCalls(world.batch_store, world.batches, world.register, links, world.store, stops, None, world.clock)
    return Stack(world, calls, plan, enqueue, collect)


def jobs_of(world: Any, batch: str, rows: int = 10) -> list[int]:
    return [row for row in range(1, rows + 1) if world.store.get(batch_job_id(batch, row))]
