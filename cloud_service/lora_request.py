"""Values: what the service is asked for, and what it answers."""

from dataclasses import dataclass
from typing import Any

from cloud_service.confidence import DescriptionWarning
from cloud_service.generation import Confidence
from cloud_service.probing import ProbeComparison
from cloud_service.refinement import RefinementOutcome, RefinePlan
from cloud_service.store import StoredLora, StoredRecipe
from cloud_service.task import Example, TaskDescription
from loragen.contract.recipe import Recipe


@dataclass(frozen=True, slots=True)
class PublishTarget:
    """The channel to publish a bundle in, and the name that devices serve it under."""

    channel: str
    name: str


@dataclass(frozen=True, slots=True)
class LoraRequest:
    """A valid request. Only the task and the generator decide which LoRA is made.

    Example:
        LoraRequest(TaskDescription("Sort each mail."), publish=PublishTarget("kitchen", "mail"))

    Attributes:
        edge_model: None lets the service choose.
        generator: None lets the service choose.
        strict: Refuse a task on which the generator has low confidence.
        probe: Inputs with expected answers, to compare the edge model without the LoRA and with it.
        probe_examples: Compare it on the task's examples instead, each under a LoRA that is made without it.
        publish: Where to publish the bundle.
        include_bundle: Answer with the bundle's bytes too.
        refine: Tune on the task's examples, and how long; None for a generation in one pass.
    """

    task: TaskDescription
    edge_model: str | None = None
    generator: str | None = None
    strict: bool = False
    probe: tuple[Example, ...] = ()
    publish: PublishTarget | None = None
    include_bundle: bool = False
    refine: RefinePlan | None = None
    probe_examples: bool = False

    @property
    def probes(self) -> bool:
        """Whether the edge model is to be run."""
        return bool(self.probe) or self.probe_examples

    @property
    def needs_bundle(self) -> bool:
        """Whether it cannot be answered without the bundle; else this is built when somebody fetches it."""
        return self.publish is not None or self.refine is not None or self.include_bundle or self.probes


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Seconds that each part of an answer took.

    Queue and generate are 0 when nothing was generated for it; assemble, which is to build the bundle or to find it,
    when the request did not need the bundle.
    """

    queue: float = 0.0
    generate: float = 0.0
    assemble: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class GeneratedLora:
    """The answer to a request.

    Attributes:
        lora: Ids and sizes; a `StoredLora` where the request needed the bundle.
        recipe: The gates and what they belong to.
        cached: Whether an earlier or concurrent request did the work.
        timings: Where the time went.
        confidence: None when the generator was not calibrated.
        warnings: What the client should know of its task.
        probe: None when the request asked for none.
        channel: Where the bundle was published; None when the request did not ask for it.
        bundle: The bytes; None when the request did not ask for them.
        refinement: What tuning came to; None when the request did not ask for it.
    """

    lora: StoredRecipe
    recipe: Recipe
    cached: bool
    timings: StageSeconds
    confidence: Confidence | None
    warnings: tuple[DescriptionWarning, ...]
    probe: ProbeComparison | None
    channel: str | None
    bundle: memoryview | None
    refinement: RefinementOutcome | None = None

    @property
    def id(self) -> str:
        """What names the LoRA from here on: its bundle's id where that is known, else its recipe's."""
        return self.lora.bundle_id if isinstance(self.lora, StoredLora) else self.lora.recipe_id

    @property
    def logged(self) -> dict[str, Any]:
        """What joins the request's own record in the log."""
        return {
            "generator": self.recipe.generator_id,
            "lora_id": self.id,
            "cached": self.cached,
            "queue_ms": round(self.timings.queue * 1000, 2),
            "generate_ms": round(self.timings.generate * 1000, 2),
        }
