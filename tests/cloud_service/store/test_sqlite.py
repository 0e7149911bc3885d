"""What is special to SQLite: reads that would note something, and leases."""

import sqlite3

import pytest

from cloud_service.store import ChannelRow, DeviceEntry, StoredEvent, StoredGeneration, StoredLora
from cloud_service.store.sqlite import SqliteStore
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import SqliteBackend, failing, recipe_of, store_lora, swap
from tests.full_disk import full_disk

pytestmark = pytest.mark.usefixtures("every_failure_is_logged")

LORA = StoredLora(sha256_hex(b"recipe"), b"recipe", 6, sha256_hex(b"bundle"))


async def test_reads_do_not_wait_for_a_foreign_lock(sqlite: SqliteBackend) -> None:
    """They would only note what they use."""
    await store_lora(await sqlite.open(), "key", LORA, b"bundle")
    store = await sqlite.open(recipe_ttl_seconds=6000.0, timeout_seconds=0.4)
    other = sqlite3.connect(sqlite.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert await store.find_generation("key") == StoredGeneration(recipe_of(LORA))
    assert await store.load_bundle(LORA.bundle_id) == b"bundle"
    other.close()


async def test_full_disk_leaves_readable_what_is_stored(sqlite: SqliteBackend) -> None:
    """Reads mark what they use; that this cannot be written is no reason to answer nothing."""
    await store_lora(await sqlite.open(), "key", LORA, b"bundle")
    store = await sqlite.open(recipe_ttl_seconds=6000.0)  # so that finding it renews it
    with full_disk(sqlite.path.with_name("store.sqlite3-wal").stat().st_size):
        assert await store.find_generation("key") == StoredGeneration(recipe_of(LORA))
        assert await store.load_bundle(LORA.bundle_id) == b"bundle"
        with failing("disk"):
            await store.verify_writable()
        with failing("disk"):
            await swap(store, "c", 0, 1, b"document")
    assert await swap(store, "c", 0, 1, b"document")


async def test_lease_that_ends_later_than_any_can_is_taken_over(sqlite: SqliteBackend) -> None:
    """Its owner died, and then the clock was set back."""
    store = await sqlite.open()
    assert await store.acquire_lease("k", "dead", 3600)
    assert await store.acquire_lease("k", "me", 30)
    assert not await store.acquire_lease("k", "you", 30)


async def test_report_of_a_known_device_and_change_of_a_known_channel_count_no_others(sqlite: SqliteBackend) -> None:
    store = await sqlite.open(devices_per_tenant=9, channels_per_tenant=9)
    assert isinstance(store, SqliteStore)
    statements: list[str] = []
    store._db.set_trace_callback(statements.append)

    async def counts(device: str, revision: int) -> tuple[int, int]:
        statements.clear()
        assert await store.devices.store(DeviceEntry("acme.a", device, 1), b"{}", "acme")
        row = ChannelRow(revision, revision, f"{device} {revision}".encode())
        assert await store.channels.write("acme.a", row, StoredEvent("publish", "", revision), "acme")
        sums = [each for each in statements if each.startswith("SELECT") and "WHERE channel > " in each]
        sums += [each for each in statements if each.startswith("SELECT count(*)")]
        found = [each.split(" FROM ")[1].split()[0] for each in sums]
        return found.count("devices"), found.count("channels")

    assert await counts("one", 1) == (1, 1)
    assert await counts("one", 2) == (0, 0)
