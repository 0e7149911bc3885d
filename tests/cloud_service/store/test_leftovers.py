"""Whatever was deleted or has expired leaves nothing behind but the audit log, the last API key, and a few counters."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from redis import Redis

from cloud_service.fleet.retention import forget_deleted, sweep
from cloud_service.store import ChannelRow, Store, StoredEvent, StoredImport, StoredJob, StoredLora
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import RedisBackend, SqliteBackend, store_lora, store_report, swap

SHORT = {"recipe_ttl_seconds": 1.0, "device_ttl_seconds": 1.0, "job_seconds": 2.0}


async def _use(store: Store) -> None:
    """Something of every kind, deleted again where it does not expire."""
    lora = StoredLora(sha256_hex(b"recipe"), b"recipe", 6, sha256_hex(b"bundle"))
    imported = StoredImport(sha256_hex(b"own"), 3, "model", "digest")
    await store_lora(store, "key", lora, b"bundle", b"note")
    await store.store_imported(imported, b"own")
    for artifact in (lora.recipe_id, lora.bundle_id, imported.bundle_id):
        await store.access.own("acme", artifact)
    assert await store.pin(lora.bundle_id)
    assert await store.pin_imported(imported.bundle_id)
    assert await swap(store, "acme.c", 0, 1, b"document")
    rolling = ChannelRow(2, 1, b"document", b"rollout", rolling=True)
    assert await store.channels.write("acme.c", rolling, StoredEvent("rollout", "", 1))
    await store_report(store, "acme.c", "device", b"report")
    await store_report(store, "acme.c", "another", b"report")
    assert await store.devices.delete("acme.c", "another")
    assert await store.channels.write("acme.c", ChannelRow(3, 1), StoredEvent("delete", "", 1))
    assert await store.jobs.swap_job(StoredJob("a" * 32, 1, 1, b"busy", "acme", 2**50))
    assert await store.acquire_lease("lease", "a replica that died", 0.1)
    await store.sessions.store_session("digest", "one", 1, 10)
    await store.access.count("counter", 1, 1)
    for key_id in ("one", "two"):
        await store.access.swap_key(key_id, None, b"key", "acme", 1)
    await store.access.append_entry("acme", 1.0, b"old")
    await store.access.append_entry("", 3.0, b"kept")


async def _clean(store: Store) -> None:
    """What upkeep does, after everything has expired."""
    assert await sweep(store, grace_seconds=0) == 2
    await asyncio.sleep(1.2)
    # Without another job the whole listing in Redis would expire by itself.
    assert await store.jobs.swap_job(StoredJob("b" * 32, 1, 2, b"over"))
    await asyncio.sleep(1.2)
    assert await store.access.forget_key("one", b"key", "acme")
    await store.access.forget_entries(2.0)
    assert await forget_deleted(store, 0.1) == 1
    await store.prune()


async def test_sqlite_has_no_rows_left(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path)
    store = await backend.open(**SHORT)
    await _use(store)
    before = _rows(backend.path)
    assert all(before[name] for name in before if name != "channel_versions"), "this test uses every table"
    await _clean(store)
    left = {name: count for name, count in _rows(backend.path).items() if count}
    assert left == {"api_keys": 1, "audit": 1, "audit_counts": 1, "jobs": 1}
    assert await store.jobs.load_job("b" * 32) is not None
    assert list(backend.path.with_name("store.sqlite3-bundles").iterdir()) == []
    await backend.stop()


def _rows(path: Path) -> dict[str, int]:
    with sqlite3.connect(path) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = [name for name in names if name != "sqlite_sequence"]
        return {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in kept}


@pytest.mark.parametrize("writes", [0, 600])
async def test_redis_has_no_keys_left(tmp_path: Path, writes: int) -> None:
    backend = RedisBackend(tmp_path)
    store = await backend.open(**SHORT)
    for number in range(writes):
        await store.store_bundle(sha256_hex(b"%d" % number), b"x")
    await _use(store)
    await _clean(store)
    with Redis.from_url(backend.url) as redis:
        left = sorted(key.decode().removeprefix("{loragen}:") for key in redis.scan_iter())
        assert left == [
            "audit:all",
            "audit:number",
            "audit:of:",
            "audit:tenants",
            "bundles:total",
            "job:" + "b" * 32,
            "jobs:created",
            "key:two",
            "keys:ends:acme",
            "keys:ids",
            "keys:of:acme",
        ]
        assert redis.get("{loragen}:bundles:total") == b"0"
        assert redis.zcard("{loragen}:jobs:created") == 1
    await backend.stop()
