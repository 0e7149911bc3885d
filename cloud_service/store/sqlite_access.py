"""What `cloud_service.access` keeps, in the SQLite file. Keys and the audit log outlive a power cut."""

import sqlite3
import time
from collections import Counter
from collections.abc import Sequence

from cloud_service.store.access import FORGOTTEN_AT_ONCE, Share, StoredEntry
from cloud_service.store.sqlite_file import SqliteFile

_NEVER = 2**62

ACCESS_SCHEMA = """
CREATE TABLE api_keys (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, ends INTEGER, record BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX keys_of_tenant ON api_keys (tenant);
CREATE INDEX keys_that_end ON api_keys (tenant, ends) WHERE ends IS NOT NULL;
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, at REAL NOT NULL, entry BLOB NOT NULL
);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_of_tenant ON audit (tenant, number);
CREATE TABLE audit_counts (tenant TEXT PRIMARY KEY, entries INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE owners (
    id TEXT NOT NULL, tenant TEXT NOT NULL, pinned INTEGER, bytes INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (id, tenant)
) WITHOUT ROWID;
CREATE INDEX owners_of_tenant ON owners (tenant, bytes);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
"""


class SqliteAccess:
    """`AccessStore` in a file.

    Args:
        file: Where it is.
        most_bytes: Of one tenant.
        recipe_ttl_seconds: How long a recipe is kept that is anybody's.
        most_keys: Of one tenant.
        most_entries: Of the audit log, of one tenant or of the operator.
    """

    def __init__(
        self, file: SqliteFile, most_bytes: int, recipe_ttl_seconds: float, most_keys: int, most_entries: int
    ) -> None:
        self._file = file
        self._most_bytes = most_bytes
        self._most_keys, self._most_entries = most_keys, most_entries
        self._recipe_ttl = recipe_ttl_seconds
        self._db = file.db

    async def load_key(self, key_id: str) -> bytes | None:
        return (await self.load_keys([key_id]))[0]

    async def load_keys(self, key_ids: Sequence[str]) -> list[bytes | None]:
        def load() -> list[bytes | None]:
            statement = "SELECT record FROM api_keys WHERE id = ?"
            rows = (self._db.execute(statement, (key_id,)).fetchone() for key_id in key_ids)
            return [None if row is None else bytes(row[0]) for row in rows]

        return await self._file.run(load)

    async def swap_key(
        self, key_id: str, expected: bytes | None, record: bytes, tenant: str = "", ends_at: int | None = None
    ) -> bool:
        def swap() -> bool:
            if expected is None:
                if not self._make_room(tenant):
                    return False
                statement = "INSERT OR IGNORE INTO api_keys (record, ends, id, tenant) VALUES (?, ?, ?, ?)"
                return self._db.execute(statement, (record, ends_at, key_id, tenant)).rowcount == 1
            statement = "UPDATE api_keys SET record = ?, ends = ? WHERE id = ? AND record = ?"
            return self._db.execute(statement, (record, ends_at, key_id, expected)).rowcount == 1

        return await self._file.change(swap, durable=True)

    async def forget_key(self, key_id: str, expected: bytes, tenant: str = "") -> bool:
        def forget() -> bool:
            statement = (
                "DELETE FROM api_keys WHERE id = ? AND record = ? AND EXISTS (SELECT 1 FROM api_keys WHERE id <> ?)"
            )
            return self._db.execute(statement, (key_id, expected, key_id)).rowcount == 1

        return await self._file.change(forget, durable=True)

    async def list_keys(self, limit: int, after: str = "", tenant: str = "") -> list[bytes]:
        of_tenant = "tenant = ? AND" if tenant else "? = '' AND"
        statement = f"SELECT record FROM api_keys WHERE {of_tenant} id > ? ORDER BY id LIMIT ?"
        values = (tenant, after, limit)
        return await self._file.run(lambda: [bytes(row[0]) for row in self._db.execute(statement, values)])

    async def key_share(self, tenant: str) -> Share:
        return Share(await self._file.run(lambda: self._count_keys(tenant)), self._most_keys)

    async def has_keys(self) -> bool:
        return await self._file.run(lambda: self._db.execute("SELECT 1 FROM api_keys LIMIT 1").fetchone() is not None)

    async def append_entry(self, tenant: str, at: float, entry: bytes) -> list[bytes]:
        def append() -> list[bytes]:
            self._db.execute("INSERT INTO audit (tenant, at, entry) VALUES (?, ?, ?)", (tenant, at, entry))
            excess = self._count_entries(tenant, 1) - self._most_entries
            if excess <= 0 or not self._most_entries:
                return []
            gone = self._db.execute(
                "DELETE FROM audit WHERE number IN"
                " (SELECT number FROM audit WHERE tenant = ? ORDER BY number LIMIT ?) RETURNING entry",
                (tenant, min(excess, FORGOTTEN_AT_ONCE)),
            ).fetchall()
            self._count_entries(tenant, -len(gone))
            return [bytes(row[0]) for row in gone]

        return await self._file.change(append, durable=True)

    async def forget_entries(self, before: float) -> None:
        def forget() -> None:
            rows = self._db.execute("DELETE FROM audit WHERE at < ? RETURNING tenant", (before,))
            for tenant, entries in Counter(tenant for (tenant,) in rows).items():
                self._count_entries(tenant, -entries)
            self._db.execute("DELETE FROM audit_counts WHERE entries = 0")

        await self._file.change(forget)

    async def list_entries(self, limit: int, before: int | None = None, tenant: str = "") -> list[StoredEntry]:
        of_tenant = "tenant = ? AND" if tenant else "? = '' AND"
        statement = f"SELECT number, entry FROM audit WHERE {of_tenant} number < ? ORDER BY number DESC LIMIT ?"
        values = (tenant, _NEVER if before is None else before, limit)
        return await self._file.run(
            lambda: [StoredEntry(number, bytes(entry)) for number, entry in self._db.execute(statement, values)]
        )

    async def own(self, tenant: str, artifact_id: str) -> bool:
        def own() -> bool:
            statement = (
                "SELECT coalesce((SELECT length(recipe) FROM loras WHERE recipe_id = :id),"
                " (SELECT bytes FROM imported WHERE bundle_id = :id), 0)"
            )
            (size,) = self._db.execute(statement, {"id": artifact_id}).fetchone()
            if not note_owner(self._db, artifact_id, tenant, size, self._most_bytes):
                return False
            # It may have been nobody's, and then expires soon.
            now = time.time()
            self._db.execute(
                "UPDATE loras SET expires = ? WHERE recipe_id = ? AND expires < ?",
                (now + self._recipe_ttl, artifact_id, now + 0.9 * self._recipe_ttl),
            )
            return True

        return await self._file.change(own)

    async def share(self, tenant: str) -> Share:
        return Share(await self._file.run(lambda: _held_bytes(self._db, tenant)), self._most_bytes)

    async def owns(self, tenant: str, artifact_id: str) -> bool:
        statement = "SELECT 1 FROM owners WHERE id = ? AND tenant = ?"
        return await self._file.run(lambda: self._db.execute(statement, (artifact_id, tenant)).fetchone() is not None)

    async def count(self, name: str, amount: int, ttl_seconds: int) -> int:
        def count() -> int:
            now = time.time()
            self._db.execute(
                "INSERT INTO counters VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                " value = iif(expires > ?, value, 0) + excluded.value, expires = iif(expires > ?, expires,"
                " excluded.expires)",
                (name, amount, now + ttl_seconds, now, now),
            )
            (value,) = self._db.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
            return int(value)

        return await self._file.change(count)

    async def prune(self) -> None:
        """Take away whose recipes and bundles were that are gone, and counters that are over."""

        def prune() -> None:
            self._db.execute(
                "DELETE FROM owners WHERE id NOT IN (SELECT recipe_id FROM loras UNION ALL SELECT bundle_id FROM loras"
                " WHERE bundle_id IS NOT NULL UNION ALL SELECT bundle_id FROM imported)"
            )
            self._db.execute("DELETE FROM counters WHERE expires <= ?", (time.time(),))

        await self._file.change(prune)

    def _make_room(self, tenant: str) -> bool:
        """Whether a tenant may have one more key, if need be in place of one that has ended."""
        if not tenant or not self._most_keys or self._count_keys(tenant) < self._most_keys:
            return True
        oldest = "SELECT id FROM api_keys WHERE tenant = ? AND ends <= ? ORDER BY ends LIMIT 1"
        forget = f"DELETE FROM api_keys WHERE id = ({oldest})"
        return self._db.execute(forget, (tenant, time.time())).rowcount == 1

    def _count_keys(self, tenant: str) -> int:
        return int(self._db.execute("SELECT count(*) FROM api_keys WHERE tenant = ?", (tenant,)).fetchone()[0])

    def _count_entries(self, tenant: str, more: int) -> int:
        """How many entries a tenant has in the audit log, after so many more."""
        statement = (
            "INSERT INTO audit_counts (tenant, entries) VALUES (?, ?)"
            " ON CONFLICT (tenant) DO UPDATE SET entries = entries + excluded.entries RETURNING entries"
        )
        return int(self._db.execute(statement, (tenant, more)).fetchall()[0][0])


def note_owner(db: sqlite3.Connection, artifact_id: str, tenant: str, size: int, most_bytes: int) -> bool:
    """Let something of so many bytes be a tenant's, or the operator's; False when the tenant has no room.

    To be called within a transaction.
    """
    if db.execute("SELECT 1 FROM owners WHERE id = ? AND tenant = ?", (artifact_id, tenant)).fetchone() is not None:
        return True
    if tenant and most_bytes and size and _held_bytes(db, tenant) + size > most_bytes:
        return False
    db.execute("INSERT INTO owners (id, tenant, bytes) VALUES (?, ?, ?)", (artifact_id, tenant, size))
    return True


def _held_bytes(db: sqlite3.Connection, tenant: str) -> int:
    return int(db.execute("SELECT coalesce(sum(bytes), 0) FROM owners WHERE tenant = ?", (tenant,)).fetchone()[0])


def pin_owned(db: sqlite3.Connection, table: str, bundle_id: str, tenant: str, *recipe_ids: str) -> bool:
    """Keep a bundle of a table for ever, because a tenant's channel names it; False when it is not there, or not its.

    To be called within a transaction.
    """
    ids = (bundle_id, *recipe_ids)
    owned = "SELECT 1 FROM owners WHERE id = ? AND tenant = ?"
    if tenant and any(db.execute(owned, (each, tenant)).fetchone() is None for each in ids):
        return False
    now = time.time_ns() // 1_000
    statement = (
        f"UPDATE {table} SET expires = NULL, pinned = ? WHERE bundle_id = ? AND (expires IS NULL OR expires > ?)"
    )
    if db.execute(statement, (now, bundle_id, time.time())).rowcount != 1:
        return False
    db.executemany(
        "INSERT INTO owners (id, tenant, pinned) VALUES (?, ?, ?)"
        " ON CONFLICT (id, tenant) DO UPDATE SET pinned = excluded.pinned",
        [(each, tenant, now) for each in ids],
    )
    return True
