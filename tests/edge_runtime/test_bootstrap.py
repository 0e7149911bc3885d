"""The device as a process of its own: it comes up, follows, serves, and stops when told to."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx2
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from edge_runtime import bootstrap
from edge_runtime.bootstrap import _BoundedH11, _Server
from tests.edge_runtime.fake_cloud import FakeCloud


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(root: Path, log: Path, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m edge_runtime` with these settings."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LORAGEN_EDGE_")}
    environment |= {f"LORAGEN_EDGE_{name.upper()}": str(value) for name, value in settings.items()}
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_runtime"], cwd=root, env=environment, stdout=file, stderr=file
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if condition():
                return
        except httpx2.HTTPError:
            pass
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def test_device_runs_as_a_process_and_survives_a_kill(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path, root: Path
) -> None:
    """Up, merged, killed without warning, up again without its cloud, and down in order at SIGTERM with code 0."""
    port, log = free_port(), tmp_path / "log"
    url = f"http://127.0.0.1:{port}"
    settings = {
        "cloud_url": cloud.url.replace("://", "://kitchen:hunter2@"),
        "base_model": tiny_base,
        "data_dir": tmp_path / "edge",
        "port": port,
        "poll_interval_seconds": 0.2,
        "context_tokens": 256,
        "threads": 1,
        "log_format": "json",
    }
    wanted = cloud.make("router")
    cloud.publish(wanted)
    body = {"model": "router", "messages": [{"role": "user", "content": "The quick brown"}], "temperature": 0}

    def is_merged() -> bool:
        return any(m["state"] == "merged" for m in httpx2.get(f"{url}/v1/models").json()["data"])

    with running(root, log, **settings) as process:
        wait_for(is_merged, process, log)
        assert httpx2.get(f"{url}/health/ready").status_code == 200
        first = httpx2.post(f"{url}/v1/chat/completions", json=body).json()
        assert first["system_fingerprint"] == f"merged-{wanted.bundle_id}"
        process.kill()
        process.wait()
    cloud.fail("/", hang_up=True)
    with running(root, log, **settings) as process:
        wait_for(lambda: httpx2.get(f"{url}/health/ready").status_code == 200, process, log)
        again = httpx2.post(f"{url}/v1/chat/completions", json=body).json()
        assert again["choices"] == first["choices"]
        assert again["system_fingerprint"] == first["system_fingerprint"]
        status = httpx2.get(f"{url}/status").json()
        assert status["channel_version"] == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert events[0] == "starting"
    assert events[-1] == "stopped"
    assert {"request", "update"} <= set(events)
    assert "The quick brown" not in log.read_text()
    assert "hunter2" not in log.read_text()


def test_stream_in_flight_is_finished_before_the_process_ends(tiny_base: Path, tmp_path: Path, root: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    url = f"http://127.0.0.1:{port}"
    settings = {
        "base_model": tiny_base,
        "data_dir": tmp_path / "edge",
        "port": port,
        "threads": 1,
        "quantization": "Q8_0",
    }
    body = {"model": "base", "prompt": "The", "max_tokens": 200, "temperature": 0, "stream": True}
    with running(root, log, **settings) as process:
        wait_for(lambda: httpx2.get(f"{url}/health/ready").status_code == 200, process, log)
        with httpx2.stream("POST", f"{url}/v1/completions", json=body, timeout=30) as answer:
            pieces = answer.iter_text()
            text = next(pieces)
            process.send_signal(signal.SIGTERM)
            text += "".join(pieces)
        assert text.endswith("data: [DONE]\n\n")
        assert process.wait(30) == 0, log.read_text()


def test_start_that_cannot_work_is_one_line_and_a_hint(tmp_path: Path, root: Path) -> None:
    log = tmp_path / "log"
    with running(root, log, base_model=tmp_path / "nothing.gguf", data_dir=tmp_path / "edge") as process:
        assert process.wait(60) == 1
    text = log.read_text()
    assert "LORAGEN_EDGE_BASE_MODEL" in text
    assert "hint:" in text
    assert "Traceback" not in text


def test_port_that_is_taken_is_a_clear_error(tiny_base: Path, tmp_path: Path, root: Path) -> None:
    log = tmp_path / "log"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running(root, log, base_model=tiny_base, data_dir=tmp_path / "edge", port=port) as process:
            assert process.wait(60) == 1
    assert "LORAGEN_EDGE_PORT" in log.read_text()
    assert "Traceback" not in log.read_text()


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[int]:
    """An application behind the device's server, on a free loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = _Server(uvicorn.Config(app, http=_BoundedH11, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


async def test_connections_leave_half_of_the_descriptors_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle connections are enough to use them all up; who is over the limit is hung up on, the others are answered."""

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (6, 6))
    async with served(answering) as port:
        open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        reader, refused = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        reader, writer = open_ones[0]
        writer.write(b"GET / HTTP/1.1\r\nHost: device\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 204")
        for _, each in (*open_ones, (reader, refused)):
            each.close()


HEAD = b"POST / HTTP/1.1\r\nHost: device\r\nContent-Length: 4\r\n\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body, in two parts, each after 0.6 s; with nothing when the body does not come."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    await asyncio.sleep(0.6)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body[:2], "more_body": True})
    await asyncio.sleep(0.6)
    await send({"type": "http.response.body", "body": body[2:]})


@pytest.mark.parametrize("sent", [b"", HEAD[:20], HEAD + b"bo", HEAD + b"body" + HEAD + b"bo"])
async def test_client_that_stops_in_the_middle_of_a_request_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """It has most likely vanished, and would keep its connection for ever; a request before it is answered."""
    monkeypatch.setattr(bootstrap, "_REQUEST_SECONDS", 0.3)
    async with served(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(10):
                while part := await reader.read(1_000):
                    received += part
        assert received.endswith(b"\r\n\r\nbody" if b"body" in sent else b"")
        writer.close()


async def test_client_that_waits_for_its_answer_is_not_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the answer takes, whole or in parts, and again on the same connection."""
    monkeypatch.setattr(bootstrap, "_REQUEST_SECONDS", 0.3)
    async with served(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(HEAD + b"body")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(4) == b"body"
        writer.close()
