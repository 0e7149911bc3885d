"""Connections on real sockets: bounded in number and in the time that a request may take to arrive."""

import asyncio
import contextlib
import json
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from loragen.web import server
from loragen.web.errors import ConfigurationError
from loragen.web.server import HttpServer, listen
from loragen.web.tls import ServerTls, TlsFiles, client_context
from tests.certificates import Authority

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n"


@asynccontextmanager
async def served(
    app: ASGIApp,
    shutdown_timeout_seconds: int = 1,
    tls: ServerTls | None = None,
    trusted_proxies: Sequence[str] = (),
) -> AsyncIterator[int]:
    """An application on a free loopback port."""
    listener = listen("127.0.0.1", 0, "PORT")
    http = HttpServer(app, listener, shutdown_timeout_seconds, tls, trusted_proxies)
    serving = asyncio.create_task(http.run())
    try:
        yield http.port
    finally:
        http.stop()
        await serving


async def answer(scope: Scope, receive: Receive, send: Send, body: bytes = b"") -> None:
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


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


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(10):
            while part := await reader.read(1_000):
                received += part
    return received


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: here\r\n\r\n",
        HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n"),
        HEAD.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked") + b"zz\r\n",
    ],
)
async def test_what_is_no_http_gets_an_error_in_the_form_of_all_errors(sent: bytes) -> None:
    async with served(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        head, _, body = (await read_to_the_end(reader)).partition(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    error = json.loads(body)["error"]
    assert set(error) == {"code", "message", "hint", "request_id", "documentation_url"}
    assert error["code"] == "malformed_request"
    assert f"x-request-id: {error['request_id']}".encode() in head


@pytest.mark.parametrize("sent", [b"", HEAD[:20], HEAD + b"bo", HEAD + b"body" + HEAD + b"bo"])
async def test_client_that_stops_in_the_middle_of_a_request_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """It has most likely vanished, and would keep its connection for ever; a request before it is answered."""
    monkeypatch.setattr(server, "_REQUEST_SECONDS", 0.3)
    async with served(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        received = await read_to_the_end(reader)
        assert received.endswith(b"\r\n\r\nbody" if b"body" in sent else b"")
        writer.close()


async def test_client_that_sends_on_a_body_that_nobody_wants_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its answer, and trickles the rest of its request."""
    monkeypatch.setattr(server, "_REQUEST_SECONDS", 0.3)
    async with served(answer) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        async with asyncio.timeout(5):
            while not reader.at_eof():
                writer.write(b"x")
                await asyncio.sleep(0.05)
        writer.close()


async def test_client_that_waits_for_its_answer_is_not_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the answer takes, whole or in parts, and again on the same connection."""
    monkeypatch.setattr(server, "_REQUEST_SECONDS", 0.3)
    async with served(echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(HEAD + b"body")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(4) == b"body"
        writer.close()


async def test_long_answers_and_slow_downloads_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for the next request runs out while the client still reads the answer to the last one."""
    monkeypatch.setattr(server, "_REQUEST_SECONDS", 0.2)
    size = 16_000_000  # more than the system's buffers take

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.5)
        await answer(scope, receive, send, bytes(size))

    async with served(slow) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(GET)
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.5)
            assert await reader.readexactly(size) == bytes(size)
        writer.close()


@pytest.mark.parametrize("is_idle", [False, True])
async def test_connections_leave_half_of_the_descriptors_to_the_service(
    monkeypatch: pytest.MonkeyPatch, is_idle: bool
) -> None:
    """Idle connections are enough to use them all up; who is over the limit is hung up on, the others are answered."""
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (6, 6))
    async with served(answer) as port:
        within = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if not is_idle:
                writer.write(GET)
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            within.append((reader, writer))
        refused, over = await asyncio.open_connection("127.0.0.1", port)
        assert await read_to_the_end(refused) == b""
        for reader, writer in within:
            writer.write(GET)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            writer.close()
        over.close()


async def big(scope: Scope, receive: Receive, send: Send) -> None:
    """More than the system's buffers take, in pieces."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(200):
        await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
    await send({"type": "http.response.body"})


async def test_client_that_does_not_read_its_answer_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_READ_SECONDS", 0.2)
    async with served(big) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000)
        writer.write(GET)
        await asyncio.sleep(1)
        received = len(await read_to_the_end(reader))
        assert 0 < received < 20_000_000
        writer.close()


async def test_client_that_reads_slowly_gets_all_of_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_READ_SECONDS", 0.3)
    async with served(big) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000)
        writer.write(GET)
        received = parts = 0
        while received < 20_000_000:
            part = await reader.read(2_000_000)
            assert part, f"broken off after {received} bytes"
            received, parts = received + len(part), parts + 1
            if parts % 32 == 0:
                await asyncio.sleep(0.15)
        writer.close()


@pytest.mark.parametrize("sent", [b"", GET])
async def test_client_that_was_waited_for_longest_makes_room(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """Whether it sends nothing or reads nothing: who comes later, a health probe for example, is answered."""
    monkeypatch.setattr(server, "_PATIENCE_SECONDS", 0.1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (answer if scope["path"] == "/health" else big)(scope, receive, send)

    async with served(app) as port:
        slow = []
        for _ in range(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000)
            writer.write(sent)
            slow.append((reader, writer))
        await asyncio.sleep(0.3)
        monkeypatch.setattr(resource, "getrlimit", lambda kind: (8, 8))
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET.replace(b"/ ", b"/health ", 1))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            writer.close()
        for _, writer in slow:
            writer.transport.abort()


@pytest.mark.parametrize(("descriptors", "expected"), [(1_024, 64), (6, 1), (1_048_576, 2_048), (-1, 2_048)])
def test_connections_that_are_accepted_in_one_go_fit_into_the_other_half(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, expected: int
) -> None:
    assert resource.RLIM_INFINITY == -1
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (descriptors, descriptors))
    assert server._backlog() == expected


async def test_small_answers_are_sent_at_once() -> None:
    """Without TCP_NODELAY every answer of two packets waits some 40 ms for the client's delayed acknowledgement."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def on_connection(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with listen("127.0.0.1", 0, "PORT") as listener:
        small = await asyncio.start_server(on_connection, sock=listener)
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await accepted
        writer.close()
        small.close()
        await small.wait_closed()


def test_address_that_is_taken_is_an_error() -> None:
    with listen("127.0.0.1", 0, "PORT") as taken, pytest.raises(ConfigurationError, match="in use") as caught:
        listen(*taken.getsockname(), "LORAGEN_PORT")
    assert "LORAGEN_PORT" in caught.value.hint


async def test_stop_lets_requests_in_flight_finish() -> None:
    async with served(echo, shutdown_timeout_seconds=30) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"body")
        await asyncio.sleep(0.1)
    assert (await read_to_the_end(reader)).endswith(b"\r\n\r\nbody")
    writer.close()


async def test_what_does_not_finish_in_time_is_cut_off() -> None:
    reached = asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        reached.set()
        await asyncio.sleep(60)

    async with asyncio.timeout(10), served(endless) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await reached.wait()
    assert b"200 OK" not in await read_to_the_end(reader)
    writer.close()


async def test_answer_names_no_server() -> None:
    async with served(answer) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        assert b"server:" not in (await reader.readuntil(b"\r\n\r\n")).lower()
        writer.close()


def make_tls(folder: Path) -> ServerTls:
    """For loopback; `trusting` trusts it."""
    pair = Authority(folder).sign("server")
    return ServerTls(TlsFiles(pair.certificate, pair.key))


def trusting(folder: Path) -> ssl.SSLContext:
    return client_context(folder / "authority.pem")


async def test_server_speaks_https_with_a_certificate(tmp_path: Path) -> None:
    async def hello(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(scope, receive, send, b"hello")

    async with served(hello, tls=make_tls(tmp_path)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(tmp_path))
        writer.write(GET)
        assert b"200 OK" in await reader.readline()
        writer.close()
        await writer.wait_closed()
        plain, sender = await asyncio.open_connection("127.0.0.1", port)
        sender.write(GET)
        assert b"200" not in await plain.read()
        sender.close()
        await sender.wait_closed()


async def test_client_that_does_not_finish_the_handshake_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_HANDSHAKE_SECONDS", 0.2)
    async with served(answer, tls=make_tls(tmp_path)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01")  # the beginning of a record of TLS
        assert await read_to_the_end(reader) == b""
        writer.close()


async def test_handshakes_count_as_connections_and_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or clients that never finish one would use up all descriptors."""
    async with served(answer, tls=make_tls(tmp_path)) as port:
        half_open = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        monkeypatch.setattr(resource, "getrlimit", lambda kind: (6, 6))
        refused, over = await asyncio.open_connection("127.0.0.1", port)
        assert await read_to_the_end(refused) == b"", "nobody has waited for long, so the last one is hung up on"
        monkeypatch.setattr(server, "_PATIENCE_SECONDS", 0.0)
        writers = [over, *(writer for _, writer in half_open)]
        for reader, _ in half_open:
            answered, client = await asyncio.open_connection(
                "localhost", port, ssl=trusting(tmp_path), family=socket.AF_INET
            )
            client.write(GET)
            assert (await answered.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await read_to_the_end(reader) == b"", "the one that was waited for longest makes room"
            writers.append(client)
        for writer in writers:
            writer.transport.abort()


@pytest.mark.parametrize(
    ("trusted", "forwarded", "seen"),
    [
        ((), "10.1.2.3", "http 127.0.0.1"),
        (("10.0.0.0/8",), "10.1.2.3", "http 127.0.0.1"),
        (("127.0.0.1/32",), "10.1.2.3", "https 10.1.2.3"),
        (("127.0.0.0/8", "10.1.0.0/16"), "192.0.2.9, 10.1.2.3", "https 192.0.2.9"),
        (("127.0.0.1/32",), "192.0.2.9, 10.1.2.3", "https 10.1.2.3"),
    ],
    ids=["by default", "others trusted", "a proxy", "two proxies", "a client that names another"],
)
async def test_who_calls_is_whom_a_trusted_proxy_names_and_nobody_else_is_believed(
    monkeypatch: pytest.MonkeyPatch, trusted: tuple[str, ...], forwarded: str, seen: str
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")

    async def tell(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(scope, receive, send, f"{scope['scheme']} {scope['client'][0]}".encode())

    headers = f"X-Forwarded-For: {forwarded}\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
    async with served(tell, trusted_proxies=trusted) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET.removesuffix(b"\r\n") + headers.encode())
        received = await read_to_the_end(reader)
        writer.close()
    assert received.endswith(f"\r\n\r\n{seen}".encode())
