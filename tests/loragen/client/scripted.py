"""A helper: a transport that gives prepared answers, one after the other, to sync and async clients alike."""

from typing import Any

import httpx2


class Scripted(httpx2.MockTransport):
    """Answers with each of these in turn; an exception is raised.

    Attributes:
        requests: What was asked, in order.
    """

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        super().__init__(self._next)
        self._answers = list(answers)
        self.requests: list[httpx2.Request] = []

    def _next(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        # A copy: what a client has read cannot be read again.
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)


def refused(status: int, code: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    """A service's own error answer."""
    error: dict[str, Any] = {"code": code, "message": f"it is {code}", "hint": "do otherwise", "request_id": "r1"}
    error["documentation_url"] = f"/errors#{code}"
    return httpx2.Response(
        status, json={"error": error}, headers=headers, request=httpx2.Request("GET", "http://cloud/number")
    )
