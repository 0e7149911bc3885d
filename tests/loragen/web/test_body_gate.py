"""What passes the gate, and what does not."""

import asyncio
from collections.abc import Iterable

import pytest
from starlette.types import Message, Receive, Scope, Send

from loragen.web.body_gate import BodyGate
from loragen.web.errors import BodyTimeoutError, BodyTooLargeError, ClientGoneError

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
    headers = [] if length is None else [(b"content-length", length)]
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


async def test_endless_body_is_cut_at_the_limit() -> None:
    with pytest.raises(BodyTooLargeError, match="found 12 so far"):
        await pass_through(part(b"xxxx") for _ in range(1_000_000))


async def test_body_that_stops_is_a_timeout() -> None:
    with pytest.raises(BodyTimeoutError, match=r"within 0.05 s"):
        await pass_through([part(b"x")], timeout_seconds=0.05)


async def test_client_that_leaves_amid_its_body_is_gone() -> None:
    with pytest.raises(ClientGoneError):
        await pass_through([part(b"x"), DISCONNECT])
