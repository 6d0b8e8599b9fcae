"""The provider's HTTP API, and the only place that speaks it.

A POST that starts a video is never repeated here: it has no idempotency key, and every accepted one is
billed. ``submit_outcome`` draws the line between "certainly nothing queued" and "perhaps", by httpx's errors. GETs may
be repeated freely, and need no httpx (seedance.lines).
"""

import itertools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from seedance import answers, aws, lines
from seedance.answers import Answer, HistoryRow, Standing
from seedance.config import settings
from seedance.errors import (
    ConfigurationError,
    KeyRejected,
    OutOfCredits,
    RateLimited,
    Refused,
    SubmitUncertain,
    Unavailable,
    UnexpectedAnswer,
)
from seedance.tls import trust
from seedance.wording import reason

if TYPE_CHECKING:
    import httpx

SUBMIT_SECONDS = 30.0
"""A submit only queues; half a minute without an answer means that none will come."""

STATUS_SECONDS = 10.0
"""A status is a look-up; if it is slow, the next poll asks again."""

GENERATE_SECONDS = 840.0
"""The v1 call answers when the video is done; a minute of the function's 15 is left to say what happened."""

UPLOAD_SECONDS = 60.0
"""An asset upload carries up to 40 MB of base64."""

NOTHING_QUEUED = frozenset({500, 502, 503})
"""Server errors that answer a submit before anything is queued; a 504 comes from a gateway that waited."""

HISTORY_PAGE = 100
"""Rows a page of the history; the most that it gives."""


class Provider:
    """A client of the v1 and v2 API and of the request history.

    ``key`` returns the API key; ``forget_key`` is called when it was rejected, so that the next call
    reads a rotated one.
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
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._upload_url = upload_url.rstrip("/")
        self._history_url = history_url.rstrip("/")
        self._key = key
        self._forget_key = forget_key
        self._transport = transport

    @cached_property
    def _http(self) -> "httpx.Client":
        """For POSTs. Loaded with the first: a poll has none."""
        import httpx  # noqa: PLC0415

        return httpx.Client(
            transport=self._transport,
            verify=trust(),
            headers={"User-Agent": "seedance-pipeline"},
            # No connection is kept for the next call. A frozen Lambda wakes up to dead ones, and a POST
            # on a dead connection fails in the one way that can't be told from "accepted, answer lost".
            limits=httpx.Limits(max_keepalive_connections=0),
            follow_redirects=False,
        )

    def authenticate(self) -> None:
        """Read the key now, so that a missing secret shows before anybody writes that a submit began."""
        self._key()

    def submit(self, model: str, body: dict[str, Any]) -> str:
        """Start a video; the request id of the job that is now queued and will be billed.

        Raises Refused, Unavailable (both: nothing was queued) or SubmitUncertain.
        """
        with submit_outcome():
            answer = _whole(self._post(f"{self._base_url}/v2/{model}", SUBMIT_SECONDS, body))
            _raise_for_submit(answer)
            request_id = answer.said.get("request_id") if isinstance(answer.said, dict) else None
            if not isinstance(request_id, str) or not request_id:
                raise SubmitUncertain(
                    "The provider said yes but gave no request id.",
                    status_code=answer.status,
                    excerpt=answer.excerpt,
                )
            return request_id

    def standing(self, request_id: str) -> Standing | None:
        """How a request stands, by one GET of its result; None when the provider does not know it (any more).

        Raises KeyRejected, RateLimited, Unavailable or UnexpectedAnswer.
        """
        try:
            answer = self._get(f"{self._base_url}/v2/requests/{request_id}")
        except HTTPError as error:
            raise Unavailable(f"The provider could not be reached: {reason(error)}.", excerpt=str(error)) from error
        if answer.status == 404:
            return None
        # A failed job is served as 422, with the same shape as a running one.
        if answer.status in (200, 422) and isinstance(answer.said, dict) and "status" in answer.said:
            return answers.standing(answer.said)
        _raise_for_status(answer)
        raise UnexpectedAnswer(
            f"The provider answered {answer.status} without a status.",
            status_code=answer.status,
            excerpt=answer.excerpt,
        )

    @contextmanager
    def generate(self, model: str, body: dict[str, Any]) -> "Iterator[httpx.Response]":
        """Make a video by the one blocking call of v1; yields the answer with its body still to be read.

        Raises like ``submit``. What goes wrong while the caller reads the body is the caller's to judge.
        """
        with submit_outcome():
            response = self._post(f"{self._base_url}/v1/{model}", GENERATE_SECONDS, body)
            if response.status_code != 200:
                _raise_for_submit(_whole(response))
        try:
            yield response
        finally:
            response.close()

    def upload_asset(self, media_type: str, encoded: str) -> str:
        """Put an image (``encoded``: base64) into the provider's asset store; its address there.

        It costs nothing and may be repeated. Raises Refused or Unavailable.
        """
        import httpx  # noqa: PLC0415

        body = {"data_urls": [f"data:{media_type};base64,{encoded}"]}
        try:
            answer = _whole(self._post(f"{self._upload_url}/upload-asset", UPLOAD_SECONDS, body))
        except httpx.RequestError as error:
            raise Unavailable(f"The image could not be uploaded: {reason(error)}.", excerpt=str(error)) from error
        _raise_for_status(answer)
        match answer.said:
            case {"file_urls": [str() as url, *_]}:
                return url
        raise Unavailable(
            "The asset upload's answer has no file address.", status_code=answer.status, excerpt=answer.excerpt
        )

    def history(self, model: str, since: float, until: float) -> Iterator[HistoryRow]:
        """The account's requests of a model on the UTC days from one Unix time to another, newest first.

        Raises Refused, Unavailable or UnexpectedAnswer.
        """
        return itertools.chain.from_iterable(self.history_pages(model, since, until))

    def history_pages(self, model: str, since: float, until: float, first: int = 1) -> Iterator[list[HistoryRow]]:
        """The same, page by page, from page ``first`` on; the last page may be empty."""
        for page in itertools.count(first):
            query = {
                "page": page,
                "per_page": HISTORY_PAGE,
                "from_date": _utc_day(since),
                "to_date": _utc_day(until),
                "model_name": model,
            }
            try:
                answer = self._get(f"{self._history_url}/inference-request/request-history?{urlencode(query)}")
            except HTTPError as error:
                raise Unavailable(f"The history could not be reached: {reason(error)}.", excerpt=str(error)) from error
            _raise_for_status(answer)
            rows = answers.history_rows(answer.said)
            if rows is None or (rows and not any(map(answers.history_row, rows))):  # nothing legible is not "nothing"
                raise UnexpectedAnswer("The history's answer has no rows.", excerpt=answer.excerpt)
            yield [row for row in map(answers.history_row, rows) if row]
            if len(rows) < HISTORY_PAGE:
                return

    def _get(self, url: str) -> Answer:
        for key in self._keys():
            with lines.get(url, {"x-api-key": key}, STATUS_SECONDS) as response:
                about = {name.lower(): value for name, value in response.headers.items()}
                answer = Answer(response.status, response.reason or "", about, response.read())
            if answer.status != 401:
                break
        return answer

    def _post(self, url: str, seconds: float, body: dict[str, Any]) -> "httpx.Response":
        """Its answer, with the body still to be read."""
        import httpx  # noqa: PLC0415

        timeout = httpx.Timeout(seconds, connect=lines.CONNECT_SECONDS)
        for key in self._keys():
            request = self._http.build_request("POST", url, json=body, headers={"x-api-key": key}, timeout=timeout)
            response = self._http.send(request, stream=True)
            if response.status_code != 401:
                break
            response.read()
        return response

    def _keys(self) -> Iterator[str]:
        """The key; and once more, after a 401, if the secret holds another one by now.

        A 401 turns a request away at the door, so even a POST may be sent again.
        """
        key = self._key()
        yield key
        self._forget_key()
        if (fresh := self._key()) != key:
            yield fresh


def _whole(response: "httpx.Response") -> Answer:
    body = response.read()
    return Answer(response.status_code, response.reason_phrase, response.headers, body)


@contextmanager
def submit_outcome() -> Iterator[None]:
    """Turns what httpx raises around a submit into what is certain about it.

    The request was never sent when no connection came about; then nothing can have been queued. Whatever
    breaks later leaves the outcome open: the gateway may have taken the job before the line went dead.
    """
    import httpx  # noqa: PLC0415

    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
        raise Unavailable(f"The provider could not be reached: {reason(error)}.", excerpt=str(error)) from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
        raise ConfigurationError(f"SegmindBaseUrl or the key can't be used in a request: {reason(error)}") from error
    except httpx.HTTPError as error:
        raise SubmitUncertain(
            f"The request was sent, then the line broke before an answer came: {reason(error)}.", excerpt=str(error)
        ) from error


def _raise_for_submit(answer: Answer) -> None:
    """For a submit, a status that does not document "nothing was queued" leaves the outcome open."""
    status = answer.status
    if 200 <= status < 300:
        return
    if not (400 <= status < 500 or status in NOTHING_QUEUED):
        raise SubmitUncertain(
            f"The provider's gateway answered {status}: the job may run all the same.",
            status_code=status,
            excerpt=answer.excerpt,
        )
    _raise_for_status(answer)


def _raise_for_status(answer: Answer) -> None:
    """The provider's documented errors as ours; nothing for a 2xx."""
    status = answer.status
    if 200 <= status < 300:
        return
    said = _sentence(answer)
    facts: dict[str, Any] = {"status_code": status, "excerpt": answer.excerpt}
    match status:
        case 401:
            raise KeyRejected(
                f"The provider does not accept the API key ({said}). Put a valid key into the stack's secret.",
                **facts,
            )
        case 403:
            raise Refused(f"This account may not use this model or service ({said}).", **facts)
        case 404:
            raise Refused(f"The provider knows no such model or address ({said}).", **facts)
        case 406 if _is_about_money(said):
            raise OutOfCredits(
                f"The provider's account is out of credits or at its spend limit ({said}). Top it up.",
                **facts,
            )
        case 410:
            raise Refused(f"The provider has retired this model ({said}). Choose another.", **facts)
        case 429:
            raise RateLimited(
                f"The provider's rate limit is reached ({said}).",
                retry_after=_retry_after(answer),
                excerpt=answer.excerpt,
            )
        case 500 | 502 | 503 | 504:
            raise Unavailable(f"The provider is in trouble: it answered {status} ({said}).", **facts)
        case _ if 400 <= status < 500:
            raise Refused(f"The provider refused the request with {status}: {said}", **facts)
    raise UnexpectedAnswer(f"The provider answered {status}, which it does not document ({said}).", **facts)


def _is_about_money(said: str) -> bool:
    """Whether a 406 means credits or a spend limit; the same status also answers a wrong Content-Type."""
    text = said.lower()
    return any(word in text for word in ("credit", "spend", "balance", "insufficient", "limit"))


def _retry_after(answer: Answer) -> float | None:
    reset = answers.moment(answer.headers.get("x-rate-limit-reset-at-utc"))
    return None if reset is None else max(0.0, reset - time.time())


def _utc_day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def _sentence(answer: Answer) -> str:
    """The provider's own sentence, for people; a stand-in where it answered with a web page."""
    if isinstance(answer.said, dict):
        for name in ("error_description", "error", "message", "detail"):
            if sentence := answers.sentence(answer.said.get(name)):
                return sentence
    return f"HTTP {answer.status} {answer.reason}".strip()


@cache
def provider() -> Provider:
    """The stack's provider; the key is read from Secrets Manager on the first call that needs it."""
    stack = settings()
    return Provider(
        stack.segmind_base_url,
        stack.segmind_upload_url,
        stack.segmind_history_url,
        key=_api_key,
        forget_key=_api_key.cache_clear,
    )


@cache
def _api_key() -> str:
    name = settings().segmind_api_key_secret
    try:
        key = aws.secrets().get_secret_value(SecretId=name).get("SecretString", "").strip()
    except (ClientError, BotoCoreError) as error:
        raise ConfigurationError(f"the secret {name} can't be read: {error}") from error
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ConfigurationError(f"the secret {name} must hold the provider's key and nothing else")
    return key
