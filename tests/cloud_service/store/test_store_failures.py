"""What each adapter does when its place of storage fails."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from redis.asyncio import Redis

from cloud_service.errors import StoreUnavailableError
from cloud_service.store import StoredGeneration, StoredLora
from cloud_service.store.sqlite import SqliteStore
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import OPTIONS, RedisBackend, SqliteBackend
from tests.full_disk import full_disk

LORA = StoredLora(sha256_hex(b"bundle"), 6, sha256_hex(b"recipe"), b"recipe")


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


@pytest.mark.parametrize(
    "damage", [{"bundle_bytes": b"x"}, {"bundle_bytes": None}, {"recipe": None}, {"recipe_id": b"\xff"}]
)
async def test_damaged_lora_in_redis_is_absent_until_it_is_stored_again(
    redis: RedisBackend, damage: dict[str, bytes | None]
) -> None:
    store = await redis.open()
    await store.store_generation("key", LORA, b"bundle")
    name = f"{{loragen}}:lora:{LORA.bundle_id}"
    async with Redis.from_url(redis.url) as plain:
        for field, value in damage.items():
            await (plain.hdel(name, field) if value is None else plain.hset(name, field, value))
    assert await store.find_generation("key") is None
    assert await store.load_lora(LORA.bundle_id) is None
    await store.store_generation("key", LORA, b"bundle")
    assert await store.find_generation("key") == StoredGeneration(LORA)
    assert await store.load_lora(LORA.bundle_id) == LORA


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


async def test_full_disk_leaves_readable_what_is_stored(sqlite: SqliteBackend) -> None:
    """Reads mark what they use; that this cannot be written is no reason to answer nothing."""
    await (await sqlite.open()).store_generation("key", LORA, b"bundle")
    store = await sqlite.open(recipe_ttl_seconds=6000.0)  # so that finding it renews it
    with full_disk(sqlite.path.with_name("store.sqlite3-wal").stat().st_size):
        assert await store.find_generation("key") == StoredGeneration(LORA)
        assert await store.load_bundle(LORA.bundle_id) == b"bundle"
        with pytest.raises(StoreUnavailableError, match="disk"):
            await store.swap_channel("c", 0, 1, b"document")
    assert await store.swap_channel("c", 0, 1, b"document")


async def test_disk_that_fills_up_amid_a_transaction_is_named_and_leaves_none_open(sqlite: SqliteBackend) -> None:
    """SQLite rolls back by itself there, when its cache overflows to the disk."""
    store = await sqlite.open(bundle_budget_bytes=10**8)
    with full_disk(1_000_000), pytest.raises(StoreUnavailableError, match="disk"):
        await store.store_generation("key", LORA, bytes(10**7))
    await store.store_generation("key", LORA, b"bundle")
    assert await store.load_bundle(LORA.bundle_id) == b"bundle"


async def test_lease_that_ends_later_than_any_can_is_taken_over(sqlite: SqliteBackend) -> None:
    """Its owner died, and then the clock was set back."""
    store = await sqlite.open()
    assert await store.acquire_lease("k", "dead", 3600)
    assert await store.acquire_lease("k", "me", 30)
    assert not await store.acquire_lease("k", "you", 30)
