"""The scenarios: how a job begins, what goes wrong on its way, and what a person does at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from zlib import crc32

from moto.s3 import models as moto_s3
from seedance.aws import upload
from seedance.jobs.budget import day_of
from seedance.jobs.job import State
from seedance.jobs.switch import switch
from stage import RECEIVER, Stage
from world import DAY_SECONDS, World

BEFORE_THE_HOUR = 3500.0
AFTER_THE_HOUR = 3700.0


@dataclass(frozen=True)
class Scenario:
    """One job from its beginning until nothing changes any more."""

    name: str
    begin: Callable[[World], object]
    ends: State = State.COMPLETED
    code: str = ""
    """Of the error, where it ends in one."""
    environment: dict[str, str] = field(default_factory=dict)
    then: tuple[Callable[[World], object], ...] = ()
    """What a person, or the calendar, does once it has come to rest; it settles after each."""
    part_bytes: int | None = None
    """Size of S3's upload parts, to make a short video one of many."""
    always: bool = False
    """Whether `make test` breaks many of its calls, not only a few."""

    def play(
        self,
        stage: Stage,
        prepare: Callable[[World], object] = lambda _: None,
        at_rest: Callable[[World], object] = lambda _: None,
    ) -> World:
        """Play from an empty stack to rest. ``prepare`` may arm the wire first; ``at_rest`` is called at each rest."""
        world = stage.world(crc32(self.name.encode()), **self.environment)
        prepare(world)
        with stage.patch.context() as patch:
            if self.part_bytes:
                patch.setattr(upload, "PART_BYTES", self.part_bytes)
                patch.setattr(moto_s3, "S3_UPLOAD_PART_MIN_SIZE", 1)
            for act in (self.begin, *self.then):
                act(world)
                world.settle()
                at_rest(world)
        return world


def uploaded(**metadata: str) -> Callable[[World], object]:
    return lambda world: world.upload(resolution="480p", **metadata)


def meets(stage: str, kind: str, begin: Callable[[World], object], **options: object) -> Callable[[World], object]:
    """A beginning in which a fault of the provider waits for the job."""

    def both(world: World) -> object:
        world.sandbox.fault(stage, kind, **options)
        return begin(world)

    return both


def held_up(seconds: float, begin: Callable[[World], object]) -> Callable[[World], object]:
    """A beginning in which the workflow starts late."""

    def late(world: World) -> object:
        world.held_up = seconds
        return begin(world)

    return late


def blocking(**config: object) -> Callable[[World], object]:
    """An upload by v1. Its call waits for the video, so the stand-in itself has to be fast."""

    def call(world: World) -> object:
        world.sandbox.configure(time_scale=0.001, **config)
        return world.upload(model="seedance-pro", transport="v1", resolution="480p")

    return call


def asked(world: World) -> object:
    return world.ask("first")


def asked_blocking(world: World) -> object:
    world.sandbox.configure(time_scale=0.001)
    return world.ask("first", model="seedance-pro", transport="v1", parameters={"resolution": "480p"})


def without_room(world: World) -> object:
    """Others have spent the day's budget."""
    spent = {name: {"N": "1"} for name in ("reserved", "settled", "committed", "others")}
    world.client("dynamodb").put_item(TableName="jobs", Item={"job_id": {"S": f"day#{day_of(world.now())}"}, **spent})
    return world.upload(resolution="480p")


def without_credits(world: World) -> object:
    world.sandbox.configure(credits=0.01)
    return world.upload(resolution="480p")


def paused(world: World) -> object:
    switch().pause("a person stopped them")
    return world.upload(resolution="480p")


def down(*calls: tuple[str, str], begin: Callable[[World], object]) -> Callable[[World], object]:
    """A beginning during which some AWS calls fail; they work again once every retry is used up."""

    def outage(world: World) -> object:
        world.wire.down |= set(calls)
        begin(world)
        while world.happen():
            pass
        return world.wire.down.clear()

    return outage


def unannounced(world: World) -> object:
    """EventBridge is down, while a job is made and for an hour after that."""
    world.wire.down |= {("announce", "events.PutEvents")}
    world.upload(resolution="480p")
    until = world.now() + 3600
    while world.now() < until:
        if not world.happen():
            world.pass_time(until - world.now())
    return world.wire.down.clear()


def deaf_at_first(world: World) -> object:
    """The receiver of the webhooks fails in all ways at first."""
    if world.receiver:
        world.receiver.will(500, 302, 429, 404, retry_after="90")
    return world.upload(resolution="480p")


def lost_message(world: World) -> object:
    """The job's record exists, but its message is lost."""
    world.ask("first")
    world.collect()
    return world.letters.clear()


def redriven(world: World) -> object:
    """The job's message became a dead letter, and a person puts it back."""
    down(("submit", "dynamodb.PutItem"), begin=uploaded())(world)
    return world.redrive()


def cancelled_at_once(world: World) -> object:
    return world.cancel(world.ask("first"))


def cancelled_too_late(world: World) -> object:
    job_id = world.ask("first")
    world.happen()
    return world.cancel(job_id)


def cancel_it(world: World) -> object:
    (job,) = world.all_jobs()
    return world.cancel(job.job_id)


def retry_it(*, pay: bool) -> Callable[[World], object]:
    def retry(world: World) -> object:
        (job,) = world.all_jobs()
        return world.retry(job.job_id, pay=pay)

    return retry


def linked(*steps: str) -> Callable[[World], object]:
    """What a person does with the lasting link of a finished video: POST, DELETE, or a click on all links known."""

    def act(world: World) -> None:
        (job,) = world.all_jobs()
        for step in steps:
            if step == "open":
                open_all(world)
            else:
                world.link(step, job)

    return act


def open_all(world: World) -> None:
    """Click on the record's link, and on each link that was ever said. Only the record's works."""
    (job,) = world.all_jobs()
    works = job.link_token if world.now() < (job.link_until or 0) else None
    for token in dict.fromkeys([*([works] if works else []), *world.sharing.known]):
        world.sharing.opened(token, world.open(token), 302 if token == works else 410)


def until_the_link_ends(world: World) -> None:
    world.pass_time(DAY_SECONDS + 1)


def copied_again(world: World) -> object:
    """Twice, the result is not a video: the job fails, and a retry copies it at no cost.

    A person asks for the retry once the job has failed, which is later if its POST was lost and it had to be adopted.
    """
    job_id = str(meets("media", "html", _upload, times=2)(world))
    world.settle()
    return world.retry(job_id, pay=False)


def copied_in_vain(world: World) -> object:
    """The result is never a video: a retry copies it once more at no cost, and the next one buys the video again."""
    job_id = str(meets("media", "html", _upload, times=4)(world))
    for pay in (False, True):
        world.settle()
        world.retry(job_id, pay=pay)
    return job_id


_upload = uploaded()
_NOTIFY = (("finalize", "sns.Publish"), ("fail", "sns.Publish"))
_ORPHAN = (("submit", "stepfunctions.StartExecution"),)

SCENARIOS = (
    Scenario("upload, v2", _upload, always=True),
    Scenario("API call, v2", asked),
    Scenario("v1, answer is the video", blocking(), always=True),
    Scenario("v1, answer is a link", blocking(v1_answer="json")),
    Scenario("v1, API call with text alone", asked_blocking),
    Scenario("v1, failed at the provider", meets("job", "fail", blocking()), State.FAILED, "PROVIDER_REFUSED"),
    Scenario("v1, rate-limited", meets("v1", "http-429", blocking(), seconds=30.0)),
    Scenario("v1, cut off: adopted", meets("v1", "cut-off", blocking(), seconds=0.0)),
    Scenario("v1, never arrived", meets("v1", "reset-before-accept", blocking()), State.HELD, "SUBMIT_LOST"),
    Scenario(
        "v1, never arrived, sent again",
        meets("v1", "reset-before-accept", blocking()),
        environment={"RESUBMIT_LOST": "yes"},
    ),
    Scenario("a video of many parts", _upload, part_bytes=4096),
    Scenario("image by asset upload", _upload, environment={"IMAGE_DELIVERY": "upload"}),
    Scenario("failed at the provider", meets("job", "fail", _upload), State.FAILED, "PROVIDER_JOB_FAILED"),
    Scenario("not an image", lambda world: world.upload(body=b"words"), State.REJECTED, "INVALID_REQUEST"),
    Scenario("rate-limited", meets("submit", "http-429", _upload, seconds=30.0)),
    Scenario("record gone: rescued by the history", held_up(AFTER_THE_HOUR, _upload)),
    Scenario("late: done after its hour", meets("job", "late", held_up(BEFORE_THE_HOUR, _upload))),
    Scenario(
        "never done", meets("job", "stuck-processing", held_up(BEFORE_THE_HOUR, _upload)), State.EXPIRED, "RECORD_GONE"
    ),
    Scenario("uncertain: adopted", meets("submit", "reset-after-accept", _upload)),
    Scenario("uncertain: never arrived", meets("submit", "reset-before-accept", _upload), State.HELD, "SUBMIT_LOST"),
    Scenario(
        "uncertain: never arrived, sent again",
        meets("submit", "reset-before-accept", _upload),
        environment={"RESUBMIT_LOST": "yes"},
    ),
    Scenario(
        "over budget until the next day", without_room, environment={"DAILY_BUDGET_USD": "1"}, then=(World.next_day,)
    ),
    Scenario("out of credits, then topped up", without_credits, then=(World.top_up_and_resume,)),
    Scenario("paused, then resumed", paused, then=(World.resume,)),
    Scenario("cancelled at once", cancelled_at_once, State.CANCELLED, "CANCELLED"),
    Scenario("paused, then cancelled", paused, State.CANCELLED, "CANCELLED", then=(cancel_it,)),
    Scenario("cancelled too late", cancelled_too_late),
    Scenario("failed, then bought again", meets("job", "fail", asked), then=(retry_it(pay=True),)),
    Scenario("copied again by a retry", copied_again),
    Scenario("copied again in vain, then bought", copied_in_vain),
    Scenario("link: shared and opened", _upload, then=(linked("open", "POST", "open"),)),
    Scenario("link: revoked", _upload, then=(linked("POST", "DELETE", "open"), linked("DELETE"))),
    Scenario("link: revoked, then another", asked, then=(linked("POST", "DELETE"), linked("POST", "open"))),
    Scenario(
        "link: ended, then another",
        _upload,
        environment={"VIDEO_LINK_DAYS": "1"},
        then=(linked("POST", "open"), until_the_link_ends, linked("open", "POST", "open", "DELETE", "open")),
    ),
    Scenario("nobody could be told", down(*_NOTIFY, begin=_upload)),
    Scenario("orphan: execution never started", down(*_ORPHAN, begin=_upload)),
    Scenario("message lost", lost_message),
    Scenario("dead letter, put back", redriven),
    Scenario("copy fails for an hour", meets("media", "media-500", _upload, times=9)),
    Scenario("events: EventBridge down for an hour", unannounced),
    Scenario("webhooks: the receiver fails at first", deaf_at_first, environment={"WEBHOOK_URL": RECEIVER}),
)
