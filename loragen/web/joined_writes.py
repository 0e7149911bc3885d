"""Answers that go out in one piece.

uvicorn writes the head of an answer and its body apart. That is two system calls and two packets, of which the first
only wakes a client that has to wait for the second.
"""

import asyncio
from typing import Any

_JOINED_BYTES = 16 * 1024
"""Most bytes of an answer that wait for the rest of it: the head, and the body of a small one."""


class JoinedWrites:
    """A transport that sends small pieces together.

    Args:
        transport: Sends.
        loop: Of which one turn is the longest wait of a piece for the next.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting = b""
        self._is_scheduled = False

    def write(self, data: bytes) -> None:
        self._waiting += data
        if len(self._waiting) > _JOINED_BYTES:
            self.flush()
        elif self._waiting and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush_late)

    def flush(self) -> None:
        """Send what waits."""
        waiting, self._waiting = self._waiting, b""
        if waiting and not self._transport.is_closing():
            self._transport.write(waiting)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush_late(self) -> None:
        self._is_scheduled = False
        self.flush()
