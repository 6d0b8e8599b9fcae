"""The reason why a request FAILED, from the provider's words: a parameter, a person's face, or anything else. Pure.

The provider may check parameters only after it has queued a request. So a FAILED can be what a refused submit is, and
people and programs are told the same in both cases.
"""

import re
from collections.abc import Iterable

from seedance.jobs import reasons
from seedance.jobs.job import Job
from seedance.jobs.reasons import Reason

_IMAGES = frozenset({"image_url", "first_frame_url", "last_frame_url"})
"""The parameters with an image. That of the job's own image is not among its recorded parameters."""

_NO_FACES = "seedance-2.0-"
"""The models whose first images must not show real people's faces have names that begin with this."""

_ABOUT_A_VALUE = (
    r"(?:invalid|not valid|unknown|unsupported|not supported|unexpected|not allowed|not permitted|out of range"
    r"|required|requires|missing|must|should be|expected|allowed|exceeds?|at most|at least|greater than|less than"
    r"|cannot|can not|can't|cannot be combined|mutually exclusive|range)"
)
"""Words that say that a value is wrong."""

_ABOUT_A_PROMPT = r"(?:required|missing|empty|too long|too short|exceeds?|characters|length|must be)"
"""Words that say that a prompt's text is wrong, and not its content, which is a moderator's matter."""

_NEAR = 60
"""The most characters between a parameter's name and the words about its value."""

_FACE = (
    r"\b(?:human|real|person\w*|people\w*|celebrit\w+)\b.{0,40}\bfaces?\b"
    r"|\bfaces?\b.{0,40}\b(?:blocked|human|real|person)"
)


def reason(job: Job, said: str | None) -> Reason:
    """The reason for a job whose request FAILED. ``said``: the provider's error as one line, None if it gave none."""
    if not said:
        return reasons.failed_at_the_provider(said)
    if job.model.startswith(_NO_FACES) and re.search(_FACE, said, re.IGNORECASE):
        return reasons.face_blocked(job.model, said)
    if parameter := _parameter(said, _IMAGES.union(job.parameters)):
        return reasons.parameter_refused(parameter, said)
    return reasons.failed_at_the_provider(said)


def _parameter(said: str, names: Iterable[str]) -> str | None:
    """The parameter whose value the words call wrong, the first if there are several. None if there is none."""
    words = said.partition("{")[0]  # what follows repeats the request
    found = {}
    for name in names:
        wrong, gap = _ABOUT_A_PROMPT if name == "prompt" else _ABOUT_A_VALUE, rf"[^.\n]{{0,{_NEAR}}}?"
        field = rf"\b{re.escape(name)}\b"
        pattern = rf"{field}{gap}\b{wrong}\b|\b{wrong}\b{gap}{field}"
        if match := re.search(pattern, words, re.IGNORECASE):
            found[match.start(), -len(name)] = name
    return found[min(found)] if found else None
