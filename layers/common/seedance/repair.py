"""Repair: answers what a person's command asks of the function that has the provider's key, and does what it says.

Nothing of this happens by itself, and nothing of it buys a video.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from seedance.config import reconcile_settings
from seedance.errors import Conflict, InvalidRequest, SeedanceError
from seedance.jobs.handoff import Workflow, workflow
from seedance.jobs.job import AT_PROVIDER, Job, State, adopted_job_id
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
    clock: Callable[[], float] = time.time

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """What a command asks, by its ``ask``; what is expected to go wrong is an answer ``{"error"}`` in words.

        ``history``: ``model``, ``since``, ``until``, ``page`` -> ``rows``, ``next``
        ``adopt``: ``job_id``, ``request_id`` -> ``state``
        ``unowned``: ``model``, ``since`` -> ``requests``
        ``take over``: ``model``, ``request_id`` -> ``job_id``, ``state``
        ``go on``: -> ``under_way``
        """
        try:
            match question["ask"]:
                case "history":
                    span = question["model"], question["since"], question["until"]
                    return self.history_part(*span, question.get("page"))
                case "adopt":
                    return {"state": self.adopt_request(question["job_id"], question["request_id"])}
                case "unowned":
                    return {"requests": self.unowned(question["model"], question["since"])}
                case "take over":
                    job = self.take_over(question["model"], question["request_id"])
                    return {"job_id": job.job_id, "state": str(job.state)}
                case "go on":
                    return {"under_way": self.go_on()}
        except SeedanceError as error:
            return {"error": str(error)}
        return {"error": f"this release does not know the question {question['ask']!r}"}

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
        job = Job(
            job_id=adopted_job_id(request_id),
            state=State.UNCERTAIN,
            source="adopted",
            name=request_id,
            folder="adopted",
            model=model,
            transport="v2",
            submitted_at=began,
            error={"code": "SUBMIT_UNCERTAIN", "message": "A person is adopting this request."},
        )
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


@cache
def repair() -> Repair:
    """The use case as the stack has it."""
    return Repair(jobs(), provider(), notifier(), workflow(reconcile_settings().state_machine))
