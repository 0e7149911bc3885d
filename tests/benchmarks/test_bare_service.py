"""The application that the cloud service is compared with answers what it was given."""

import asyncio

import pytest

from benchmarks.bare_service import ETAG, make_app
from benchmarks.errors import BenchmarkError
from benchmarks.http_load import Connection, request_bytes, send_all
from loragen.web.server import HttpServer, listen


async def test_bare_application_answers_with_what_it_is_given() -> None:
    http = HttpServer(make_app(b'{"a": 1}'), listen("127.0.0.1", 0, "PORT"), 1)
    serving = asyncio.create_task(http.run())
    connection = await Connection.open("127.0.0.1", http.port)
    answer = await connection.send(request_bytes("POST", "/generate-lora", "here", b"{}"))
    assert (answer.status, answer.body, answer.header("content-type")) == (200, b'{"a": 1}', "application/json")
    poll = await connection.send(request_bytes("GET", "/channels/bare", "here", if_none_match=ETAG))
    assert (poll.status, poll.header("etag")) == (304, ETAG)
    with pytest.raises(BenchmarkError, match="expected status 200, found 404"):
        await send_all([connection], [request_bytes("GET", "/none", "here")], 200)
    connection.close()
    http.stop()
    await serving
