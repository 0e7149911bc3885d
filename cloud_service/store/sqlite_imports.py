"""Bundles that users imported: what is known of them is in the SQLite file, their bytes are in a folder beside it.

A bundle is on the disk before anybody hears of it.
"""

import time
from collections.abc import Iterable
from dataclasses import astuple

from cloud_service.store.bundle_folder import BundleFolder
from cloud_service.store.imports import StoredImport
from cloud_service.store.sqlite_access import note_owner, pin_owned
from cloud_service.store.sqlite_file import SqliteFile

IMPORT_SCHEMA = """
CREATE TABLE imported (
    bundle_id TEXT PRIMARY KEY, bytes INTEGER NOT NULL, edge_model_id TEXT NOT NULL, edge_model_digest TEXT NOT NULL,
    expires REAL, pinned INTEGER
);
"""


class SqliteImports:
    """`ImportStore` in a file and a folder.

    Args:
        file: What is known of them.
        folder: Their bytes.
        budget_bytes: Largest sum of the lengths of all of them.
        ttl_seconds: How long one is kept that no channel names.
        bytes_per_tenant: Most that one tenant has, with its recipes.
    """

    def __init__(
        self, file: SqliteFile, folder: BundleFolder, budget_bytes: int, ttl_seconds: float, bytes_per_tenant: int
    ) -> None:
        self._bytes_per_tenant = bytes_per_tenant
        self._file = file
        self._db = file.db
        self._folder = folder
        self._budget = budget_bytes
        self._ttl = ttl_seconds

    async def store_imported(self, imported: StoredImport, bundle: bytes | None, tenant: str = "") -> bool:
        def store() -> bool:
            now = time.time()
            self._db.execute("DELETE FROM imported WHERE expires <= ?", (now,))
            if not self._has_room(imported):
                return False
            if bundle is not None and not self._folder.has(imported.bundle_id):
                raise FileNotFoundError("the file was deleted with those of expired bundles")
            size = imported.bundle_bytes
            if not note_owner(self._db, imported.bundle_id, tenant, size, self._bytes_per_tenant):
                return False
            self._db.execute(
                "INSERT INTO imported VALUES (?, ?, ?, ?, ?, NULL) ON CONFLICT (bundle_id) DO UPDATE SET"
                " expires = iif(expires IS NULL, NULL, excluded.expires)",
                (*astuple(imported), now + self._ttl),
            )
            return True

        if bundle is not None:
            if not await self._file.run(lambda: self._has_room(imported)):
                return False
            await self._folder.put(imported.bundle_id, bundle)
        return await self._file.change(store)

    async def find_imported(self, bundle_id: str) -> StoredImport | None:
        def find() -> StoredImport | None:
            row = self._db.execute(
                "SELECT bundle_id, bytes, edge_model_id, edge_model_digest FROM imported"
                " WHERE bundle_id = ? AND (expires IS NULL OR expires > ?)",
                (bundle_id, time.time()),
            ).fetchone()
            return None if row is None else StoredImport(*row)

        return await self._file.run(find)

    async def load_imported(self, bundle_id: str) -> bytes | None:
        return None if await self.find_imported(bundle_id) is None else await self._folder.get(bundle_id)

    async def pin_imported(self, bundle_id: str, tenant: str = "") -> bool:
        return await self._file.change(lambda: pin_owned(self._db, "imported", bundle_id, tenant), durable=True)

    async def delete_unknown(self, bundle_ids: Iterable[str]) -> None:
        """Delete the bytes of those that the file does not know."""

        def delete() -> None:
            known = "SELECT 1 FROM imported WHERE bundle_id = ?"
            unknown = [each for each in bundle_ids if self._db.execute(known, (each,)).fetchone() is None]
            self._folder.delete_now(unknown)

        # In one transaction, so that none is deleted while it is imported once more.
        await self._file.change(delete)

    def _has_room(self, imported: StoredImport) -> bool:
        statement = "SELECT coalesce(sum(bytes), 0) FROM imported WHERE bundle_id <> ? AND coalesce(expires > ?, TRUE)"
        (others,) = self._db.execute(statement, (imported.bundle_id, time.time())).fetchone()
        return bool(others + imported.bundle_bytes <= self._budget)
