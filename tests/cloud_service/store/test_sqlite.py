"""What is special to SQLite: a file that is damaged, foreign, or on a full disk."""

import sqlite3
from pathlib import Path

import pytest

from cloud_service.errors import StoreUnavailableError
from cloud_service.store import StoredGeneration, StoredLora
from cloud_service.store.sqlite import SqliteStore
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import LIMITS, SqliteBackend
from tests.full_disk import full_disk

LORA = StoredLora(sha256_hex(b"bundle"), 6, sha256_hex(b"recipe"), b"recipe")


async def test_file_that_is_no_database_is_store_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        SqliteStore(path, LIMITS)


async def test_file_of_another_schema_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreUnavailableError, match="schema 99"):
        SqliteStore(path, LIMITS)


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
