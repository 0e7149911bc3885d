"""The use cases around one generation: from a task description to a stored bundle, and from an id to its bytes.

A generation is its gates: the recipe is stored for long, the bundle under a budget, and a bundle that is gone is built
again from its recipe with the function that devices use. Equal requests generate once, on whatever replica they arrive.

Knows no HTTP, gRPC, Redis or torch. Validation of what clients send belongs to `api`, channels to `channels`.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Protocol, Self, TypeVar
from weakref import WeakValueDictionary

import structlog

from cloud_service.catalog import Catalog, ServedGenerator
from cloud_service.confidence import TaskWarning, encode_note, find_warnings, parse_note, verify_confident
from cloud_service.errors import (
    ArtifactGoneError,
    DeadlineError,
    DrainingError,
    GenerationError,
    IntegrityError,
    NotFoundError,
    StoreUnavailableError,
    UnavailableError,
)
from cloud_service.generation import Confidence, Generation, GeneratorInfo
from cloud_service.probing import ProbeComparison
from cloud_service.single_flight import Leases, SingleFlight
from cloud_service.store import Store, StoredGeneration, StoredLora
from cloud_service.task import Example, TaskDescription, render_prompt
from loragen.contract.assembly import build_bundle
from loragen.contract.bank import Bank
from loragen.contract.bundle import content_id
from loragen.contract.digest import canonical_json, sha256_hex
from loragen.contract.errors import ContractError
from loragen.contract.recipe import Recipe, encode_recipe, parse_recipe

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)

_HUNG_TIMEOUTS = 4
"""A batch that runs for so many request timeouts will not end: one whose prompts run alone after a fault takes less."""


class ServiceEvents(Protocol):
    """What the service tells whoever measures it."""

    def answered(self, *, cached: bool) -> None:
        """A generation request was answered."""
        ...

    def assembled(self, seconds: float) -> None:
        """A bundle was built."""
        ...


@dataclass(frozen=True, slots=True)
class LoraRequest:
    """A valid request; None leaves the choice to the service.

    Only the task and who answers it decide what is made; `strict` and `probe` ask more of the same answer.

    Attributes:
        strict: Refuse a task that is most likely not understood.
        probe: Inputs with expected answers to compare the edge model on, without the LoRA and with it.
    """

    task: TaskDescription
    edge_model: str | None = None
    generator: str | None = None
    strict: bool = False
    probe: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one answer went, in seconds; the parts are 0 when nothing was generated for it."""

    queue: float
    generate: float
    assemble: float
    total: float


@dataclass(frozen=True, slots=True)
class GeneratedLora:
    """The answer to a request.

    Attributes:
        lora: Ids and sizes.
        recipe: The gates and what they belong to.
        cached: Whether an earlier or concurrent request did the work.
        timings: Where the time went.
        confidence: None when the generator was not calibrated.
        warnings: What the client should know of its task.
        probe: None when the request had none.
    """

    lora: StoredLora
    recipe: Recipe
    cached: bool
    timings: Timings
    confidence: Confidence | None = None
    warnings: tuple[TaskWarning, ...] = ()
    probe: ProbeComparison | None = None


@dataclass(frozen=True, slots=True)
class _Made:
    lora: StoredLora
    confidence: Confidence | None
    queue_seconds: float = 0.0
    generate_seconds: float = 0.0
    assemble_seconds: float = 0.0

    @classmethod
    def earlier(cls, found: StoredGeneration) -> Self:
        return cls(found.lora, parse_note(found.note))


def cache_key(task: TaskDescription, info: GeneratorInfo) -> str:
    """sha256 over the normalized request and the generator that answers it; the edge model is the generator's."""
    request = {
        "task": asdict(task.normalized()),
        "edge_model": info.edge_model_id,
        "generator_digest": info.digest,
    }
    return sha256_hex(canonical_json(request))


class LoraService:
    """Generates, stores and rebuilds LoRAs.

    Args:
        catalog: The generators, with started runners.
        store: Where recipes and bundles are.
        request_timeout_seconds: Longest time for one generation, queue included.
        lease_seconds: How long a lease outlives a replica that died.
        assembly_threads: Threads that build bundles.
        events: Who is told.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        *,
        request_timeout_seconds: float,
        lease_seconds: float,
        assembly_threads: int,
        events: ServiceEvents,
    ) -> None:
        self.catalog = catalog
        self._store = store
        self._timeout = request_timeout_seconds
        self._events = events
        self._leases = Leases(store, lease_seconds)
        self._generations: SingleFlight[tuple[_Made, bool]] = SingleFlight()
        self._fetches: SingleFlight[memoryview] = SingleFlight()
        self._in_use: WeakValueDictionary[str, memoryview] = WeakValueDictionary()
        self._assembly = ThreadPoolExecutor(max_workers=assembly_threads, thread_name_prefix="assembly")
        self._draining = False

    async def generate(self, request: LoraRequest) -> GeneratedLora:
        """Answer a request, from the store or with a new generation.

        Raises:
            InvalidRequestError: The request cannot be answered as it is; a strict one, because it is not understood.
            OverloadedError, DrainingError, StoreUnavailableError, DeadlineError: It may be answered later.
            GenerationError: The model failed on it.
        """
        started = time.perf_counter()
        served = self.catalog.select(request.generator, request.edge_model)
        prober = served.require_prober() if request.probe else None
        made, cached = await self._find_or_generate(request.task, served)
        if request.strict:
            verify_confident(made.confidence)
        self._events.answered(cached=cached)
        probe = None if prober is None else await prober.compare(request.probe, await self.fetch_bundle(made.lora))
        total = time.perf_counter() - started
        return GeneratedLora(
            made.lora,
            _parse_stored(made.lora),
            cached,
            Timings(made.queue_seconds, made.generate_seconds, made.assemble_seconds, total),
            made.confidence,
            find_warnings(request.task, made.confidence),
            probe,
        )

    async def load_lora(self, bundle_id: str) -> StoredLora:
        """What is known of a bundle, without its bytes.

        Raises:
            NotFoundError: Nothing.
            StoreUnavailableError: The store does not answer.
        """
        lora = await self._store.load_lora(bundle_id)
        if lora is None:
            raise NotFoundError(
                f"no bundle {bundle_id}", "bundles expire unless published: generate it again", code="bundle_not_found"
            )
        return lora

    async def fetch_bundle(self, lora: StoredLora) -> memoryview:
        """The bytes of a bundle, built again if they were evicted or damaged.

        As long as somebody holds this view, everyone gets it: a fleet that downloads a bundle at once takes the memory
        of one.

        Raises:
            ArtifactGoneError: They are not stored, and no loaded generator has the bank.
            IntegrityError: What was built is not what was stored.
            StoreUnavailableError, DeadlineError: Try again.
        """
        if (held := self._in_use.get(lora.bundle_id)) is not None:
            return held
        bundle, _ = await self._fetches.join(lora.bundle_id, lambda: self._fetch(lora), self._timeout)
        return bundle

    async def fetch_recipe(self, recipe_id: str) -> bytes:
        """The bytes of a recipe.

        Raises:
            NotFoundError: There is none of this id.
            IntegrityError: The stored bytes are others.
            StoreUnavailableError: The store does not answer.
        """
        recipe = await self._store.load_recipe(recipe_id)
        if recipe is None:
            raise NotFoundError(
                f"no recipe {recipe_id}", "recipes expire unless published: generate it again", code="recipe_not_found"
            )
        if content_id(recipe) != recipe_id:
            raise IntegrityError(f"the stored recipe {recipe_id} is damaged", "generate it again")
        return recipe

    async def verify_ready(self) -> None:
        """Return when requests can be answered.

        Raises:
            DrainingError: The process is shutting down.
            UnavailableError: A runner died, or its model takes longer than any client waits.
            StoreUnavailableError: The store does not answer.
        """
        if self._draining:
            raise DrainingError("the service is shutting down", "ask another replica")
        stopped = [served.info.id for served in self.catalog if not served.runner.is_serving]
        if stopped:
            raise UnavailableError(f"the runner of {', '.join(stopped)} stopped", "restart the process")
        self._verify_progress(self._timeout)
        await self._store.ping()

    def verify_live(self) -> None:
        """Return unless only a restart can help.

        Raises:
            UnavailableError: A model hangs.
        """
        self._verify_progress(_HUNG_TIMEOUTS * self._timeout)

    def drain(self) -> None:
        """Be not ready from now on. Whoever still comes is served: load balancers take a while to notice."""
        self._draining = True

    async def close(self, timeout_seconds: float) -> int:
        """Finish accepted generations, then cancel.

        Returns:
            How many generations were cut off.
        """
        self.drain()
        cut_off = sum(await asyncio.gather(*(served.runner.close(timeout_seconds) for served in self.catalog)))
        await self._generations.settle(timeout_seconds)
        await self._fetches.settle(timeout_seconds)
        self._assembly.shutdown(wait=False, cancel_futures=True)
        for served in self.catalog:
            if served.prober is not None:
                served.prober.close()
        return cut_off

    def _verify_progress(self, most_seconds: float) -> None:
        for served in self.catalog:
            if (seconds := served.runner.running_seconds) > most_seconds:
                raise UnavailableError(
                    f"the model of {served.info.id} has been at one batch for {seconds:.1f} s, "
                    f"expected at most {most_seconds:g} s",
                    "ask another replica; this one has to be restarted if that goes on",
                )

    async def _find_or_generate(self, task: TaskDescription, served: ServedGenerator) -> tuple[_Made, bool]:
        key = cache_key(task, served.info)
        found = await self._find(key)
        if found is not None:
            return found, True
        (made, generated_here), began = await self._generations.join(
            key, lambda: self._generate_once(key, task, served), self._timeout
        )
        if began and generated_here:
            return made, False
        return _Made(made.lora, made.confidence), True

    async def _generate_once(self, key: str, task: TaskDescription, served: ServedGenerator) -> tuple[_Made, bool]:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._leases.run(key, lambda: self._find(key), lambda: self._generate(key, task, served))
        except TimeoutError:
            raise DeadlineError(f"no generation within {self._timeout:g} s", "the service may be overloaded") from None

    async def _find(self, key: str) -> _Made | None:
        found = await self._store.find_generation(key)
        if found is None:
            return None
        if content_id(found.lora.recipe) != found.lora.recipe_id:
            # Taken as a miss, so that a new generation replaces it.
            _log.error("stored_recipe_damaged", recipe_id=found.lora.recipe_id)
            return None
        return _Made.earlier(found)

    async def _generate(self, key: str, task: TaskDescription, served: ServedGenerator) -> _Made:
        produced = await served.runner.generate(render_prompt(task), self._timeout)
        started = time.perf_counter()
        try:
            lora, bundle = await self._off_loop(lambda: _assemble(produced.generation, served.info, served.bank))
        except ContractError as e:
            raise GenerationError(f"the generator {served.info.id} made no usable LoRA: {e}", e.hint) from e
        assemble_seconds = time.perf_counter() - started
        self._events.assembled(assemble_seconds)
        confidence = produced.generation.confidence
        await self._store.store_generation(key, lora, bundle, encode_note(confidence))
        return _Made(lora, confidence, produced.queue_seconds, produced.generate_seconds, assemble_seconds)

    async def _fetch(self, lora: StoredLora) -> memoryview:
        stored = await self._store.load_bundle(lora.bundle_id) or b""
        intact = await self._off_loop(lambda: content_id(stored)) == lora.bundle_id
        if stored and not intact:
            _log.error("stored_bundle_damaged", bundle_id=lora.bundle_id)
        view = memoryview(stored if intact else await self._rebuild(lora))
        self._in_use[lora.bundle_id] = view
        return view

    async def _rebuild(self, lora: StoredLora) -> bytes:
        recipe = _parse_stored(lora)
        bank = self.catalog.find_bank(recipe.bank_digest)
        if bank is None:
            raise ArtifactGoneError(
                f"bundle {lora.bundle_id} was evicted, and bank {recipe.bank_digest} is not loaded",
                f"fetch recipe {lora.recipe_id} and build the bundle with its bank",
            )
        started = time.perf_counter()
        try:
            bundle = await self._off_loop(lambda: build_bundle(bank, recipe))
        except ContractError as e:
            raise IntegrityError(f"bundle {lora.bundle_id} cannot be built again: {e}", e.hint) from e
        self._events.assembled(time.perf_counter() - started)
        if await self._off_loop(lambda: content_id(bundle)) != lora.bundle_id:
            raise IntegrityError(f"expected bundle {lora.bundle_id}, and built another one")
        try:
            await self._store.store_bundle(lora.bundle_id, bundle)
        except StoreUnavailableError:
            _log.warning("rebuilt_bundle_not_stored", bundle_id=lora.bundle_id)
        return bundle

    async def _off_loop(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._assembly, work)


def _assemble(generation: Generation, info: GeneratorInfo, bank: Bank) -> tuple[StoredLora, bytes]:
    recipe = Recipe(
        generator_id=info.id,
        generator_digest=info.digest,
        bank_digest=bank.digest,
        edge_model_id=info.edge_model_id,
        edge_model_digest=info.edge_model_digest,
        prompt_tokens=generation.prompt_tokens,
        gates=generation.gates,
    )
    recipe_bytes = encode_recipe(recipe)
    bundle = build_bundle(bank, recipe)
    return StoredLora(content_id(bundle), len(bundle), content_id(recipe_bytes), recipe_bytes), bundle


def _parse_stored(lora: StoredLora) -> Recipe:
    try:
        return parse_recipe(lora.recipe)
    except ContractError as e:
        raise IntegrityError(f"the stored recipe {lora.recipe_id} is damaged: {e}", "generate it again") from e
