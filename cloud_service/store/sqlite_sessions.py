"""Sessions in SQLite."""

import time

from cloud_service.store.sqlite_file import SqliteFile

SESSION_SCHEMA = """
CREATE TABLE sessions (digest TEXT PRIMARY KEY, key_id TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX sessions_expires ON sessions (expires);
CREATE INDEX sessions_of ON sessions (key_id, expires);
"""


class SqliteSessions:
    """`SessionStore` in SQLite."""

    def __init__(self, file: SqliteFile) -> None:
        self._db, self._run, self._change = file.db, file.run, file.change

    async def store_session(self, digest: str, key_id: str, ttl_seconds: int, most: int) -> None:
        def store() -> None:
            now = time.time()
            self._db.execute("DELETE FROM sessions WHERE expires <= ?", (now,))
            self._db.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)", (digest, key_id, now + ttl_seconds))
            self._db.execute(
                "DELETE FROM sessions WHERE digest IN"
                " (SELECT digest FROM sessions WHERE key_id = ? ORDER BY expires DESC LIMIT -1 OFFSET ?)",
                (key_id, most),
            )

        await self._change(store)

    async def load_session(self, digest: str) -> str | None:
        def load() -> str | None:
            statement = "SELECT key_id FROM sessions WHERE digest = ? AND expires > ?"
            row = self._db.execute(statement, (digest, time.time())).fetchone()
            return None if row is None else str(row[0])

        return await self._run(load)

    async def delete_session(self, digest: str) -> None:
        def delete() -> None:
            self._db.execute("DELETE FROM sessions WHERE digest = ?", (digest,))

        await self._change(delete, durable=True)

    async def prune(self) -> None:
        """Take away the sessions that are over."""
        await self._change(lambda: self._db.execute("DELETE FROM sessions WHERE expires <= ?", (time.time(),)))
