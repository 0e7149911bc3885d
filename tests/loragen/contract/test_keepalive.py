"""Silent connections to a real server, with the time between pings cut to a fraction."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import grpc
import pytest

from loragen.contract.keepalive import client_options, server_options

PING = 0.2


class Silence:
    """A server whose streams say nothing, and are ended by their clients or by the network."""

    def __init__(self) -> None:
        self.open = 0

    async def listen(self, request: bytes, context: object) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            await asyncio.sleep(600)
            yield b""
        finally:
            self.open -= 1


@pytest.fixture
async def silence() -> AsyncIterator[tuple[Silence, int]]:
    quiet = Silence()
    server = grpc.aio.server(options=server_options(PING))
    handlers = {"Listen": grpc.unary_stream_rpc_method_handler(quiet.listen)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Silence", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield quiet, port
    await server.stop(None)


async def listen(port: int) -> grpc.StatusCode:
    """Listen until the connection is lost; the reason."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=client_options(PING)) as channel:
        call = channel.unary_stream("/test.Silence/Listen")(b"")
        with suppress(grpc.aio.AioRpcError):
            async for _ in call:
                pass
        code: grpc.StatusCode = await call.code()
        return code


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


async def test_silent_stream_stays_for_many_pings(silence: tuple[Silence, int]) -> None:
    """A server that does not permit them ends it at the fourth."""
    quiet, port = silence
    listening = asyncio.create_task(listen(port))
    assert await until(lambda: quiet.open == 1, 10)
    await asyncio.sleep(12 * PING)
    assert quiet.open == 1
    assert not listening.done()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


class Proxy:
    """A network that forwards until it forgets a connection: then it drops what comes, and says nothing."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.forgets = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, far_writer]
        for source, target in ((reader, far_writer), (far_reader, writer)):
            self._tasks.add(asyncio.create_task(self._forward(source, target)))

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            if not self.forgets:
                target.write(data)
        if not self.forgets:
            target.close()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        self._server.close()
        await self._server.wait_closed()


async def test_connection_that_the_network_forgot_is_noticed_by_both_ends(silence: tuple[Silence, int]) -> None:
    """Within one and a half times the time between pings: half a minute with the real one."""
    quiet, port = silence
    proxy = Proxy(port)
    listening = asyncio.create_task(listen(await proxy.start()))
    try:
        assert await until(lambda: quiet.open == 1, 10)
        proxy.forgets = True
        assert await until(lambda: quiet.open == 0, 10)
        assert await asyncio.wait_for(listening, 10) == grpc.StatusCode.UNAVAILABLE
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await proxy.stop()


def test_client_is_permitted_what_it_does() -> None:
    client, server = dict(client_options()), dict(server_options())
    assert server["grpc.http2.min_ping_interval_without_data_ms"] < client["grpc.keepalive_time_ms"]
    for end in (client, server):
        assert end["grpc.keepalive_time_ms"] + end["grpc.http2.ping_timeout_ms"] < 60_000
        assert end["grpc.http2.max_pings_without_data"] == 0
