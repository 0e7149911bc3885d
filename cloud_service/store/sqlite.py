"""The store in one SQLite file: the default, for a single machine.

Publishing syncs the disk before it answers. Everything else can be generated again, and SQLite decides when to sync it.
Bundles are files in two folders beside it (`bundle_folder`): generated ones, of which the database knows in which order
they were used, and imported ones (`sqlite_imports`). Channels and devices are in `sqlite_fleet`.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast

import structlog

from cloud_service.errors import StoreUnavailableError
from cloud_service.store.bundle_folder import BundleFolder
from cloud_service.store.imports import StoredImport
from cloud_service.store.port import NOBODYS_SECONDS, StoredGeneration, StoredLora, StoredRecipe, StoreLimits
from cloud_service.store.sqlite_access import ACCESS_SCHEMA, SqliteAccess, note_owner, pin_owned
from cloud_service.store.sqlite_file import SqliteFile
from cloud_service.store.sqlite_fleet import FLEET_SCHEMA, SqliteChannels, SqliteDevices
from cloud_service.store.sqlite_imports import IMPORT_SCHEMA, SqliteImports
from cloud_service.store.sqlite_jobs import JOB_SCHEMA, SqliteJobs
from cloud_service.store.sqlite_sessions import SESSION_SCHEMA, SqliteSessions
from cloud_service.store.waiting import apart
from loragen.web.log_limit import LogLimit

_log = structlog.get_logger(__name__)

_SCHEMA_VERSION = 18

# Lengths come before the blobs, so that summing the lengths does not read the blobs.
_SCHEMA = """
CREATE TABLE generations (
    key TEXT PRIMARY KEY, recipe_id TEXT NOT NULL, expires REAL NOT NULL, note BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX generations_expires ON generations (expires);
CREATE TABLE loras (
    recipe_id TEXT PRIMARY KEY, bundle_id TEXT UNIQUE, bundle_bytes INTEGER NOT NULL, expires REAL, pinned INTEGER,
    recipe BLOB NOT NULL
);
CREATE INDEX loras_expires ON loras (expires) WHERE expires IS NOT NULL;
CREATE TABLE bundles (
    bundle_id TEXT PRIMARY KEY, bytes INTEGER NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX bundles_used ON bundles (used, bytes);
CREATE TABLE leases (key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
"""

_EXPIRED = (
    "DELETE FROM generations WHERE expires <= :now",
    "DELETE FROM loras WHERE expires <= :now",
    "DELETE FROM generations WHERE recipe_id NOT IN (SELECT recipe_id FROM loras)",
    "DELETE FROM imported WHERE expires <= :now",
    "DELETE FROM leases WHERE expires <= :now",
)

_LOST_BUNDLES = (
    "DELETE FROM bundles WHERE bundle_id NOT IN (SELECT bundle_id FROM loras WHERE bundle_id IS NOT NULL)"
    " RETURNING bundle_id"
)

_GRACE_SECONDS = 3600.0
"""A bundle is written some moments before the database knows of it; this is far longer."""


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
        self._recipe_ttl = limits.recipe_ttl_seconds
        self._bytes_per_tenant = limits.bytes_per_tenant
        self._log_limit = LogLimit()
        self._freeing: set[asyncio.Task[None]] = set()
        schema = _SCHEMA + IMPORT_SCHEMA + FLEET_SCHEMA + ACCESS_SCHEMA + JOB_SCHEMA + SESSION_SCHEMA
        self._file = SqliteFile(path, limits.timeout_seconds, schema, _SCHEMA_VERSION)
        self._bundles = BundleFolder(path.with_name(f"{path.name}-bundles"), limits.timeout_seconds)
        self._imported = BundleFolder(path.with_name(f"{path.name}-imported"), limits.timeout_seconds, durable=True)
        kept = limits.import_budget_bytes, limits.recipe_ttl_seconds, limits.bytes_per_tenant
        self._imports = SqliteImports(self._file, self._imported, *kept)
        self._db = self._file.db
        self._run, self._change = self._file.run, self._file.change
        self.channels = SqliteChannels(
            self._file,
            limits.versions_per_channel,
            limits.events_per_channel,
            limits.channels_per_tenant,
            limits.events_per_tenant,
            limits.bytes_per_tenant,
        )
        self.access = SqliteAccess(
            self._file,
            limits.bytes_per_tenant,
            limits.recipe_ttl_seconds,
            limits.keys_per_tenant,
            limits.audit_entries,
        )
        self.sessions = SqliteSessions(self._file)
        self.jobs = SqliteJobs(self._file, limits.job_seconds, limits.jobs_kept)
        self.devices = SqliteDevices(
            self._file, limits.device_ttl_seconds, limits.devices_per_channel, limits.devices_per_tenant
        )

    async def find_generation(self, key: str) -> StoredGeneration | None:
        def find() -> StoredGeneration | None:
            now = time.time()
            row = self._db.execute(
                "SELECT l.recipe_id, l.recipe, l.bundle_bytes, g.note, g.expires FROM generations g"
                " JOIN loras l USING (recipe_id) WHERE g.key = ? AND g.expires > ?"
                " AND (l.expires IS NULL OR l.expires > ?)",
                (key, now, now),
            ).fetchone()
            if row is None:
                return None
            # Renewed only after a tenth of its time: otherwise every cached answer would be a write.
            if row[4] - now < 0.9 * self._recipe_ttl:
                self._mark_use(lambda: self._renew(key, row[0], now + self._recipe_ttl))
            return StoredGeneration(StoredRecipe(*row[:3]), row[3])

        return await self._run(find)

    async def store_generation(self, key: str, recipe: StoredRecipe, note: bytes = b"", tenant: str = "") -> bool:
        def store() -> bool:
            now = time.time()
            expires = now + self._recipe_ttl
            self._db.execute("DELETE FROM generations WHERE expires <= ?", (now,))
            self._db.execute("DELETE FROM loras WHERE expires <= ?", (now,))
            size = len(recipe.recipe)
            if not note_owner(self._db, recipe.recipe_id, tenant, size, self._bytes_per_tenant):
                return False
            self._db.execute(
                "INSERT OR REPLACE INTO generations (key, recipe_id, expires, note) VALUES (?, ?, ?, ?)",
                (key, recipe.recipe_id, expires, note),
            )
            self._db.execute(
                "INSERT INTO loras (recipe_id, recipe, bundle_bytes, expires) VALUES (?, ?, ?, ?)"
                # A damaged row is replaced; a pinned one stays pinned.
                " ON CONFLICT (recipe_id) DO UPDATE SET bundle_bytes = excluded.bundle_bytes,"
                " recipe = excluded.recipe, expires = iif(expires IS NULL, NULL, excluded.expires)",
                (recipe.recipe_id, recipe.recipe, recipe.bundle_bytes, expires),
            )
            return True

        return await self._change(store)

    async def name_bundle(self, recipe_id: str, bundle_id: str, tenant: str = "") -> bool:
        def name() -> bool:
            owned = "SELECT 1 FROM owners WHERE id = ? AND tenant = ?"
            if tenant and self._db.execute(owned, (recipe_id, tenant)).fetchone() is None:
                return False
            statement = "UPDATE loras SET bundle_id = ? WHERE recipe_id = ?"
            if self._db.execute(statement, (bundle_id, recipe_id)).rowcount != 1:
                return False
            return not tenant or note_owner(self._db, bundle_id, tenant, 0, 0)

        return await self._change(name)

    async def load_lora(self, either_id: str) -> StoredLora | None:
        def load() -> StoredLora | None:
            row = self._db.execute(
                "SELECT recipe_id, recipe, bundle_bytes, bundle_id FROM loras WHERE (bundle_id = ? OR recipe_id = ?)"
                " AND bundle_id IS NOT NULL AND (expires IS NULL OR expires > ?)",
                (either_id, either_id, time.time()),
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
        bundle = await self._bundles.get(bundle_id)
        if bundle is not None:
            await self._run(lambda: self._mark_use(lambda: self._use(bundle_id)))
        return bundle

    async def store_bundle(self, bundle_id: str, bundle: bytes) -> None:
        if len(bundle) <= self._budget:
            await self._bundles.put(bundle_id, bundle)
            await self._bundles.delete(await self._change(lambda: self._note_bundle(bundle_id, len(bundle))))

    async def pin(self, bundle_id: str, tenant: str = "") -> bool:
        def pin() -> bool:
            row = self._db.execute("SELECT recipe_id FROM loras WHERE bundle_id = ?", (bundle_id,)).fetchone()
            return row is not None and pin_owned(self._db, "loras", bundle_id, tenant, row[0])

        return await self._change(pin, durable=True)

    async def store_imported(self, imported: StoredImport, bundle: bytes | None, tenant: str = "") -> bool:
        return await self._imports.store_imported(imported, bundle, tenant)

    async def find_imported(self, bundle_id: str) -> StoredImport | None:
        return await self._imports.find_imported(bundle_id)

    async def load_imported(self, bundle_id: str) -> bytes | None:
        return await self._imports.load_imported(bundle_id)

    async def pin_imported(self, bundle_id: str, tenant: str = "") -> bool:
        return await self._imports.pin_imported(bundle_id, tenant)

    async def disown(self, tenant: str, either_id: str, settled_seconds: float) -> bool:
        def disown() -> bool:
            statement = "SELECT recipe_id, bundle_id FROM loras WHERE recipe_id = ? OR bundle_id = ?"
            lora = self._db.execute(statement, (either_id, either_id)).fetchone() or ()
            since = time.time_ns() // 1_000 - round(settled_seconds * 1e6)
            ids = {either_id, *filter(None, lora)}
            of_tenant = "id = ? AND ? IN (tenant, '')"
            for each in ids:
                statement = f"SELECT 1 FROM owners WHERE {of_tenant} AND pinned > ?"
                if self._db.execute(statement, (each, tenant, since)).fetchone() is not None:
                    return False
            for each in ids:
                self._db.execute(f"DELETE FROM owners WHERE {of_tenant}", (each, tenant))
                nobodys = "bundle_id = ? AND NOT EXISTS (SELECT 1 FROM owners WHERE id = bundle_id)"
                self._db.execute(f"DELETE FROM imported WHERE {nobodys}", (each,))
            if not tenant and lora:
                self._db.execute("DELETE FROM loras WHERE recipe_id = ?", lora[:1])
            self._hasten(either_id)
            return True

        done = await self._change(disown, durable=True)
        if done:
            # Nobody waits for this, so that no time tells whether another tenant has the same bundle.
            with apart():
                freeing = asyncio.create_task(self._free_import(either_id))
            self._freeing.add(freeing)
            freeing.add_done_callback(self._freeing.discard)
        return done

    async def list_pinned(self, before: int) -> list[str]:
        def load() -> list[str]:
            statement = (
                "SELECT bundle_id FROM loras WHERE pinned < ? UNION SELECT bundle_id FROM imported WHERE pinned < ?"
            )
            return [str(row[0]) for row in self._db.execute(statement, (before, before))]

        return await self._run(load)

    async def unpin(self, bundle_id: str, before: int) -> None:
        def unpin() -> None:
            values = (time.time() + self._recipe_ttl, bundle_id, before)
            for table in ("loras", "imported"):
                self._db.execute(
                    f"UPDATE {table} SET expires = ?, pinned = NULL WHERE bundle_id = ? AND pinned < ?", values
                )
            self._hasten(bundle_id)

        await self._change(unpin)

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

    async def prune(self) -> None:
        now = time.time()
        for statement in _EXPIRED:
            await self._change(partial(self._db.execute, statement, {"now": now}))
        lost = await self._change(lambda: self._db.execute(_LOST_BUNDLES).fetchall())
        await self._bundles.delete(bundle_id for (bundle_id,) in lost)
        settled = await self._bundles.list_settled(_GRACE_SECONDS)
        await self._bundles.delete(await self._run(lambda: self._unknown(settled)))
        await self._imports.delete_unknown(await self._imported.list_settled(_GRACE_SECONDS))
        for part in (self.devices, self.jobs, self.sessions, self.access):
            await part.prune()

    async def verify_supported(self) -> None:
        """Whatever is wrong with a file was found when it was opened."""

    async def verify_writable(self) -> None:
        # A lease that has ended already. It replaces itself, so the file does not grow.
        await self._change(lambda: self._db.execute("INSERT OR REPLACE INTO leases VALUES ('writable', '', 0)"))

    async def aclose(self) -> None:
        await asyncio.gather(*self._freeing)
        await self._bundles.aclose()
        await self._imported.aclose()
        await self._file.aclose()

    async def _free_import(self, bundle_id: str) -> None:
        # Upkeep does it when this fails.
        with suppress(StoreUnavailableError):
            await self._imports.delete_unknown([bundle_id])

    def _renew(self, key: str, recipe_id: str, expires: float) -> None:
        if self._db.execute("SELECT 1 FROM owners WHERE id = ? LIMIT 1", (recipe_id,)).fetchone() is None:
            return
        self._db.execute("UPDATE generations SET expires = ? WHERE key = ?", (expires, key))
        self._db.execute(
            "UPDATE loras SET expires = ? WHERE recipe_id = ? AND expires IS NOT NULL", (expires, recipe_id)
        )

    def _hasten(self, either_id: str) -> None:
        """Let a recipe, by its id or its bundle's, expire soon if it is nobody's."""
        self._db.execute(
            "UPDATE loras SET expires = min(expires, ?) WHERE (recipe_id = ? OR bundle_id = ?)"
            " AND expires IS NOT NULL AND NOT EXISTS (SELECT 1 FROM owners WHERE id = recipe_id)",
            (time.time() + NOBODYS_SECONDS, either_id, either_id),
        )

    def _use(self, bundle_id: str) -> None:
        self._db.execute(
            "UPDATE bundles SET used = (SELECT max(used) + 1 FROM bundles) WHERE bundle_id = ?", (bundle_id,)
        )

    def _mark_use(self, mark: Callable[[], None]) -> None:
        # A read has its answer even when its use cannot be noted: on a full disk, or while another process writes.
        try:
            self._db.execute("PRAGMA busy_timeout = 0")
            with self._file.transaction():
                mark()
        except sqlite3.Error as e:
            if (left_out := self._log_limit.pass_line(type(e).__name__)) is not None:
                _log.warning("use_not_marked", reason=str(e), left_out=left_out)

    def _note_bundle(self, bundle_id: str, size: int) -> list[str]:
        """Note that a bundle was written. Returns those that have to make room for it."""
        self._db.execute(
            "INSERT OR REPLACE INTO bundles SELECT ?, ?, coalesce(max(used), 0) + 1 FROM bundles", (bundle_id, size)
        )
        (total,) = self._db.execute("SELECT sum(bytes) FROM bundles").fetchone()
        gone: list[str] = []
        if total > self._budget:
            for oldest, its_size in self._db.execute("SELECT bundle_id, bytes FROM bundles ORDER BY used").fetchall():
                self._db.execute("DELETE FROM bundles WHERE bundle_id = ?", (oldest,))
                gone.append(oldest)
                total -= its_size
                if total <= self._budget:
                    break
        return gone

    def _unknown(self, names: list[str]) -> list[str]:
        """Those of some files that the database does not name."""
        statement = "SELECT 1 FROM bundles WHERE bundle_id = ?"
        return [name for name in names if self._db.execute(statement, (name,)).fetchone() is None]

    def _blob(self, statement: str, *values: object) -> bytes | None:
        row = self._db.execute(statement, values).fetchone()
        return None if row is None else cast(bytes, row[0])
