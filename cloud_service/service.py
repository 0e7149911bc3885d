"""The way of one request: from a task description to a stored LoRA, published and compared if the client asks for it.

A generation is its gates: the recipe that holds them is stored for long. Its bundle is built only for a request that
needs it, or when somebody fetches it (`artifacts`).
Equal requests generate once, on whatever replica they arrive.

Knows no HTTP, gRPC, Redis or torch. What clients may send is checked by `schemas`; channels belong to `channels`.
"""

import asyncio
import time
from dataclasses import dataclass, field, replace
from math import inf
from typing import Protocol

import structlog
from structlog.contextvars import bind_contextvars

from cloud_service.access.caller import current_caller, verify_publishing
from cloud_service.access.ownership import Ownership
from cloud_service.access.revocation import Revocation
from cloud_service.access.usage import UsageMeter
from cloud_service.artifacts import ArtifactService
from cloud_service.catalog import Catalog, ServedGenerator
from cloud_service.confidence import encode_note, find_warnings, parse_note, verify_confident
from cloud_service.errors import (
    DeadlineError,
    DrainingError,
    GenerationError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
)
from cloud_service.evidence import gather_evidence, verify_evidence
from cloud_service.fleet.channels import ChannelService, verify_not_reserved
from cloud_service.generation import Asked, Confidence, GeneratorInfo, cache_key, most_recipe_bytes
from cloud_service.lora_request import GeneratedLora, LoraRequest, StageSeconds
from cloud_service.readiness import SharedCheck
from cloud_service.refine.refiner import QueuePlace
from cloud_service.refine.refining import PreparedTask, RefiningService
from cloud_service.refinement import OnProgress, RefinementOutcome, ignore_progress
from cloud_service.runner import Produced
from cloud_service.single_flight import LEASE_SECONDS, Leases, SingleFlight
from cloud_service.store import Store, StoredRecipe
from cloud_service.task import TaskDescription, render_prompt
from loragen.contract.answer import encode_answer
from loragen.contract.assembly import measure_bundle
from loragen.contract.bundle import content_id
from loragen.contract.errors import ContractError
from loragen.contract.recipe import Recipe, encode_recipe
from loragen.web.tracing import past_spans

_log = structlog.get_logger(__name__)

_HUNG_TIMEOUTS = 4
"""Request timeouts after which a batch is taken to hang. A batch whose prompts run alone after a fault takes less."""


class ServiceEvents(Protocol):
    """A hook for counting answers."""

    def answered(self, *, cached: bool) -> None:
        """A generation request was answered."""
        ...


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a cache key led to."""

    stored: StoredRecipe
    recipe: Recipe
    confidence: Confidence | None
    timings: StageSeconds = field(default_factory=StageSeconds)
    refinement: RefinementOutcome | None = None


def _asked_of(task: TaskDescription) -> Asked:
    try:
        asked = Asked.of(task)
        encode_answer(asked.answer)
    except ContractError as e:
        raise InvalidRequestError(f"tools: {e}", "send fewer tools, or shorter schemas") from e
    return asked


class LoraService:
    """Answers requests for LoRAs.

    Args:
        catalog: The generators, with started runners.
        store: Remembers which request led to which LoRA.
        artifacts: Builds bundles and fetches them; closed with the service.
        channels: Where bundles are published.
        refining: Refines what was generated; closed with the service.
        usage: Counts generations.
        revocation: Ends refinements with the keys that asked for them.
        request_timeout_seconds: Longest time for one generation, queue included.
        events: Called after each answer.
        lease_seconds: How long a lease outlives a replica that died.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        artifacts: ArtifactService,
        channels: ChannelService,
        refining: RefiningService,
        *,
        usage: UsageMeter,
        revocation: Revocation,
        request_timeout_seconds: float,
        events: ServiceEvents,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._usage = usage
        self._revocation = revocation
        self.catalog = catalog
        self.artifacts = artifacts
        self._store = store
        self._writable = SharedCheck(store.verify_writable)
        self._ownership = Ownership(store.access)
        self._channels = channels
        self._refining = refining
        self._timeout = request_timeout_seconds
        self._events = events
        self._leases = Leases(store, lease_seconds)
        self._generations: SingleFlight[tuple[_Outcome, bool]] = SingleFlight()
        self._draining = False

    async def generate(
        self, request: LoraRequest, place: QueuePlace | None = None, on_progress: OnProgress = ignore_progress
    ) -> GeneratedLora:
        """Answer a request, from the store or with a new generation; then refine, probe and publish as it asks.

        Args:
            request: What is asked.
            place: In the queue of refinements; taken here, if need be, and given back in any case.
            on_progress: Called on the event loop while a refinement runs.

        Raises:
            InvalidRequestError: The request cannot be answered as it is, for instance a strict one with low confidence.
            OverloadedError, UsageLimitError, DrainingError, StoreUnavailableError, DeadlineError: It may be answered
                later.
            UnauthenticatedError: The caller's key was revoked while a refinement went on.
            GenerationError: The model failed on it.
            CloudError: As for `ChannelService.publish`.
        """
        if request.refine is None:
            return await self._answer(request, False, on_progress)
        with place or self._refining.reserve():
            async with self._revocation.unless_refused():
                return await self._answer(request, place is not None, on_progress)

    async def verify_room(self, request: LoraRequest) -> None:
        """Return when a request would be answered now, from the store or with a generation. Ask before other work.

        Raises:
            OverloadedError, DrainingError, StoreUnavailableError: It may be answered later.
            InvalidRequestError, ForbiddenError, ConflictError, UsageLimitError: Nor would it be with room.
        """
        served = self.catalog.select(request.generator, request.edge_model)
        if not served.runner.is_full:
            return
        key = cache_key(request.task, served.info, current_caller().tenant)
        if key not in self._generations and await self._store.find_generation(key) is None:
            await self._verify_extras(request, served)
            await self._verify_room(key, request.task, served)

    @property
    def is_full(self) -> bool:
        """Whether every generator refuses new tasks, but for clients that were asked to come back."""
        return all(served.runner.is_full for served in self.catalog)

    def reserve(self) -> QueuePlace:
        """A place in the queue of refinements, for `generate`. Raises as `Refiner.reserve`."""
        return self._refining.reserve()

    async def verify(self, request: LoraRequest) -> GeneratorInfo:
        """The generator that will answer the request, once all of the request is found valid.

        Raises:
            InvalidRequestError: Something does.
            UsageLimitError: The caller's quota for today is used up.
        """
        served = self.catalog.select(request.generator, request.edge_model)
        await self._verify_extras(request, served)
        if request.refine is not None:
            await self._refining.prepare(request.task, request.refine, served)
            await self._usage.verify_quota("refinements")
        return served.info

    async def verify_ready(self) -> None:
        """Return when requests can be answered.

        Raises:
            DrainingError: The process is shutting down.
            UnavailableError: A runner died, or its model takes longer than any client waits.
            StoreUnavailableError: The store takes no writes.
        """
        self._verify_not_draining()
        stopped = [served.info.id for served in self.catalog if not served.runner.is_serving]
        if stopped:
            raise UnavailableError(f"the runner of {', '.join(stopped)} stopped", "restart the process")
        self._verify_progress(self._timeout)
        await self._writable.verify()

    def verify_live(self) -> None:
        """Return unless only a restart can help.

        Raises:
            UnavailableError: A model hangs.
        """
        self._verify_progress(_HUNG_TIMEOUTS * self._timeout)

    def drain(self) -> None:
        """Be not ready from now on. Requests are still served: load balancers take a while to notice."""
        self._draining = True

    async def close(self, timeout_seconds: float) -> int:
        """Finish accepted generations, then cancel.

        Returns:
            How many generations were cut off.
        """
        self.drain()
        self._writable.close()
        cut_off = sum(await asyncio.gather(*(served.runner.close(timeout_seconds) for served in self.catalog)))
        await self._generations.settle(timeout_seconds)
        self._refining.close()
        await self.artifacts.close(timeout_seconds)
        for served in self.catalog:
            if served.prober is not None:
                served.prober.close()
        return cut_off

    async def _verify_extras(self, request: LoraRequest, served: ServedGenerator) -> None:
        if request.publish is not None:
            verify_publishing(request.publish.channel)
            verify_not_reserved(request.publish.name, served.info.edge_model_id, "publish.name")
            await self._channels.verify_may_have(request.publish.channel)
        verify_evidence(request, served)

    async def _answer(self, request: LoraRequest, is_job: bool, on_progress: OnProgress) -> GeneratedLora:
        started = time.perf_counter()
        served = self.catalog.select(request.generator, request.edge_model)
        await self._verify_extras(request, served)
        if request.refine is None:
            outcome, cached = await self._find_or_generate(request.task, served)
        else:
            prepared = await self._refining.prepare(request.task, request.refine, served)
            one_pass, _ = await self._find_or_generate(prepared.one_pass, served)
            # A job has a deadline of its own.
            wait = inf if is_job else self._timeout
            outcome, cached = await self._refine(prepared, served, one_pass, wait, on_progress)
        self._events.answered(cached=cached)
        if request.strict and (not request.probes or outcome.confidence is None):
            verify_confident(outcome.confidence)
        stored, bundle, timings = outcome.stored, None, outcome.timings
        if request.needs_bundle:
            asked = time.perf_counter()
            stored = lora = await self.artifacts.find_lora(stored)
            if request.include_bundle:
                bundle = await self.artifacts.fetch_bundle(lora)
            timings = replace(timings, assemble=timings.assemble + time.perf_counter() - asked)
        probe, confidence = None, outcome.confidence
        if request.probes:
            key = cache_key(request.task, served.info, current_caller().tenant)
            probe = await gather_evidence(request, served, outcome.recipe, key, self._timeout)
            confidence = confidence and confidence.after(probe.gained, probe.answered)
            if request.strict:
                verify_confident(confidence)
        timings = replace(timings, total=time.perf_counter() - started)
        answer = GeneratedLora(
            lora=stored,
            recipe=outcome.recipe,
            cached=cached,
            timings=timings,
            confidence=confidence,
            warnings=find_warnings(request.task, confidence),
            probe=probe,
            channel=None if request.publish is None else request.publish.channel,
            bundle=bundle,
            refinement=outcome.refinement,
        )
        bind_contextvars(**answer.logged)
        if request.publish is not None:
            await self._channels.publish(request.publish.channel, request.publish.name, answer.id)
            bind_contextvars(channel=request.publish.channel, specialization=request.publish.name)
        return answer

    async def _refine(
        self, task: PreparedTask, served: ServedGenerator, one_pass: _Outcome, wait_seconds: float, progress: OnProgress
    ) -> tuple[_Outcome, bool]:
        key = cache_key(task.one_pass, served.info, current_caller().tenant)
        start = one_pass.recipe, one_pass.confidence
        found = await self._refining.refine(task, served, key, *start, wait_seconds, progress)
        await self._ownership.record(found.stored.recipe_id)
        timings = StageSeconds() if found.cached else replace(one_pass.timings, assemble=found.assemble_seconds)
        return _Outcome(found.stored, found.recipe, found.confidence, timings, found.refinement), found.cached

    def _verify_progress(self, most_seconds: float) -> None:
        for served in self.catalog:
            if (seconds := served.runner.running_seconds) > most_seconds:
                raise UnavailableError(
                    f"the model of {served.info.id} has been at one batch for {seconds:.1f} s, "
                    f"expected at most {most_seconds:g} s",
                    "ask another replica; this one has to be restarted if that goes on",
                )

    def _verify_not_draining(self, cause: Exception | None = None) -> None:
        if self._draining:
            raise DrainingError("the service is shutting down", "ask another replica") from cause

    async def _find_or_generate(self, task: TaskDescription, served: ServedGenerator) -> tuple[_Outcome, bool]:
        """The outcome, and whether another request did the work."""
        key = cache_key(task, served.info, current_caller().tenant)
        found = await self._find(key)
        if found is not None:
            return found, True
        await self._verify_room(key, task, served)
        asked = _asked_of(task)
        served.runner.verify_characters(asked)
        (outcome, generated_here), began = await self._generations.join(
            key, lambda: self._generate_once(key, asked, served), self._timeout
        )
        if began and generated_here:
            return outcome, False
        return replace(outcome, timings=StageSeconds()), True

    async def _verify_room(self, key: str, task: TaskDescription, served: ServedGenerator) -> None:
        """Whoever is refused must hear it soon, so this comes before the lease and all else that takes time."""
        await self._usage.verify_quota("generations", "prompt-tokens")
        await self._ownership.verify_room(1)
        if served.runner.is_long(render_prompt(task)):
            served.runner.verify_characters(_asked_of(task))
        try:
            if key not in self._generations:
                served.runner.verify_room(key)
        except OverloadedError as e:
            self._verify_not_draining(e)
            raise

    async def _generate_once(self, key: str, asked: Asked, served: ServedGenerator) -> tuple[_Outcome, bool]:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._leases.run(key, lambda: self._find(key), lambda: self._generate(key, asked, served))
        except TimeoutError:
            raise DeadlineError(f"no generation within {self._timeout:g} s", "the service may be overloaded") from None

    async def _find(self, key: str) -> _Outcome | None:
        found = await self._store.find_generation(key)
        if found is None:
            return None
        stored = found.recipe
        if content_id(stored.recipe) != stored.recipe_id:
            # Taken as a miss, so that a new generation replaces it.
            _log.error("stored_recipe_damaged", recipe_id=stored.recipe_id)
            return None
        if not await self._ownership.sees(stored.recipe_id):
            # The tenant has deleted it since.
            await self._ownership.record(stored.recipe_id)
        return _Outcome(stored, stored.parse_recipe(), parse_note(found.note))

    async def _generate(self, key: str, asked: Asked, served: ServedGenerator) -> _Outcome:
        if len(asked.choices) > served.info.most_choices > 0:
            raise InvalidRequestError(
                f"expected at most {served.info.most_choices} choices, found {len(asked.choices)}",
                "send fewer tools or labels, or ask for any text: answer {'type': 'text'}",
                code="too_many_choices",
            )
        await self._ownership.verify_room(most_recipe_bytes(asked, served.info, served.bank))
        # What it costs is known before the model is asked, so that requests which come at once share what is left.
        tokens = await served.runner.count_edge_tokens(asked) if self._usage.has_quota("prompt-tokens") else 0
        async with self._usage.spending({"generations": 1, "prompt-tokens": tokens}):
            produced = await served.runner.generate(asked, self._timeout, key)
            with served.runner.finishing(produced.queue_seconds + produced.generate_seconds):
                outcome = await self._finish(key, served, produced)
        if outcome is None:
            # Requests that came at once took the room. The model has worked, so it is paid for.
            raise await self._ownership.used_up()
        return outcome

    async def _finish(self, key: str, served: ServedGenerator, produced: Produced) -> _Outcome | None:
        """What was made, stored; None, and nothing is stored, when the tenant has no room for it."""
        past_spans(queue_wait=produced.queue_seconds, forward_pass=produced.generate_seconds)
        info, generation = served.info, produced.generation
        try:
            recipe = generation.recipe(info, served.bank.digest)
            recipe_bytes = encode_recipe(recipe)
            stored = StoredRecipe(content_id(recipe_bytes), recipe_bytes, measure_bundle(served.bank, recipe))
        except ContractError as e:
            raise GenerationError(f"the generator {info.id} made no usable LoRA: {e}", e.hint) from e
        note, tenant = encode_note(generation.confidence), current_caller().tenant
        if not await self._store.store_generation(key, stored, note, tenant):
            return None
        timings = StageSeconds(produced.queue_seconds, produced.generate_seconds)
        return _Outcome(stored, recipe, generation.confidence, timings)
