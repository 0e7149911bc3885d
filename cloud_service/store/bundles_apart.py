"""A store whose bundles are objects in object storage, while everything else stays in Redis or SQLite.

Bundles are the large part: immutable, and named by the digest of their bytes, which their readers verify. They are
`generated/<bundle id>` and `imported/<bundle id>`. What is known of an imported one, its size in the budget among it,
stays in the other store. So only `sweep` has to know what is in the bucket, and it asks the bucket: bytes that were
written by a process that died, or for an import that was refused, are found there and deleted. An import and a sweep of
one bundle exclude each other, by a lease that outlives both: no bundle is deleted that was imported again meanwhile.

Bundles that were in the other store before stay readable.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

import structlog

from cloud_service.errors import StoreUnavailableError
from cloud_service.store.access import AccessStore
from cloud_service.store.fleet import ChannelStore, DeviceStore
from cloud_service.store.imports import StoredImport
from cloud_service.store.jobs import JobStore
from cloud_service.store.port import Store, StoredGeneration, StoredLora, StoredRecipe, StoreLimits
from cloud_service.store.sessions import SessionStore

_log = structlog.get_logger(__name__)

SWEEP_SECONDS = 300.0
"""Between two sweeps of all replicas together. Generated bundles may exceed their budget by what comes meanwhile."""

_GRACE_SECONDS = 3600.0
"""An imported bundle is written some seconds before the other store knows it; this is far longer."""

_AGAIN_SECONDS = 0.05
"""An import asks so often whether a sweep is done with its bundle."""

_GENERATED, _IMPORTED, _WRITABLE = "generated", "imported", "writable"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a listing.

    Attributes:
        name: Its name, folder and all.
        size: In bytes.
        stored_at: When it was written last, in seconds since 1970.
    """

    name: str
    size: int
    stored_at: float


class ObjectStorage(Protocol):
    """A bucket, or a part of one. Every failure is a `StoreUnavailableError`, as for the store."""

    async def put(self, name: str, data: bytes) -> None:
        """Write an object, whole or not at all."""
        ...

    async def get(self, name: str) -> bytes | None:
        """Read one; None when it is not there, or larger than any bundle."""
        ...

    async def list_folder(self, folder: str) -> list[StoredObject]:
        """All objects of a folder."""
        ...

    async def delete(self, names: list[str]) -> None:
        """Delete objects, those that are gone already among them."""
        ...


class BundlesApart:
    """`Store` over another one, and over object storage for bundles.

    The budget of generated bundles is kept by `sweep`, which deletes those that were written longest ago: storage of
    objects does not say when one was read last. A bundle that is still wanted is built and written again.

    Args:
        rows: Keeps everything else.
        objects: Keeps bundles; no other service may use it.
        limits: Those of the store.
        clock: Seconds since 1970.
    """

    def __init__(
        self, rows: Store, objects: ObjectStorage, limits: StoreLimits, clock: Callable[[], float] = time.time
    ) -> None:
        self._rows = rows
        self._objects = objects
        self._budget = limits.bundle_budget_bytes
        self._ttl = limits.recipe_ttl_seconds
        self._clock = clock
        self._owner = uuid4().hex
        # An import writes an object and a row, a sweep deletes an object.
        self._lease_seconds = 4 * limits.timeout_seconds
        self._was_reached = False

    @property
    def channels(self) -> ChannelStore:
        return self._rows.channels

    @property
    def jobs(self) -> JobStore:
        return self._rows.jobs

    @property
    def devices(self) -> DeviceStore:
        return self._rows.devices

    @property
    def access(self) -> AccessStore:
        return self._rows.access

    @property
    def sessions(self) -> SessionStore:
        return self._rows.sessions

    async def find_generation(self, key: str) -> StoredGeneration | None:
        return await self._rows.find_generation(key)

    async def store_generation(self, key: str, recipe: StoredRecipe, note: bytes = b"", tenant: str = "") -> bool:
        return await self._rows.store_generation(key, recipe, note, tenant)

    async def name_bundle(self, recipe_id: str, bundle_id: str, tenant: str = "") -> bool:
        return await self._rows.name_bundle(recipe_id, bundle_id, tenant)

    async def load_lora(self, either_id: str) -> StoredLora | None:
        return await self._rows.load_lora(either_id)

    async def load_recipe(self, recipe_id: str) -> bytes | None:
        return await self._rows.load_recipe(recipe_id)

    async def load_bundle(self, bundle_id: str) -> bytes | None:
        return await self._objects.get(f"{_GENERATED}/{bundle_id}") or await self._rows.load_bundle(bundle_id)

    async def store_bundle(self, bundle_id: str, bundle: bytes) -> None:
        if len(bundle) <= self._budget:
            await self._objects.put(f"{_GENERATED}/{bundle_id}", bundle)

    async def pin(self, bundle_id: str, tenant: str = "") -> bool:
        return await self._rows.pin(bundle_id, tenant)

    async def store_imported(self, imported: StoredImport, bundle: bytes | None, tenant: str = "") -> bool:
        # The bytes first: nobody may hear of a bundle that cannot be read. When the budget refuses it, a sweep deletes
        # them.
        if bundle is not None:
            await self._keep_from_sweeps(imported.bundle_id)
            await self._objects.put(f"{_IMPORTED}/{imported.bundle_id}", bundle)
        return await self._rows.store_imported(imported, None, tenant)

    async def find_imported(self, bundle_id: str) -> StoredImport | None:
        return await self._rows.find_imported(bundle_id)

    async def load_imported(self, bundle_id: str) -> bytes | None:
        if await self._rows.find_imported(bundle_id) is None:
            return None
        return await self._objects.get(f"{_IMPORTED}/{bundle_id}") or await self._rows.load_imported(bundle_id)

    async def pin_imported(self, bundle_id: str, tenant: str = "") -> bool:
        return await self._rows.pin_imported(bundle_id, tenant)

    async def disown(self, tenant: str, either_id: str, settled_seconds: float) -> bool:
        return await self._rows.disown(tenant, either_id, settled_seconds)  # a sweep deletes the bytes

    async def list_pinned(self, before: int) -> list[str]:
        return await self._rows.list_pinned(before)

    async def unpin(self, bundle_id: str, before: int) -> None:
        await self._rows.unpin(bundle_id, before)

    async def acquire_lease(self, key: str, owner: str, seconds: float) -> bool:
        return await self._rows.acquire_lease(key, owner, seconds)

    async def release_lease(self, key: str, owner: str) -> None:
        await self._rows.release_lease(key, owner)

    async def prune(self) -> None:
        await self._rows.prune()

    async def verify_supported(self) -> None:
        await self._rows.verify_supported()

    async def verify_writable(self) -> None:
        await self._rows.verify_writable()
        # Until it was reached once, the settings may be wrong. Later on all replicas miss it together when it is away,
        # and most of what they do needs it no more: a generated bundle is built again.
        if not self._was_reached:
            await self._objects.put(_WRITABLE, b"")
            self._was_reached = True

    async def aclose(self) -> None:
        await self._rows.aclose()

    async def sweep(self) -> int:
        """Delete the bundles that have expired, and generated ones beyond the budget, oldest first.

        Does nothing while another replica has swept a short while ago.

        Returns:
            How many were deleted.

        Raises:
            StoreUnavailableError: One of the two does not answer.
        """
        if not await self._rows.acquire_lease("bundle-sweep", self._owner, 0.9 * SWEEP_SECONDS):
            return 0
        lost = await self._lost_generated()
        if lost:
            await self._objects.delete(lost)
        deleted = len(lost) + sum([await self._delete_imported(name) for name in await self._lost_imported()])
        if deleted:
            _log.info("bundles_swept", deleted=deleted)
        return deleted

    async def _keep_from_sweeps(self, bundle_id: str) -> None:
        """Return when no sweep deletes this bundle, and none will before it is written and known.

        Raises:
            StoreUnavailableError: A sweep took too long.
        """
        for _ in range(round(self._lease_seconds / _AGAIN_SECONDS)):
            if await self._rows.acquire_lease(f"import/{bundle_id}", _IMPORTED, self._lease_seconds):
                return
            await asyncio.sleep(_AGAIN_SECONDS)
        raise StoreUnavailableError("the store is not available", "ask again later")

    async def _delete_imported(self, name: str) -> bool:
        """Delete one that was lost when the bucket was listed, unless somebody has imported it again since."""
        bundle_id = name.rpartition("/")[2]
        if not await self._rows.acquire_lease(f"import/{bundle_id}", self._owner, self._lease_seconds):
            return False
        try:
            if await self._rows.find_imported(bundle_id) is not None:
                return False
            await self._objects.delete([name])
            return True
        finally:
            await self._rows.release_lease(f"import/{bundle_id}", self._owner)

    async def _lost_generated(self) -> list[str]:
        lost: list[str] = []
        left, expired = self._budget, self._clock() - self._ttl
        newest_first = sorted(
            await self._objects.list_folder(_GENERATED), key=lambda each: (-each.stored_at, each.name)
        )
        for each in newest_first:
            left -= each.size
            if left < 0 or each.stored_at < expired:
                lost.append(each.name)
        return lost

    async def _lost_imported(self) -> list[str]:
        settled = self._clock() - _GRACE_SECONDS
        return [
            each.name
            for each in await self._objects.list_folder(_IMPORTED)
            if each.stored_at < settled and await self._rows.find_imported(each.name.rpartition("/")[2]) is None
        ]
