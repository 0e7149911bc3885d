"""The way of a refinement: what of a request the generator reads, what is tuned on, and what is stored of the outcome.

The generator reads the first few examples, and the answer contract follows from all of them. A refined recipe is stored
like any other, under a key of its own, so that an equal request is answered at once.
"""

import json
from dataclasses import asdict, dataclass, replace

from cloud_service.access.caller import current_caller
from cloud_service.access.ownership import Ownership
from cloud_service.answer.choices import chosen_option
from cloud_service.answer.contract import find_answer
from cloud_service.artifacts import ArtifactService
from cloud_service.catalog import ServedGenerator
from cloud_service.confidence import confidence_of
from cloud_service.errors import GenerationError, InvalidRequestError
from cloud_service.generation import Confidence
from cloud_service.limits import MAX_REFINE_TOKENS, MIN_REFINE_EXAMPLES
from cloud_service.refine.held_out import distinct
from cloud_service.refine.refiner import QueuePlace, Refiner
from cloud_service.refinement import (
    ExampleScore,
    OnProgress,
    RefinementOutcome,
    RefinePlan,
    Tuning,
    example_too_long,
    shown_examples,
)
from cloud_service.store import Store, StoredRecipe
from cloud_service.task import Example, TaskDescription
from loragen.contract.bundle import content_id
from loragen.contract.digest import canonical_json, sha256_hex
from loragen.contract.errors import ContractError
from loragen.contract.recipe import Recipe, encode_recipe


@dataclass(frozen=True, slots=True)
class PreparedTask:
    """A task that can be refined.

    Attributes:
        one_pass: What the generator reads of it: the first examples, and the answer contract of all.
        examples: All different ones.
        plan: How long to tune.
        tuning: What tunes.
    """

    one_pass: TaskDescription
    examples: tuple[Example, ...]
    plan: RefinePlan
    tuning: Tuning

    @property
    def shown(self) -> int:
        """How many examples the generator reads."""
        return len(self.one_pass.examples)


@dataclass(frozen=True, slots=True)
class RefinedLora:
    """A refined LoRA, as it was stored.

    Attributes:
        confidence: Of the one-pass generation.
        cached: Whether an earlier request did the work.
    """

    stored: StoredRecipe
    recipe: Recipe
    confidence: Confidence | None
    refinement: RefinementOutcome
    cached: bool
    assemble_seconds: float = 0.0


class RefiningService:
    """Refines what a generator made.

    Args:
        store: Remembers which request led to which LoRA.
        artifacts: Builds bundles, and lends a thread.
        refiner: Runs the tuners.
        max_budget_seconds: The largest budget that a request may ask for.
    """

    def __init__(
        self, store: Store, artifacts: ArtifactService, refiner: Refiner, *, max_budget_seconds: float
    ) -> None:
        self._store = store
        self._ownership = Ownership(store.access)
        self._artifacts = artifacts
        self._refiner = refiner
        self._max_budget = max_budget_seconds

    def reserve(self) -> QueuePlace:
        """A place in the queue. Raises as `Refiner.reserve`."""
        return self._refiner.reserve()

    def close(self) -> None:
        """Drop what waits."""
        self._refiner.close()

    async def prepare(self, task: TaskDescription, plan: RefinePlan, served: ServedGenerator) -> PreparedTask:
        """A task whose examples can be tuned on.

        Raises:
            InvalidRequestError: They cannot, or not for so long, or the service does not refine.
            DrainingError: The service was closed.
        """
        tuning = served.require_tuning()
        if plan.budget_seconds > self._max_budget:
            raise InvalidRequestError(
                f"refine.budget_seconds: expected at most {self._max_budget:g}, found {plan.budget_seconds:g}",
                "ask for less; the operator's limit is LORAGEN_CLOUD_REFINE_MAX_SECONDS",
            )
        task = task.normalized()
        examples = distinct(task.examples)
        inputs = len({example.input for example in examples})
        if inputs < MIN_REFINE_EXAMPLES:
            raise InvalidRequestError(
                f"examples: expected at least {MIN_REFINE_EXAMPLES} different inputs to refine on, found {inputs}",
                "send more labelled examples, or ask without refine",
                code="too_few_examples",
            )
        answer = find_answer(task)
        if served.info.most_choices and len(answer.options) > 1:
            for number, example in enumerate(task.examples):
                if chosen_option(example.output, answer.options) is None:
                    raise InvalidRequestError(
                        f"examples.{number}.output: expected one of the {len(answer.options)} choices, found another",
                        "without refine, the answer lists them as answer.choices",
                        code="example_not_a_choice",
                    )
        await self._artifacts.off_loop(lambda: _verify_lengths(task.examples, tuning))
        read = replace(task, examples=examples[: shown_examples(examples)], answer=answer)
        return PreparedTask(read, examples, plan, tuning)

    async def refine(
        self,
        prepared: PreparedTask,
        served: ServedGenerator,
        one_pass_key: str,
        one_pass: Recipe,
        confidence: Confidence | None,
        wait_seconds: float,
        on_progress: OnProgress,
    ) -> RefinedLora:
        """Refine a one-pass recipe and store the outcome, unless an equal request did.

        Args:
            prepared: What to tune on.
            served: The generator that made the recipe.
            one_pass_key: The recipe's key in the store.
            one_pass: The recipe.
            confidence: Stored with the outcome.
            wait_seconds: Longest wait for those who came earlier.
            on_progress: Called on the event loop between steps.

        Raises:
            DeadlineError: Others took too long.
            UsageLimitError: The tenant's share of the store has no room.
            CloudError: As for `Refiner.refine`.
        """
        key = _key(one_pass_key, prepared)
        if (found := await self._find(key)) is not None:
            return found
        # Tuning changes numbers, so that a refined recipe is as long as that of one pass.
        await self._ownership.verify_room(len(encode_recipe(one_pass)))
        async with self._refiner.turn(wait_seconds):
            # An equal request may have been the one before.
            if (found := await self._find(key)) is not None:
                return found
            recipe, refinement = await self._refiner.refine(
                served.info.id,
                prepared.tuning.load,
                one_pass,
                prepared.examples,
                prepared.shown,
                prepared.plan,
                on_progress,
            )
            return await self._store_refined(key, served, recipe, confidence, refinement)

    async def _store_refined(
        self,
        key: str,
        served: ServedGenerator,
        recipe: Recipe,
        confidence: Confidence | None,
        refinement: RefinementOutcome,
    ) -> RefinedLora:
        try:
            recipe_bytes = encode_recipe(recipe)
            bundle_id, bundle, seconds = await self._artifacts.build(served.bank, recipe)
        except ContractError as e:
            raise GenerationError(f"the refinement made no usable LoRA: {e}", e.hint, code="refine_failed") from e
        stored = StoredRecipe(content_id(recipe_bytes), recipe_bytes, len(bundle))
        note, tenant = _encode_note(confidence, refinement), current_caller().tenant
        if not await self._store.store_generation(key, stored, note, tenant):
            raise await self._ownership.used_up()
        await self._artifacts.note(stored, bundle_id, bundle)
        return RefinedLora(stored, recipe, confidence, refinement, False, seconds)

    async def _find(self, key: str) -> RefinedLora | None:
        found = await self._store.find_generation(key)
        if found is None or content_id(found.recipe.recipe) != found.recipe.recipe_id:
            return None
        note = _parse_note(found.note)
        return None if note is None else RefinedLora(found.recipe, found.recipe.parse_recipe(), *note, cached=True)


def _key(one_pass_key: str, prepared: PreparedTask) -> str:
    examples = [(each.input, each.output) for each in prepared.examples]
    return sha256_hex(canonical_json({"one_pass": one_pass_key, "examples": examples, "refine": asdict(prepared.plan)}))


def _verify_lengths(examples: tuple[Example, ...], tuning: Tuning) -> None:
    for number, example in enumerate(examples):
        tokens = tuning.count_tokens(example.input) + tuning.count_tokens(example.output)
        if tokens > MAX_REFINE_TOKENS:
            raise example_too_long(number, MAX_REFINE_TOKENS, tokens)


def _encode_note(confidence: Confidence | None, refinement: RefinementOutcome) -> bytes:
    return canonical_json({"confidence": confidence and asdict(confidence), "refinement": asdict(refinement)})


def _parse_note(note: bytes) -> tuple[Confidence | None, RefinementOutcome] | None:
    """What `_encode_note` wrote; None when it is unreadable, and the request is refined anew."""
    try:
        fields = json.loads(note)
        report = fields["refinement"]
        scores = {name: ExampleScore(**report[name]) for name in ("before", "after")}
        confidence = fields["confidence"]
        if confidence is not None:
            confidence = confidence_of(confidence)
        return confidence, RefinementOutcome(**{**report, **scores})
    except (ValueError, KeyError, TypeError):
        return None
