"""Repair: what people decide about jobs, done by the function that has the provider's key.

Commands only ask and print: every rule about money is here, in the version that the stack runs. A video is bought
again only by a word that says so: ``retry`` with ``pay``, ``resolve`` with ``resubmit``.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from seedance.aws import clients
from seedance.config import repair_settings
from seedance.errors import Conflict, InvalidRequest, NotPossible, ProviderError, SeedanceError
from seedance.holding import Holding
from seedance.jobs import catalogue, creation, reasons
from seedance.jobs.budget import estimate_usd, reservation
from seedance.jobs.handoff import Workflow, intake_queue, workflow
from seedance.jobs.job import AT_PROVIDER, Hold, Job, State
from seedance.jobs.reasons import Code
from seedance.jobs.store import JobStore, jobs
from seedance.lost import HISTORY_SPAN_SECONDS, LostSubmits, adopt
from seedance.notices.notifier import Notifier, notifier
from seedance.provider.client import Provider, provider
from seedance.provider.matching import merged, named_job
from seedance.provider.payloads import HistoryRow, ProviderStatus, usable_id

SHOWN_BYTES = 1024 * 1024
"""An answer ends with the page of the history that reaches this size. Lambda's limit for an answer is 6 MB."""

SHOWN_PAGES = 10
"""Or with the last of so many pages: all pages of an answer have to come within provider.HISTORY_SECONDS."""

SHOWN_CHARACTERS = 1000
"""The longest text of a row in an answer, so that 100 rows can't take the answer over Lambda's limit."""


@dataclass(frozen=True)
class Repair:
    """The use case, with everything it talks to."""

    store: JobStore
    provider: Provider
    notifier: Notifier
    workflow: Workflow
    holding: Holding
    clock: Callable[[], float] = time.time

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """What a command asks, by its ``ask``; what is expected to go wrong is an answer ``{"error"}`` in words.

        ``history``: ``model``, ``since``, ``until``, ``page`` -> ``rows``, ``next``
        ``adopt``: ``job_id``, ``request_id`` -> ``state``
        ``retry``: ``job_id``, ``pay`` -> ``said``
        ``resolve``: ``job_id`` and one of ``adopt``, ``link``, ``resubmit``, ``give_up`` -> ``said``
        ``unowned``: ``model``, ``since`` -> ``requests``
        ``take over``: ``model``, ``request_id`` -> ``job_id``, ``state``
        ``go on``: -> ``under_way``
        ``pause``: ``reason`` -> ``fresh``
        ``resume``, ``release``, ``redrive``: -> ``number``, ``more``
        """
        try:
            return self._answer(**question)
        except SeedanceError as error:
            return {"error": str(error)}

    def _answer(self, ask: str, **given: Any) -> dict[str, Any]:
        match ask:
            case "history":
                return self.history_part(given["model"], given["since"], given["until"], given.get("page"))
            case "adopt":
                return {"state": self.adopt_request(given["job_id"], given["request_id"])}
            case "retry":
                return {"said": self.retry(given["job_id"], pay=given["pay"])}
            case "resolve":
                return {"said": self.resolve(**given)}
            case "unowned":
                return {"requests": self.unowned(given["model"], given["since"])}
            case "take over":
                job = self.take_over(given["model"], given["request_id"])
                return {"job_id": job.job_id, "state": str(job.state)}
            case "go on":
                return {"under_way": self.go_on()}
            case "pause":
                return {"fresh": self.holding.pause(given["reason"])}
            case "resume":
                return asdict(self.holding.resume())
            case "release":
                return asdict(self.holding.release(Hold.BUDGET))
            case "redrive":
                return asdict(self.holding.redrive())
        raise NotPossible(f"this release does not know the question {ask!r}")

    def retry(self, job_id: str, *, pay: bool) -> str:
        """Try an ended or stuck job again; what that does, in words. A new paid submission only with ``pay``.

        Raises NotPossible, also when the history can't tell whether there is a video by now.
        """
        job = self._job(job_id)
        unclear = job.state is State.HELD and job.code == Hold.RESULT
        ended = job.state in (State.FAILED, State.EXPIRED)
        if job.state is State.COPYING or ((unclear or ended) and job.result_url):
            self._copy(job)
            return "copying the video again; nothing is paid"
        failed_there = job.code == Code.PROVIDER_JOB_FAILED
        if (unclear or (ended and not failed_there)) and job.request_id and self._made_after_all(job):
            self.adopt_request(job_id, job.request_id)
            return f"request {job.request_id} has a video by now: copying it; nothing is paid again"
        if not ended:
            undecided = "; `seedance resolve` decides about it" if _undecided(job) else ""
            raise NotPossible(
                f"job {job_id} is {job.state}{undecided}; only a FAILED or EXPIRED job can be tried again"
            )
        if not pay:
            price = estimate_usd(catalogue.find(job.model).average_usd, job.parameters)
            raise NotPossible(
                f"job {job_id} has no result to copy; a new submission costs about ${price:.2f}: say --pay"
            )
        self._resubmit(job)
        return "submitting again, which will be billed"

    def resolve(
        self,
        job_id: str,
        *,
        adopt: str | None = None,
        link: str | None = None,
        resubmit: bool = False,
        give_up: bool = False,
    ) -> str:
        """A person's decision about a job in UNCERTAIN, or HELD for a lost submit or result; what that does, in words.

        Raises NotPossible, InvalidRequest, Conflict and ProviderError.
        """
        job = self._job(job_id)
        if [bool(adopt), bool(link), resubmit, give_up].count(True) != 1:
            raise NotPossible("say one of --adopt REQUEST_ID, --link ADDRESS, --resubmit, --give-up")
        if not _undecided(job):
            raise NotPossible(f"job {job_id} is {job.state}; there is nothing to decide")
        if adopt:
            return f"adopted request {adopt}; the job is {self.adopt_request(job_id, adopt)}"
        if link:
            if not re.match(r"https?://", link, re.IGNORECASE):
                raise NotPossible(f"--link must be an address such as https://images.segmind.com/video.mp4, not {link}")
            self._copy(job, result_url=link)
            return "copying the video from there, if its host is one of SegmindMediaHosts; nothing is paid"
        if resubmit:
            self._resubmit(job)
            return "submitting again, which will be billed"
        self.notifier.notify(self.store.close(job, State.FAILED, error=reasons.given_up().error, notified_at=None))
        return "given up; the job is FAILED"

    def _job(self, job_id: str) -> Job:
        job = self.store.get(job_id)
        if job is None:
            raise NotPossible(f"there is no job {job_id}")
        return job

    def _copy(self, job: Job, **link: str) -> None:
        """Have the job's result copied, from another ``result_url`` if there is one."""
        if job.state is State.COPYING and self.workflow.is_running(job):
            raise NotPossible(f"job {job.job_id} is being copied right now")
        again: dict[str, Any] = {"executions": job.executions + 1, "error": None, "notified_at": None, **link}
        if job.state is State.COPYING:
            job = self.store.note(job, **again)
        else:
            # An end without a price has released its reservation; what is copied belongs on the books.
            entry, reserved = reservation(job, self.clock())
            job = self.store.move(job, State.COPYING, entry=entry, **again, **reserved)
        self.workflow.start(job)

    def _made_after_all(self, job: Job) -> bool:
        """Whether the provider's history has a video of the request that the job was given up with."""
        try:
            rows = LostSubmits(self.store, self.provider, self.clock).requests(job)
        except ProviderError as error:
            words = f"request {job.request_id} may have a video by now, and nobody can tell: {error}"
            raise NotPossible(words) from error
        return any(row.request_id == job.request_id and row.url for row in rows)

    def _resubmit(self, job: Job) -> None:
        job = self.store.move(
            job,
            State.RECEIVED,
            executions=job.executions + 1,  # its next execution needs a name of its own
            request_id=None,
            earlier_request_ids=job.left_behind(None),
            submitted_at=None,
            error=None,
            notified_at=None,
            cost_usd=None,  # settled; the new call has a price of its own
            settled_usd=None,
            result_url=None,  # of the request that is given up
            last_frame_url=None,
            answer=None,
            gone_polls=0,
            attempts=0,
        )
        self.holding.queue.send(job)

    def history(self, model: str, since: float, until: float) -> list[dict[str, Any]]:
        """The provider's history for a person's eyes: without what was sent, but with the job that it names.

        Raises ProviderError.
        """
        return [_shown(row) for row in self.provider.history(model, since, until)]

    def history_part(self, model: str, since: float, until: float, first: int | None) -> dict[str, Any]:
        """As much of the same as fits into one answer, from the provider's page ``first`` on; all of it without one.

        The answer is ``{"rows", "next"}``; ``next`` is the page to ask for next, None after the last. A request that is
        made meanwhile moves the others down the pages, so that a row may be in two answers; none is left out.
        Raises ProviderError.
        """
        if first is None:  # as commands of earlier releases ask
            return {"rows": self.history(model, since, until), "next": None}
        rows: list[dict[str, Any]] = []
        size = 0
        for page, some in enumerate(self.provider.history_pages(model, since, until, first), start=first):
            shown = [_shown(row) for row in some]
            rows += shown
            size += len(json.dumps(shown))
            if size >= SHOWN_BYTES or page + 1 == first + SHOWN_PAGES:
                return {"rows": rows, "next": page + 1}
        return {"rows": rows, "next": None}

    def adopt_request(self, job_id: str, request_id: str) -> str:
        """Make a request of the history a job's own, because a person says so; the job's new state.

        Raises InvalidRequest when there is no such request or it has no end yet, Conflict when it belongs to
        another job.
        """
        job = self.store.get(job_id)
        # An end is only undone for the job's own request, which was made after all.
        ended = job is not None and job.state in (State.FAILED, State.EXPIRED) and job.request_id == request_id
        if job is None or not (ended or job.state in (State.UNCERTAIN, State.HELD)):
            raise InvalidRequest("job", f"{job_id} is not UNCERTAIN or HELD")
        if not usable_id(request_id):
            raise InvalidRequest("adopt", f"{request_id!r} can't be a request id")
        if (owner := self.store.owner_of(request_id)) not in (None, job_id):
            raise Conflict(f"request {request_id} belongs to job {owner}")
        # One of its earlier requests may be meant, too.
        requests = LostSubmits(self.store, self.provider, self.clock).requests(job, since=job.created_at)
        row = next((row for row in requests if row.request_id == request_id), None)
        if row is None:
            raise InvalidRequest("adopt", f"the provider's history has no request {request_id} of {job.model}")
        if (ended and not row.url) or not adopt(self.store, self.workflow, self.notifier, job, row):
            raise InvalidRequest("adopt", f"request {request_id} has no end yet; try again when it has")
        return str((self.store.get(job_id) or job).state)

    def unowned(self, model: str, since: float) -> list[dict[str, Any]]:
        """The requests of a model from a Unix time on that no job owns and that may have cost something.

        ``job_id`` is the job of ours that the request names, where its record is still there: it is that job's then.
        Raises ProviderError.
        """
        found = []
        for row in self._requests(model, since):
            if row.status != ProviderStatus.FAILED and usable_id(row.request_id) and not self._owner(row):
                shown = _shown(row)
                named = shown["job_id"]
                known = named if named and self.store.get(named) else None
                found.append({**shown, "job_id": known})
        return found

    def take_over(self, model: str, request_id: str) -> Job:
        """Make a job of a request that none owns, and bring its video home; the job, new or made before.

        Raises InvalidRequest when there is no such request or it has no end yet, Conflict when it belongs to a job,
        ProviderError.
        """
        row = next((row for row in self._requests(model, 0.0) if row.request_id == request_id), None)
        if row is None:
            raise InvalidRequest("request", f"the provider's history has no request {request_id} of {model}")
        if owner := self._owner(row):
            raise Conflict(f"request {request_id} belongs to job {owner}")
        if (named := named_job(row)) and self.store.get(named):
            raise Conflict(
                f"request {request_id} is that of job {named}: `seedance resolve {named} --adopt {request_id}`"
            )
        began = row.created_at or self.clock()
        job = creation.from_request(request_id, model, began)
        if not self.store.create(job):
            job = self.store.get(job.job_id) or job
        if job.state is State.UNCERTAIN and not adopt(self.store, self.workflow, self.notifier, job, row):
            raise InvalidRequest("request", f"request {request_id} has no end yet; try again when it has")
        return self.store.get(job.job_id) or job

    def go_on(self) -> int:
        """Start an execution for each job at the provider that has none running; how many jobs are there.

        For a state machine service that forgot its executions: the emulator, started again from what it kept. Elsewhere
        reconcile does the same, job by job, once they have stood still for long enough.
        """
        under_way = 0
        for state in sorted(AT_PROVIDER):
            for listed in list(self.store.each(state)):
                job = self.store.get(listed.job_id)
                if job is None or job.state not in AT_PROVIDER:
                    continue
                under_way += 1
                if not self.workflow.is_running(job):
                    self.workflow.start(self.store.note(job, executions=job.executions + 1))
        return under_way

    def _requests(self, model: str, since: float) -> list[HistoryRow]:
        now = self.clock()
        return merged(self.provider.history(model, max(since, now - HISTORY_SPAN_SECONDS), now))

    def _owner(self, row: HistoryRow) -> str | None:
        return self.store.owner_of(row.request_id)


def _shown(row: HistoryRow) -> dict[str, Any]:
    """A row for a person's eyes: without what was sent, but with the job that it names."""
    facts = {name: value for name, value in asdict(row).items() if name != "body"}
    cut = {name: value[:SHOWN_CHARACTERS] if isinstance(value, str) else value for name, value in facts.items()}
    return {"job_id": named_job(row), **cut}


def _undecided(job: Job) -> bool:
    """Whether only a person can say if the job's submit arrived, or where its video is."""
    held = job.state is State.HELD and job.code in (Hold.LOST, Hold.RESULT)
    return held or job.state is State.UNCERTAIN


@cache
def repair() -> Repair:
    """The use case as the stack has it."""
    stack = repair_settings()
    holding = Holding(jobs(), intake_queue(stack.intake_queue), clients.sqs(), stack.dead_letter_queue)
    return Repair(jobs(), provider(), notifier(), workflow(stack.state_machine), holding)
