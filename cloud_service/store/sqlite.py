"""The store in one SQLite file: the default, for a single machine.

All statements run on a thread of their own, so the event loop never waits for the disk. Several processes may open the
same file; SQLite's locks order them. Publishing syncs the disk before it answers. Everything else can be generated
again, and SQLite decides when to sync it.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import TypeVar, cast

import structlog

from cloud_service.errors import StoreUnavailableError
from cloud_service.store.port import (
    StoredGeneration,
    StoredImport,
    StoredLora,
    StoredReport,
    StoreLimits,
    unavailable,
)
from cloud_service.store.waiting import waiting
from loragen.contract.digest import sha256_hex

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)

_SCHEMA_VERSION = 5

_NEVER_US = 2**62
"""A time, in microseconds since 1970, that no report is stored at."""

_EARLIER_MS = 50
"""SQLite gives up on a lock so much earlier than the caller, who then hears why."""

# Lengths come before the blobs, so that summing the lengths does not read the blobs.
_SCHEMA = """
CREATE TABLE generations (
    key TEXT PRIMARY KEY, bundle_id TEXT NOT NULL, expires REAL NOT NULL, note BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX generations_expires ON generations (expires);
CREATE TABLE loras (
    bundle_id TEXT PRIMARY KEY, bundle_bytes INTEGER NOT NULL, recipe_id TEXT NOT NULL UNIQUE, expires REAL,
    recipe BLOB NOT NULL
);
CREATE INDEX loras_expires ON loras (expires) WHERE expires IS NOT NULL;
CREATE TABLE bundles (bundle_id TEXT PRIMARY KEY, bytes INTEGER NOT NULL, used INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX bundles_used ON bundles (used, bytes);
CREATE TABLE imported (
    bundle_id TEXT PRIMARY KEY, bytes INTEGER NOT NULL, edge_model_id TEXT NOT NULL, edge_model_digest TEXT NOT NULL,
    expires REAL, data BLOB NOT NULL
);
CREATE TABLE channels (
    name TEXT PRIMARY KEY, version INTEGER NOT NULL, digest TEXT NOT NULL, document BLOB NOT NULL
);
CREATE TABLE leases (key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE devices (
    channel TEXT NOT NULL, device_id TEXT NOT NULL, reported INTEGER NOT NULL, report BLOB NOT NULL,
    PRIMARY KEY (channel, device_id)
);
CREATE INDEX devices_reported ON devices (reported);
CREATE INDEX devices_of_channel ON devices (channel, reported);
"""


class SqliteStore:
    """`Store` over the standard library's sqlite3.

    Args:
        path: The file; made, with its folder, when absent.
        limits: Its timeout is for one call: for those before it and for another process's lock together.

    Raises:
        StoreUnavailableError: The file cannot be opened, is no database, or has a schema that this code does not know.
    """

    def __init__(self, path: Path, limits: StoreLimits) -> None:
        self._budget = limits.bundle_budget_bytes
        self._import_budget = limits.import_budget_bytes
        self._recipe_ttl = limits.recipe_ttl_seconds
        self._device_ttl_us = round(limits.device_ttl_seconds * 1e6)
        self._devices_per_channel = limits.devices_per_channel
        self._timeout = limits.timeout_seconds
        try:
            self._db = _open(path, limits.timeout_seconds)
        except (sqlite3.Error, OSError) as e:
            raise StoreUnavailableError(
                f"the store file cannot be opened: {e}", "check LORAGEN_CLOUD_STORE_URL and the disk's free space"
            ) from e
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")

    async def find_generation(self, key: str) -> StoredGeneration | None:
        def find() -> StoredGeneration | None:
            now = time.time()
            row = self._db.execute(
                "SELECT l.bundle_id, l.bundle_bytes, l.recipe_id, l.recipe, g.note, g.expires FROM generations g"
                " JOIN loras l USING (bundle_id) WHERE g.key = ? AND g.expires > ?"
                " AND (l.expires IS NULL OR l.expires > ?)",
                (key, now, now),
            ).fetchone()
            if row is None:
                return None
            # Renewed only after a tenth of its time: otherwise every cached answer would be a write.
            if row[5] - now < 0.9 * self._recipe_ttl:
                self._mark_use(lambda: self._renew(key, row[0], now + self._recipe_ttl))
            return StoredGeneration(StoredLora(*row[:4]), row[4])

        return await self._run(find)

    async def store_generation(self, key: str, lora: StoredLora, bundle: bytes, note: bytes = b"") -> None:
        def store() -> None:
            now = time.time()
            expires = now + self._recipe_ttl
            self._db.execute("DELETE FROM generations WHERE expires <= ?", (now,))
            self._db.execute("DELETE FROM loras WHERE expires <= ?", (now,))
            self._db.execute(
                "INSERT OR REPLACE INTO generations (key, bundle_id, expires, note) VALUES (?, ?, ?, ?)",
                (key, lora.bundle_id, expires, note),
            )
            self._db.execute(
                "INSERT INTO loras (bundle_id, bundle_bytes, recipe_id, recipe, expires) VALUES (?, ?, ?, ?, ?)"
                # A damaged row is replaced; a pinned one stays pinned.
                " ON CONFLICT (bundle_id) DO UPDATE SET bundle_bytes = excluded.bundle_bytes,"
                " recipe_id = excluded.recipe_id, recipe = excluded.recipe,"
                " expires = iif(expires IS NULL, NULL, excluded.expires)",
                (lora.bundle_id, lora.bundle_bytes, lora.recipe_id, lora.recipe, expires),
            )
            self._put_bundle(lora.bundle_id, bundle)

        await self._change(store)

    async def load_lora(self, bundle_id: str) -> StoredLora | None:
        def load() -> StoredLora | None:
            row = self._db.execute(
                "SELECT bundle_id, bundle_bytes, recipe_id, recipe FROM loras"
                " WHERE bundle_id = ? AND (expires IS NULL OR expires > ?)",
                (bundle_id, time.time()),
            ).fetchone()
            return None if row is None else StoredLora(*row)

        return await self._run(load)

    async def load_recipe(self, recipe_id: str) -> bytes | None:
        return await self._run(
            lambda: self._blob(
                "SELECT recipe FROM loras WHERE recipe_id = ? AND (expires IS NULL OR expires > ?)",
                recipe_id,
                time.time(),
            )
        )

    async def load_bundle(self, bundle_id: str) -> bytes | None:
        def load() -> bytes | None:
            bundle = self._blob("SELECT data FROM bundles WHERE bundle_id = ?", bundle_id)
            if bundle is not None:
                self._mark_use(lambda: self._use(bundle_id))
            return bundle

        return await self._run(load)

    async def store_bundle(self, bundle_id: str, bundle: bytes) -> None:
        await self._change(lambda: self._put_bundle(bundle_id, bundle))

    async def pin(self, bundle_id: str) -> bool:
        def pin() -> bool:
            statement = "UPDATE loras SET expires = NULL WHERE bundle_id = ? AND (expires IS NULL OR expires > ?)"
            return self._db.execute(statement, (bundle_id, time.time())).rowcount == 1

        return await self._change(pin, durable=True)

    async def store_imported(self, imported: StoredImport, bundle: bytes) -> bool:
        def store() -> bool:
            now = time.time()
            self._db.execute("DELETE FROM imported WHERE expires <= ?", (now,))
            (others,) = self._db.execute(
                "SELECT coalesce(sum(bytes), 0) FROM imported WHERE bundle_id <> ?", (imported.bundle_id,)
            ).fetchone()
            if others + len(bundle) > self._import_budget:
                return False
            self._db.execute(
                "INSERT INTO imported VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (bundle_id) DO UPDATE SET"
                " data = excluded.data, expires = iif(expires IS NULL, NULL, excluded.expires)",
                (*astuple(imported), now + self._recipe_ttl, bundle),
            )
            return True

        return await self._change(store)

    async def find_imported(self, bundle_id: str) -> StoredImport | None:
        def find() -> StoredImport | None:
            row = self._db.execute(
                "SELECT bundle_id, bytes, edge_model_id, edge_model_digest FROM imported"
                " WHERE bundle_id = ? AND (expires IS NULL OR expires > ?)",
                (bundle_id, time.time()),
            ).fetchone()
            return None if row is None else StoredImport(*row)

        return await self._run(find)

    async def load_imported(self, bundle_id: str) -> bytes | None:
        statement = "SELECT data FROM imported WHERE bundle_id = ? AND (expires IS NULL OR expires > ?)"
        return await self._run(lambda: self._blob(statement, bundle_id, time.time()))

    async def pin_imported(self, bundle_id: str) -> bool:
        def pin() -> bool:
            statement = "UPDATE imported SET expires = NULL WHERE bundle_id = ? AND (expires IS NULL OR expires > ?)"
            return self._db.execute(statement, (bundle_id, time.time())).rowcount == 1

        return await self._change(pin, durable=True)

    async def load_channel(self, name: str) -> bytes | None:
        return await self._run(lambda: self._blob("SELECT document FROM channels WHERE name = ?", name))

    async def load_channel_digest(self, name: str) -> str | None:
        def load() -> str | None:
            row = self._db.execute("SELECT digest FROM channels WHERE name = ?", (name,)).fetchone()
            return None if row is None else str(row[0])

        return await self._run(load)

    async def load_channel_version(self, name: str) -> int | None:
        def load() -> int | None:
            row = self._db.execute("SELECT version FROM channels WHERE name = ?", (name,)).fetchone()
            return None if row is None else int(row[0])

        return await self._run(load)

    async def swap_channel(self, name: str, expected_version: int, version: int, document: bytes) -> bool:
        def swap() -> bool:
            values = (version, sha256_hex(document), document, name)
            if expected_version == 0:
                statement = "INSERT OR IGNORE INTO channels (version, digest, document, name) VALUES (?, ?, ?, ?)"
                return self._db.execute(statement, values).rowcount == 1
            statement = "UPDATE channels SET version = ?, digest = ?, document = ? WHERE name = ? AND version = ?"
            return self._db.execute(statement, (*values, expected_version)).rowcount == 1

        return await self._change(swap, durable=True)

    async def acquire_lease(self, key: str, owner: str, seconds: float) -> bool:
        def acquire() -> bool:
            # The time is read under the lock, so every lease in the file is older. A lease that ends later than one
            # taken now was left before the clock was set back; it counts as expired.
            now = time.time()
            cursor = self._db.execute(
                "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
                " owner = excluded.owner, expires = excluded.expires"
                " WHERE owner = excluded.owner OR expires <= ? OR expires > excluded.expires",
                (key, owner, now + seconds, now),
            )
            return cursor.rowcount == 1

        return await self._change(acquire)

    async def release_lease(self, key: str, owner: str) -> None:
        await self._change(lambda: self._db.execute("DELETE FROM leases WHERE key = ? AND owner = ?", (key, owner)))

    async def store_device(self, channel: str, device_id: str, report: bytes) -> None:
        def store() -> None:
            now = time.time_ns() // 1_000
            self._db.execute("DELETE FROM devices WHERE reported <= ?", (now - self._device_ttl_us,))
            self._db.execute("INSERT OR REPLACE INTO devices VALUES (?, ?, ?, ?)", (channel, device_id, now, report))
            self._db.execute(
                "DELETE FROM devices WHERE channel = ? AND reported <="
                " (SELECT reported FROM devices WHERE channel = ? ORDER BY reported DESC LIMIT 1 OFFSET ?)",
                (channel, channel, self._devices_per_channel),
            )

        await self._change(store)

    async def load_devices(self, channel: str, limit: int, before: int | None = None) -> list[StoredReport]:
        def load() -> list[StoredReport]:
            now = time.time_ns() // 1_000
            rows = self._db.execute(
                "SELECT reported, report FROM devices WHERE channel = ? AND reported > ? AND reported < ?"
                " ORDER BY reported DESC LIMIT ?",
                (channel, now - self._device_ttl_us, before or _NEVER_US, limit),
            )
            return [StoredReport(*row) for row in rows]

        return await self._run(load)

    async def verify_writable(self) -> None:
        # A lease that has ended already. It replaces itself, so the file does not grow.
        await self._change(lambda: self._db.execute("INSERT OR REPLACE INTO leases VALUES ('writable', '', 0)"))

    async def aclose(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
        self._thread.shutdown()

    def _renew(self, key: str, bundle_id: str, expires: float) -> None:
        self._db.execute("UPDATE generations SET expires = ? WHERE key = ?", (expires, key))
        self._db.execute(
            "UPDATE loras SET expires = ? WHERE bundle_id = ? AND expires IS NOT NULL", (expires, bundle_id)
        )

    def _use(self, bundle_id: str) -> None:
        self._db.execute(
            "UPDATE bundles SET used = (SELECT max(used) + 1 FROM bundles) WHERE bundle_id = ?", (bundle_id,)
        )

    def _mark_use(self, mark: Callable[[], None]) -> None:
        # A read has its answer even when its use cannot be noted: on a full disk, or while another process writes.
        try:
            self._db.execute("PRAGMA busy_timeout = 0")
            with self._transaction():
                mark()
        except sqlite3.Error as e:
            _log.warning("use_not_marked", reason=str(e))

    def _put_bundle(self, bundle_id: str, bundle: bytes) -> None:
        if len(bundle) > self._budget:
            return
        self._db.execute(
            "INSERT OR REPLACE INTO bundles SELECT ?, ?, coalesce(max(used), 0) + 1, ? FROM bundles",
            (bundle_id, len(bundle), bundle),
        )
        (total,) = self._db.execute("SELECT sum(bytes) FROM bundles").fetchone()
        if total <= self._budget:
            return
        for oldest, size in self._db.execute("SELECT bundle_id, bytes FROM bundles ORDER BY used").fetchall():
            self._db.execute("DELETE FROM bundles WHERE bundle_id = ?", (oldest,))
            total -= size
            if total <= self._budget:
                return

    def _blob(self, statement: str, *values: object) -> bytes | None:
        row = self._db.execute(statement, values).fetchone()
        return None if row is None else cast(bytes, row[0])

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[None]:
        # In WAL mode NORMAL never corrupts the file, but a power cut may lose the last commits.
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # After some errors, such as a full disk, SQLite has rolled back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    async def _change(self, change: Callable[[], _T], *, durable: bool = False) -> _T:
        def work() -> _T:
            with self._transaction(durable=durable):
                return change()

        return await self._run(work)

    async def _run(self, work: Callable[[], _T]) -> _T:
        try:
            async with waiting(self._timeout) as deadline:
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_time, work, deadline)
        except (sqlite3.Error, OSError, TimeoutError) as e:
            raise unavailable("sqlite", e) from e

    def _in_time(self, work: Callable[[], _T], deadline: float) -> _T:
        # On the store's thread. Calls before this one may have waited for a lock; what is left is for this one.
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("calls before this one took all its time")
        self._db.execute(f"PRAGMA busy_timeout = {max(0, int(left * 1000) - _EARLIER_MS)}")
        return work()


def _open(path: Path, timeout_seconds: float) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # One thread uses the connection, but another opens it. With isolation_level None, transactions are ours.
    db = sqlite3.connect(path, timeout=timeout_seconds, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        elif version != _SCHEMA_VERSION:
            raise StoreUnavailableError(
                f"expected a store of schema {_SCHEMA_VERSION}, found schema {version} in {path.name}",
                "point LORAGEN_CLOUD_STORE_URL at another file",
            )
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db
