"""Bundles and recipes by their ids: read from the store, or built.

A bundle is built when somebody needs it for the first time: to build one takes longer than the generation, and most are
never fetched (ADR 10). Until then its recipe's id stands for it. Recipes are stored for long, bundles under a byte
budget, and fresh ones only while nothing is generated, because that takes as long as to read a prompt. A bundle that is
not stored, or damaged, is built again from its recipe, with the function that devices use too, and its id proves that
the bytes are right. A bundle that a user imported is kept until it expires.

Which request led to which LoRA belongs to `service`, what the bytes mean to `loragen.contract`.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar, cast
from weakref import WeakValueDictionary

import structlog

from cloud_service.access.caller import current_caller
from cloud_service.access.ownership import Ownership
from cloud_service.catalog import Catalog
from cloud_service.errors import (
    ArtifactGoneError,
    DrainingError,
    GenerationError,
    IntegrityError,
    NotFoundError,
    StoreUnavailableError,
)
from cloud_service.single_flight import SingleFlight
from cloud_service.store import ImportStore, LoraStore, StoredImport, StoredLora, StoredRecipe
from cloud_service.store.access import OwnerStore
from cloud_service.store.waiting import apart
from loragen.contract.assembly import build_bundle
from loragen.contract.bank import Bank
from loragen.contract.bundle import content_id
from loragen.contract.errors import ContractError
from loragen.contract.recipe import Recipe

_T = TypeVar("_T")

_MOST_FRESH = 4
"""Bundles that stay in memory until there is time to store them; older ones are built again if they are wanted."""

_BUSY_SECONDS = 0.1

_log = structlog.get_logger(__name__)


class ArtifactStore(LoraStore, ImportStore, Protocol):
    """Where recipes and bundles are."""


class AssemblyEvents(Protocol):
    """A hook for measuring assembly."""

    def assembled(self, seconds: float) -> None:
        """A bundle was built."""
        ...


class ArtifactService:
    """Builds bundles, and finds bundles and recipes by their ids.

    Args:
        store: Where recipes and bundles are.
        owners: Whose they are.
        catalog: The generators whose banks can build a bundle.
        timeout_seconds: Longest time to fetch one bundle.
        threads: Threads that build and hash bundles.
        events: Called after each assembly.
    """

    def __init__(
        self,
        store: ArtifactStore,
        owners: OwnerStore,
        catalog: Catalog,
        *,
        timeout_seconds: float,
        threads: int,
        events: AssemblyEvents,
    ) -> None:
        self._store = store
        self._ownership = Ownership(owners)
        self._catalog = catalog
        self._timeout = timeout_seconds
        self._events = events
        self._fetches: SingleFlight[memoryview] = SingleFlight()
        self._makings: SingleFlight[StoredLora] = SingleFlight()
        self._in_use: WeakValueDictionary[str, memoryview] = WeakValueDictionary()
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="assembly")
        self._closed = False
        self._building = 0
        self._fresh: dict[str, memoryview] = {}
        self._storing: asyncio.Task[None] | None = None

    async def build(self, bank: Bank, recipe: Recipe) -> tuple[str, bytes, float]:
        """Build the bundle of a recipe on a thread.

        Returns:
            Its id, its bytes, and the seconds that this took.

        Raises:
            ContractError: The recipe does not fit the bank, or the result has no finite numbers.
        """
        started = time.perf_counter()
        self._building += 1
        try:
            bundle = await self.off_loop(lambda: build_bundle(bank, recipe))
            bundle_id = await self.off_loop(lambda: content_id(bundle))
        finally:
            self._building -= 1
        seconds = time.perf_counter() - started
        self._events.assembled(seconds)
        return bundle_id, bundle, seconds

    def share(self, bundle_id: str, bundle: bytes) -> memoryview:
        """A view of the bytes that every caller of `fetch_bundle` gets while somebody still uses it."""
        view = memoryview(bundle)
        self._in_use[bundle_id] = view
        return view

    def store_later(self, bundle_id: str, bundle: bytes) -> memoryview:
        """The same as `share`, of a bundle that is to be stored when there is time."""
        view = self.share(bundle_id, bundle)
        self._fresh[bundle_id] = view
        if len(self._fresh) > _MOST_FRESH:
            del self._fresh[next(iter(self._fresh))]
        if self._storing is None or self._storing.done():
            with apart():
                self._storing = asyncio.create_task(self._store_fresh())
        return view

    async def find_bundle(self, either_id: str) -> StoredLora | StoredImport:
        """A bundle, without its bytes, by its id or by that of the recipe that makes it; it is built now if need be.

        Raises:
            NotFoundError: The caller has none of this id.
            ArtifactGoneError: It was never built, and no loaded generator has the bank.
            GenerationError, IntegrityError: The recipe makes no bundle, or is damaged.
            StoreUnavailableError, DeadlineError: Try again.
        """
        if not await self._ownership.sees(either_id):
            raise unknown_bundle(either_id)
        if (lora := await self._find_made(either_id)) is not None:
            return lora
        if (imported := await self._store.find_imported(either_id)) is not None:
            return imported
        if (recipe := await self._store.load_recipe(either_id)) is None:
            raise unknown_bundle(either_id)
        return await self._make_once(StoredRecipe(either_id, recipe, 0))

    async def find_lora(self, recipe: StoredRecipe) -> StoredLora:
        """The LoRA of one of the caller's recipes; its bundle is built now if need be.

        Raises:
            CloudError: As for `find_bundle`.
        """
        return await self._make_once(recipe)

    async def _find_made(self, either_id: str) -> StoredLora | None:
        lora = await self._store.load_lora(either_id)
        if lora is None or lora.bundle_id == either_id or await self._ownership.sees(lora.bundle_id):
            return lora
        return None  # another tenant had it made

    async def _make_once(self, recipe: StoredRecipe) -> StoredLora:
        # By tenant: none joins what another has begun, or it would have the bundle sooner, and know.
        key = f"{current_caller().tenant}/{recipe.recipe_id}"
        lora, _ = await self._makings.join(key, lambda: self._make(recipe), self._timeout)
        return lora

    async def _make(self, stored: StoredRecipe) -> StoredLora:
        if (lora := await self._find_made(stored.recipe_id)) is not None:
            return lora  # made while this request was on its way here
        if content_id(stored.recipe) != stored.recipe_id:
            raise _damaged_recipe(stored.recipe_id)
        recipe = stored.parse_recipe()
        bank = self._catalog.find_bank(recipe.bank_digest)
        if bank is None:
            raise ArtifactGoneError(
                f"the bundle of recipe {stored.recipe_id} was never built, and bank {recipe.bank_digest} is not loaded",
                "fetch the recipe and build the bundle with its bank",
            )
        try:
            bundle_id, bundle, _ = await self.build(bank, recipe)
        except ContractError as e:
            raise GenerationError(f"the generator {recipe.generator_id} made no usable LoRA: {e}", e.hint) from e
        return await self.note(stored, bundle_id, bundle)

    async def note(self, recipe: StoredRecipe, bundle_id: str, bundle: bytes) -> StoredLora:
        """Record that the bundle of one of the caller's recipes was built. Its bytes stay for a while.

        Raises:
            NotFoundError: The recipe was deleted meanwhile, and its bundle with it.
            StoreUnavailableError: The store does not answer.
        """
        if not await self._store.name_bundle(recipe.recipe_id, bundle_id, current_caller().tenant):
            raise unknown_recipe(recipe.recipe_id)
        self.store_later(bundle_id, bundle)
        return StoredLora(recipe.recipe_id, recipe.recipe, len(bundle), bundle_id)

    async def fetch_bundle(self, lora: StoredLora | StoredImport) -> memoryview:
        """The bytes of a bundle, built again if they were evicted or damaged.

        Simultaneous downloads share one view: a fleet that asks for one bundle takes the memory of one.

        Raises:
            ArtifactGoneError: The bytes are not stored, and no loaded generator has the bank.
            NotFoundError: A user imported it, and it has expired.
            IntegrityError: The rebuilt bytes do not have this id, or the stored ones of a user's bundle.
            StoreUnavailableError, DeadlineError: Try again.
        """
        if (view := self._in_use.get(lora.bundle_id)) is not None:
            return view
        view, _ = await self._fetches.join(lora.bundle_id, lambda: self._fetch(lora), self._timeout)
        return view

    async def fetch_recipe(self, recipe_id: str) -> bytes:
        """The bytes of a recipe.

        Raises:
            NotFoundError: There is none of this id.
            IntegrityError: The stored bytes do not have this id.
            StoreUnavailableError: The store does not answer.
        """
        recipe = await self._store.load_recipe(recipe_id)
        if recipe is None:
            raise unknown_recipe(recipe_id)
        if content_id(recipe) != recipe_id:
            raise _damaged_recipe(recipe_id)
        return recipe

    async def close(self, timeout_seconds: float) -> None:
        """Finish the fetches under way, then cancel them; what needs a thread from now on is a `DrainingError`."""
        await asyncio.gather(self._makings.settle(timeout_seconds), self._fetches.settle(timeout_seconds))
        self._closed = True
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.gather(self._storing, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _store_fresh(self) -> None:
        while self._fresh:
            if not self._building and all(served.runner.is_idle for served in self._catalog):
                bundle_id, view = self._fresh.popitem()
                try:
                    await self._store.store_bundle(bundle_id, cast(bytes, view.obj))
                except StoreUnavailableError:
                    _log.warning("fresh_bundle_not_stored", bundle_id=bundle_id)
            else:
                await asyncio.sleep(_BUSY_SECONDS)

    async def _fetch(self, lora: StoredLora | StoredImport) -> memoryview:
        if isinstance(lora, StoredImport):
            return await self._fetch_imported(lora.bundle_id)
        try:
            stored = await self._store.load_bundle(lora.bundle_id)
        except StoreUnavailableError:
            # Where bundles are apart from everything else, theirs may be the only store that is away.
            if self._catalog.find_bank(lora.parse_recipe().bank_digest) is None:
                raise
            _log.warning("stored_bundle_not_read", bundle_id=lora.bundle_id)
            return self.store_later(lora.bundle_id, await self._build_again(lora))
        if stored is not None:
            if await self.off_loop(lambda: content_id(stored)) == lora.bundle_id:
                return self.share(lora.bundle_id, stored)
            _log.error("stored_bundle_damaged", bundle_id=lora.bundle_id)
        return self.share(lora.bundle_id, await self._rebuild(lora))

    async def _fetch_imported(self, bundle_id: str) -> memoryview:
        imported = await self._store.load_imported(bundle_id)
        if imported is None:
            raise NotFoundError(f"no bundle {bundle_id}", "it has expired: import it again", code="bundle_not_found")
        if await self.off_loop(lambda: content_id(imported)) != bundle_id:
            raise IntegrityError(f"the stored bundle {bundle_id} is damaged", "import it again")
        return self.share(bundle_id, imported)

    async def _rebuild(self, lora: StoredLora) -> bytes:
        bundle = await self._build_again(lora)
        try:
            await self._store.store_bundle(lora.bundle_id, bundle)
        except StoreUnavailableError:
            _log.warning("rebuilt_bundle_not_stored", bundle_id=lora.bundle_id)
        return bundle

    async def _build_again(self, lora: StoredLora) -> bytes:
        recipe = lora.parse_recipe()
        bank = self._catalog.find_bank(recipe.bank_digest)
        if bank is None:
            raise ArtifactGoneError(
                f"bundle {lora.bundle_id} was evicted, and bank {recipe.bank_digest} is not loaded",
                f"fetch recipe {lora.recipe_id} and build the bundle with its bank",
            )
        try:
            built_id, bundle, _ = await self.build(bank, recipe)
        except ContractError as e:
            raise IntegrityError(f"bundle {lora.bundle_id} cannot be built again: {e}", e.hint) from e
        if built_id != lora.bundle_id:
            raise IntegrityError(f"expected bundle {lora.bundle_id}, and built {built_id}")
        return bundle

    async def off_loop(self, work: Callable[[], _T]) -> _T:
        """Do something on one of the threads that build bundles.

        Raises:
            DrainingError: The service was closed.
        """
        if self._closed:
            raise DrainingError("the service is shutting down", "ask another replica")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def unknown_bundle(bundle_id: str) -> NotFoundError:
    """What is raised for a bundle that is not there, or is another tenant's."""
    return NotFoundError(
        f"no bundle {bundle_id}",
        "bundles expire unless published: generate or import it again",
        code="bundle_not_found",
    )


def _damaged_recipe(recipe_id: str) -> IntegrityError:
    return IntegrityError(f"the stored recipe {recipe_id} is damaged", "generate it again")


def unknown_recipe(recipe_id: str) -> NotFoundError:
    """What is raised for a recipe that is not there, or is another tenant's."""
    return NotFoundError(
        f"no recipe {recipe_id}", "recipes expire unless published: generate it again", code="recipe_not_found"
    )
