"""The process: both protocols on real ports, and a shutdown that loses nothing."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from cloud_service.bootstrap import run
from cloud_service.errors import ConfigurationError
from cloud_service.server import _BoundedH11, _HttpServer, listen
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from tests.cloud_service.clouds import settings_for
from tests.cloud_service.fake_generator import FakeGenerator


class Process:
    """A service that runs in this process, on ports of its own."""

    def __init__(self, stop: asyncio.Event, ports: tuple[int, int], task: "asyncio.Task[None]") -> None:
        self.stop = stop
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.grpc_address = f"127.0.0.1:{ports[1]}"
        self.task = task


@asynccontextmanager
async def running(directory: Path, generator: FakeGenerator, **changes: Any) -> AsyncIterator[Process]:
    stop = asyncio.Event()
    ports: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
    listening: Callable[[int, int], None] = lambda http, grpc: ports.set_result((http, grpc))  # noqa: E731
    settings = settings_for(directory, port=0, grpc_port=0, **changes)
    task = asyncio.create_task(run(settings, [generator], stop, listening))
    await asyncio.wait({task, ports}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    yield Process(stop, ports.result(), task)
    stop.set()
    await task


async def test_http_and_grpc_share_one_service(tmp_path: Path, generator: FakeGenerator) -> None:
    async with (
        running(tmp_path, generator) as process,
        httpx2.AsyncClient(base_url=process.url) as http,
        grpc.aio.insecure_channel(process.grpc_address) as channel,
    ):
        answer = (await http.post("/generate-lora", json={"description": "Sort."})).json()
        over_grpc = await stubs.GeneratorStub(channel).GenerateLora(pb.GenerateLoraRequest(description="Sort."))
        assert over_grpc.cached
        assert over_grpc.id == answer["id"]


async def test_shutdown_is_not_ready_first_then_finishes_what_is_in_flight(
    tmp_path: Path, generator: FakeGenerator
) -> None:
    async with (
        running(tmp_path, generator, drain_delay_seconds=0.4) as process,
        httpx2.AsyncClient(base_url=process.url) as http,
        grpc.aio.insecure_channel(process.grpc_address) as channel,
    ):
        watching = asyncio.ensure_future(stubs.ChannelsStub(channel).Watch(pb.WatchRequest(channel="c")).read())
        generator.gate.clear()
        in_flight = asyncio.create_task(http.post("/generate-lora", json={"description": "in flight"}))
        await generator.wait_until_called()
        process.stop.set()
        await asyncio.sleep(0.05)
        assert (await http.get("/health/ready")).status_code == 503
        assert (await http.get("/health/live")).status_code == 200
        late = asyncio.create_task(http.post("/generate-lora", json={"description": "late"}))
        await asyncio.sleep(0.5)
        with pytest.raises(httpx2.ConnectError):
            await httpx2.AsyncClient(base_url=process.url).get("/health/live")
        assert not process.task.done()
        generator.gate.set()
        assert (await in_flight).status_code == 200
        assert (await late).status_code == 200
        assert await watching is grpc.aio.EOF
        await process.task


async def test_small_answers_are_sent_at_once() -> None:
    """Without TCP_NODELAY every answer of two packets waits some 40 ms for the client's delayed acknowledgement."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def on_connection(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with listen("127.0.0.1", 0) as listener:
        server = await asyncio.start_server(on_connection, sock=listener)
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await accepted
        writer.close()
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def bounded(app: Callable[..., Any]) -> AsyncIterator[int]:
    """An application behind the connections of the service; its port."""
    with listen("127.0.0.1", 0) as listener:
        server = _HttpServer(uvicorn.Config(app, http=_BoundedH11, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


async def test_client_that_completes_no_head_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """At first, amid a head, and after an answer while it sends on a body that nobody wants."""
    monkeypatch.setattr("cloud_service.server._HEAD_SECONDS", 0.3)
    post = b"POST / HTTP/1.1\r\nHost: cloud\r\nContent-Length: 100000\r\n\r\n"
    async with bounded(_answer) as port:
        for sent, answers in ((b"", False), (b"GET / HTTP/1.1\r\nHost:", False), (post, True)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            async with asyncio.timeout(5):
                if answers:
                    await reader.readuntil(b"\r\n\r\n")
                while not reader.at_eof():
                    writer.write(b"x" if sent else b"")
                    await asyncio.sleep(0.05)
            writer.close()


async def test_long_answers_and_slow_downloads_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_service.server._HEAD_SECONDS", 0.2)
    size = 16_000_000  # more than the system's buffers take

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.5)
        await _answer(scope, receive, send, bytes(size))

    async with bounded(slow) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: cloud\r\n\r\n")
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.5)
            assert await reader.readexactly(size) == bytes(size)
        writer.close()


async def test_connections_leave_half_of_the_descriptors_to_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (6, 6))
    async with bounded(_answer) as port:
        writers = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: cloud\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writers.append(writer)
        refused, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(5):
                assert await refused.read() == b""
        for each in (*writers, writer):
            each.close()


async def _answer(scope: Scope, receive: Receive, send: Send, body: bytes = b"") -> None:
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


async def test_port_in_use_stops_the_start_with_its_name(tmp_path: Path, generator: FakeGenerator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for changes, told in (({"port": port}, "LORAGEN_CLOUD_PORT"), ({"grpc_port": port}, "LORAGEN_CLOUD_GRPC_PORT")):
            settings = settings_for(tmp_path, **({"port": 0, "grpc_port": 0} | changes))
            with pytest.raises(ConfigurationError, match=str(port)) as caught:
                await run(settings, [generator], asyncio.Event())
            assert told in caught.value.hint


async def test_sigterm_drains_and_ends_with_success(tmp_path: Path) -> None:
    script = Path(__file__).with_name("serve_fake.py")
    child = await asyncio.create_subprocess_exec(
        sys.executable, script, tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    async with asyncio.timeout(60):
        port = int(await child.stdout.readline())
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            in_flight = asyncio.create_task(http.post("/generate-lora", json={"description": "in flight"}))
            await asyncio.sleep(0.2)
            child.send_signal(signal.SIGTERM)
            assert (await in_flight).status_code == 200
        _, log = await child.communicate()
    assert child.returncode == 0
    assert b'"event": "draining"' in log
    assert b'"generations_cut_off": 0' in log


def test_bad_setting_ends_the_process_with_one_clear_line() -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "cloud_service"],
        env={**os.environ, "LORAGEN_CLOUD_PORT": "http"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == 2
    assert "LORAGEN_CLOUD_PORT" in outcome.stderr
    assert "Traceback" not in outcome.stderr
