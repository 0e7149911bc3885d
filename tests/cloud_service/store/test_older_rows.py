"""Rows that an earlier version of the service stored are still answers."""

import sqlite3
import time
from pathlib import Path

from redis.asyncio import Redis

from cloud_service.store import StoredGeneration, StoredLora
from cloud_service.store.sqlite import SqliteStore
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import OPTIONS, RedisBackend

LORA = StoredLora(sha256_hex(b"bundle"), 6, sha256_hex(b"recipe"), b"recipe")

SCHEMA_1 = """
CREATE TABLE generations (key TEXT PRIMARY KEY, bundle_id TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX generations_expires ON generations (expires);
CREATE TABLE loras (
    bundle_id TEXT PRIMARY KEY, bundle_bytes INTEGER NOT NULL, recipe_id TEXT NOT NULL UNIQUE, expires REAL,
    recipe BLOB NOT NULL
);
CREATE TABLE bundles (bundle_id TEXT PRIMARY KEY, bytes INTEGER NOT NULL, used INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE channels (name TEXT PRIMARY KEY, version INTEGER NOT NULL, document BLOB NOT NULL);
CREATE TABLE leases (key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE devices (
    channel TEXT NOT NULL, device_id TEXT NOT NULL, reported REAL NOT NULL, report BLOB NOT NULL,
    PRIMARY KEY (channel, device_id)
);
PRAGMA user_version = 1;
"""


async def test_sqlite_file_without_notes_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    db = sqlite3.connect(path)
    db.executescript(SCHEMA_1)
    expires = time.time() + 600
    row = (LORA.bundle_id, LORA.bundle_bytes, LORA.recipe_id, expires, LORA.recipe)
    db.execute("INSERT INTO loras VALUES (?, ?, ?, ?, ?)", row)
    db.execute("INSERT INTO generations VALUES (?, ?, ?)", ("old", LORA.bundle_id, expires))
    db.commit()
    db.close()
    for _ in range(2):  # taken over once, and opened as it then is
        store = SqliteStore(path, **OPTIONS)
        assert await store.find_generation("old") == StoredGeneration(LORA, b"")
        await store.store_generation("new", LORA, b"bundle", b"note")
        assert await store.find_generation("new") == StoredGeneration(LORA, b"note")
        await store.aclose()


async def test_redis_value_without_a_note_is_found(redis: RedisBackend) -> None:
    store = await redis.open()
    await store.store_generation("new", LORA, b"bundle", b"note")
    async with Redis.from_url(redis.url) as plain:
        await plain.set("{loragen}:generation:old", LORA.bundle_id, px=600_000)
    assert await store.find_generation("old") == StoredGeneration(LORA, b"")
