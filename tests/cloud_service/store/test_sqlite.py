"""What is special to SQLite: a file that is damaged, foreign, or on a full disk."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cloud_service.errors import StoreUnavailableError
from cloud_service.store import StoredGeneration, StoredLora
from cloud_service.store.sqlite import SqliteStore
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import LIMITS, SqliteBackend, swap
from tests.full_disk import full_disk

LORA = StoredLora(sha256_hex(b"bundle"), 6, sha256_hex(b"recipe"), b"recipe")


@contextmanager
def failing(reason: str) -> Iterator[None]:
    """The call fails; the log says why, and the message, which clients read, does not."""
    with capture_logs() as logged, pytest.raises(StoreUnavailableError) as caught:
        yield
    assert str(caught.value) == "the store is not available"
    assert reason in next(line["reason"] for line in logged if line["event"] == "store_failed")


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
    with failing("locked"):
        await swap(store, "c", 0, 1, b"document")
    with failing("locked"):
        await store.verify_writable()
    other.execute("ROLLBACK")
    other.close()
    assert await swap(store, "c", 0, 1, b"document")


async def test_calls_behind_a_foreign_lock_wait_for_one_time_and_not_one_after_the_other(
    sqlite: SqliteBackend,
) -> None:
    store = await sqlite.open(timeout_seconds=0.4)
    await swap(store, "c", 0, 1, b"document")
    other = sqlite3.connect(sqlite.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = asyncio.get_running_loop().time()
    calls = (swap(store, "c", 1, 2, b"%d" % number) for number in range(6))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 6
    assert asyncio.get_running_loop().time() - began < 1
    other.execute("ROLLBACK")
    other.close()
    assert await store.channels.load("c") == b"document"
    assert await swap(store, "c", 1, 2, b"new")


async def test_reads_do_not_wait_for_a_foreign_lock(sqlite: SqliteBackend) -> None:
    """They would only note what they use."""
    await (await sqlite.open()).store_generation("key", LORA, b"bundle")
    store = await sqlite.open(recipe_ttl_seconds=6000.0, timeout_seconds=0.4)
    other = sqlite3.connect(sqlite.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert await store.find_generation("key") == StoredGeneration(LORA)
    assert await store.load_bundle(LORA.bundle_id) == b"bundle"
    other.close()


async def test_full_disk_leaves_readable_what_is_stored(sqlite: SqliteBackend) -> None:
    """Reads mark what they use; that this cannot be written is no reason to answer nothing."""
    await (await sqlite.open()).store_generation("key", LORA, b"bundle")
    store = await sqlite.open(recipe_ttl_seconds=6000.0)  # so that finding it renews it
    with full_disk(sqlite.path.with_name("store.sqlite3-wal").stat().st_size):
        assert await store.find_generation("key") == StoredGeneration(LORA)
        assert await store.load_bundle(LORA.bundle_id) == b"bundle"
        with failing("disk"):
            await store.verify_writable()
        with failing("disk"):
            await swap(store, "c", 0, 1, b"document")
    assert await swap(store, "c", 0, 1, b"document")


async def test_disk_that_fills_up_amid_a_transaction_is_named_and_leaves_none_open(sqlite: SqliteBackend) -> None:
    """SQLite rolls back by itself there, when its cache overflows to the disk."""
    store = await sqlite.open(bundle_budget_bytes=10**8)
    with full_disk(1_000_000), failing("disk"):
        await store.store_generation("key", LORA, bytes(10**7))
    await store.store_generation("key", LORA, b"bundle")
    assert await store.load_bundle(LORA.bundle_id) == b"bundle"


async def test_lease_that_ends_later_than_any_can_is_taken_over(sqlite: SqliteBackend) -> None:
    """Its owner died, and then the clock was set back."""
    store = await sqlite.open()
    assert await store.acquire_lease("k", "dead", 3600)
    assert await store.acquire_lease("k", "me", 30)
    assert not await store.acquire_lease("k", "you", 30)
