"""Backup and restore as `docs/operations.md` says: what was there comes back, and what was done since does not."""

import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from cloud_service.store import DeviceEntry, Store
from tests.cloud_service.clouds import eventually
from tests.cloud_service.store.test_shares import _imported, _lora
from tests.cloud_service.store_backends import RedisBackend, SqliteBackend, recipe_of, store_report, swap

LORA, (IMPORTED, BUNDLE) = _lora("one"), _imported("mine")


async def _fill(store: Store) -> None:
    assert await swap(store, "kitchen", 0, 1, b"one")
    assert await store.access.swap_key("admin", None, b"key")
    await store.access.append_entry("", 1.0, b"entry")
    await store.store_generation("key of one", recipe_of(LORA), b"note")
    assert await store.store_imported(IMPORTED, BUNDLE)
    await store_report(store, "kitchen", "device", b"report")


async def _go_on(store: Store) -> None:
    """What a backup does not have."""
    assert await swap(store, "kitchen", 1, 2, b"two")
    assert await store.access.swap_key("admin", b"key", b"revoked")
    assert await store.disown("", IMPORTED.bundle_id, 0.0)
    assert await store.devices.delete("kitchen", "device")


async def _verify_restored(store: Store) -> None:
    assert await store.channels.load("kitchen") == b"one"
    assert [each.version for each in await store.channels.list_versions("kitchen")] == [1]
    assert await store.access.load_key("admin") == b"key"
    assert [each.entry for each in await store.access.list_entries(9)] == [b"entry"]
    assert await store.load_recipe(LORA.recipe_id) == LORA.recipe
    assert await store.load_imported(IMPORTED.bundle_id) == BUNDLE
    entry = DeviceEntry("kitchen", "device", 1)
    assert await store.devices.load_reports([entry]) == [b"report"]
    assert await swap(store, "kitchen", 1, 2, b"other"), "it goes on"


@pytest_asyncio.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    backend = SqliteBackend(tmp_path)
    yield backend
    await backend.stop()


@pytest_asyncio.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisBackend]:
    folder = tmp_path / "server"
    folder.mkdir()
    backend = RedisBackend(folder)
    yield backend
    await backend.stop()


async def test_copy_of_a_sqlite_store_that_is_in_use_brings_everything_back(
    sqlite: SqliteBackend, tmp_path: Path
) -> None:
    store = await sqlite.open()
    await _fill(store)
    path, copy = sqlite.path, tmp_path / "copy.sqlite"
    imported = path.with_name(f"{path.name}-imported")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    shutil.copytree(imported, tmp_path / "imported")
    await _go_on(store)
    await sqlite.stop()
    shutil.copy(copy, path)
    shutil.rmtree(imported)
    shutil.copytree(tmp_path / "imported", imported)
    for suffix in ("-wal", "-shm"):
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
    await _verify_restored(await sqlite.open())


@pytest.mark.parametrize("way", ["append-only folder", "snapshot"])
async def test_copy_of_a_redis_store_that_is_in_use_brings_everything_back(
    redis: RedisBackend, tmp_path: Path, way: str
) -> None:
    """A server with an append-only file reads no snapshot when it starts, and begins empty."""
    backend, folder, copy = redis, redis.directory, tmp_path / "copy"

    def ask(*command: str) -> str:
        asked = ["redis-cli", "-u", backend.url, *command]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()

    async def until(field: str) -> None:
        await eventually(lambda: f"{field}:0" in ask("INFO", "persistence"))

    store = await backend.open()
    await _fill(store)
    if way == "snapshot":
        ask("BGSAVE")
        await until("rdb_bgsave_in_progress")
    shutil.copytree(folder, copy)
    await _go_on(store)
    await backend.stop()
    shutil.rmtree(folder)
    folder.mkdir()
    if way == "snapshot":
        shutil.copy(copy / "dump.rdb", folder)
        await backend.start("--appendonly", "no")
        ask("CONFIG", "SET", "appendonly", "yes")
        await until("aof_rewrite_in_progress")
        await backend.kill()
    else:
        shutil.copytree(copy / "appendonlydir", folder / "appendonlydir")
    await _verify_restored(await backend.open())
