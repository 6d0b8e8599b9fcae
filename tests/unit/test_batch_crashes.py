"""A batch whose functions are killed before and after every AWS call, and then retried."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from batch_stack import Stack, jobs_of
from seedance import rest
from seedance.collect import Collect
from seedance.enqueue import Enqueue
from seedance.jobs.job import State, batch_id, batch_job_id
from seedance.jobs.requests import Upload
from seedance.plan import Plan

UPLOADS, KEY = "example-uploads", "batches/spring.csv"
MANIFEST = "image,prompt,sku\n" + "images/a.png,It turns,S\n" * 12 + ",,bad\n"
WORST = 60
"""More calls than any of the functions makes."""


class Killed(BaseException):
    """The function's process was killed; no ``except`` of ours may catch it as an ordinary error."""


@contextmanager
def dying(world: Any, call: int, moment: str) -> Iterator[list[str]]:
    """Kill the process at the call with that number, ``before-call`` or ``after-call``."""
    made: list[str] = []

    def count(model: Any = None, **_: Any) -> None:
        made.append(model.name)
        if len(made) == call:
            raise Killed

    events = [client.meta.events for client in world.aws.values()]
    for each in events:
        each.register(moment, count, unique_id="killer")
    try:
        yield made
    finally:
        for each in events:
            each.unregister(moment, unique_id="killer")


def tried_again(world: Any, step: Callable[[], Any], call: int, moment: str) -> tuple[Any, bool]:
    """Run a step that may be killed once, and run it again as its state's Retry does. Returns whether it was killed."""
    try:
        with dying(world, call, moment):
            return step(), False
    except Killed:
        return step(), True


def sent(world: Any) -> list[str]:
    """The jobs of all messages, in order."""
    calls = world.called("SendMessageBatch")
    return [json.loads(entry["MessageBody"])["job_id"] for call in calls for entry in call["Entries"]]


@pytest.fixture
def version(world: Any, png: bytes) -> str:
    world.upload("images/a.png", png)
    return str(world.aws["s3"].put_object(Bucket=UPLOADS, Key=KEY, Body=MANIFEST.encode())["VersionId"])


@pytest.mark.sampled(4)
@pytest.mark.parametrize("moment", ["before-call", "after-call"])
@pytest.mark.parametrize("victim", ["plan", "enqueue", "collect"])
def test_the_batchs_results_are_the_same_wherever_a_function_is_killed(
    *, world: Any, version: str, plan: Plan, enqueue: Enqueue, collect: Collect, victim: str, moment: str
) -> None:
    died = 0
    for call in range(1, WORST):
        batch = batch_id(UPLOADS, KEY, f"{version}-{call}")  # a separate batch for each crash
        event = {"batch_id": batch, "bucket": UPLOADS, "key": KEY, "version_id": version}
        at = {"plan": 0, "enqueue": 0, "collect": 0, victim: call}
        state, dead_in_plan = tried_again(world, lambda event=event: plan(event), at["plan"], moment)
        dead_in_enqueue = False
        for chunk in state["chunks"]:
            child = {**{name: state[name] for name in ("batch_id", "key", "plan_key")}, "chunk": chunk}
            _, dead = tried_again(world, lambda child=child: enqueue(child), at["enqueue"], moment)
            dead_in_enqueue |= dead
        ids = [batch_job_id(batch, row) for row in range(1, 13)]
        for job_id in ids:
            job = world.job(job_id)
            world.put(replace(job, state=State.FAILED, error={"code": "X", "message": "why"}))
        before = len(world.notified())
        ended, dead_in_collect = tried_again(world, lambda state=state: collect(state), at["collect"], moment)

        assert ended["status"] == "BATCH_DONE"
        assert ended["states"] == {"FAILED": 12, "REJECTED": 1}
        body = world.aws["s3"].get_object(Bucket=UPLOADS, Key=ended["results_key"])["Body"].read().decode("utf-8-sig")
        results = list(csv.DictReader(io.StringIO(body, newline="")))
        assert [row["job"] for row in results] == [*ids, ""]
        assert set(ids) <= set(sent(world))
        told = len(world.notified()) - before
        assert told == 1 or (told == 2 and dead_in_collect)  # never lost; twice only if it was killed right after
        dead = dead_in_plan or dead_in_enqueue or dead_in_collect
        died += dead
        if not dead:
            break
    assert died >= {"plan": 4, "enqueue": 15, "collect": 4}[victim]
    assert died < WORST - 1
    assert not world.aws["s3"].list_multipart_uploads(Bucket=UPLOADS).get("Uploads")


@pytest.mark.sampled(4)
@pytest.mark.parametrize("moment", ["before-call", "after-call"])
@pytest.mark.parametrize("victim", ["create", "approve", "cancel", "collect"])
def test_a_call_about_a_batch_is_killed_anywhere_and_repeated(
    world: Any, stack: Stack, monkeypatch: pytest.MonkeyPatch, victim: str, moment: str
) -> None:
    if victim == "collect":
        monkeypatch.setattr(rest.batches, "CANCEL_SECONDS", 0.0)  # the call has no time to cancel jobs
    died = 0
    for call in range(1, WORST):
        stack.put()  # a separate batch for each crash
        at = {"create": 0, "approve": 0, "cancel": 0, "collect": 0, victim: call}
        shown, dead_in_create = tried_again(world, stack.create, at["create"], moment)
        batch = shown["batch_id"]
        stack.run(batch)
        approve, cancel = partial(stack.calls.approve, batch), partial(stack.calls.cancel, batch)
        shown, dead_in_approve = tried_again(world, approve, at["approve"], moment)
        assert shown["state"] == "RUNNING"
        state = stack.run(f"{batch}-approved")
        for row in range(1, 8):
            world.put(replace(world.job(batch_job_id(batch, row)), state=State.COMPLETED))
        world.calls.clear()
        shown, dead_in_cancel = tried_again(world, cancel, at["cancel"], moment)
        assert shown["state"] == "CANCELLING"
        assert jobs_of(world, batch) == list(range(1, 10))
        assert len([name for name in stack.executions() if name.startswith(batch)]) == 2
        ended, dead_in_collect = tried_again(world, partial(stack.collect, state), at["collect"], moment)
        assert ended["states"] == {"COMPLETED": 7, "CANCELLED": 2, "REJECTED": 1}
        told = {json.loads(message["MessageBody"])["job_id"] for message in world.called("SendMessage")}
        cancelled = {batch_job_id(batch, row) for row in (8, 9)}
        # Submit sends their notifications. If the message is lost, reconcile does, because none is marked as sent.
        assert told == cancelled or (len(told) == 1 and (dead_in_cancel or dead_in_collect))
        assert {world.job(one).notified_at for one in cancelled} == {None}
        dead = dead_in_create or dead_in_approve or dead_in_cancel or dead_in_collect
        died += dead
        if not dead:
            break
    assert died >= {"create": 5, "approve": 5, "cancel": 10, "collect": 12}[victim]
    assert died < WORST - 1


def test_a_batch_that_failed_halfway_is_started_again_and_makes_the_rest(
    *, world: Any, plan: Plan, enqueue: Enqueue, collect: Collect, png: bytes
) -> None:
    world.upload("images/a.png", png)
    manifest = "image,prompt,sku\n" + "images/a.png,It turns,S\n" * 40
    version = str(world.aws["s3"].put_object(Bucket=UPLOADS, Key=KEY, Body=manifest.encode())["VersionId"])
    batch = world.batches.start(Upload(UPLOADS, KEY, version, "", 9))

    def fed(given: Any) -> tuple[Any, Any]:
        state = plan(given)
        (chunk,) = state["chunks"]
        child = {**{name: state[name] for name in ("batch_id", "key", "plan_key")}, "chunk": chunk, "next": 0}
        return state, enqueue(child)

    _, first = fed(world.batches.latest(batch).given)
    assert (first["status"], first["created"]) == ("RUNNING", 25)
    ids = [batch_job_id(batch, row) for row in range(1, 41)]
    for job_id in ids[:20]:  # made by now; the other five still wait for their turn
        world.put(replace(world.job(job_id), state=State.COMPLETED, cost_usd=0.25))
    world.aws["stepfunctions"].stop_execution(executionArn=world.batches.latest(batch).arn)
    before = len(sent(world))
    world.clock.now += 3600

    world.batches.restart(batch)
    state, second = fed(world.batches.latest(batch).given)
    assert (second["status"], second["created"]) == ("COMPLETED", 15)
    assert sent(world)[before:] == ids[20:]
    assert [world.job(job_id).state for job_id in ids[:20]] == [State.COMPLETED] * 20
    for job_id in ids[20:]:
        world.put(replace(world.job(job_id), state=State.COMPLETED, cost_usd=0.25))
    assert collect(state)["states"] == {"COMPLETED": 40}


def test_a_restarted_batch_that_is_refused_does_not_say_that_nothing_was_bought(world: Any, plan: Plan) -> None:
    version = str(world.aws["s3"].put_object(Bucket=UPLOADS, Key=KEY, Body=MANIFEST.encode())["VersionId"])
    event = {"batch_id": "batch-1", "bucket": UPLOADS, "key": KEY, "version_id": version}
    for restarts, says in ((0, "Nothing was bought."), (1, "Nothing more was bought.")):
        assert plan({**event, "restarts": restarts})["status"] == "REFUSED"  # its images are gone
        assert world.notified()[-1]["error"]["message"].endswith(says)
