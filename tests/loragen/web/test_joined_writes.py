"""What is written together, and what does not wait."""

import asyncio
from typing import cast

from loragen.web.joined_writes import JoinedWrites


class FakeTransport:
    """Remembers what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def joined() -> tuple[JoinedWrites, FakeTransport]:
    transport = FakeTransport()
    return JoinedWrites(cast(asyncio.Transport, transport), asyncio.get_running_loop()), transport


async def test_head_and_body_of_a_small_answer_are_one_write() -> None:
    writes, transport = joined()
    for part in (b"head", b"body", b""):
        writes.write(part)
    assert transport.written == []
    writes.flush()
    assert transport.written == [b"headbody"]
    await asyncio.sleep(0)
    assert transport.written == [b"headbody"]
    assert writes.is_closing() is False


async def test_what_is_not_complete_goes_at_the_next_turn_of_the_loop() -> None:
    writes, transport = joined()
    writes.write(b"head")
    await asyncio.sleep(0)
    assert transport.written == [b"head"]
    writes.write(b"event")
    await asyncio.sleep(0)
    assert transport.written == [b"head", b"event"]


async def test_large_parts_do_not_wait_and_nothing_is_lost_at_the_end() -> None:
    writes, transport = joined()
    writes.write(b"head")
    writes.write(b"x" * 20_000)
    assert len(transport.written) == 1
    writes.write(b"last")
    writes.close()
    assert transport.written[1:] == [b"last"]
    assert transport.closed
    writes.write(b"too late")
    await asyncio.sleep(0)
    assert len(transport.written) == 2
