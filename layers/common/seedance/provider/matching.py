"""Matches requests in the provider's history to jobs whose submit was lost. Pure.

An error either way costs money: a request that is not recognised is bought again, and a request matched to the wrong
job delivers the wrong video. So an unclear match is not guessed: it is PERHAPS, and a person decides.
"""

import html
import re
from collections.abc import Mapping
from enum import IntEnum
from urllib.parse import parse_qsl, unquote

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from seedance.jobs import catalogue
from seedance.jobs.job import ImageFacts, Job, ParameterValues
from seedance.pacing.poll_schedule import CLOCKS_APART_SECONDS
from seedance.provider.payloads import HistoryRow

_JOB_ID = r"(?:up|api|ba)-[0-9a-f]{32}"
_MARK = re.compile(rf'inline; filename="({_JOB_ID})"')
"""The Content-Disposition that Media.image_link signs into an image link, and so the part that names the job."""

_HIDDEN = re.compile(r"\W*|x+|.*(\*{3}|•{3}|redacted|hidden|masked|removed|omitted|truncated).*", re.I | re.DOTALL)
_CUT = re.compile(r"\s*(\.{3}|…|\[\.{3}\])\s*\Z")
SHORTEST_CUT = 20
"""The length in characters from which a prefix of a text may be its truncated form."""

_PROVIDERS = re.compile(r"(.+\.)?segmind\.(com|ai)")
"""Hosts on which the provider stores copies of the files it was sent."""


class Fit(IntEnum):
    """How well a request matches a job."""

    NO = 0
    """Certainly not the job's."""
    PERHAPS = 1
    """The history does not show enough to decide."""
    ALIKE = 2
    """All values are the same, but none is unique to the job."""
    OURS = 3
    """Certainly the job's: by its request id, or by our own signed link."""


def fit(job: Job, row: HistoryRow) -> Fit:
    """How well a request matches a job. If the job's request id is known, only that counts."""
    if job.request_id:
        return Fit.OURS if row.request_id == job.request_id else Fit.NO
    if (row.request_id and row.request_id in job.earlier_request_ids) or is_another_model(row.model, job.model):
        return Fit.NO
    linked = bool(job.image and not job.image.get("uploaded"))
    shown = _image(job, row)
    if job.image and linked and (mark := _mark(shown)):
        if mark != job.job_id:
            return Fit.NO
        if _is_object(shown, job.image):  # anyone can write an address that imitates our disposition
            return Fit.OURS
    if row.created_at is not None and row.created_at < (job.submitted_at or job.created_at) - CLOCKS_APART_SECONDS:
        return Fit.NO
    if not row.body:
        return Fit.PERHAPS
    same = _same_as_sent(job, row.body, linked=linked)
    if same:
        return Fit.PERHAPS if linked else Fit.ALIKE
    # A seed that is derived from the job's id is unique to the job, even if the other values were changed.
    own_seed = "seed" not in job.parameters or job.parameters["seed"] == catalogue.seeded({}, job.job_id)["seed"]
    if same is False and not (own_seed and _same(_sent(job)["seed"], row.body.get("seed"))):
        return Fit.NO
    return Fit.PERHAPS


def is_another_model(name: str | None, model: str) -> bool:
    """Whether a row with this model name is certainly not of ``model``.

    The provider lists all models whose names contain that of ``model``. A name in a form that we don't know, or none,
    says nothing.
    """
    return name is not None and name != model and (name in catalogue.MODELS or model in name)


def named_job(row: HistoryRow) -> str | None:
    """The job id in the link to a request's first image, if that is one of our links."""
    fields = {model.parameters.first_image for model in catalogue.MODELS.values()}
    marks = (_mark((row.body or {}).get(name)) for name in sorted(fields))
    return next((mark for mark in marks if mark), None)


def _sent(job: Job) -> ParameterValues:
    """The body of the job's submit, without our signed link, and without empty values, which a history may omit."""
    uploaded = job.image.get("uploaded") if job.image else None
    body = catalogue.payload(catalogue.find(job.model), job.parameters, job_id=job.job_id, image_link=uploaded)
    return {name: value for name, value in body.items() if value != ""}


def _image(job: Job, row: HistoryRow) -> object:
    return (row.body or {}).get(catalogue.find(job.model).parameters.first_image)


def _same_as_sent(job: Job, body: Mapping[str, object], *, linked: bool) -> bool | None:
    """Whether a body is what the job sent, apart from our signed link. None if that is unclear."""
    sent, model = _sent(job), catalogue.find(job.model)
    verdicts = [_same(value, body.get(name)) for name, value in sent.items()]
    for name in set(model.names) - sent.keys() - ({model.parameters.first_image} if linked else set()):
        shown = body.get(name)
        verdicts.append(True if shown in (None, "", [], {}) else None if _is_hidden(shown) else False)
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _same(sent: object, shown: object) -> bool | None:
    """Whether a value is the one that was sent, in any notation. None if that is unclear."""
    if isinstance(sent, list):
        if not isinstance(shown, list) or len(sent) != len(shown):
            return None if not isinstance(shown, list) or any(map(_is_hidden, shown)) else False
        verdicts = [_same(one, other) for one, other in zip(sent, shown, strict=True)]
        return False if False in verdicts else None if None in verdicts else True
    one, other = _plain(sent), _plain(shown)
    if one == other:
        return True
    if _is_hidden(shown) or isinstance(shown, list | dict) or _kind(one) != _kind(other):
        return None
    if isinstance(sent, str) and _address(sent):
        return _same_address(sent, other)
    cut = _CUT.sub("", other)
    if cut != other or (len(cut) >= SHORTEST_CUT and one.startswith(cut)) or _letters(one) == _letters(other):
        return None
    return False


def _same_address(sent: str, shown: str) -> bool | None:
    """Like ``_same``, for addresses. A copy at the provider or an address without its query is unclear."""
    one, other = _address(sent), _address(shown)
    if one is None or other is None:
        return None
    if _PROVIDERS.fullmatch(other.host or "") and not _PROVIDERS.fullmatch(one.host or ""):
        return None
    if (one.host, unquote(one.path or "/")) != (other.host, unquote(other.path or "/")):
        return False
    return None if one.query and not other.query else False


def _plain(value: object) -> str:
    """A value as text: ``5``, ``5.0`` and ``"5"`` are the same, and so are ``True`` and ``"true"``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = re.sub(r"\s+", " ", str(value)).strip()
    return text.lower() if text.lower() in ("true", "false") else text


def _kind(text: str) -> str:
    if text in ("true", "false"):
        return "truth"
    return "number" if re.fullmatch(r"-?\d+(\.\d+)?", text) else "text"


def _letters(text: str) -> str:
    """The letters and digits of a text, which stay the same however it was escaped or cleaned."""
    return re.sub(r"[^a-z0-9]+", "", html.unescape(text).casefold())


def _is_hidden(value: object) -> bool:
    """Whether a value was removed or masked: empty, asterisks, ``[hidden]``."""
    return value is None or (isinstance(value, str) and bool(_HIDDEN.fullmatch(value)))


def _mark(address: object) -> str | None:
    """The job id in the Content-Disposition that we sign into our links. None if the address has none."""
    url = _address(address)
    for name, value in parse_qsl(url.query or "") if url else ():
        if name.lower() == "response-content-disposition" and (found := _MARK.fullmatch(value)):
            return found[1]
    return None


def _is_object(address: object, image: ImageFacts) -> bool:
    """Whether an address is that of an image in our bucket."""
    url = _address(address)
    if url is None:
        return False
    path = unquote(url.path or "").lstrip("/")
    bucket, key = image.get("bucket", ""), image.get("key", "")
    return path == f"{bucket}/{key}" or (path == key and (url.host or "").startswith(f"{bucket}.".lower()))


def _address(value: object) -> Url | None:
    if not isinstance(value, str) or not re.match(r"https?://", value, re.IGNORECASE):
        return None
    try:
        return parse_url(value)
    except LocationParseError:
        return None
