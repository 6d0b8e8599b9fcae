"""A cancel at the same time as a submit: at every call that the submit makes, the API cancels its job in between."""

import matrix
import pytest
from scenarios import SCENARIOS, Scenario
from seedance.jobs.job import State
from stage import Stage
from verdict import accepted_posts, in_the_end
from wire import Call
from world import World

RACED = ("upload, v2", "rate-limited", "paused, then resumed", "v1, API call with text alone")
SUBMITS = ("submit", "generate")


def play(stage: Stage, scenario: Scenario, call: Call) -> tuple[World, list[int], list[str]]:
    """A run in which the job is cancelled right before this call: the world, the API's answers, and the violations."""
    answers: list[int] = []
    found: list[str] = []

    def arm(world: World) -> None:
        def cancel() -> None:
            answers.extend(world.cancel(job.job_id) for job in world.all_jobs())

        world.wire.meanwhile = (call, cancel)

    world = scenario.play(stage, arm, lambda world: found.extend(in_the_end(world)))
    return world, answers, found


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", RACED)
def test_a_job_is_never_cancelled_and_bought(servers: Stage, name: str) -> None:
    (scenario,) = (one for one in SCENARIOS if one.name == name)
    ends: set[tuple[int, State]] = set()
    for call in matrix.clean(servers, scenario):
        if call.verb in SUBMITS:
            world, answers, found = play(servers, scenario, call)
            assert found == [], (call, world.log)
            (job,) = world.all_jobs()
            for status in answers:
                ends.add((status, job.state))
                assert len(accepted_posts(world, job)) == (0 if status == 200 else 1), (call, world.log)
    assert {end for end in ends if end[0] in (200, 409)} >= {(200, State.CANCELLED), (409, State.COMPLETED)}
    assert {state for status, state in ends if status == 200} == {State.CANCELLED}
    assert {state for status, state in ends if status != 200} == {State.COMPLETED}


def test_an_overwritten_cancel_is_found(servers: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With writes that depend on nothing but the record's existence, as notes were once."""
    from seedance.jobs.store import JobStore  # noqa: PLC0415 - only this test breaks it

    update = JobStore._update

    def careless(self: JobStore, *given: object, **options: object) -> dict[str, object]:
        made = update(self, *given, **options)  # type: ignore[arg-type]
        made["ConditionExpression"] = "attribute_exists(job_id)"
        names = made["ExpressionAttributeNames"]
        used = {name for name in names if name in made["UpdateExpression"].replace(".", " ").replace(",", " ").split()}
        made["ExpressionAttributeNames"] = {name: names[name] for name in used}
        made["ExpressionAttributeValues"] = {
            name: value
            for name, value in made["ExpressionAttributeValues"].items()
            if name not in (":from", ":entered", ":unchanged")
        }
        return made

    monkeypatch.setattr(JobStore, "_update", careless)
    (scenario,) = (one for one in SCENARIOS if one.name == "upload, v2")
    _, answers, found = play(servers, scenario, Call("submit", "dynamodb.TransactWriteItems", 1))
    assert answers == [200]
    assert "the API said that the job is cancelled, and it is COMPLETED" in found
