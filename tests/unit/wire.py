"""The provider's place in the unit tests."""

import json
from collections import deque
from typing import Any

import httpx


class Wire:
    """The other end of the line: answers in the order they were given, and keeps what was asked.

    A request that nobody expected fails the test, and so does an answer that nobody fetched.
    """

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self._answers: deque[httpx.Response | Exception] = deque()

    def will(self, *answers: httpx.Response | Exception) -> None:
        self._answers.extend(answers)

    def forget(self) -> None:
        """Drop the answers that nobody fetched, where that is no mistake."""
        self._answers.clear()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        assert self._answers, f"nobody expected {request.method} {request.url}"
        answer = self._answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.url}" for request in self.requests]

    def body(self, number: int = -1) -> dict[str, Any]:
        return dict(json.loads(self.requests[number].content))
