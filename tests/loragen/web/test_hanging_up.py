"""Work for a client ends with its connection, and its outcome is the work's otherwise."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars, get_contextvars

from loragen.web.errors import ClientGoneError
from loragen.web.hanging_up import unless_hung_up


class _Connection:
    """What a server says of a client that sends a body, and at last hangs up when it is let."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"late", "more_body": False}]

    async def receive(self) -> dict[str, Any]:
        if self.messages:
            return self.messages.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    def request(self) -> Request:
        return Request({"type": "http", "headers": []}, self.receive)


async def test_result_and_error_are_those_of_the_work() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    async def fail() -> None:
        raise ValueError("it went wrong")

    assert await unless_hung_up(_Connection().request(), work()) == 7
    with pytest.raises(ValueError, match="it went wrong"):
        await unless_hung_up(_Connection().request(), fail())


async def test_what_the_work_binds_for_the_log_is_bound_for_the_request() -> None:
    async def work(*, fails: bool) -> None:
        bind_contextvars(lora_id="a", fails=fails)
        await asyncio.sleep(0)
        if fails:
            raise ValueError("it went wrong")

    with bound_contextvars(request_id="abc"):
        await unless_hung_up(_Connection().request(), work(fails=False))
        assert get_contextvars() == {"request_id": "abc", "lora_id": "a", "fails": False}
        with pytest.raises(ValueError, match="it went wrong"):
            await unless_hung_up(_Connection().request(), work(fails=True))
        assert get_contextvars() == {"request_id": "abc", "lora_id": "a", "fails": True}
    clear_contextvars()


async def test_work_is_cancelled_when_the_client_is_gone() -> None:
    connection, ended = _Connection(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    waiting = asyncio.create_task(unless_hung_up(connection.request(), work()))
    await asyncio.sleep(0.01)
    assert not waiting.done(), "a part of the body is no end"
    connection.gone.set()
    with pytest.raises(ClientGoneError):
        await waiting
    assert ended.is_set(), "the work has ended before the error comes"


async def test_whoever_cancels_the_request_cancels_the_work() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    waiting = asyncio.create_task(unless_hung_up(_Connection().request(), work()))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
