"""The file of SQLite: one that is damaged, foreign, locked, or on a disk that fills up."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from cloud_service.errors import StoreUnavailableError
from cloud_service.store.sqlite import SqliteStore
from tests.cloud_service.store_backends import LIMITS, SqliteBackend, failing, swap
from tests.full_disk import full_disk

pytestmark = pytest.mark.usefixtures("every_failure_is_logged")


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


async def test_disk_that_fills_up_amid_a_transaction_is_named_and_leaves_none_open(sqlite: SqliteBackend) -> None:
    """SQLite rolls back by itself there, when its cache overflows to the disk."""
    store = await sqlite.open()
    with full_disk(1_000_000), failing("disk"):
        await swap(store, "c", 0, 1, bytes(10**7))
    assert await swap(store, "c", 0, 1, b"document")
    assert await store.channels.load("c") == b"document"
