"""The provider's place in the unit tests."""

import json
from collections import deque
from typing import Any

import httpx


class Wire:
    """The other end of the connection: returns the given responses in order, and records the requests.

    A request without a response fails the test, and so does a response that is left over.
    """

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self._answers: deque[httpx.Response | Exception] = deque()

    def will(self, *answers: httpx.Response | Exception) -> None:
        self._answers.extend(answers)

    def forget(self) -> None:
        """Drop the responses that are left over, where that is expected."""
        self._answers.clear()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        assert self._answers, f"unexpected request: {request.method} {request.url}"
        answer = self._answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.url}" for request in self.requests]

    def body(self, number: int = -1) -> dict[str, Any]:
        return dict(json.loads(self.requests[number].content))
