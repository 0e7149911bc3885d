"""Helper: a real redis-server, a file of SQLite, and one with a bucket, as places for a store that can be restarted."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from structlog.testing import capture_logs

from cloud_service.errors import StoreUnavailableError
from cloud_service.store import ChannelRow, DeviceEntry, Store, StoredEvent, StoredLora, StoredRecipe, StoreLimits
from cloud_service.store.backends import open_objects
from cloud_service.store.bundles_apart import BundlesApart
from cloud_service.store.redis import RedisStore
from cloud_service.store.sqlite import SqliteStore
from loragen.client.process import free_ports

LIMITS = StoreLimits(
    bundle_budget_bytes=10_000,
    import_budget_bytes=10_000,
    recipe_ttl_seconds=600.0,
    device_ttl_seconds=600.0,
    devices_per_channel=100,
    versions_per_channel=50,
    events_per_channel=100,
    timeout_seconds=2.0,
)


async def swap(store: Store, name: str, expected_version: int, version: int, document: bytes) -> bool:
    """Write a document if the channel is at a version, in a store whose channels have no writes between versions."""
    row = ChannelRow(revision=expected_version + 1, version=version, document=document)
    return await store.channels.write(name, row, StoredEvent("publish", "", version))


async def store_report(store: Store, channel: str, device_id: str, report: bytes) -> None:
    """Store a report of a device that says nothing of note."""
    await store.devices.store(DeviceEntry(channel, device_id, 1), report)


async def load_reports(store: Store, channel: str, limit: int, before: int | None = None) -> list[tuple[int, bytes]]:
    """Reports with their times, the most recent first."""
    entries = await store.devices.scan(channel, limit, before)
    reports = await store.devices.load_reports(entries)
    return [(entry.seen_at, report) for entry, report in zip(entries, reports, strict=True)]


@contextlib.contextmanager
def failing(reason: str) -> Iterator[None]:
    """The call fails; the log says why, and the message, which clients read, does not."""
    with capture_logs() as logged, pytest.raises(StoreUnavailableError) as caught:
        yield
    assert str(caught.value) == "the store is not available"
    assert reason in next(line["reason"] for line in logged if line["event"] == "store_failed")


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


class S3Backend:
    """One file in a folder of the test, and the bucket that the variables of the test lead to."""

    def __init__(self, directory: Path, url: str) -> None:
        self._rows = SqliteBackend(directory)
        self._url = url

    async def open(self, **limits: Any) -> Store:
        kept = replace(LIMITS, **limits)
        objects = open_objects(self._url, kept.timeout_seconds)
        return BundlesApart(await self._rows.open(**limits), objects, kept)

    async def restart(self) -> None:
        await self._rows.restart()

    async def stop(self) -> None:
        await self._rows.stop()


class RedisBackend:
    """A redis-server of its own on a free loopback port, with its append-only file in a folder of the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (self._port,) = free_ports(1)
        self._stores: list[Store] = []
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    async def open(self, *, running: bool = True, cluster: bool = False, **limits: Any) -> Store:
        if self._server is None and running:
            (bus,) = free_ports(1)  # by default that is 10,000 above the other port, which may be none
            await self.start(*(["--cluster-enabled", "yes", "--cluster-port", str(bus)] if cluster else []))
        store = RedisStore(self.url, replace(LIMITS, **limits))
        self._stores.append(store)
        return store

    async def restart(self) -> None:
        await self.kill()
        await self.start()

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

    async def start(self, *options: str) -> None:
        self._server = _start_redis(self._port, self.directory, *options)
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1) as server:
                server.sendall(b"PING\r\n")
                if server.recv(16).startswith(b"+PONG"):
                    return
            await asyncio.sleep(0.02)
        raise AssertionError("redis-server did not start")


BACKENDS: dict[str, Callable[[Path], StoreBackend]] = {"sqlite": SqliteBackend, "redis": RedisBackend}
"""By name, what every test of a port runs on: each makes its store in a folder of the test."""


def _start_redis(port: int, directory: Path, *options: str) -> subprocess.Popen[bytes]:
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is missing: apt-get install redis-server"
    where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)]
    durability = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    return subprocess.Popen([program, *where, *durability, *options], stdout=subprocess.DEVNULL)


def recipe_of(lora: StoredLora) -> StoredRecipe:
    """What the store knows of a LoRA before its bundle is made."""
    return StoredRecipe(lora.recipe_id, lora.recipe, lora.bundle_bytes)


async def store_lora(store: Store, key: str, lora: StoredLora, bundle: bytes | None, note: bytes = b"") -> None:
    """Store what a request led to, and its bundle."""
    await store.store_generation(key, recipe_of(lora), note)
    await store.name_bundle(lora.recipe_id, lora.bundle_id)
    if bundle is not None:
        await store.store_bundle(lora.bundle_id, bundle)
