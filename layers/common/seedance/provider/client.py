"""The client for the provider's HTTP API. No other module calls it.

A POST that starts a video is never repeated here: there is no idempotency key, and every accepted POST is
billed. From httpx's errors, ``posts.submit_outcome`` decides whether "certainly nothing was queued" or "perhaps".
GETs can be repeated freely and do not need httpx (provider.http). Every response is limited in bytes and seconds.
"""

import itertools
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from seedance import masking
from seedance.aws import clients
from seedance.clock import CLOCK, Clock
from seedance.config import provider_settings
from seedance.errors import ConfigurationError, ProviderError, SubmitUncertain, Unavailable, UnexpectedAnswer
from seedance.provider import http, links, payloads, refusals
from seedance.provider.bodies import ANSWER_BYTES, PAGE_BYTES
from seedance.provider.history import MOST_ROWS, PAGE_ROWS, PAGES, Allowance
from seedance.provider.http import Limit
from seedance.provider.links import Result, Sent
from seedance.provider.payloads import Answer, HistoryRow, ProviderStatus, Standing
from seedance.provider.trouble import reason

if TYPE_CHECKING:
    import httpx

# Timeouts for a complete response, in seconds, including a retry with a new key. Each is shorter than the timeout of
# the function that makes the call.

SUBMIT_SECONDS = 30.0
"""A submit only queues a job. After half a minute no response is to be expected. Its function has 60 s."""

STATUS_SECONDS = 10.0
"""Reading a status is a lookup. If it is slow, the next poll tries again. Its function has 30 s."""

GENERATE_SECONDS = 840.0
"""The v1 call responds with the video once it is done. This leaves one of the function's 15 minutes to record the
outcome."""

UPLOAD_SECONDS = 20.0
"""An asset upload sends up to 40 MB of base64. It must leave time for the submit that follows within the same 60 s."""

NOTHING_QUEUED = frozenset({500, 502, 503, 521, 523, 525, 526})
"""Server errors that are sent before anything is queued. From 520 on they are Cloudflare's, which is in front of the
provider: with these four it did not reach the provider (connection refused, no route, TLS handshake or certificate
failed). Not 504, 522 and 524, which are sent after waiting for a response, and not 520, 527 and 530, which may be.
"""

HISTORY_PATH = "inference-request/request-history"


class Provider:
    """A client for the v1 and v2 API and the request history.

    ``key`` returns the API key. ``forget_key`` is called when the key is rejected, so that the next call
    reads a rotated one. ``media_hosts`` are the hosts that may serve results, see links.check. Nothing that this class
    returns or raises contains the key.
    """

    def __init__(
        self,
        base_url: str,
        upload_url: str,
        history_url: str,
        *,
        key: Callable[[], str],
        forget_key: Callable[[], None] = lambda: None,
        transport: "httpx.BaseTransport | None" = None,
        media_hosts: Collection[str] = (),
        clock: Clock = CLOCK,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._upload_url = upload_url.rstrip("/")
        self._history_url = history_url.rstrip("/")
        self._key = key
        self._forget_key = forget_key
        self._transport = transport
        self._media_hosts = media_hosts
        self._clock = clock
        self._sent_keys: set[str] = set()

    @cached_property
    def _http(self) -> "httpx.Client":
        """For POSTs. Imported when first used, because a poll makes no POST."""
        from seedance.provider import posts  # noqa: PLC0415

        return posts.client(self._transport)

    def authenticate(self) -> None:
        """Read the key now, so that a missing secret is found before the record says that a submit started."""
        self._key()

    def submit(self, model: str, body: Mapping[str, object]) -> str:
        """Start a video. Returns the request id of the queued job, which will be billed.

        Raises Refused or Unavailable if nothing was queued, SubmitUncertain if that is not known.
        """
        from seedance.provider import posts  # noqa: PLC0415

        with posts.submit_outcome():
            with self._post(f"{self._base_url}/v2/{model}", SUBMIT_SECONDS, body) as response:
                answer = self._heard(posts.whole(response, ANSWER_BYTES))
            _raise_for_submit(answer, self._clock())
            request_id = payloads.request_id(answer.said)
            if request_id is None:
                raise SubmitUncertain(
                    f"The provider accepted the request but returned no usable request id{_because(answer)}.",
                    status_code=answer.status,
                    excerpt=answer.excerpt,
                )
            return request_id

    def standing(self, request_id: str, sent: Sent | None = None) -> Standing | None:
        """The status of a request, from one GET of its result. None if the provider has no record of it (any more).

        ``sent`` is what the request contained; addresses in it are never mistaken for the result.
        Raises KeyRejected, RateLimited, Unavailable or UnexpectedAnswer.
        """
        try:
            answer = self._get(
                f"{self._base_url}/v2/requests/{quote(request_id, safe='')}", ANSWER_BYTES, STATUS_SECONDS
            )
        except HTTPError as error:
            raise Unavailable(f"The provider could not be reached: {reason(error)}.", excerpt=str(error)) from error
        if answer.status == 404:
            return None
        # A failed job is returned as 422, with the same structure as a running one.
        if answer.status in (200, 422) and isinstance(answer.said, dict) and "status" in answer.said:
            if others := payloads.others(answer.said, request_id):
                named = ", ".join(sorted(others))
                message = f"Asked for request {request_id}, but the response is about {named}."
                raise UnexpectedAnswer(message, status_code=answer.status, excerpt=answer.excerpt)
            standing = payloads.standing(answer.said)
            done = standing.status is ProviderStatus.COMPLETED
            return replace(standing, result=self.result(answer, sent)) if done else standing
        _raise_for_status(answer, self._clock())
        message = f"The provider answered {answer.status} without a status{_because(answer)}."
        raise UnexpectedAnswer(message, status_code=answer.status, excerpt=answer.excerpt)

    @contextmanager
    def generate(self, model: str, body: Mapping[str, object]) -> "Iterator[httpx.Response]":
        """Make a video with the blocking call of v1. Yields the response before its body is read.

        Raises the same errors as ``submit``. Errors while the body is read are left to the caller.
        """
        from seedance.provider import posts  # noqa: PLC0415

        with ExitStack() as stack:
            with posts.submit_outcome():
                response = stack.enter_context(self._post(f"{self._base_url}/v1/{model}", GENERATE_SECONDS, body))
                if response.status_code != 200:
                    _raise_for_submit(self._heard(posts.whole(response, ANSWER_BYTES)), self._clock())
            response.headers = response.headers.__class__(self._headers(response.headers))
            yield response

    def result(self, answer: Answer, sent: Sent | None = None) -> Result:
        """The video's address according to a response. If there is no single one, includes the masked response."""
        answer = self._heard(answer)
        result = links.read(answer.said, self._media_hosts, sent)
        if result.video:
            return result
        hosts = self._media_hosts
        return replace(result, answer=masking.kept(answer.said, answer.body, lambda url: links.is_allowed(url, hosts)))

    def upload_asset(self, media_type: str, encoded: str) -> str:
        """Upload an image (``encoded``: base64) to the provider's asset store. Returns its address there.

        This costs nothing and can be repeated. Raises Refused or Unavailable.
        """
        import httpx  # noqa: PLC0415

        from seedance.provider import posts  # noqa: PLC0415

        body = {"data_urls": [f"data:{media_type};base64,{encoded}"]}
        try:
            with self._post(f"{self._upload_url}/upload-asset", UPLOAD_SECONDS, body) as response:
                answer = self._heard(posts.whole(response, ANSWER_BYTES))
        except httpx.RequestError as error:
            raise Unavailable(f"The image could not be uploaded: {reason(error)}.", excerpt=str(error)) from error
        _raise_for_status(answer, self._clock())
        match answer.said:
            case {"file_urls": [str() as url, *_]}:
                return url
        message = f"The response to the asset upload has no file address{_because(answer)}."
        raise Unavailable(message, status_code=answer.status, excerpt=answer.excerpt)

    def history(self, model: str, since: float, until: float, within: Allowance | None = None) -> Iterator[HistoryRow]:
        """The account's requests of a model on the UTC days from one Unix time to another, newest first.

        A request has a row for each of its outputs. The provider finds models by a part of their name, so there may be
        rows of others. The iterator ends only after the last page: a request that it has not returned is not in the
        history. The range is at most 31 days, the first and the last included.
        Raises Refused, Unavailable or UnexpectedAnswer, also if the history can't be read completely ``within`` this.
        """
        return itertools.chain.from_iterable(self.history_pages(model, since, until, within=within))

    def request_rows(
        self,
        request_id: str,
        model: str,
        since: float,
        until: float,
        *,
        within: Allowance | None = None,
        listed: Callable[[str, float, float], Iterable[HistoryRow]] | None = None,
    ) -> list[HistoryRow]:
        """What the history shows of one request: its rows, one per output. Empty if it has no such request.

        The request is asked for by its id, which finds it whatever its age. The list of the model's requests decides
        if that does not: it also has the requests of a team's other members, and all outputs of a request. The range
        of the list is as in ``history``. ``listed`` returns it, if it is not read for this alone. Raises the same
        errors as ``history``.
        """
        within = within or Allowance()
        try:
            row = self.request_row(request_id, within)
        except ProviderError:
            row = None  # the list is asked instead; if it fails too, its error is raised
        if row and (row.url or row.status != ProviderStatus.COMPLETED):
            return [row]
        found: list[HistoryRow] = []
        for one in listed(model, since, until) if listed else self.history(model, since, until, within):
            if one.request_id == request_id:
                found.append(one)
            elif found and one.created_at != found[-1].created_at:
                break  # rows are sorted by creation time, so there are no more
        return found or ([row] if row else [])

    def request_row(self, request_id: str, within: Allowance | None = None) -> HistoryRow | None:
        """The history's row of a request of the key's own account. None if there is none by this id.

        Of a request with several outputs, the row may have the address of any. Raises the same errors as ``history``.
        """
        within = within or Allowance()
        if within.used_up:
            raise Unavailable("The history was not asked: too much of it has been read.")
        address = f"{self._history_url}/{HISTORY_PATH}/{quote(request_id, safe='')}"
        with within.spend():
            try:
                answer = self._get(address, ANSWER_BYTES, min(STATUS_SECONDS, within.seconds / 3))
            except HTTPError as error:
                raise Unavailable(f"The history could not be reached: {reason(error)}.", excerpt=str(error)) from error
            if answer.status == 404:
                return None
            _raise_for_status(answer, self._clock())
            row = payloads.history_row(payloads.single_row(answer.said), self._media_hosts)
        if row.request_id != request_id:
            about = f"about {row.request_id}" if row.request_id else f"not about a request{_because(answer)}"
            message = f"Asked for request {request_id}, but the response is {about}."
            raise UnexpectedAnswer(message, excerpt=answer.excerpt)
        return row

    def balance(self) -> float | None:
        """The account's balance in USD. None if the response has none. Raises the same errors as ``history``."""
        try:
            answer = self._get(f"{self._base_url}/v1/get-user-credits", ANSWER_BYTES, STATUS_SECONDS)
        except HTTPError as error:
            raise Unavailable(f"The provider could not be reached: {reason(error)}.", excerpt=str(error)) from error
        _raise_for_status(answer, self._clock())
        return payloads.balance(answer.said)

    def responses(self, request_id: str) -> tuple[Answer, Answer]:
        """The responses about a request, of whatever status: its record, and its row in the history. With no keys."""
        named = quote(request_id, safe="")
        addresses = (f"{self._base_url}/v2/requests/{named}", f"{self._history_url}/{HISTORY_PATH}/{named}")
        try:
            record, row = (self._get(address, ANSWER_BYTES, STATUS_SECONDS) for address in addresses)
        except HTTPError as error:
            raise Unavailable(f"The provider could not be reached: {reason(error)}.", excerpt=str(error)) from error
        return record, row

    def history_pages(
        self, model: str, since: float, until: float, first: int = 1, *, within: Allowance | None = None
    ) -> Iterator[list[HistoryRow]]:
        """Like ``history``, page by page, starting at page ``first``. The last page may be empty."""
        within, seen = within or Allowance(), set[tuple[str, str | None]]()
        for page in itertools.count(first):
            if within.used_up or page >= first + PAGES:
                raise Unavailable(f"The history could not be read completely: it continues after page {page - 1}.")
            query = {
                "page": page,
                "per_page": PAGE_ROWS,
                "from_date": payloads.day_of(since),
                "to_date": payloads.day_of(until),
                "model_name": model,
            }
            with within.spend():
                rows, more = self._history_page(query, within)
            ends = len(rows) < PAGE_ROWS and not more
            outputs = {(row.request_id, row.url) for row in rows}
            if outputs <= seen and not ends:
                raise UnexpectedAnswer(f"The history could not be read completely: page {page} repeats earlier pages.")
            yield rows
            if ends:
                return
            seen |= outputs

    def _history_page(self, query: Mapping[str, Any], within: Allowance) -> tuple[list[HistoryRow], bool]:
        """The rows of one page, and whether the response says that there are further pages."""
        address, page = f"{self._history_url}/{HISTORY_PATH}?{urlencode(query)}", query["page"]
        try:
            answer = self._get(address, PAGE_BYTES, min(STATUS_SECONDS, within.seconds))
        except HTTPError as error:
            raise Unavailable(f"The history could not be reached: {reason(error)}.", excerpt=str(error)) from error
        rows = payloads.history_rows(answer.said)
        _raise_for_status(answer, self._clock())
        if rows and len(rows) > MOST_ROWS:
            raise UnexpectedAnswer(f"The history response has {len(rows):,} rows; {PAGE_ROWS} were requested.")
        read = [payloads.history_row(row, self._media_hosts) for row in rows or ()]
        if rows is None or (rows and not any(row.request_id for row in read)):  # unreadable rows are not "no rows"
            raise UnexpectedAnswer(f"The history response has no rows{_because(answer)}.", excerpt=answer.excerpt)
        within.count(read)
        more = page < (payloads.pages(answer.said) or 0)
        if more and not rows:
            message = f"The history could not be read completely: page {page} is empty but not the last."
            raise UnexpectedAnswer(message)
        return read, more

    def _get(self, url: str, most: int, seconds: float) -> Answer:
        with self._unquoted(), Limit(seconds) as limit:
            for key in self._keys():
                answer = http.answer(url, {"x-api-key": key}, seconds, limit, most)
                if answer.status != 401:
                    break
        return self._heard(answer)

    @contextmanager
    def _post(self, url: str, seconds: float, body: Mapping[str, object]) -> "Iterator[httpx.Response]":
        """The response, before its body is read."""
        from seedance.provider import posts  # noqa: PLC0415

        with self._unquoted(), ExitStack() as stack:
            limit = stack.enter_context(Limit(seconds))
            for key in self._keys():
                headers = {"x-api-key": key}
                post = posts.posted(self._http, url, body, headers, silence=seconds, limit=limit)
                response = stack.enter_context(post)
                if response.status_code != 401:
                    break
            yield response

    def _heard(self, answer: Answer) -> Answer:
        """The answer with every sent key masked, in case it repeats one. A header that repeats a key is left out."""
        body = answer.body
        if b"\0" in body:  # JSON may be in UTF-16, in which a key would not be found
            body = body.decode(json.detect_encoding(body), errors="replace").encode()
        body = masking.keys(body, self._sent_keys)
        about = self._headers(answer.headers)
        return replace(answer, reason=masking.keys(answer.reason, self._sent_keys), headers=about, body=body)

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in headers.items() if masking.keys(value, self._sent_keys) == value}

    @contextmanager
    def _unquoted(self) -> Iterator[None]:
        """Masks the keys in any exception raised inside, which may quote a request or response header."""
        try:
            yield
        except BaseException as error:
            masking.scrub(error, self._sent_keys)
            raise

    def _keys(self) -> Iterator[str]:
        """The key, then after a 401 the new key, if the secret has changed.

        A request that gets a 401 is rejected before anything is queued, so even a POST can be sent again.
        """
        key = self._key()
        self._sent_keys.add(key)
        yield key
        self._forget_key()
        if (fresh := self._key()) != key:
            self._sent_keys.add(fresh)
            yield fresh


def _raise_for_submit(answer: Answer, now: float) -> None:
    """Like ``_raise_for_status``, but raises SubmitUncertain unless the status documents that nothing was queued."""
    status = answer.status
    if 200 <= status < 300:
        return
    if not (400 <= status < 500 or status in NOTHING_QUEUED):
        raise SubmitUncertain(
            f"The provider's gateway answered {status}; the job may be running anyway.",
            status_code=status,
            excerpt=answer.excerpt,
        )
    _raise_for_status(answer, now)


def _raise_for_status(answer: Answer, now: float) -> None:
    """Raise our error for an answer that is not a 2xx."""
    if error := refusals.error(answer, now):
        raise error


def _because(answer: Answer) -> str:
    """Why the answer's body can't be read, as the end of a message; "" if it can."""
    return f": {answer.unreadable}" if answer.unreadable else ""


@cache
def provider() -> Provider:
    """The client with the stack's settings. The key is read from Secrets Manager when first needed."""
    stack = provider_settings()
    return Provider(
        stack.segmind_base_url,
        stack.segmind_upload_url,
        stack.segmind_history_url,
        key=_api_key,
        forget_key=_api_key.cache_clear,
        media_hosts=stack.segmind_media_hosts,
    )


@cache
def _api_key() -> str:
    name = provider_settings().segmind_api_key_secret
    try:
        key = clients.secrets().get_secret_value(SecretId=name).get("SecretString", "").strip()
    except (ClientError, BotoCoreError) as error:
        raise ConfigurationError(f"the secret {name} can't be read: {error}") from error
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ConfigurationError(f"the secret {name} must contain only the provider's API key")
    return key
