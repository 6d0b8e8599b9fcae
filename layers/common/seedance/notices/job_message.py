"""The notification for a job, as a machine message and as an email. Pure."""

from datetime import UTC, datetime
from typing import NamedTuple, TypedDict, assert_never

from seedance import bounds
from seedance.aws import fields
from seedance.jobs.job import ErrorFacts, Hold, Job, State

_MADE = "The video is made but not copied yet: the job is held"
"""The headline for a job that is HELD with a paid result."""


def _words(state: State) -> tuple[str, str]:
    """The headline, and the text for a price that was not reported."""
    match state:
        case State.COMPLETED:
            return "Your video is ready", "not reported"
        case State.FAILED:
            return "No video: the job failed", "not reported by the provider; a failed job is not billed"
        case State.EXPIRED:
            price = "unknown; the provider may have billed a video that we did not receive"
            return "No video: the job ran out of time", price
        case State.REJECTED:
            return "No video: the request was refused", "nothing; the request was not sent to the provider"
        case State.HELD:
            return "No video yet: the job is held", "nothing reported so far"
        case State.RECEIVED | State.SUBMITTING | State.QUEUED | State.PROCESSING | State.COPYING | State.UNCERTAIN:
            raise KeyError(state)  # there is no notification for these
        case _:
            assert_never(state)


class VideoLinks(NamedTuple):
    """The links to a job's video: signed ones that play and download it for some hours, and the lasting one, if any."""

    url: str
    download_url: str
    link: str | None = None
    link_expires_at: float | None = None


class NotifiedVideo(TypedDict):
    """A job's video. Bucket and key stay valid; the links end."""

    bucket: str
    key: str
    url: str | None
    """A link that plays the video in a browser. It works for some hours."""
    download_url: str | None
    """The same, but a browser saves the file."""
    link: str | None
    """A lasting link to the video, for people: it needs no key. With `?download` behind it, a browser saves the file.
    null if the stack makes none (`VideoLinkDays`), or if it was withdrawn or has ended."""
    link_expires_at: str | None
    """When the lasting link ends."""
    bytes: int
    sha256: str
    last_frame_key: str | None


class JobNotification(TypedDict):
    """The notification for machines. Its shape is a contract, checked by a test."""

    job_id: str
    status: str
    model: str
    source: str
    batch: dict[str, str | int | None] | None
    name: str
    metadata: dict[str, str]
    image: dict[str, str | None] | None
    prompt: str | None
    notes: list[str]
    video: NotifiedVideo | None
    cost_usd: float | None
    timings: dict[str, float]
    error: ErrorFacts | None


def job_notification(job: Job, links: VideoLinks | None) -> JobNotification:
    """The notification for a job. ``links`` are those to its video, if it has one."""
    video: NotifiedVideo | None = None
    if job.video:
        video = {
            "bucket": job.video["bucket"],
            "key": job.video["key"],
            "url": links and links.url,
            "download_url": links and links.download_url,
            "link": links and links.link,
            "link_expires_at": links and iso(links.link_expires_at),
            "bytes": job.video["bytes"],
            "sha256": job.video["sha256"],
            "last_frame_key": job.video.get("last_frame_key"),
        }
    image = None
    if job.image:
        version_id = job.image.get("version_id")
        image = {"bucket": job.image["bucket"], "key": job.image["key"], "version_id": version_id}
    return {
        "job_id": job.job_id,
        "status": job.state.value,
        "model": job.model,
        "source": job.source,
        "batch": {"batch_id": job.batch, "row": job.row} if job.batch else None,
        "name": job.name,
        "metadata": job.metadata,
        "image": image,
        "prompt": job.parameters.get("prompt"),
        "notes": job.notes,
        "video": video,
        "cost_usd": job.cost_usd,
        "timings": job.timings(),
        "error": job.error,
    }


def job_email(message: JobNotification) -> tuple[str, str]:
    """Subject and text of the email about a job."""
    headline = _MADE if _is_made(message) else _words(State(message["status"]))[0]
    title = f"{headline}: {message['name']}"
    lines = [title, ""]
    if message["error"]:
        lines += ["Reason", f"  {message['error']['message']}", ""]
    if video := message["video"]:
        lines += _watch(video)
        lines += [
            "Location",
            f"  s3://{video['bucket']}/{video['key']}",
            f"  {_size(video['bytes'])}",
            "",
        ]
    lines += ["Request", f"  Model   {message['model']}"]
    if message["image"]:
        lines.append(f"  Image   s3://{message['image']['bucket']}/{message['image']['key']}")
    if message["prompt"]:
        lines.append(f"  Prompt  {message['prompt']}")
    lines += [f"  Note    {note}" for note in message["notes"]]
    lines += ["", "Cost and time", f"  Cost    {_cost(message)}"]
    if (total := message["timings"].get("total_seconds")) is not None:
        lines.append(f"  Time    {duration(total)}")
    lines += ["", f"Job {message['job_id']}"]
    return fields.subject(title), "\n".join(map(bounds.one_line, lines)) + "\n"


def _watch(video: NotifiedVideo) -> list[str]:
    watch, download = video["url"], video["download_url"]
    how_long = "(the links work for a few hours; the file stays in your bucket)"
    if video["link"]:
        watch, download = video["link"], f"{video['link']}?download"
        how_long = f"(for everybody who has the link, until {(video['link_expires_at'] or '')[:10]})"
    return ["Watch", f"  {watch}", "Download", f"  {download}", f"  {how_long}", ""]


def _is_made(message: JobNotification) -> bool:
    error = message["error"]
    return message["status"] == State.HELD and error is not None and error["code"] == Hold.RESULT


def _cost(message: JobNotification) -> str:
    if message["cost_usd"] is None and _is_made(message):
        return "not reported by the provider; a finished video is billed"
    return _words(State(message["status"]))[1] if message["cost_usd"] is None else f"${message['cost_usd']:.2f}"


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 100_000 else f"{count:,} bytes"


def duration(seconds: float) -> str:
    """A duration as text for people, in minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def iso(moment: float | None) -> str | None:
    """A Unix time in ISO 8601, UTC, to the second."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
