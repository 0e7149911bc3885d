"""Bundles as files of a folder, beside a database that says which of them are kept.

A bundle has megabytes. In the database it would hold up every other call while it is written; here it is written on a
thread beside it. A file is there whole or not at all. Generated ones are so unless the power fails: nothing waits for
the disk, because each reader compares a bundle with its id, and a lost one is built again.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import structlog

from cloud_service.store.failures import StoreFailures
from cloud_service.store.waiting import waiting
from loragen.contract.atomic import write_atomic
from loragen.contract.limits import MAX_BUNDLE_BYTES
from loragen.web.tracing import span

_T = TypeVar("_T")

_THREADS = 2
"""So that whoever reads a bundle does not wait for the one that is being written."""

_log = structlog.get_logger(__name__)


class BundleFolder:
    """Files named by the ids of bundles. Every failure is a `StoreUnavailableError`, as for the store.

    Args:
        folder: Where they are; made when the first one comes.
        timeout_seconds: For one call, with those before it.
        durable: Whether what was written outlives a power cut.
    """

    def __init__(self, folder: Path, timeout_seconds: float, *, durable: bool = False) -> None:
        self._folder = folder
        self._durable = durable
        self._timeout = timeout_seconds
        self._failures = StoreFailures("bundles")
        self._thread = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="bundles")

    async def put(self, bundle_id: str, bundle: bytes) -> None:
        """Write a bundle; one that is there is written again, so that nobody learns from the time whether it was."""
        await self._run(lambda: self._write(bundle_id, bundle))

    async def get(self, bundle_id: str) -> bytes | None:
        """Read one; None when it is not there, or larger than any bundle."""
        return await self._run(lambda: self._read(bundle_id))

    async def delete(self, bundle_ids: Iterable[str]) -> None:
        """Delete bundles, those that are gone already among them."""
        gone = list(bundle_ids)
        if gone:
            await self._run(lambda: self.delete_now(gone))

    async def list_settled(self, grace_seconds: float) -> list[str]:
        """All that were written so long ago, parts of files that were never finished among them."""
        return await self._run(lambda: self._settled(time.time() - grace_seconds))

    def has(self, bundle_id: str) -> bool:
        """Whether one is there, asked on the thread of the caller."""
        return (self._folder / bundle_id).exists()

    def delete_now(self, names: Iterable[str]) -> None:
        """The same as `delete`, on the thread of the caller."""
        for name in names:
            (self._folder / name).unlink(missing_ok=True)

    async def aclose(self) -> None:
        """Finish what is being written."""
        await asyncio.to_thread(self._thread.shutdown)

    def _write(self, bundle_id: str, bundle: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._folder / bundle_id, bundle, durable=self._durable)

    def _read(self, bundle_id: str) -> bytes | None:
        path = self._folder / bundle_id
        try:
            if path.stat().st_size <= MAX_BUNDLE_BYTES:
                return path.read_bytes()
        except FileNotFoundError:
            return None
        _log.error("stored_bundle_damaged", bundle_id=bundle_id)
        return None

    def _settled(self, before: float) -> list[str]:
        if not self._folder.exists():
            return []
        settled = []
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):  # somebody else has replaced or deleted it
                if entry.stat().st_mtime < before:
                    settled.append(entry.name)
        return settled

    async def _run(self, work: Callable[[], _T]) -> _T:
        try:
            with span("bundles", **{"db.system.name": "files"}):
                async with waiting(self._timeout):
                    return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (OSError, TimeoutError) as e:
            raise self._failures.unavailable(e) from e
