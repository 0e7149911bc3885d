"""The gate that a request's body passes before anything else reads it: bounded in size and in time.

A body that announces too many bytes is refused unread, as is a compressed one, whose size is not that of its content;
one that keeps coming is cut at the limit. Uploads may be larger than other bodies, and are in memory until they are
answered: how many there are at a time is left to who lets them in, what the bytes mean to the routes.
"""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loragen.web.errors import (
    BodyEncodingError,
    BodyTimeoutError,
    BodyTooLargeError,
    ClientGoneError,
)
from loragen.web.headers import find_header

_UPLOAD_HINT = "send the factors of the LoRA alone, without whole modules and embeddings, in bfloat16 or float16"
_NO_UPLOADS: Mapping[str, int] = MappingProxyType({})


class BodyGate:
    """ASGI middleware that reads the body and hands it on in one piece.

    Args:
        app: What comes behind the gate.
        max_bytes: Longest body.
        timeout_seconds: Longest time for a body to arrive; None leaves that to the connection (`server`).
        uploads: Longest body of a POST to these paths; their time is left to the connection.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int,
        timeout_seconds: float | None,
        uploads: Mapping[str, int] = _NO_UPLOADS,
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout = timeout_seconds
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._uploads.get(scope.get("path", "")) if scope.get("method") == "POST" else None
        if most is None:
            await self._pass_on(scope, receive, send, self._max_bytes, self._timeout)
            return
        await self._pass_on(scope, receive, send, most, None, _UPLOAD_HINT)

    async def _pass_on(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        max_bytes: int,
        timeout_seconds: float | None,
        hint: str = "send less at a time",
    ) -> None:
        announced = find_header(scope, b"content-length")
        if announced is not None and (not announced.isdecimal() or int(announced) > max_bytes):
            raise _too_large(max_bytes, f"{announced[:20]} announced", hint)
        if announced is None and find_header(scope, b"transfer-encoding") is None:  # by HTTP it has no body then
            await self._app(scope, receive, send)
            return
        coding = (find_header(scope, b"content-encoding") or "identity").strip().lower()
        if coding != "identity":
            raise BodyEncodingError(coding)
        try:
            async with asyncio.timeout(timeout_seconds):
                body = await _read(receive, max_bytes, hint)
        except TimeoutError:
            raise BodyTimeoutError(f"expected the whole body within {timeout_seconds:g} s") from None
        handed_on = False

        async def replay() -> Message:
            nonlocal handed_on
            if handed_on:
                return await receive()
            handed_on = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


async def _read(receive: Receive, max_bytes: int, hint: str) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError("the client left before its body was complete")
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise _too_large(max_bytes, f"{len(body)} so far", hint)
        if not message.get("more_body", False):
            return bytes(body)


def _too_large(max_bytes: int, found: str, hint: str) -> BodyTooLargeError:
    return BodyTooLargeError(f"expected a body of at most {max_bytes} bytes, found {found}", hint)
