"""The notification for a job, as a machine message and as an email. Pure."""

from datetime import UTC, datetime
from typing import NamedTuple, TypedDict, assert_never

from seedance import bounds
from seedance.aws import fields
from seedance.jobs.job import ErrorFacts, Hold, Job, ParameterValues, State
from seedance.notices import advice
from seedance.notices.advice import Charge

_MADE = "Video made, not copied yet"
"""The headline for a job that is HELD with a paid result."""


def _headline(message: "JobNotification") -> str:
    state = State(message["status"])
    match state:
        case State.COMPLETED:
            return "Video ready"
        case State.FAILED | State.EXPIRED | State.REJECTED | State.CANCELLED:
            return "No video"
        case State.HELD:
            return _MADE if _is_made(message) else "Video on hold"
        case State.RECEIVED | State.SUBMITTING | State.QUEUED | State.PROCESSING | State.COPYING | State.UNCERTAIN:
            raise KeyError(state)  # there is no notification for these
        case _:
            assert_never(state)


class VideoLinks(NamedTuple):
    """The links to a job's video: those signed for some hours, and the lasting one, if any."""

    url: str
    download_url: str
    link: str | None = None
    link_expires_at: float | None = None
    last_frame_url: str | None = None


class NotifiedVideo(TypedDict):
    """A job's video. Bucket and key stay valid; the links expire."""

    bucket: str
    key: str
    url: str | None
    """A link that plays the video in a browser. It works for some hours."""
    download_url: str | None
    """The same, but a browser saves the file."""
    link: str | None
    """A lasting link to the video, for people: it needs no key. With `?download` appended, a browser saves the file.
    null if the stack creates none (`VideoLinkDays`), or if it was revoked or has expired."""
    link_expires_at: str | None
    """When the lasting link expires."""
    bytes: int
    sha256: str
    last_frame_key: str | None
    """If the model returned the last frame: a picture."""
    last_frame_url: str | None
    """A link that shows it. It works for some hours."""
    manifest_key: str | None
    """A JSON file beside the video that says how it was made. null if it could not be written, or for a video of an
    earlier release."""


class JobNotification(TypedDict):
    """The notification for machines. Its shape is a contract, checked by a test.

    ``status`` is the job's ``state`` under its older name, which filters depend on.
    """

    job_id: str
    state: str
    status: str
    model: str
    source: str
    batch: dict[str, str | int | None] | None
    name: str
    metadata: dict[str, str]
    image: dict[str, str | None] | None
    prompt: str | None
    parameters: ParameterValues
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
            "last_frame_url": links and links.last_frame_url,
            "manifest_key": job.video.get("manifest_key"),
        }
    image = None
    if job.image:
        version_id = job.image.get("version_id")
        image = {"bucket": job.image["bucket"], "key": job.image["key"], "version_id": version_id}
    return {
        "job_id": job.job_id,
        "state": job.state.value,
        "status": job.state.value,
        "model": job.model,
        "source": job.source,
        "batch": {"batch_id": job.batch, "row": job.row} if job.batch else None,
        "name": job.name,
        "metadata": job.metadata,
        "image": image,
        "prompt": job.parameters.get("prompt"),
        "parameters": job.parameters,
        "notes": job.notes,
        "video": video,
        "cost_usd": job.cost_usd,
        "timings": job.timings(),
        "error": job.error,
    }


def job_email(message: JobNotification) -> tuple[str, str]:
    """Subject and text of the email about a job."""
    headline, charge = _headline(message), _charge(message)
    lines = [f"{headline}: {message['name']}", ""]
    if message["error"]:
        lines += ["Reason", f"  {message['error']['message']}", ""]
        if advised := advice.of(message["error"]):
            lines += ["What to do", f"  {advised.what_to_do.replace('{job}', message['job_id'])}", ""]
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
    if settings := _settings(message):
        lines.append(f"  Video   {', '.join(settings)}")
    lines += [f"  Note    {note}" for note in message["notes"]]
    lines += ["", "Cost and time", f"  Cost    {charge.sentence}"]
    if (total := message["timings"].get("total_seconds")) is not None:
        lines.append(f"  Time    {duration(total)}")
    lines += ["", f"Job {message['job_id']}"]
    return _subject(message, headline, charge), "\n".join(map(bounds.one_line, lines)) + "\n"


def _subject(message: JobNotification, headline: str, charge: Charge) -> str:
    """The subject: what happened, to which video, and what it cost. A long name is cut, the rest is not."""
    if message["status"] == State.COMPLETED:
        about = [*_settings(message)[:2], charge.words]
    else:
        advised = advice.of(message["error"])
        about = [*([advised.words] if advised else []), charge.words]
    return fields.subject(f"{headline}: ", message["name"], f" ({', '.join(about)})")


def _settings(message: JobNotification) -> list[str]:
    """The video's length, shape and resolution, as far as they were not left to the model."""
    given = message["parameters"] or {}
    seconds, shape, size = (given.get(name) for name in ("duration", "aspect_ratio", "resolution"))
    told = [f"{seconds} s" if isinstance(seconds, int | float) and seconds > 0 else None]
    told += [str(shape) if shape and shape != "adaptive" else None, str(size) if size else None]
    return [one for one in told if one]


def _watch(video: NotifiedVideo) -> list[str]:
    watch, download = video["url"], video["download_url"]
    how_long = "(the links work for a few hours; the file stays in your bucket)"
    if video["link"]:
        watch, download = video["link"], f"{video['link']}?download"
        how_long = f"(for everyone who has the link, until {_people(video['link_expires_at'])})"
    return ["Watch", f"  {watch}", "Download", f"  {download}", f"  {how_long}", ""]


def _people(moment: str | None) -> str:
    """A time in ISO 8601, UTC, for people: to the minute, with its zone, as in the reason of a job that is HELD."""
    return f"{moment[:16].replace('T', ' ')} UTC" if moment else "it is revoked"


def _is_made(message: JobNotification) -> bool:
    error = message["error"]
    return message["status"] == State.HELD and error is not None and error["code"] == Hold.RESULT


def _charge(message: JobNotification) -> Charge:
    return advice.charge(State(message["status"]), message["error"], message["cost_usd"])


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 100_000 else f"{count:,} bytes"


def duration(seconds: float) -> str:
    """A duration as text for people, in minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def iso(moment: float | None) -> str | None:
    """A Unix time in ISO 8601, UTC, to the second."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
