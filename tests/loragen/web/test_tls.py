"""TLS from files that are replaced while a server runs."""

import asyncio
import os
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from loragen.web.errors import ConfigurationError
from loragen.web.tls import ServerTls, TlsFiles, client_context
from tests.certificates import Authority, Pair


@asynccontextmanager
async def _listening(tls: ServerTls) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls.context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _name(port: int, context: ssl.SSLContext) -> str:
    """The name in the certificate that the server shows."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        certificate = writer.get_extra_info("peercert")
        assert await reader.read() == b"hello"
    finally:
        writer.close()
    return str(dict(part[0] for part in certificate["subject"])["commonName"])


def _replace(pair: Pair, by: Pair) -> None:
    shutil.copy(by.certificate, pair.certificate)
    shutil.copy(by.key, pair.key)
    for path in (pair.certificate, pair.key):
        os.utime(path, ns=(1, 1))


async def test_certificate_that_was_replaced_is_shown_without_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    old, new = authority.sign("old"), authority.sign("new")
    trusting = client_context(authority.file)
    async with _listening(ServerTls(TlsFiles(old.certificate, old.key))) as port:
        assert await _name(port, trusting) == "old"
        _replace(old, new)
        await _name(port, trusting)
        assert await _name(port, trusting) == "new"


async def test_half_a_replacement_leaves_the_last_pair_in_force(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    old, new = authority.sign("old"), authority.sign("new")
    trusting = client_context(authority.file)
    async with _listening(ServerTls(TlsFiles(old.certificate, old.key))) as port:
        shutil.copy(new.certificate, old.certificate)
        with capture_logs() as logged:
            for _ in range(20):
                assert await _name(port, trusting) == "old"
        assert len(logged) == 1, "whoever connects would fill the log"
        old.key.unlink()
        assert await _name(port, trusting) == "old"
        shutil.copy(new.key, old.key)
        await _name(port, trusting)
        assert await _name(port, trusting) == "new"


async def test_mutual_tls_lets_in_clients_of_the_authority_only(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    server, client, other = authority.sign("server"), authority.sign("client"), stranger.sign("other")
    tls = ServerTls(TlsFiles(server.certificate, server.key, authority.file))
    async with _listening(tls) as port:
        assert await _name(port, client_context(authority.file, client.certificate, client.key)) == "server"
        refused = [client_context(authority.file), client_context(authority.file, other.certificate, other.key)]
        for context in refused:
            with pytest.raises((OSError, AssertionError)):
                await _name(port, context)
        with pytest.raises(ssl.SSLCertVerificationError):
            await _name(port, client_context(stranger.file, client.certificate, client.key))


def test_files_that_do_not_serve_stop_the_start(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other, absent = authority.sign("one"), authority.sign("other"), tmp_path / "absent"
    for certificate, key, client_ca in (
        (absent, one.key, None),
        (one.certificate, absent, None),
        (one.certificate, other.key, None),
        (one.key, one.key, None),
        (one.certificate, one.key, absent),
        (one.certificate, one.key, one.key),
    ):
        with pytest.raises(ConfigurationError):
            ServerTls(TlsFiles(certificate, key, client_ca))
