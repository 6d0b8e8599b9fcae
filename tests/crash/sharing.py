"""The part of the world that shares videos: people make lasting links, revoke them, and open them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from seedance.aws.table import link_key
from seedance.jobs.job import Job, State


@dataclass
class Sharing:
    """What people know about the links to videos."""

    said: dict[str, str | None] = field(default_factory=dict)
    """The token of each job's link, as the last answer said; None: it has none. A job is missing here if nobody asked,
    or if the last call had no answer."""
    known: dict[str, str] = field(default_factory=dict)
    """All tokens that were said, each with its job."""
    revoked: set[str] = field(default_factory=set)
    """Those of them whose revocation was answered."""
    unanswered: set[str] = field(default_factory=set)
    """The jobs of which the last call had no answer, or failed: nobody knows whether it took effect."""
    findings: list[str] = field(default_factory=list)

    def answered(self, method: str, job: Job, status: int, said: dict[str, Any]) -> None:
        """Note the answer to a call for a job's link. The status is 0 if there was none."""
        job_id = job.job_id
        self.said.pop(job_id, None)
        self.unanswered.discard(job_id)
        if status == 0 or status >= 500:
            self.unanswered.add(job_id)
        elif job.state is not State.COMPLETED:
            if (status, job.link_token) != (409 if method == "POST" else 200, None):
                self.findings.append(f"{method} of a link to no video was answered with {status}")
        elif status != 200:
            self.findings.append(f"{method} of a link was refused with {status} {said.get('code')}")
        elif (said["link"] is None) is (method == "POST"):
            self.findings.append(f"{method} of a link said {said}")
        else:
            link = said["link"]
            self.said[job_id] = token = link and urlsplit(link).path.rpartition("/")[2]
            if token is None:
                self.revoked |= {known for known, of in self.known.items() if of == job_id}
            else:
                self.known[token] = job_id

    def opened(self, token: str, status: int, expected: int) -> None:
        """Note the answer to a click. The status is 0 if there was none."""
        if status not in (0, expected):
            which = "a link that was revoked" if token in self.revoked else "a link"
            self.findings.append(f"{which} answered {status}, not {expected}")


def broken(sharing: Sharing, records: list[dict[str, Any]], jobs: list[Job], now: float) -> Iterator[str]:
    """What is wrong with the lasting links of all jobs.

    The record and the item of a link agree at any moment, because they are written in one transaction. The link of a
    completed job is what the last answer said; if nobody asked, it has one.
    """
    yield from dict.fromkeys(sharing.findings)
    items = {r["job_id"]: r for r in records if r["job_id"].startswith(link_key(""))}
    valid = {key: item for key, item in items.items() if "revoked_at" not in item}
    working = {key: item.get("video_key") for key, item in valid.items() if now < item.get("until", now + 1)}
    linked = [job for job in jobs if job.link_token is not None]
    if working != {_key(str(job.link_token)): job.video_key for job in linked if now < (job.link_until or 0)}:
        yield f"{len(working)} lasting links that work, and {len(linked)} jobs whose records have one"
    if any(set(item) & {"video_key", "name", "job", "until"} for item in items.values() if "revoked_at" in item):
        yield "a revoked link still says what it led to"
    for job in linked:
        item = items.get(_key(str(job.link_token)), {})
        if (item.get("job"), item.get("until"), job.state) != (job.job_id, job.link_until, State.COMPLETED):
            yield f"a link and the record of its {job.state} job differ"
    for job in jobs:
        if job.state is State.COMPLETED and job.job_id not in sharing.unanswered:
            said = sharing.said.get(job.job_id, job.link_token)
            if said != job.link_token or (job.link_token is None and job.job_id not in sharing.said):
                yield "the link is not what the last answer said"
    if any(_key(token) in working for token in sharing.revoked):
        yield "a link that was revoked leads to a video"


def _key(token: str) -> str:
    return link_key(sha256(token.encode()).hexdigest())
