"""Repair: carry out people's decisions about jobs, in the function that has the provider's key.

The commands only send requests and print results. All rules about money are here, in the version that the stack runs.
A video is only bought again if a person explicitly says so: ``retry`` with ``pay``, ``resolve`` with ``resubmit``.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from seedance import bounds
from seedance.aws import clients
from seedance.clock import CLOCK, Clock
from seedance.config import repair_settings
from seedance.errors import (
    BadRecord,
    Conflict,
    InvalidRequest,
    NeedsPayment,
    NotPossible,
    ProviderError,
    SeedanceError,
)
from seedance.jobs import creation, reasons
from seedance.jobs.cancelling import cancel
from seedance.jobs.handoff import Batches, Workflow, batches, intake_queue, workflow
from seedance.jobs.job import AT_PROVIDER, REOPENABLE, Hold, Job, State
from seedance.jobs.retrying import is_undecided
from seedance.jobs.store import JobStore, jobs
from seedance.jobs.switch import switch
from seedance.media.buckets import media
from seedance.notices.notifier import Notifier, notifier
from seedance.observability import logger
from seedance.pacing.poll_schedule import HISTORY_SPAN_SECONDS
from seedance.provider.client import Provider, provider
from seedance.provider.matching import is_another_model, named_job
from seedance.provider.payloads import HistoryRow, ProviderStatus, merged, usable_id
from seedance.upkeep.again import Again
from seedance.upkeep.examining import examine
from seedance.upkeep.holding import Holding, Worked
from seedance.upkeep.indexing import Indexing
from seedance.upkeep.lost import LostSubmits, adopt
from seedance.upkeep.questions import Answer, Question, ShownRequest, checked

SHOWN_BYTES = 1024 * 1024
"""A response ends with the page of the history that reaches this size. Lambda's limit for a response is 6 MB."""

SHOWN_PAGES = 10
"""The maximum number of pages per response: all of them must be read within provider.HISTORY_SECONDS."""

SHOWN_CHARACTERS = 1000
"""The longest text of a row in a response, so that 100 rows can't exceed Lambda's limit."""


@dataclass(frozen=True)
class Repair:
    """The use case and its dependencies."""

    store: JobStore
    provider: Provider
    notifier: Notifier
    workflow: Workflow
    holding: Holding
    batches: Batches
    clock: Clock = CLOCK

    def answer(self, question: Question) -> Answer:
        """Answer a command's request, by its ``ask``. An expected error is returned as ``{"error"}``, a sentence.

        If ``retry`` can only buy the video again, ``needs_usd`` is its estimate.

        ``history``: ``model``, ``since``, ``until``, ``page`` -> ``rows``, ``next``
        ``requests of``: ``job_id`` -> ``rows``, ``incomplete``
        ``adopt``: ``job_id``, ``request_id`` -> ``state``
        ``retry``: ``job_id``, ``pay``, ``max_usd`` or None -> ``said``
        ``resolve``: ``job_id`` and one of ``adopt``, ``link``, ``resubmit``, ``give_up`` -> ``said``
        ``cancel``: ``job_id`` -> ``job_id``, ``state``, ``said``
        ``unowned``: ``model``, ``since`` -> ``requests``, ``incomplete``
        ``take over``: ``model``, ``request_id`` -> ``job_id``, ``state``
        ``go on``: -> ``under_way``
        ``pause``: ``reason`` or None -> ``fresh``, ``reason``
        ``resume``, ``redrive``: -> ``number``, ``more``, ``since``
        ``release``: ``since``, ``room_usd`` -> the same and ``room_usd``, ``left``, ``left_usd``, ``budget_usd``
        ``restart``: ``batch_id`` -> ``said``
        ``index``: ``step``, ``since`` -> ``number``, ``more``, ``step``, ``since``
        ``examine``: ``what``, ``request_id`` -> ``examined``
        """
        try:
            return self._answer(checked(question))
        except NeedsPayment as error:
            return {"error": str(error), "needs_usd": error.usd}
        except SeedanceError as error:
            return {"error": str(error)}

    def _answer(self, given: Question) -> Answer:  # noqa: PLR0912 - one branch for each question
        match given["ask"]:
            case "history":
                return self.history(given["model"], given["since"], given["until"], given["page"])
            case "requests of":
                return self.requests_of(given["job_id"])
            case "adopt":
                return {"state": self.adopt_request(given["job_id"], given["request_id"])}
            case "retry":
                return {"said": self.retry(given["job_id"], pay=given["pay"], max_usd=given.get("max_usd"))}
            case "resolve":
                adopted, link = given.get("adopt"), given.get("link")
                resubmit, give_up = given.get("resubmit", False), given.get("give_up", False)
                said = self.resolve(given["job_id"], adopt=adopted, link=link, resubmit=resubmit, give_up=give_up)
                return {"said": said}
            case "cancel":
                job = cancel(self.store, self.holding.queue, given["job_id"])
                return {
                    "job_id": job.job_id,
                    "state": str(job.state),
                    "said": job.error["message"] if job.error else "",
                }
            case "unowned":
                rows, incomplete = _first(self.unowned(given["model"], given["since"]))
                return {"requests": rows, "incomplete": incomplete}
            case "take over":
                job = self.take_over(given["model"], given["request_id"])
                return {"job_id": job.job_id, "state": str(job.state)}
            case "go on":
                return {"under_way": self.go_on()}
            case "pause":
                fresh = self.holding.pause(given.get("reason"))
                return {"fresh": fresh, "reason": self.holding.switch.paused()}
            case "resume":
                return _worked(self.holding.resume(given.get("since", 0.0)))
            case "release":
                worked = self.holding.release(Hold.BUDGET, given.get("since", 0.0), given.get("room_usd"))
                left: Answer = {"room_usd": worked.room_usd, "left": worked.left, "left_usd": worked.left_usd}
                return {**_worked(worked), **left, "budget_usd": self.holding.budget}
            case "redrive":
                return _worked(self.holding.redrive())
            case "index":
                done = Indexing(self.store, self.clock).run(given.get("step", 0), given.get("since", 0.0))
                return {"number": done.number, "more": done.more, "step": done.step, "since": done.since}
            case "restart":
                self.batches.restart(given["batch_id"])
                return {"said": f"batch {given['batch_id']} was started again; what it has made is kept"}
            case "examine":
                return {"examined": examine(self.provider, media, given["what"], given.get("request_id", ""))}
        raise AssertionError(f"questions.QUESTIONS has {given['ask']}, and this method does not")

    def retry(self, job_id: str, *, pay: bool, max_usd: float | None = None) -> str:
        """Try an ended or stuck job again, and return a description of what happens. Only pays again with ``pay``.

        ``max_usd``: the most that the video may cost, by its estimate. Raises DearerThanAllowed, NeedsPayment, or
        NotPossible, also if the history can't be read to check whether there is a video by now.
        """
        return self._again.retry(self._job(job_id), pay=pay, max_usd=max_usd)

    def resolve(
        self,
        job_id: str,
        *,
        adopt: str | None = None,
        link: str | None = None,
        resubmit: bool = False,
        give_up: bool = False,
    ) -> str:
        """Carry out a person's decision about a job that is UNCERTAIN, or HELD because of a lost submit or result.

        Returns a description of what happens. Raises NotPossible, InvalidRequest, Conflict and ProviderError.
        """
        job = self._job(job_id)
        link = (link or "").strip()
        if [bool(adopt), bool(link), resubmit, give_up].count(True) != 1:
            raise NotPossible("use exactly one of --adopt REQUEST_ID, --link ADDRESS, --resubmit, --give-up")
        if not is_undecided(job):
            raise NotPossible(f"job {job_id} is {job.state}; there is nothing to decide")
        if adopt:
            return f"adopted request {adopt}; the job is {self.adopt_request(job_id, adopt)}"
        if link:
            if not re.match(r"https?://", link, re.IGNORECASE):
                example = "https://images.segmind.com/video.mp4"
                raise NotPossible(f"--link must be an address like {example}, not {bounds.shown(link)}")
            self._again.copy(job, result_url=link)
            return "copying the video from there, if its host is in SegmindMediaHosts; this costs nothing"
        if resubmit:
            self._again.resubmit(job)
            return "submitting again, which will be billed"
        self.notifier.notify(self.store.close(job, State.FAILED, error=reasons.given_up().error, notified_at=None))
        return "given up; the job is FAILED"

    def _job(self, job_id: str) -> Job:
        job = self.store.get(job_id)
        if job is None:
            raise NotPossible(f"job {bounds.shown(job_id)} does not exist")
        return job

    def history(self, model: str, since: float, until: float, first: int = 1) -> Answer:
        """The provider's history for people: as much as fits into one response, from the provider's page ``first`` on.

        Returns ``rows`` and ``next``. A request that is made in the meantime shifts the pages, so a row may be in two
        responses, but no row is missing. Raises ProviderError.
        """
        rows: list[ShownRequest] = []
        size = 0
        for page, some in enumerate(self.provider.history_pages(model, since, until, first), start=first):
            shown = [_shown(row) for row in some]
            rows += shown
            size += len(json.dumps(shown))
            if size >= SHOWN_BYTES or page + 1 == first + SHOWN_PAGES:
                return {"rows": rows, "next": page + 1}
        return {"rows": rows, "next": None}

    def requests_of(self, job_id: str) -> Answer:
        """The requests of a job, newest first: those whose ids it knows, and those in the history that name it.

        ``incomplete`` says why the history could not be searched for the latter, None if it was.
        """
        job = self._job(job_id)
        known = job.left_behind(None)
        found: dict[str, HistoryRow] = {}
        incomplete: str | None = None
        for request_id in known:
            with suppress(ProviderError):  # if the list does not show it either, ``incomplete`` or its absence tells
                if row := self.provider.request_row(request_id):
                    found[request_id] = row
        try:
            for row in self._lost.requests(job, since=job.created_at):
                if row.request_id in known or named_job(row) == job_id:
                    found[row.request_id] = row  # with all of its outputs
        except ProviderError as error:
            incomplete = str(error)
        newest_first = sorted(found.values(), key=lambda row: row.created_at or 0.0, reverse=True)
        rows, cut = _first([_shown(row) for row in newest_first])
        return {"rows": rows, "incomplete": incomplete or cut}

    def adopt_request(self, job_id: str, request_id: str) -> str:
        """Make a request of the history a job's own, as a person decided. Returns the job's new state.

        Raises InvalidRequest if there is no such request or it has not ended, Conflict if it belongs to another job.
        """
        job = self.store.get(job_id)
        # An end is only undone for the job's own request, if the provider made the video after all.
        ended = job is not None and job.state in REOPENABLE and job.request_id == request_id
        if job is None or not (ended or job.state in (State.UNCERTAIN, State.HELD)):
            raise InvalidRequest("job", f"{bounds.shown(job_id)} is not UNCERTAIN or HELD")
        if not usable_id(request_id):
            raise InvalidRequest("adopt", f"{bounds.shown(request_id)!r} is not a valid request id")
        if (owner := self.store.owner_of(request_id)) not in (None, job_id):
            raise Conflict(f"request {request_id} belongs to job {owner}")
        # It may also be one of the job's earlier requests.
        row = self._lost.request(job, request_id, since=job.created_at)
        if row is None:
            raise InvalidRequest("adopt", f"the provider's history has no request {request_id} of {job.model}")
        if (ended and not row.url) or not self._adopt(job, row):
            raise InvalidRequest("adopt", f"request {request_id} has not ended yet; try again when it has")
        return str((self.store.get(job_id) or job).state)

    @property
    def _again(self) -> Again:
        return Again(self.store, self.provider, self.notifier, self.workflow, self.holding.queue, clock=self.clock)

    @property
    def _lost(self) -> LostSubmits:
        return LostSubmits(self.store, self.provider, self.clock)

    def _adopt(self, job: Job, row: HistoryRow) -> bool:
        return adopt(self.store, self.workflow, self.notifier, job, row, now=self.clock())

    def unowned(self, model: str, since: float) -> list[ShownRequest]:
        """The requests of a model since a Unix time that no job owns and that may have been billed.

        ``job_id`` is the job that the request names, if its record still exists; then the request belongs to that job.
        Raises ProviderError.
        """
        found: list[ShownRequest] = []
        for row in self._requests(model, since):
            if is_another_model(row.model, model) or row.status == ProviderStatus.FAILED:
                continue
            if usable_id(row.request_id) and not self._owner(row):
                shown = _shown(row)
                named = shown["job_id"]
                known = named if named and self.store.get(named) else None
                found.append({**shown, "job_id": known})
        return found

    def take_over(self, model: str, request_id: str) -> Job:
        """Create a job for a request that no job owns, and copy its video. Returns the job, new or existing.

        Raises InvalidRequest if there is no such request or it has not ended, Conflict if it belongs to a job,
        ProviderError.
        """
        if not usable_id(request_id):
            raise InvalidRequest("request", f"{bounds.shown(request_id)!r} is not a valid request id")
        rows = self.provider.request_rows(request_id, model, *self._span(0.0))
        row = next((row for row in merged(rows) if not is_another_model(row.model, model)), None)
        if row is None:
            raise InvalidRequest("request", f"the provider's history has no request {request_id} of {model}")
        if owner := self._owner(row):
            raise Conflict(f"request {request_id} belongs to job {owner}")
        if (named := named_job(row)) and self.store.get(named):
            raise Conflict(
                f"request {request_id} belongs to job {named}; use `seedance resolve {named} --adopt {request_id}`"
            )
        began = row.created_at or self.clock()
        job = creation.from_request(request_id, model, began)
        if not self.store.create(job):
            job = self.store.get(job.job_id) or job
        if job.state is State.UNCERTAIN and not self._adopt(job, row):
            raise InvalidRequest("request", f"request {request_id} has not ended yet; try again when it has")
        return self.store.get(job.job_id) or job

    def go_on(self) -> int:
        """Start an execution for each job at the provider without a running one. Returns the number of those jobs.

        This is for the emulator, which loses its executions when it is restarted. On AWS, reconcile does the same for
        each job that has not changed for long enough.
        """
        under_way = 0
        for state in sorted(AT_PROVIDER):
            for listed in list(self.store.each(state)):
                try:
                    job = self.store.get(listed.job_id)
                except BadRecord as error:  # reconcile raises the alarm for it; the others continue
                    logger().error("not restarted", extra={"job_id": listed.job_id, "reason": str(error)})
                    continue
                if job is None or job.state not in AT_PROVIDER:
                    continue
                under_way += 1
                if not self.workflow.is_running(job):
                    with suppress(Conflict):  # it has changed its state, and will be seen in the next one
                        self.workflow.start(self.store.note(job, executions=job.executions + 1))
        return under_way

    def _requests(self, model: str, since: float) -> list[HistoryRow]:
        return merged(self.provider.history(model, *self._span(since)))

    def _span(self, since: float) -> tuple[float, float]:
        """From a Unix time to now, or the longest time span of one query."""
        now = self.clock()
        return max(since, now - HISTORY_SPAN_SECONDS), now

    def _owner(self, row: HistoryRow) -> str | None:
        return self.store.owner_of(row.request_id)


def _worked(worked: Worked) -> Answer:
    return {"number": worked.number, "more": worked.more, "since": worked.since}


def _shown(row: HistoryRow) -> ShownRequest:
    """A row for people, with texts of at most SHOWN_CHARACTERS."""
    return {
        "job_id": named_job(row),
        "request_id": row.request_id[:SHOWN_CHARACTERS],
        "status": row.status[:SHOWN_CHARACTERS],
        "url": row.url and row.url[:SHOWN_CHARACTERS],
        "error": row.error and row.error[:SHOWN_CHARACTERS],
        "cost_usd": row.cost_usd,
        "created_at": row.created_at,
        "model": row.model and row.model[:SHOWN_CHARACTERS],
    }


def _first(rows: list[ShownRequest]) -> tuple[list[ShownRequest], str | None]:
    """As many rows as fit into a response, and what is missing, in words."""
    size = 0
    for number, row in enumerate(rows):
        size += len(json.dumps(row))
        if size > SHOWN_BYTES and number:
            return rows[:number], f"only the first {number:,} of {len(rows):,} requests fit into the response"
    return rows, None


@cache
def repair() -> Repair:
    """The use case, configured for this stack."""
    stack = repair_settings()
    queue, dead_letters, budget = intake_queue(stack.intake_queue), stack.dead_letter_queue, stack.daily_budget_usd
    holding = Holding(jobs(), switch(), queue, clients.sqs(), dead_letters, budget=budget)
    of_batches = batches(stack.batch_state_machine)
    return Repair(jobs(), provider(), notifier(), workflow(stack.state_machine), holding, of_batches)
