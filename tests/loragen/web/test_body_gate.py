"""What passes the gate, and what does not."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loragen.web.body_gate import BodyGate
from loragen.web.errors import (
    BodyEncodingError,
    BodyTimeoutError,
    BodyTooLargeError,
    ClientGoneError,
)

DISCONNECT: Message = {"type": "http.disconnect"}


def part(body: bytes, more_body: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more_body}


class Passed:
    """The application behind the gate."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.messages += [await receive(), await receive()]


async def pass_through(
    messages: Iterable[Message], length: bytes | None = None, timeout_seconds: float | None = None
) -> list[Message]:
    """What the application receives of these messages, of which it may read ten bytes."""
    coming = iter(messages)
    reads = 0

    async def receive() -> Message:
        nonlocal reads
        reads += 1
        message = next(coming, None)
        if message is None:
            await asyncio.sleep(60)
            raise AssertionError
        return message

    async def send(message: Message) -> None:
        raise AssertionError("the gate does not answer")

    passed = Passed()
    headers = [(b"transfer-encoding", b"chunked") if length is None else (b"content-length", length)]
    try:
        await BodyGate(passed, 10, timeout_seconds)({"type": "http", "headers": headers}, receive, send)
    except BodyTooLargeError:
        assert length is None or reads == 0, "what announces too much is refused unread"
        raise
    return passed.messages


async def test_body_is_handed_on_in_one_piece_and_then_the_connection() -> None:
    messages = [part(b"01234"), part(b"56789"), part(b"", more_body=False), DISCONNECT]
    assert await pass_through(messages) == [part(b"0123456789", more_body=False), DISCONNECT]


@pytest.mark.parametrize("length", [b"11", b"1e3", b"-1", b"9" * 19])
async def test_announced_body_over_the_limit_is_refused_unread(length: bytes) -> None:
    with pytest.raises(BodyTooLargeError, match="at most 10 bytes"):
        await pass_through([part(b"x")], length)


@pytest.mark.parametrize(("coding", "is_taken"), [(b"gzip", False), (b"x, br", False), (b"Identity", True)])
async def test_compressed_body_is_refused_unread(coding: bytes, is_taken: bool) -> None:
    passed = Passed()
    scope = {"type": "http", "headers": [(b"content-length", b"1"), (b"content-encoding", coding)]}

    async def receive() -> Message:
        assert is_taken, "the body was read"
        return part(b"x", more_body=False)

    async def send(message: Message) -> None:
        raise AssertionError("the gate does not answer")

    gate = BodyGate(passed, 10, None)
    if is_taken:
        await gate(scope, receive, send)
        assert passed.messages[0] == part(b"x", more_body=False)
        return
    with pytest.raises(BodyEncodingError) as refused:
        await gate(scope, receive, send)
    assert refused.value.headers == {"accept-encoding": "identity"}


async def test_endless_body_is_cut_at_the_limit() -> None:
    with pytest.raises(BodyTooLargeError, match="found 12 so far"):
        await pass_through(part(b"xxxx") for _ in range(1_000_000))


async def test_body_that_stops_is_a_timeout() -> None:
    with pytest.raises(BodyTimeoutError, match=r"within 0.05 s"):
        await pass_through([part(b"x")], timeout_seconds=0.05)


async def test_client_that_leaves_amid_its_body_is_gone() -> None:
    with pytest.raises(ClientGoneError):
        await pass_through([part(b"x"), DISCONNECT])


def upload(app: ASGIApp, body: bytes, path: str = "/bundles", method: str = "POST") -> Coroutine[Any, Any, None]:
    """A request through a gate that takes uploads of 20 bytes."""

    async def receive() -> Message:
        return part(body, more_body=False)

    async def send(message: Message) -> None:
        raise AssertionError("the gate does not answer")

    return app(
        {"type": "http", "method": method, "path": path, "headers": [(b"transfer-encoding", b"chunked")]}, receive, send
    )


async def test_upload_may_be_longer_on_its_path_alone() -> None:
    passed = Passed()
    gate = BodyGate(passed, 10, None, {"/bundles": 20})
    await upload(gate, b"x" * 20)
    assert passed.messages[0] == part(b"x" * 20, more_body=False)
    for body, path, method in ((21, "/bundles", "POST"), (11, "/bundles/1", "POST"), (11, "/bundles", "PUT")):
        with pytest.raises(BodyTooLargeError):
            await upload(gate, b"x" * body, path, method)
