"""Finds the video's address in a response and checks which addresses may be requested. Pure.

The provider documents ``output`` as the place of the link, but has also put it elsewhere. So the documented places
are searched first, then the rest of the response. Addresses that the response repeats from the request are never
taken for a result. If more than one video remains, none is chosen: choosing the wrong one would deliver it and lose
the right one.
"""

import ipaddress
import itertools
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Self
from urllib.parse import parse_qsl, unquote

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from seedance.errors import ForbiddenSource
from seedance.jobs import reasons
from seedance.jobs.job import ErrorFacts, Job
from seedance.provider import bodies

DEEPEST = 40
"""Nesting levels of a response that are searched, including JSON in strings. Real responses have five."""

LONGEST = 8192
"""Characters of an address. Servers refuse longer ones; a signed address has about 1000."""

MOST = 1000
"""Addresses of a response that are looked at. Real responses have up to twenty, most of them the request's."""

SHOWN = 5
"""The most addresses or hosts that a message lists."""

_PLACES = frozenset({"output", "outputs", "video", "videos", "videourl", "videourls"})
"""Fields in which a result is documented or was seen. Names in lower case, without ``_`` and ``-``."""

_REPEATED = frozenset(
    {
        *("input", "inputs", "request", "requestbody", "parameters", "params", "body", "payload", "arguments", "args"),
        *("options", "config", "prompt", "originalrequest", "imageurl", "firstframeurl", "firstframe"),
        *("referenceimages", "referencevideos", "referenceaudios"),
    }
)
"""Fields in which a response repeats the request."""

_BESIDE = ("preview", "thumb", "poster", "lastframe", "watermark")
"""Parts of the names of fields with files that accompany a video, whatever the type of file."""

_VIDEOS = frozenset({"mp4", "mov", "m4v", "webm", "mkv", "avi"})
_OTHERS = frozenset(
    {
        *("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "heif", "svg"),
        *("mp3", "wav", "m4a", "aac", "ogg", "flac", "json", "txt", "srt", "vtt", "html", "pdf", "zip"),
    }
)
_OWN_PORTS = {"https": 443, "http": 80}
_ADDRESS = re.compile(r"(https?:)?//[^\s/]+(/.*)?", re.IGNORECASE)
_WRITTEN = re.compile(
    r"[a-z]+://(?:[!-?A-\[\]-~]|[^\x00-\xa0\u3002\uff0e\uff61])*?([/?#][^\x00-\x1f\x7f]*)?", re.IGNORECASE
)
"""The allowed form of an address: no control characters; the host without a user, a backslash, or other full stops than
ASCII's. Other letters are allowed: a host is compared in its ASCII form (``xn--``)."""


@dataclass(frozen=True)
class Result:
    """The addresses found in a response. If ``video`` is None, ``unclear`` says why."""

    video: str | None = None
    """The address of the only video, on an allowed host."""
    last_frame: str | None = None
    unclear: str | None = None
    """Why there is no usable video, as a sentence for people."""
    elsewhere: str | None = None
    """The address of the only video, if its host is not allowed."""
    videos: int = 0
    """The number of different videos in the response, on any host."""
    answer: str | None = None
    """The masked response, if it has no usable video."""


@dataclass(frozen=True)
class Sent:
    """The addresses that a job sent. A response that repeats one of them does not give a result by that."""

    job_id: str | None = None
    """The signed link to the job's own image contains it."""
    addresses: frozenset[object] = frozenset()

    @classmethod
    def by(cls, job: Job) -> Self:
        """The addresses that a job sends."""
        return cls(job.job_id, cls.of(job.parameters).addresses)

    @classmethod
    def of(cls, body: object) -> Self:
        """The addresses anywhere in a request's body."""
        return cls(None, frozenset(_identity(url) for url in _written_in(body)))

    def __contains__(self, url: str) -> bool:
        return _identity(url) in self.addresses or bool(self.job_id and self.job_id in unquote(unquote(url)))


class _Kind(Enum):
    VIDEO = auto()
    UNKNOWN = auto()
    OTHER = auto()


@dataclass(frozen=True)
class _Found:
    """An address and the names of the fields that lead to it."""

    url: str
    names: tuple[str, ...]

    @property
    def kind(self) -> _Kind:
        if any(part in name for name in self.names for part in _BESIDE):
            return _Kind.OTHER
        extension = _extension(self.url)
        if extension in _VIDEOS:
            return _Kind.VIDEO
        pictured = any(name.startswith(("image", "picture", "frame", "audio", "cover")) for name in self.names)
        return _Kind.OTHER if pictured or extension in _OTHERS else _Kind.UNKNOWN


def read(answer: object, hosts: Collection[str], sent: Sent | None = None) -> Result:
    """Find the video's address in a response. ``hosts``: see ``check``. Never raises, whatever the response is."""
    found = [one for one in itertools.islice(_addresses(answer), MOST) if sent is None or one.url not in sent]
    refusals = {one.url: _refusal(one.url, hosts) for one in found}
    allowed = [one for one in found if refusals[one.url] is None]
    last_frame = next((one.url for one in allowed if one.names and "lastframe" in "".join(one.names)), None)
    videos = _videos(allowed)
    if len(videos) == 1:
        return Result(videos[0], last_frame, videos=1)
    if videos:
        several = (
            f"The response has {len(videos)} different videos and does not say which is the result: {_listed(videos)}"
        )
        return Result(None, last_frame, several, videos=len(videos))
    foreign = _videos([one for one in found if refusals[one.url]])
    if len(foreign) == 1:
        why = refusals[foreign[0]] or ""
        return Result(None, last_frame, f"{why[0].upper()}{why[1:]}", elsewhere=foreign[0], videos=1)
    if foreign:
        hosts_of_them = f"The links in the response are on hosts that are not allowed: {_listed(map(_host, foreign))}"
        return Result(None, last_frame, hosts_of_them, videos=len(foreign))
    return Result(None, last_frame, "The response has no link to a video")


def held(result: Result, job: Job, request_id: str | None) -> ErrorFacts:
    """The error for a job that is HELD because its result is unclear: what is known and what a person can do."""
    if result.elsewhere:
        then = (
            f"If that host is the provider's, add it to SegmindMediaHosts, then `seedance retry {job.job_id}`. "
            f"The video is available for seven days at {result.elsewhere}"
        )
    else:
        request = f"request {request_id}" if request_id else f"its last request of {job.model}"
        then = f"Ask the provider for the video of {request}, then `seedance resolve {job.job_id} --link ADDRESS`."
    message = f"The video is made and paid for, but there is no usable link to it. {result.unclear}. {then}"
    return reasons.unclear(message).error


def only_video(urls: Iterable[str | None]) -> str | None:
    """The only video among the addresses of one request's outputs. None if there is none or more than one."""
    videos = _distinct(url for url in urls if url and not is_picture(url))
    return videos[0] if len(videos) == 1 else None


def is_picture(url: str) -> bool:
    """Whether an address is that of a file that is certainly not a video, such as a last frame."""
    return _extension(url) in _OTHERS


def check(url: str, hosts: Collection[str]) -> Url:
    """The address as it will be requested, without blanks around it.

    ``hosts`` are in lower case, with the port unless it is the scheme's default. Raises ForbiddenSource unless the
    address is https on one of them. Loopback may be http.
    """
    url = url.strip()
    try:
        # The parser of the library that connects: two parsers that read an address differently let a check be bypassed.
        parts = parse_url(url)
    except LocationParseError:
        raise ForbiddenSource("the result's address is not valid", url=url) from None
    host, port = (parts.host or "").strip("[]"), parts.port
    named = host if port in (None, _OWN_PORTS.get(parts.scheme or "")) else f"{host}:{port}"
    if not host or named not in hosts or not _WRITTEN.fullmatch(url):
        allowed = ", ".join(sorted(hosts))
        raise ForbiddenSource(f"the result is on {named or 'no host'}; only {allowed} is allowed", url=url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise ForbiddenSource(f"the result's address uses {parts.scheme}, not https", url=url)
    return parts


def is_allowed(url: str, hosts: Collection[str]) -> bool:
    """Whether an address passes ``check``."""
    return _refusal(url, hosts) is None


def _refusal(url: str, hosts: Collection[str]) -> str | None:
    try:
        check(url, hosts)
    except ForbiddenSource as error:
        return str(error)
    return None


def _addresses(value: object, names: tuple[str, ...] = (), depth: int = 0) -> Iterator[_Found]:
    """Every address in a response, in order, except where the response repeats the request."""
    if depth > DEEPEST:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            plain = re.sub(r"[\s_-]", "", str(name)).lower()
            if plain not in _REPEATED:
                yield from _addresses(inner, (*names, plain), depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _addresses(inner, names, depth + 1)
    elif isinstance(value, str):
        text = value.strip().strip("\ufeff\u200b")
        if len(text) <= LONGEST and _ADDRESS.fullmatch(text):
            scheme, _, rest = text.partition("//")
            yield _Found(f"{scheme.lower() or 'https:'}//{rest}", names)
        elif text[:1] in ("{", "[", '"'):
            try:
                inner = bodies.parsed(text.encode(errors="replace"))
            except bodies.Unreadable:
                return
            yield from _addresses(inner, names, depth + 1)


def _videos(found: list[_Found]) -> list[str]:
    """The videos in the first place that has any: the top level, below a documented field, anywhere."""
    places = (
        [one for one in found if not one.names or one.names[0] in _PLACES or one.names == ("url",)],
        [one for one in found if _PLACES & set(one.names)],
    )
    for place in places:
        for kind in (_Kind.VIDEO, _Kind.UNKNOWN):
            if videos := _distinct(one.url for one in place if one.kind is kind):
                return videos
    return _distinct(one.url for one in found if one.kind is _Kind.VIDEO)


def _distinct(urls: Iterable[str]) -> list[str]:
    """One address per file: the longest, because that one is signed."""
    best: dict[object, str] = {}
    for url in urls:
        same = _identity(url)
        best[same] = max(best.get(same, ""), url, key=len)
    return list(best.values())


def _identity(url: str) -> object:
    """A key that is the same for all addresses of one file, however they are escaped and signed."""
    try:
        parts = parse_url(url.strip())
    except LocationParseError:
        return url
    port = None if parts.port == _OWN_PORTS.get(parts.scheme or "") else parts.port
    query = frozenset(
        (name, value)
        for name, value in parse_qsl(parts.query or "", keep_blank_values=True)
        if not name.lower().startswith("x-amz-") and name.lower() not in ("signature", "expires", "awsaccesskeyid")
    )
    return parts.host, port, unquote(parts.path or "/"), query


def _extension(url: str) -> str:
    try:
        path = unquote(parse_url(url).path or "")
    except LocationParseError:
        return ""
    return path.rpartition("/")[2].rpartition(".")[2].lower() if "." in path.rpartition("/")[2] else ""


def _written_in(value: Any) -> Iterator[str]:
    """Every address in the text values of a request's body."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _written_in(inner)
    elif isinstance(value, str):
        for url in re.findall(r"https?://[^\s\"'<>]+", value, re.IGNORECASE):
            yield from {url, url.rstrip(".,;:!?)]}")}  # in a prompt, punctuation may follow it


def _host(url: str) -> str:
    return url.partition("//")[2].partition("/")[0]


def _listed(texts: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(texts))
    more = f" and {len(distinct) - SHOWN} more" if len(distinct) > SHOWN else ""
    return ", ".join(distinct[:SHOWN]) + more


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
