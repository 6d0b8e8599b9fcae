"""What must hold in a world, whatever was killed in it: no video lost or paid for twice. Violations are messages."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import announced
import sharing
from seedance.aws.table import IN_FLIGHT
from seedance.jobs.job import Hold, Job, State
from world import World, http, template

from local.sandbox.inprocess import KEY

ALARMED = frozenset(
    resource["Properties"].get("MetricName")
    for resource in template().values()
    if resource["Type"] == "AWS::CloudWatch::Alarm" and resource["Properties"].get("Namespace") == "SeedancePipeline"
)
"""The metrics of ours that an alarm of the template watches."""

SLIP = 1e-6
"""USD; the ledger adds decimals of six places."""


def always(world: World) -> Iterator[str]:
    """What must hold at any moment."""
    all_jobs = world.all_jobs()
    told = world.notifications()
    for job in all_jobs:
        accepted = accepted_posts(world, job)
        if len(accepted) > 1 + world.paid_again[job.job_id]:
            yield f"{len(accepted)} POSTs were accepted for one job"
        # One that a lost submit was given up for says in its notification that it may have been billed.
        if job.state is State.CANCELLED and accepted and not (job.resubmitted or job.earlier_request_ids):
            yield "cancelled, and bought"
        if job.job_id in world.cancelled and job.state is not State.CANCELLED:
            yield f"the API said that the job is cancelled, and it is {job.state}"
        if job.state is State.COMPLETED:
            yield from _video(world, job)
        published = [message for message in told if message["job_id"] == job.job_id]
        if job.notified_at is not None and job.state.value not in [message["status"] for message in published]:
            yield f"marked as notified in {job.state}, but nobody was told"
        ends = {message["status"] for message in published if State(message["status"]).terminal}
        if len(ends) > 1 + world.retried[job.job_id]:
            yield f"people were told of two ends: {sorted(ends)}"
    yield from dict.fromkeys(world.adversary.findings)
    yield from _count(world, all_jobs)
    yield from _ledger(world, all_jobs)
    yield from sharing.broken(world.sharing, world.records(), all_jobs, world.now())
    yield from _secrets(world, told)
    yield from announced.always(world)


def _count(world: World, all_jobs: list[Job]) -> Iterator[str]:
    """The count of videos in progress is right at any moment, whatever a lagging index shows."""
    held = next((record["held"] for record in world.records() if record["job_id"] == IN_FLIGHT), 0)
    under_way = [job for job in all_jobs if job.reserved_usd is not None]
    if held != len(under_way):
        yield f"the count of videos in progress is {held}, and {len(under_way)} have a reservation"


def _secrets(world: World, told: list[dict[str, Any]]) -> Iterator[str]:
    """No record and no message contains the provider's key or the signature of our links, whatever the provider sends.

    Only the video's own link in a message is signed, as intended.
    """
    said = [{**message, "video": None} for message in told]
    for where, texts in (("a record", world.records()), ("a message", said), ("an event", world.announced())):
        for secret in (KEY, "Signature=", "Credential=test"):
            if any(secret in json.dumps(text) for text in texts):
                yield f"{where} has {secret!r} in it"


def tells(world: World) -> bool:
    """Whether the provider's history shows what was sent, in any encoding. If not, people decide."""
    return world.sandbox.state.config.history_bodies not in ("hidden", "cut", "none")


def in_the_end(world: World, *, faithful: bool = True, asked: int = 1) -> Iterator[str]:
    """What must hold once nothing changes any more, for ``asked`` jobs.

    ``faithful``: in the end, the provider delivers what it was paid for.
    """
    yield from always(world)
    told = world.notifications()
    for job in world.all_jobs():
        published = Counter(message["status"] for message in told if message["job_id"] == job.job_id)
        # What a person has given up, by paying for the video again, need not be stored.
        given_up = set(job.earlier_request_ids) if world.paid_again[job.job_id] else set()
        accepted = [one for one in accepted_posts(world, job) if one.request_id not in given_up]
        made = [one for one in accepted if one.status == "COMPLETED"]
        if job.state.terminal:
            if not published[job.state.value] or job.notified_at is None:
                yield f"{job.state} without a notification"
            # One failure repeats a notification once, and so does each write that AWS refuses after it was published.
            if published[job.state.value] > 2 + world.adversary.met["refused"] + world.retried[job.job_id]:
                yield f"{published[job.state.value]} notifications of one end"
        elif job.state not in (State.HELD, State.UNCERTAIN):
            yield f"left in {job.state}"
        elif not alarms(world):
            yield f"{job.state} ({(job.error or {}).get('code')}) without an alarm"
        if faithful and job.state is State.UNCERTAIN:
            yield "left UNCERTAIN although the provider's history is there to tell"
        persons = not tells(world) and (job.state, (job.error or {}).get("code")) == (State.HELD, Hold.LOST)
        if faithful and made and job.state is not State.COMPLETED and not persons:
            yield f"paid for and made, but {job.state} ({(job.error or {}).get('code')})"
        if faithful and job.state is State.COMPLETED and made and job.cost_usd != made[0].cost:
            yield f"booked ${job.cost_usd} where the provider billed ${made[0].cost}"
    if (known := len(world.all_jobs()) + len(world.dead_letters)) < asked:
        yield f"{asked - known} of {asked} jobs are lost: no record, no message"
    yield from _bucket(world)
    yield from announced.in_the_end(world)


def alarms(world: World) -> list[str]:
    """The alarms that have gone off."""
    rung = sorted(ALARMED & {name for name, number in world.wire.meter.written.items() if number})
    rung += ["dead letters"] if world.dead_letters else []
    return rung + (["failed executions"] if world.crashed else [])


def accepted_posts(world: World, job: Job) -> list[Any]:
    """The requests that the provider accepted for a job: the image link names it, or the prompt is unique to it."""
    return [one for one in world.sandbox.state.jobs.values() if _is_of(job, one)]


def _is_of(job: Job, one: Any) -> bool:
    if one.request_id == job.request_id:
        return True
    if job.image:
        return any(job.job_id in str(value) or "asset-" in str(value) for value in one.body.values())
    return bool(one.order.prompt == job.parameters.get("prompt"))


def _video(world: World, job: Job) -> Iterator[str]:
    served = _made(world, str(job.request_id))
    if job.video is None or job.video_key not in world.stored():
        yield "COMPLETED without a video"
    elif world.read(job.video_key) != served:
        yield "the video's bytes are not the provider's"
    elif (job.video["sha256"], job.video["bytes"]) != (hashlib.sha256(served).hexdigest(), len(served)):
        yield "the record is wrong about the video"
    elif key := job.video.get("manifest_key"):
        about = json.loads(world.read(key)) if key in world.stored(manifests=True) else {}
        if about.get("video", {}).get("sha256") != hashlib.sha256(served).hexdigest():
            yield "the manifest is missing, or wrong about the video"
    elif not world.wire.meter.written["ManifestsLost"]:
        yield "a video without a manifest, and nothing counted it"


def _made(world: World, request_id: str) -> bytes:
    """The file as the provider made it, read without a fault that is meant for the pipeline's download."""
    if request_id not in world.made:
        waiting = [fault for fault in world.sandbox.state.faults._faults if fault.on == "media"]
        for fault in waiting:
            fault.on = "later"
        answer = http().get(f"{world.sandbox.url}/media/{request_id}.mp4")
        for fault in waiting:
            fault.on = "media"
        world.made[request_id] = answer.raise_for_status().content
    return world.made[request_id]


def _bucket(world: World) -> Iterator[str]:
    videos = {job.video_key for job in world.all_jobs() if job.state is State.COMPLETED}
    if set(stored := world.stored()) != videos:
        yield f"{len(stored)} videos in the bucket for {len(videos)} completed jobs"
    if foreign := set(world.stored(manifests=True)) - {f"{key.removesuffix('.mp4')}.json" for key in videos}:
        yield f"{len(foreign)} manifests without a completed job"


def _ledger(world: World, all_jobs: list[Job]) -> Iterator[str]:
    """For every day, committed - settled equals the open reservations, and settled equals what the jobs settled."""
    days = world.days()
    for day in days.keys() | {job.reserved_day for job in all_jobs if job.reserved_day}:
        booked = days.get(day, {})
        settled_there = booked.get("settled", 0.0) - booked.get("others", 0.0)  # jobs that a scenario only booked
        settled_here = sum(job.settled_days.get(day, 0.0) for job in all_jobs)
        if abs(settled_there - settled_here) > SLIP:
            yield f"the ledger of {day} settled ${settled_there:.4f}, its jobs ${settled_here:.4f}"
        open_there = booked.get("committed", 0.0) - booked.get("settled", 0.0)
        open_here = sum(job.reserved_usd or 0.0 for job in all_jobs if job.reserved_day == day)
        if abs(open_there - open_here) > SLIP:
            yield f"the ledger of {day} has ${open_there:.4f} open, its jobs ${open_here:.4f}"
    for job in all_jobs:
        if job.reserved_usd and (job.state.terminal or job.state is State.HELD):
            yield f"{job.state}, but ${job.reserved_usd} is still reserved"
