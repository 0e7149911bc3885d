"""A light HTTP client, so that a load generator that shares a core with the server takes little of it.

A connection sends prepared bytes and reads an answer with a `Content-Length`, or without a body: no more of HTTP.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from benchmarks.errors import BenchmarkError, HungUpError

_NO_BODY = frozenset({204, 304})
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    status: int
    head: bytes
    body: bytes

    @property
    def size(self) -> int:
        """Bytes of the whole answer."""
        return len(self.head) + len(_END) + len(self.body)

    def header(self, name: str) -> str | None:
        """The value of a header; `name` is in lower case."""
        return _header(self.head, name)


class Connection(asyncio.Protocol):
    """A kept-alive connection with one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._is_lost = False
        self._buffer = bytearray()
        self._answered: asyncio.Future[Reply] | None = None

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Connect."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    async def send(self, request: bytes) -> Reply:
        """Send a whole request and read the answer.

        Raises:
            HungUpError: The server closed the connection, before the request or during it.
        """
        assert self._transport is not None
        if self._is_lost:
            raise HungUpError("the server hung up between two requests")
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answered

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_END)
        if end < 0 or self._answered is None:
            return
        head = bytes(self._buffer[:end])
        status = int(head[9:12])
        size = 0 if status in _NO_BODY else int(_header(head, "content-length") or 0)
        if len(self._buffer) < end + 4 + size:
            return
        body = bytes(self._buffer[end + 4 : end + 4 + size])
        del self._buffer[: end + 4 + size]
        answered, self._answered = self._answered, None
        if not answered.done():  # whoever asked may have been cancelled
            answered.set_result(Reply(status, head, body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(HungUpError("the server hung up in the middle of an answer"))


@dataclass(slots=True)
class LoadResult:
    """What a load came to.

    Attributes:
        seconds: From the first request to the last answer.
        latencies: Seconds of each request.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds


def request_bytes(method: str, target: str, host: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole request; underscores in the names of headers stand for hyphens."""
    fields = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body:
        fields |= {"content-type": "application/json", "content-length": str(len(body))}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def repeat_for(connections: Sequence[Connection], request: bytes, seconds: float, status: int) -> LoadResult:
    """Send one request again and again over each connection, for so long.

    Raises:
        BenchmarkError: An answer has another status.
    """
    round_, until = LoadResult(), time.perf_counter() + seconds

    async def work(connection: Connection) -> None:
        while (began := time.perf_counter()) < until:
            verify_status(await connection.send(request), status)
            round_.latencies.append(time.perf_counter() - began)

    await _timed(round_, [work(connection) for connection in connections])
    return round_


async def send_all(connections: Sequence[Connection], requests: Sequence[bytes], status: int) -> LoadResult:
    """Send each request once, each connection the next one as soon as it has its answer.

    Raises:
        BenchmarkError: An answer has another status.
    """
    round_, waiting = LoadResult(), iter(requests)

    async def work(connection: Connection) -> None:
        for request in waiting:
            began = time.perf_counter()
            verify_status(await connection.send(request), status)
            round_.latencies.append(time.perf_counter() - began)

    await _timed(round_, [work(connection) for connection in connections])
    return round_


async def send_at_rate(
    connect: Callable[[], Awaitable[Connection]],
    requests: Sequence[bytes],
    per_second: float,
    answered: Callable[[int, float, Reply], Awaitable[None]],
) -> None:
    """Send requests at a steady rate, whether earlier ones are answered or not; returns when all were.

    Args:
        connect: Makes a connection; those that are free are used again.
        requests: Each is sent once.
        per_second: The rate.
        answered: Called with the number of each request, its seconds and its answer.
    """
    free: list[Connection] = []
    everything: list[Connection] = []

    async def send(number: int) -> None:
        if free:
            connection = free.pop()
        else:
            connection = await connect()
            everything.append(connection)
        began = time.perf_counter()
        reply = await connection.send(requests[number])
        seconds = time.perf_counter() - began
        free.append(connection)
        await answered(number, seconds, reply)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(len(requests)):
            await asyncio.sleep(max(0.0, started + number / per_second - time.perf_counter()))
            tasks.create_task(send(number))
    for connection in everything:
        connection.close()


def verify_status(reply: Reply, status: int) -> None:
    """Return when an answer has this status.

    Raises:
        BenchmarkError: It has another.
    """
    if reply.status != status:
        raise BenchmarkError(f"expected status {status}, found {reply.status}: {reply.body[:200]!r}")


async def _timed(round_: LoadResult, work: Sequence[Awaitable[None]]) -> None:
    started = time.perf_counter()
    await asyncio.gather(*work)
    round_.seconds = time.perf_counter() - started


def _header(head: bytes, name: str) -> str | None:
    start = head.lower().find(b"\r\n" + name.encode() + b":")
    if start < 0:
        return None
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else None].strip().decode("latin-1")
