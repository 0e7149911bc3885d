"""Jobs in SQLite."""

import time

from cloud_service.store.jobs import StoredJob
from cloud_service.store.sqlite_file import SqliteFile

JOB_SCHEMA = """
CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY, version INTEGER NOT NULL, created INTEGER NOT NULL, expires REAL NOT NULL,
    tenant TEXT NOT NULL, busy_until INTEGER NOT NULL, document BLOB NOT NULL
);
CREATE INDEX jobs_created ON jobs (created);
CREATE INDEX jobs_of_tenant ON jobs (tenant, created);
CREATE INDEX jobs_expires ON jobs (expires);
"""

_FIELDS = "job_id, version, created, document, tenant, busy_until"

_NEVER = 2**62
"""A time, in microseconds since 1970, that no job is made at."""


class SqliteJobs:
    """`JobStore` in SQLite.

    Args:
        file: Where they are.
        seconds: How long a job is kept after its last change.
        most: Jobs that are kept.
    """

    def __init__(self, file: SqliteFile, seconds: float, most: int) -> None:
        self._db, self._run, self._change = file.db, file.run, file.change
        self._seconds, self._most = seconds, most

    async def load_job(self, job_id: str) -> StoredJob | None:
        def load() -> StoredJob | None:
            row = self._db.execute(
                f"SELECT {_FIELDS} FROM jobs WHERE job_id = ? AND expires > ?", (job_id, time.time())
            ).fetchone()
            return None if row is None else StoredJob(*row)

        return await self._run(load)

    async def load_jobs(self, limit: int, before: int | None = None, tenant: str = "") -> list[StoredJob]:
        def load() -> list[StoredJob]:
            of_tenant = "tenant = ? AND" if tenant else "? = '' AND"
            rows = self._db.execute(
                f"SELECT {_FIELDS} FROM jobs WHERE {of_tenant} created < ? AND expires > ?"
                " ORDER BY created DESC LIMIT ?",
                (tenant, _NEVER if before is None else before, time.time(), limit),
            )
            return [StoredJob(*row) for row in rows]

        return await self._run(load)

    async def swap_job(self, job: StoredJob) -> bool:
        def swap() -> bool:
            now = time.time()
            self._db.execute("DELETE FROM jobs WHERE expires <= ?", (now,))
            values = (job.version, now + self._seconds, job.document, job.busy_until, job.job_id)
            if job.version > 1:
                statement = (
                    "UPDATE jobs SET version = ?, expires = ?, document = ?, busy_until = ?"
                    " WHERE job_id = ? AND version = ?"
                )
                return self._db.execute(statement, (*values, job.version - 1)).rowcount == 1
            if not self._make_room(round(now * 1e6)):
                return False
            statement = (
                "INSERT OR IGNORE INTO jobs (version, expires, document, busy_until, job_id, created, tenant)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)"
            )
            return self._db.execute(statement, (*values, job.created_at, job.tenant)).rowcount == 1

        return await self._change(swap)

    async def prune(self) -> None:
        """Take away the jobs that have expired."""
        await self._change(lambda: self._db.execute("DELETE FROM jobs WHERE expires <= ?", (time.time(),)))

    def _make_room(self, now: int) -> bool:
        """Forget jobs that are over until one more fits; False when too many go on."""
        (kept,) = self._db.execute("SELECT count(*) FROM jobs").fetchone()
        tenant = (
            "SELECT tenant FROM jobs WHERE busy_until <= :now GROUP BY tenant ORDER BY count(*) DESC, min(created)"
            " LIMIT 1"
        )
        oldest = f"SELECT job_id FROM jobs WHERE busy_until <= :now AND tenant = ({tenant}) ORDER BY created LIMIT 1"
        while kept >= self._most:
            if not self._db.execute(f"DELETE FROM jobs WHERE job_id = ({oldest})", {"now": now}).rowcount:
                return False
            kept -= 1
        return True
