"""All kinds of faults: what they do, and where and when they can strike."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from local.sandbox import answers

ACCEPTING = ("submit", "v1")
READING = ("status", "result", "history", "history-id", "credits", "upload")
API = (*ACCEPTING, *READING)
STAGES = (*API, "media", "image-fetch", "job")


class Moment(StrEnum):
    """When a fault strikes. All earlier steps have been done: from ACCEPTED on, the job is queued and billed."""

    BEFORE = "before anything is done"
    ACCEPTED = "after the job is queued, instead of the response"
    ANSWER = "in the response, after all work is done"
    OUTPUT = "in a completed result's output"
    MEDIA = "in the served file"
    FETCH = "when the image is downloaded"
    JOB = "while the job runs"


@dataclass(frozen=True)
class Kind:
    """One kind. `options` are the fields that an order may have, with their defaults. Seconds are wall-clock, except
    those of job faults, which are provider seconds.
    """

    name: str
    meaning: str
    stages: tuple[str, ...]
    moment: Moment
    options: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"moment": self.moment.name.lower()}


# Responses to calls that are not accepted.
_early: Callable[..., Kind] = partial(Kind, moment=Moment.BEFORE)
# Ambiguous faults: the caller can't distinguish these from calls that were not accepted.
_queued: Callable[..., Kind] = partial(Kind, stages=ACCEPTING, moment=Moment.ACCEPTED)
_answer: Callable[..., Kind] = partial(Kind, stages=API, moment=Moment.ANSWER)
_output: Callable[..., Kind] = partial(Kind, stages=("result",), moment=Moment.OUTPUT)
_media: Callable[..., Kind] = partial(Kind, stages=("media",), moment=Moment.MEDIA)
_fetch: Callable[..., Kind] = partial(Kind, stages=("image-fetch",), moment=Moment.FETCH)
_job: Callable[..., Kind] = partial(Kind, stages=("job",), moment=Moment.JOB)

_HANG = {"seconds": 300.0}
_DRIP = {"seconds": 1.0}
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
        "Answers 429 with a reset in `seconds` (default: a year). Nothing is queued.",
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
    _early("slow", "Waits `seconds`, then continues.", (*API, "media", "image-fetch"), options={"seconds": 2.0}),
    _early("reset", "Resets the connection without a response.", READING),
    _early("timeout", "Sends nothing for `seconds`, then resets the connection.", READING, options=_HANG),
    _early("reset-before-accept", "Resets the connection; nothing is queued.", ACCEPTING),
    _early("timeout-before-accept", "Hangs for `seconds`; nothing is queued.", ACCEPTING, options=_HANG),
    _queued("reset-after-accept", "Queues the job, then resets the connection."),
    _queued("timeout-after-accept", "Queues the job, then hangs for `seconds`.", options=_HANG),
    _queued("504-after-accept", "Queues the job, then answers 504 in JSON."),
    _queued("504-html-after-accept", "Queues the job, then answers a proxy's 504 page."),
    _queued(
        "cloudflare-after-accept",
        "Queues the job, then answers Cloudflare's page for `status`: 520, 522, 524, 527 or 530.",
        options={"status": 524},
    ),
    _queued(
        "cut-off",
        "Ends the call with 504 after `seconds` (default: 60 provider seconds); the job continues.",
        stages=("v1",),
        options={"seconds": None},
    ),
    _answer("malformed-json", "Answers 200 with half of its JSON; a submit is queued."),
    _answer("empty-body", "Answers 200 with no body; a submit is queued."),
    _answer("not-an-object", "Answers a JSON list instead of an object; a submit is queued."),
    _answer("drip", "Sends the response one byte every `seconds`; a submit is queued.", options=_DRIP),
    _answer("drip-head", "Sends the response's head one byte every `seconds`; a submit is queued.", options=_DRIP),
    _answer("interim", "Sends two interim responses, 102 and 103, before the response."),
    _answer(
        "packed",
        "Compresses the response although `identity` was requested: `gzip`, `deflate`, `gzip, gzip`. Any other "
        "`encoding` is only in the header.",
        options={"encoding": "gzip"},
    ),
    _answer(
        "gzip-bomb",
        "Sends `megabytes` of JSON in a thousandth of that as gzip; a submit is queued.",
        options={"megabytes": 64},
    ),
    _answer("huge", "Sends `megabytes` of JSON; a submit is queued.", options={"megabytes": 24}),
    _answer("deep", "Sends JSON that is nested 200,000 levels deep; a submit is queued."),
    _answer(
        "foreign-id",
        "Answers with another request: COMPLETED, with a video that belongs to somebody else.",
        stages=("result", "history-id"),
    ),
    _answer("no-request-id", "Queues the job and answers without its request_id.", stages=("submit",)),
    _answer(
        "endless",
        "Answers a full page of requests that nobody made, whatever the number of the page.",
        stages=("history",),
    ),
    _answer("no-rows", "Answers an empty history, as if the rows had not been written yet.", stages=("history",)),
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
    _output(
        "output-written-oddly",
        "A completed result whose `output` is the URL in another form: `{url}`, `{host}` and `{path}` are replaced.",
        options={"form": " \t{url}#t=0\r\n"},
    ),
    _output("output-in-text", "A completed result whose link is in JSON inside a string, under `videos`."),
    _output("output-two-videos", "A completed result that has two different videos."),
    _media("truncated", "Announces the whole length, sends half, then closes the connection."),
    _media("short", "A correct length, but the MP4 itself is cut off halfway."),
    _media("html", "An HTML page, with status 200."),
    _media("empty", "No bytes, with status 200."),
    _media(
        "wrong-content-type",
        "The right bytes, as `content_type`; `encoding` is only in the header.",
        options={"content_type": "text/plain", "encoding": ""},
    ),
    _media("compressed", "The right bytes as gzip, although `identity` was requested."),
    _media("trickle", "Sends the file one byte every `seconds`.", options=_DRIP),
    _media(
        "redirect",
        "Redirects to the same file on this host: `{url}`, `{host}` and `{path}` are replaced in `location`.",
        options={"location": "{url}?moved=1", "status": 302},
    ),
    _media(
        "redirect-forbidden", "Redirects to an address that no client should follow.", options={"location": _METADATA}
    ),
    _media("media-403", "403, in a file store's format."),
    _media("media-404", "404, in a file store's format."),
    _media("media-500", "500, in a file store's format."),
    _media("reset-midway", "Sends half, then resets the connection; a Range for the rest works."),
    _media("chunked", "The right bytes without a Content-Length."),
    _media("no-range", "Ignores Range: always sends the whole file with 200."),
    _fetch("unreachable", "The image can't be downloaded; the job FAILS."),
    _fetch("not-an-image", "The downloaded file is not an image; the job FAILS."),
    _job(
        "fail",
        "FAILED with the text in `error`, after its full duration.",
        options={"error": "Model inference failed"},
    ),
    _job("fail-with-echo", "FAILED; the error text repeats the request, including signed links."),
    _job("fail-half-emoji", "FAILED; the error text contains half of a surrogate pair."),
    _job("stuck-queued", "QUEUED until its record is deleted; never billed."),
    _job("stuck-processing", "PROCESSING until its record is deleted; never billed."),
    _job("late", "PROCESSING beyond its record's hour; then billed, and only found in the history."),
    _job("vanish", "Its record is deleted `seconds` after acceptance: 404.", options={"seconds": 0.0}),
    _job("flapping", "The first GET answers 404, later ones are normal."),
    _job("unknown-status", "While running, its status is the text in `status`.", options={"status": "RUNNING"}),
    _job("lower-case-status", "Its status is in lower case."),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
