"""Every kind of fault: what it does, where it may strike, and when."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from local.sandbox import answers

ACCEPTING = ("submit", "v1")
READING = ("status", "result", "history", "credits", "upload")
API = (*ACCEPTING, *READING)
STAGES = (*API, "media", "image-fetch", "job")


class Moment(StrEnum):
    """When a fault strikes. What comes before has happened: from ACCEPTED on, a job is queued and billed."""

    BEFORE = "before anything is done"
    ACCEPTED = "once the job is queued, in place of the answer"
    ANSWER = "in the answer, all work being done"
    OUTPUT = "in a completed result's output"
    MEDIA = "in the file that is served"
    FETCH = "when the picture is fetched"
    JOB = "in how the job goes"


@dataclass(frozen=True)
class Kind:
    """One kind. `options` are the fields it may be ordered with, and their defaults; seconds are wall-clock
    but for a job's, which are the provider's.
    """

    name: str
    meaning: str
    stages: tuple[str, ...]
    moment: Moment
    options: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"moment": self.moment.name.lower()}


# The answer to a call that gets nowhere.
_early: Callable[..., Kind] = partial(Kind, moment=Moment.BEFORE)
# The ambiguous ones: the caller can't tell these from calls that got nowhere.
_queued: Callable[..., Kind] = partial(Kind, stages=ACCEPTING, moment=Moment.ACCEPTED)
_answer: Callable[..., Kind] = partial(Kind, stages=API, moment=Moment.ANSWER)
_output: Callable[..., Kind] = partial(Kind, stages=("result",), moment=Moment.OUTPUT)
_media: Callable[..., Kind] = partial(Kind, stages=("media",), moment=Moment.MEDIA)
_fetch: Callable[..., Kind] = partial(Kind, stages=("image-fetch",), moment=Moment.FETCH)
_job: Callable[..., Kind] = partial(Kind, stages=("job",), moment=Moment.JOB)

_HANG = {"seconds": 300.0}
_YEAR = 365 * 86400.0
_METADATA = "http://169.254.169.254/latest/meta-data/"

_HTTP = tuple(
    _early(
        f"http-{name}",
        f"Answers {status}: {sentence}. Nothing is queued.",
        API,
        options={"error": None} | ({"seconds": 60.0} if status == 429 else {}),
    )
    for name, (status, sentence) in answers.SENTENCES.items()
)

_ALL = (
    *_HTTP,
    _early(
        "far-reset",
        "Answers 429 with a reset that lies `seconds` ahead (default: a year). Nothing is queued.",
        API,
        options={"seconds": _YEAR},
    ),
    _early(
        "echo",
        "Answers `status` and repeats the whole request in the error text, the API key included.",
        API,
        options={"status": 500},
    ),
    _early("half-emoji", "Answers 500; the error text contains half of a surrogate pair.", API),
    _early("slow", "Waits `seconds`, then goes on.", (*API, "media", "image-fetch"), options={"seconds": 2.0}),
    _early("reset", "Resets the connection without an answer.", READING),
    _early("timeout", "Says nothing for `seconds`, then resets.", READING, options=_HANG),
    _early("reset-before-accept", "Resets the connection; nothing is queued.", ACCEPTING),
    _early("timeout-before-accept", "Hangs for `seconds`; nothing is queued.", ACCEPTING, options=_HANG),
    _queued("reset-after-accept", "Queues the job, then resets the connection."),
    _queued("timeout-after-accept", "Queues the job, then hangs for `seconds`.", options=_HANG),
    _queued("504-after-accept", "Queues the job, then answers 504 in JSON."),
    _queued("504-html-after-accept", "Queues the job, then answers a proxy's 504 page."),
    _queued(
        "cut-off",
        "Cuts the call off with 504 after `seconds` (default: 60 of the provider's); the job goes on.",
        stages=("v1",),
        options={"seconds": None},
    ),
    _answer("malformed-json", "Answers 200 with half of its JSON; a submit is queued."),
    _answer("empty-body", "Answers 200 with no body; a submit is queued."),
    _answer("not-an-object", "Answers a JSON list in place of the object; a submit is queued."),
    _answer("drip", "Sends the answer one byte every `seconds`; a submit is queued.", options={"seconds": 1.0}),
    _answer("gzip-bomb", "Sends 64 MB of JSON as 64 KB of gzip; a submit is queued."),
    _answer("huge", "Sends 24 MB of JSON; a submit is queued."),
    _answer("deep", "Sends JSON that is nested 200,000 levels deep; a submit is queued."),
    _answer(
        "foreign-id",
        "Answers for another request: COMPLETED, with a video that belongs to somebody else.",
        stages=("result",),
    ),
    _answer("no-request-id", "Queues the job and answers without its request_id.", stages=("submit",)),
    _answer("no-rows", "Answers an empty history, as if rows had not landed yet.", stages=("history",)),
    _output("output-list", "A completed result whose `output` is a list of one URL."),
    _output("output-empty-list", "A completed result whose `output` is an empty list."),
    _output("output-number", "A completed result whose `output` is a number."),
    _output("output-null", "A completed result whose `output` is null."),
    _output("output-missing", "A completed result without `output`."),
    _output("output-dict", "A completed result whose `output` is an object {url}."),
    _output("output-relative", "A completed result whose `output` is a relative URL."),
    _output(
        "output-forbidden-host",
        "A completed result whose `output` is on a host that is not the provider's.",
        options={"host": "attacker.invalid"},
    ),
    _output("output-http-scheme", "A completed result whose `output` is http: on the real media host."),
    _output("output-file-scheme", "A completed result whose `output` is a file: URL."),
    _output(
        "poison-metrics",
        "A completed result whose metrics are `cost` and `total_time`, as sent.",
        options={"cost": -5, "total_time": 0.0004},
    ),
    _output("output-in-text", "A completed result whose link is in JSON inside a string, under `videos`."),
    _output("output-two-videos", "A completed result that names two different videos."),
    _media("truncated", "Announces the whole length, sends half, closes."),
    _media("short", "A consistent length, but the MP4 itself is cut off half way."),
    _media("html", "An HTML page, with status 200."),
    _media("empty", "No bytes, with status 200."),
    _media("wrong-content-type", "The right bytes, as text/plain."),
    _media("redirect", "Redirects to the same file on this host."),
    _media("redirect-forbidden", "Redirects where no client should follow.", options={"location": _METADATA}),
    _media("media-403", "403, as a file store says it."),
    _media("media-404", "404, as a file store says it."),
    _media("media-500", "500, as a file store says it."),
    _media("reset-midway", "Sends half, then resets the connection; a Range for the rest works."),
    _media("chunked", "The right bytes without a Content-Length."),
    _media("no-range", "Ignores Range: always the whole file with 200."),
    _fetch("unreachable", "The picture can't be fetched; the job FAILS."),
    _fetch("not-an-image", "What is fetched is no picture; the job FAILS."),
    _job(
        "fail",
        "FAILED with the words in `error`, after its full time.",
        options={"error": "Model inference failed"},
    ),
    _job("fail-with-echo", "FAILED; the error text repeats what was sent, signed links included."),
    _job("fail-half-emoji", "FAILED; the error text contains half of a surrogate pair."),
    _job("stuck-queued", "QUEUED until its record is gone; never billed."),
    _job("stuck-processing", "PROCESSING until its record is gone; never billed."),
    _job("late", "PROCESSING past its record's hour; then billed, and found in the history only."),
    _job("vanish", "Its record is gone `seconds` after acceptance: 404.", options={"seconds": 0.0}),
    _job("flapping", "The first GET answers 404, the later ones as usual."),
    _job("unknown-status", "While running, its status is the word in `status`.", options={"status": "RUNNING"}),
    _job("lower-case-status", "Its status is written in lower case."),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
