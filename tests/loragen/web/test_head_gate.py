"""What passes the gate of a head: requests of bounded size, to our own hosts, by no page of another site."""

import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from loragen.web.error_answers import ErrorAnswers
from loragen.web.errors import HeadTooLargeError, HostError, HttpSyntaxError, OriginError, ServiceError
from loragen.web.head_gate import HeadGate
from loragen.web.hosts import LOOPBACK, AllowedHosts
from loragen.web.scope import RequestRecord, RequestScope
from loragen.web.server import HttpServer, listen


async def passes(target: str = "/", **headers: str) -> bool:
    reached = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope)

    path, _, query = target.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "scheme": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
    }
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
    gate = HeadGate(app, AllowedHosts.of("127.0.0.1", ["cloud"]))
    await gate(scope, None, None)  # type: ignore[arg-type]
    return reached == [scope]


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "cloud:8080"])
async def test_own_host_passes_with_and_without_an_own_origin(host: str) -> None:
    assert await passes(host=host)
    assert await passes(host=host, origin=f"http://{host}")
    assert await passes(host=host, origin="http://cloud:3000")
    assert await passes()


async def test_name_that_was_made_to_point_here_is_refused() -> None:
    with pytest.raises(HostError, match=r"evil\.example"):
        await passes(host="evil.example")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "https://localhost.evil.example", "http://localhost:3000"]
)
async def test_page_of_another_site_is_refused(origin: str) -> None:
    with pytest.raises(OriginError):
        await passes(host="localhost", origin=origin)


@pytest.mark.parametrize("where", ["path", "query", "header"])
async def test_head_over_the_limit_is_refused_wherever_it_is_long(where: str) -> None:
    """20 KB that arrive in one packet pass the server's own limit."""
    long = "a" * 20_000
    target = {"path": f"/{long}", "query": f"/?{long}", "header": "/"}[where]
    with pytest.raises(HeadTooLargeError, match="at most 16384 bytes, found 20"):
        await passes(target, **({"x-a": long} if where == "header" else {}))


async def test_body_with_two_lengths_is_refused() -> None:
    both = {"content-length": "4", "transfer-encoding": "chunked"}
    with pytest.raises(HttpSyntaxError) as caught:
        await passes(**both)
    assert caught.value.headers == {"connection": "close"}
    for one in both:
        assert await passes(**{one: both[one]})


async def test_nothing_behind_a_body_with_two_lengths_is_taken_for_a_request() -> None:
    """By the one length there is a second request in the body, by the other it stands behind it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("a request passed")

    answers = ErrorAnswers({}, ServiceError("internal error"))
    front = RequestScope(HeadGate(app, LOOPBACK), answers, lambda record: None, RequestRecord)
    http = HttpServer(front, listen("127.0.0.1", 0, "PORT"), 1)
    serving = asyncio.create_task(http.run())
    reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
    lengths = b"Content-Length: 100\r\nTransfer-Encoding: chunked"
    writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + lengths + b"\r\n\r\n0\r\n\r\n")
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(10):
        received = await reader.read()
    writer.close()
    http.stop()
    await serving
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"date: ") == 1, "one answer"
    assert b"connection: close" in received
