"""What each adapter does when its place of storage fails."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from redis.asyncio import Redis

from cloud_service.errors import StoreUnavailableError
from cloud_service.store.sqlite import SqliteStore
from tests.cloud_service.store_backends import OPTIONS, RedisBackend, SqliteBackend


async def test_redis_that_went_away_is_store_unavailable_and_comes_back(redis: RedisBackend) -> None:
    store = await redis.open()
    await store.swap_channel("c", 0, 1, b"document")
    await redis.kill()
    for call in (
        store.ping(),
        store.find_generation("key"),
        store.load_channel("c"),
        store.acquire_lease("k", "me", 1),
    ):
        with pytest.raises(StoreUnavailableError):
            await call
    await redis.restart()
    assert await store.load_channel("c") == b"document"


async def test_more_calls_than_connections_wait_and_all_connections_are_closed(redis: RedisBackend) -> None:
    store = await redis.open(timeout_seconds=60.0)
    await store.swap_channel("c", 0, 1, b"document")
    assert await asyncio.gather(*(store.load_channel("c") for _ in range(300))) == [b"document"] * 300
    async with Redis.from_url(redis.url) as plain:
        assert len(await plain.client_list()) < 100
        await store.aclose()
        for _ in range(100):  # the server notices in its own time
            if len(clients := await plain.client_list()) == 1:
                break
            await asyncio.sleep(0.02)
        assert len(clients) == 1


async def test_file_that_is_no_database_is_store_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        SqliteStore(path, **OPTIONS)


async def test_file_of_another_schema_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreUnavailableError, match="schema 99"):
        SqliteStore(path, **OPTIONS)


async def test_locked_file_is_store_unavailable_after_the_timeout(sqlite: SqliteBackend) -> None:
    store = await sqlite.open(timeout_seconds=0.1)
    other = sqlite3.connect(sqlite.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked"):
        await store.swap_channel("c", 0, 1, b"document")
    other.execute("ROLLBACK")
    other.close()
    assert await store.swap_channel("c", 0, 1, b"document")
