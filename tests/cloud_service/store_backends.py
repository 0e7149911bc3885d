"""Helper: a real redis-server and a file of SQLite, as places for a store that can be restarted."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from cloud_service.store import Store, StoreLimits
from cloud_service.store.redis import RedisStore
from cloud_service.store.sqlite import SqliteStore

LIMITS = StoreLimits(
    bundle_budget_bytes=10_000,
    import_budget_bytes=10_000,
    recipe_ttl_seconds=600.0,
    device_ttl_seconds=600.0,
    devices_per_channel=100,
    timeout_seconds=2.0,
)


class StoreBackend(Protocol):
    """Where stores are opened."""

    async def open(self, **limits: Any) -> Store: ...

    async def restart(self) -> None: ...

    async def stop(self) -> None: ...


class SqliteBackend:
    """One file in a folder of the test."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "data" / "store.sqlite3"
        self._stores: list[Store] = []

    async def open(self, **limits: Any) -> Store:
        store = SqliteStore(self.path, replace(LIMITS, **limits))
        self._stores.append(store)
        return store

    async def restart(self) -> None:
        await self.stop()

    async def stop(self) -> None:
        for store in self._stores:
            await store.aclose()
        self._stores.clear()


class RedisBackend:
    """A redis-server of its own on a free loopback port, with its append-only file in a folder of the test."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._stores: list[Store] = []
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    async def open(self, **limits: Any) -> Store:
        if self._server is None:
            await self._start()
        store = RedisStore(self.url, replace(LIMITS, **limits))
        self._stores.append(store)
        return store

    async def restart(self) -> None:
        await self.kill()
        await self._start()

    async def kill(self) -> None:
        if self._server is not None:
            self._server.terminate()
            await asyncio.to_thread(self._server.wait, 10)
            self._server = None

    def pause(self) -> None:
        """The server answers nothing until `go_on`."""
        assert self._server is not None
        self._server.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._server is not None
        self._server.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        for store in self._stores:
            await store.aclose()
        await self.kill()

    async def _start(self) -> None:
        self._server = _start_redis(self._port, self._directory)
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1) as server:
                server.sendall(b"PING\r\n")
                if server.recv(16).startswith(b"+PONG"):
                    return
            await asyncio.sleep(0.02)
        raise AssertionError("redis-server did not start")


def _start_redis(port: int, directory: Path) -> subprocess.Popen[bytes]:
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is missing: apt-get install redis-server"
    where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
    durability = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    return subprocess.Popen([program, *where, *durability], stdout=subprocess.DEVNULL)
