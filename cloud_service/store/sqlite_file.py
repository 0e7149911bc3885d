"""A SQLite file, and the thread that all its statements run on, so the event loop never waits for the disk.

Several processes may open the same file; SQLite's locks order them. What is in the file is decided by `sqlite` and by
the modules beside it, which give their work to `run` and `change`.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from cloud_service.errors import StoreUnavailableError
from cloud_service.store.failures import StoreFailures
from cloud_service.store.waiting import waiting
from loragen.web.tracing import span

_T = TypeVar("_T")

_EARLIER_MS = 50
"""SQLite gives up on a lock so much earlier than the caller, who then hears why."""


class SqliteFile:
    """One open file.

    Args:
        path: The file; made, with its folder, when absent.
        timeout_seconds: For one call: for those before it and for another process's lock together.
        schema: Statements that make the tables of a new file, with semicolons between them.
        schema_version: Of these tables.

    Attributes:
        db: The connection; used within `run` and `change` only.

    Raises:
        StoreUnavailableError: The file cannot be opened, is no database, or has a schema that this code does not know.
    """

    def __init__(self, path: Path, timeout_seconds: float, schema: str, schema_version: int) -> None:
        self._timeout = timeout_seconds
        self._failures = StoreFailures("sqlite")
        try:
            self.db = _open(path, timeout_seconds, schema, schema_version)
        except (sqlite3.Error, OSError) as e:
            raise StoreUnavailableError(
                f"the store file cannot be opened: {e}", "check LORAGEN_CLOUD_STORE_URL and the disk's free space"
            ) from e
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do something that reads.

        Raises:
            StoreUnavailableError: It failed, or was not done in time.
        """
        try:
            with span("sqlite", **{"db.system.name": "sqlite"}):
                async with waiting(self._timeout) as deadline:
                    loop = asyncio.get_running_loop()
                    return await loop.run_in_executor(self._thread, self._in_time, work, deadline)
        except (sqlite3.Error, OSError, TimeoutError) as e:
            raise self._failures.unavailable(e) from e

    async def change(self, change: Callable[[], _T], *, durable: bool = False) -> _T:
        """Do something in one transaction; when `durable`, it outlives a power cut.

        Raises:
            StoreUnavailableError: As for `run`; nothing of it was done.
        """

        def work() -> _T:
            with self.transaction(durable=durable):
                return change()

        return await self.run(work)

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """One transaction, on the thread of the file."""
        # In WAL mode NORMAL never corrupts the file, but a power cut may lose the last commits.
        self.db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            # After some errors, such as a full disk, SQLite has rolled back by itself.
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    async def aclose(self) -> None:
        """Close the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.db.close)
        self._thread.shutdown()

    def _in_time(self, work: Callable[[], _T], deadline: float) -> _T:
        # On the file's thread. Calls before this one may have waited for a lock; what is left is for this one.
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("calls before this one took all its time")
        self.db.execute(f"PRAGMA busy_timeout = {max(0, int(left * 1000) - _EARLIER_MS)}")
        return work()


def _open(path: Path, timeout_seconds: float, schema: str, schema_version: int) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # One thread uses the connection, but another opens it. With isolation_level None, transactions are ours.
    db = sqlite3.connect(path, timeout=timeout_seconds, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in schema.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {schema_version}")
        elif version != schema_version:
            raise StoreUnavailableError(
                f"expected a store of schema {schema_version}, found schema {version} in {path.name}",
                "point LORAGEN_CLOUD_STORE_URL at another file",
            )
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db
