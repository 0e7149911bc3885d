"""The light client says what it read, and an answer that is not as expected is an error."""

import asyncio

import pytest

from benchmarks.errors import HungUpError
from benchmarks.http_load import Connection, request_bytes


async def test_server_that_hangs_up_is_an_error() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        connection = await Connection.open(*server.sockets[0].getsockname())
        with pytest.raises(HungUpError, match="in the middle"):
            await connection.send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(HungUpError, match="between two requests"):
            await connection.send(b"GET / HTTP/1.1\r\n\r\n")


async def test_answer_is_read_whole_however_it_comes() -> None:
    """In pieces, and without a body."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for pieces in ((b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 4\r\n\r\nbo", b"dy"), (b"HTTP/1.1 304 X\r\n\r\n",)):
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        connection = await Connection.open(*server.sockets[0].getsockname())
        first = await connection.send(request_bytes("GET", "/", "here"))
        assert (first.status, first.body, first.header("content-length"), first.header("etag")) == (
            200,
            b"body",
            "4",
            None,
        )
        second = await connection.send(request_bytes("GET", "/", "here"))
        assert (second.status, second.body) == (304, b"")
        await ended.wait()


def test_request_has_the_headers_that_its_body_needs() -> None:
    request = request_bytes("POST", "/x", "here", b"{}", if_none_match="e")
    assert request.startswith(b"POST /x HTTP/1.1\r\nhost: here\r\nif-none-match: e\r\n")
    assert request.endswith(b"content-length: 2\r\n\r\n{}")
    assert b"content-" not in request_bytes("GET", "/x", "here")
