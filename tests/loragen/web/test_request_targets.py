"""Targets of requests that are no paths, from a real socket to the application."""

import asyncio
import json

import pytest
from starlette.types import Receive, Scope, Send

from loragen.web.error_answers import ErrorAnswers
from loragen.web.errors import ServiceError
from loragen.web.head_gate import HeadGate
from loragen.web.hosts import AllowedHosts
from loragen.web.scope import RequestRecord, RequestScope
from loragen.web.server import HttpServer, listen


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was asked for."""
    hosts = [value.decode() for name, value in scope["headers"] if name == b"host"]
    body = json.dumps([scope["path"], scope["raw_path"].decode(), scope["query_string"].decode(), *hosts]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def ask(request: str) -> tuple[int, bytes]:
    """The status and the body of the answer to a request's first line and Host."""
    gate = HeadGate(tell, AllowedHosts.of("127.0.0.1", ["cloud"]))
    errors = ErrorAnswers({}, ServiceError("internal error"))
    app = RequestScope(gate, errors, lambda record: None, RequestRecord)
    http = HttpServer(app, listen("127.0.0.1", 0, "PORT"), 1)
    serving = asyncio.create_task(http.run())
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
        writer.write(request.encode() + b"\r\nConnection: close\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    finally:
        http.stop()
        await serving
    return int(head.split()[1]), body


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("http://cloud:80/a%20b?c=d", ["/a b", "/a%20b", "c=d", "cloud:80"]),
        ("HTTPS://cloud/a", ["/a", "/a", "", "cloud"]),
        ("http://cloud", ["/", "/", "", "cloud"]),
        ("http://cloud?c", ["/", "/", "c", "cloud"]),
        ("/http://cloud/a", ["/http://cloud/a", "/http://cloud/a", "", "localhost"]),
    ],
)
async def test_url_as_a_target_is_its_path_and_its_host_counts(target: str, expected: list[str]) -> None:
    status, body = await ask(f"GET {target} HTTP/1.1\r\nHost: localhost")
    assert (status, json.loads(body)) == (200, expected)


async def test_foreign_host_in_a_url_is_refused_whatever_the_header_says() -> None:
    for target in ("http://evil.example/a", "http://user@cloud/a", "http:///a"):
        status, body = await ask(f"GET {target} HTTP/1.1\r\nHost: cloud")
        assert status == 421, body


async def test_question_about_the_whole_server_is_answered() -> None:
    assert await ask("OPTIONS * HTTP/1.1\r\nHost: cloud") == (204, b"")
    status, _ = await ask("OPTIONS * HTTP/1.1\r\nHost: evil.example")
    assert status == 421
