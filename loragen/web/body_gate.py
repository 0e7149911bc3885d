"""The gate that a request's body passes before anything else reads it: bounded in size and in time.

A body that announces too many bytes is refused unread, one that keeps coming is cut at the limit. What the bytes mean
is left to the routes.
"""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loragen.web.errors import BodyTimeoutError, BodyTooLargeError, ClientGoneError


class BodyGate:
    """ASGI middleware that reads the body and hands it on in one piece.

    Args:
        app: What comes behind the gate.
        max_bytes: Longest body.
        timeout_seconds: Longest time for a body to arrive; None leaves that to the connection (`server`).
    """

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_seconds: float | None) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout = timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length")
        if announced is not None and (not announced.isdecimal() or int(announced) > self._max_bytes):
            raise self._too_large(f"{announced[:20]} announced")
        try:
            async with asyncio.timeout(self._timeout):
                body = await self._read(receive)
        except TimeoutError:
            raise BodyTimeoutError(f"expected the whole body within {self._timeout:g} s") from None
        handed_on = False

        async def replay() -> Message:
            nonlocal handed_on
            if handed_on:
                return await receive()
            handed_on = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError("the client left before its body was complete")
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                raise self._too_large(f"{len(body)} so far")
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self, found: str) -> BodyTooLargeError:
        return BodyTooLargeError(f"expected a body of at most {self._max_bytes} bytes, found {found}")
