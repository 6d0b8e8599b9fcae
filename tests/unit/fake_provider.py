"""The provider's place in the unit tests."""

import json
import re
from collections import deque
from typing import Any

import httpx


class Wire:
    """The other end of the connection: returns the given responses in order, and records the requests.

    A request without a response fails the test, and so does a response that is left over. Only the history's answers
    about one request by its id are kept apart: it has none (404) unless ``will_know`` says otherwise.
    """

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.asked_by_id: list[str] = []
        """The requests that were asked for by their id."""
        self._answers: deque[httpx.Response | Exception] = deque()
        self._known: dict[str, deque[httpx.Response | Exception]] = {}

    @property
    def left_over(self) -> int:
        """The number of responses that were not requested."""
        return len(self._answers) + sum(map(len, self._known.values()))

    def will_know(self, request_id: str, *answers: dict[str, Any] | httpx.Response | Exception) -> None:
        """What the history answers about a request by its id, in order: a row, or another response."""
        made = [httpx.Response(200, json=answer) if isinstance(answer, dict) else answer for answer in answers]
        self._known.setdefault(request_id, deque()).extend(made)

    def will(self, *answers: httpx.Response | Exception) -> None:
        self._answers.extend(answers)

    def forget(self) -> None:
        """Drop the responses that are left over, where that is expected."""
        self._answers.clear()
        self._known.clear()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        if found := re.fullmatch(r"/inference-request/request-history/([^/]+)", request.url.path):
            self.asked_by_id.append(found[1])
            known = self._known.get(found[1])
            return self._played(known.popleft() if known else httpx.Response(404))
        self.requests.append(request)
        assert self._answers, f"unexpected request: {request.method} {request.url}"
        return self._played(self._answers.popleft())

    @staticmethod
    def _played(answer: httpx.Response | Exception) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.url}" for request in self.requests]

    def body(self, number: int = -1) -> dict[str, Any]:
        return dict(json.loads(self.requests[number].content))
