"""What we rely on at the provider and know from one witness only, or from none: docs/provider.md has the whole list.

Each fact is answered by the evidence of bought videos: as documented, otherwise, or not answered, and why.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from seedance.jobs import prices
from seedance.jobs.job import State
from seedance.jobs.reasons import Code

from cli import show
from cli.doctor.evidence import Evidence
from cli.doctor.results import Result, failed, found, ok, skipped
from cli.doctor.spending import IMAGE, LONG, TEXT

REMEDY = "Send the report (--json) to the project. docs/provider.md says what relies on it; the code accepts both."

PRICE_PERCENT = 5.0
"""The difference to the published price that the price alarm tolerates too."""

_READINGS = {"as ByteDance documents": 640 * 640, "480 on each side": 480 * 480}
"""What 480p may mean for a square video. Estimates count the pixels of the first."""

_NOTHING_MADE = skipped("not answered: no video was made")


@dataclass(frozen=True)
class Fact:
    """One thing we rely on. ``source``: (1) an independent client's probes, (r) resellers, (?) nobody."""

    name: str
    about: str
    source: str
    answer: Callable[[Evidence], Result]


def answered(evidence: Evidence) -> Iterator[tuple[str, str, Result]]:
    """Each fact's name, what it says, and whether the provider does that."""
    for fact in FACTS:
        yield fact.name, f"{fact.about} {fact.source}", fact.answer(evidence)


def _output(seen: Evidence) -> Result:
    if not seen.made:
        return _NOTHING_MADE
    wrong = [
        f"{name}: output is {_kind(seen.shape(name).get('output'))}"
        for name in seen.made
        if not _is_link(seen.shape(name).get("output"))
    ]
    return found(wrong, "output is a link")


def _video(seen: Evidence) -> Result:
    shapes = [seen.shape(name)["video"] for name in seen.made if "video" in seen.shape(name)]
    if not shapes:
        return skipped("not answered: no response had a field video") if seen.made else _NOTHING_MADE
    wrong = [f"video is {_kind(one)}" for one in shapes if not (isinstance(one, dict) and _is_link(one.get("url")))]
    return found(wrong, "video is an object with url")


def _last_frame(seen: Evidence) -> Result:
    if TEXT not in seen.made:
        return skipped("not answered: the video from text was not made")
    names = [name for name, value in seen.shape(TEXT).items() if "frame" in name and _is_link(value)]
    if not names:
        return failed("the response has no field with the last frame's link")
    known = {"last_frame", "last_frame_url"} & set(names)
    return ok(f"it is {names[0]}") if known else failed(f"it is {', '.join(names)}")


def _found_by_id(seen: Evidence) -> Result:
    if not seen.made:
        return _NOTHING_MADE
    wrong = [f"{name} is not found" for name in seen.made if "request_id" not in seen.row(name)]
    return found(wrong, "each request is found by its id")


def _rows_by_output(seen: Evidence) -> Result:
    if TEXT not in seen.made:
        return skipped("not answered: the video from text was not made")
    rows, cost = seen.listed, seen.made[TEXT].cost_usd
    if len(rows) < 2:
        return failed(f"a request with two outputs has {show.number(len(rows), 'row')}")
    each = {row["cost_usd"] for row in rows}
    said = f"{len(rows)} rows with {', '.join(show.money(usd) for usd in sorted(each, key=str))}"
    return ok(said) if each == {cost} else failed(f"{said}; the request cost {show.money(cost)}")


def _recognised(seen: Evidence) -> Result:
    if not seen.made.get(IMAGE):
        return skipped("not answered: the video from an image was not made")
    job = seen.made[IMAGE]
    named = [row["job_id"] for row in seen.rows.get(IMAGE, []) if row["request_id"] == job.request_id]
    if job.job_id in named:
        return ok("its row names the job by the image's link")
    body = seen.row(IMAGE).get("request_body")
    return failed(f"its row names no job; request_body is {_kind(body)}")


def _body(seen: Evidence) -> Result:
    if not seen.made:
        return _NOTHING_MADE
    kinds = sorted({_kind(seen.row(name).get("request_body")) for name in seen.made})
    readable = set(kinds) <= {"an object", "JSON text", "text in braces"}
    return ok(", ".join(kinds)) if readable else failed(", ".join(kinds))


def _prices(seen: Evidence) -> Result:
    priced = {name: job for name, job in seen.made.items() if job.cost_usd is not None}
    if not priced:
        return skipped("not answered: no price was reported")
    wrong = []
    for name, job in priced.items():
        published, cost = prices.published_usd(job.model, prices.setting(job.parameters)), job.cost_usd or 0.0
        percent = (cost / published - 1) * 100
        if abs(percent) > PRICE_PERCENT:
            wrong.append(f"{name}: {show.money(cost)}, {percent:+.0f}% to the published {show.money(published)}")
    return found(wrong, f"within {PRICE_PERCENT:.0f}% for {show.number(len(priced), 'video')}")


def _twelve_seconds(seen: Evidence) -> Result:
    job, played = seen.bought.jobs.get(LONG), seen.played.get(LONG)
    if played:
        return found([] if abs(played.seconds - 12) < 1 else [f"it has {played.seconds:.1f} s"], "12 s were made")
    if job and job.state is State.FAILED:
        return failed(f"refused: {job.error and job.error['message']}")
    return skipped("not answered: the job has no result")


def _sizes(seen: Evidence) -> Result:
    if not seen.played:
        return _NOTHING_MADE
    sizes = {name: (played.width, played.height) for name, played in seen.played.items()}
    said = ", ".join(f"{name} {width} x {height}" for name, (width, height) in sizes.items())
    for name, pixels in _READINGS.items():
        if all(abs(width * height / pixels - 1) <= PRICE_PERCENT / 100 for width, height in sizes.values()):
            return ok(f"{name}: {said}")
    return failed(said)


def _no_sample(seen: Evidence) -> Result:
    file = seen.files.get(TEXT)
    if TEXT not in seen.made or file is None or isinstance(file, str):
        job = seen.bought.jobs.get(TEXT)
        if job and job.state is State.FAILED:
            return failed(f"refused: {job.error and job.error['message']}")
        return skipped("not answered: the video from text was not made")
    return ok(f"accepted; a person must look whether it shows a red paper boat: {file}")


def _late_checks(seen: Evidence) -> Result:
    refused = [job for job in seen.bought.jobs.values() if job.code == Code.PROVIDER_REFUSED]
    if not refused:
        return skipped("not answered: no parameter was refused")
    when = ["after it was queued" if job.request_id else "at the submit" for job in refused]
    return ok(", ".join(sorted(set(when))))


def _failure_is_free(seen: Evidence) -> Result:
    failures = [name for name, job in seen.bought.jobs.items() if job.state is State.FAILED and job.request_id]
    if not failures:
        return skipped("not answered: no request failed")
    wrong = [f"{name} was billed" for name in failures if seen.row(name).get("credits_deduction")]
    return found(wrong, "not billed")


def _balance(seen: Evidence) -> Result:
    before, after = seen.bought.balance_before, seen.bought.balance_after
    if before is None or after is None:
        return skipped("not answered: the balance is not known")
    spent, costs = before - after, sum(job.cost_usd or 0.0 for job in seen.made.values())
    said = f"the balance fell by {show.money(spent)}, and the prices add up to {show.money(costs)}"
    return ok(said) if abs(spent - costs) < 0.005 else failed(f"{said}; was anything else bought meanwhile?")


def _keyless(seen: Evidence) -> Result:
    if not seen.keyless:
        return _NOTHING_MADE
    wrong = [f"{name}: {status}" for name, status in seen.keyless.items() if status not in (200, 206)]
    return found(wrong, "readable without a key")


def _hour(seen: Evidence) -> Result:
    if seen.old is None or "record" not in seen.old:
        return skipped("not answered: no job is older than an hour; run it again then")
    status = seen.old["record"]["status"]
    return ok("404 after an hour") if status == 404 else failed(f"{status} after more than an hour")


def _not_tried(why: str) -> Callable[[Evidence], Result]:
    return lambda _: skipped(f"not answered: {why}")


def _is_link(shape: object) -> bool:
    return isinstance(shape, str) and shape.startswith("link to ")


def _kind(shape: object) -> str:
    """The structure of a value in a few words."""
    if isinstance(shape, dict):
        return "an object"
    if isinstance(shape, list):
        return "a list"
    return "missing" if shape is None else str(shape)


FACTS: tuple[Fact, ...] = (
    Fact("output", "A result's output is a URL.", "(1)", _output),
    Fact("video field", "Beside it, video is an object with url.", "(1)", _video),
    Fact("last frame", "The last frame is last_frame or last_frame_url.", "(?)", _last_frame),
    Fact("row by id", "The history finds a request by its id.", "(package)", _found_by_id),
    Fact("rows", "The history has a row for each output, with the whole price.", "(package)", _rows_by_output),
    Fact("request body", "A row has the body as an object, JSON or in Python's notation.", "(package)", _body),
    Fact("recognised", "A request is recognised in the history by its image's link.", "(?)", _recognised),
    Fact("price", "A video costs what the provider publishes.", "(r), (?)", _prices),
    Fact("balance", "The balance falls by the prices of the videos.", "(?)", _balance),
    Fact("failure", "A failure is not billed.", "(page)", _failure_is_free),
    Fact("12 seconds", "seedance-1.5-pro makes 12 s.", "(r)", _twelve_seconds),
    Fact("size", "480p is 640 x 640, as ByteDance documents, or 480 on each side.", "(?)", _sizes),
    Fact("no image", "An empty first_frame_url means no image, and shows no sample image.", "(?)", _no_sample),
    Fact("late checks", "Parameters may be checked only after the request is queued.", "(1)", _late_checks),
    Fact("keyless file", "A result's file needs no key.", "(page)", _keyless),
    Fact("one hour", "A request's record is deleted one hour after its submission.", "(page)", _hour),
    Fact("no credits", "Out of credits is 402 on v2 and 406 on v1.", "(1)", _not_tried("it needs an empty account")),
    Fact("rate limit", "429 says when it ends in x-rate-limit-reset-at-utc.", "(?)", _not_tried("no 429 was met")),
    Fact("v1 cut", "v1 is cut off after about 60 s.", "(1)", _not_tried("the doctor buys nothing through v1")),
    Fact("data links", "data: addresses are refused as references.", "(1)", _not_tried("the pipeline sends none")),
    Fact("faces", "2.0 models block first images with faces.", "(r)", _not_tried("the doctor's image has none")),
    Fact("references", "References exclude a first image.", "(r)", _not_tried("the pipeline refuses both together")),
)
"""In the order of docs/provider.md."""
