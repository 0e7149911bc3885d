"""Values: what the cloud service answers over HTTP, for the service, its OpenAPI document and its clients.

Errors are in `loragen.web.error_answers`; what only clients make of an answer is in `loragen.client.cloud_answers`.
"""

from typing import Any

from pydantic import Field

from loragen.answer_model import AnswerModel


class Reference(AnswerModel):
    """A model or generator, and its digest."""

    id: str
    digest: str


class Timings(AnswerModel):
    """Milliseconds that each part took; all but the total are 0 when nothing was generated for this answer."""

    queue_ms: float
    generate_ms: float
    assemble_ms: float
    total_ms: float


class Links(AnswerModel):
    """Paths to fetch from next."""

    bundle: str
    recipe: str
    bank: str
    channel: str | None = Field(default=None, exclude_if=lambda channel: channel is None)


class TaskWarning(AnswerModel):
    """A warning about the task description."""

    code: str = Field(description="`low_confidence`, `far_from_training` or `contradictory_examples`.")
    message: str


class ProbeScores(AnswerModel):
    """The edge model's scores on the probe."""

    exact_match: float = Field(
        description="Share of the inputs that greedy decoding answers exactly; with codes, among the codes."
    )
    log_likelihood: float = Field(
        description="Natural logarithm of the probability of an answer; with codes, among the codes. Mean over inputs."
    )


class Probe(AnswerModel):
    """The edge model on the probe's inputs: as it is, and with the LoRA and its residual prompt in front."""

    base: ProbeScores
    specialized: ProbeScores


class AnswerFunction(AnswerModel):
    """A function that an answer may call."""

    name: str
    parameters: dict[str, Any] | None = Field(default=None, description="The schema of its arguments, as enforced.")


class AnswerContract(AnswerModel):
    """What an answer of the specialized model may look like; devices see to it."""

    type: str = Field(
        description="`text`; `choice`, one of a closed set; `json`, JSON of a schema; or `tool_calls`, calls of the "
        "functions, or `none`."
    )
    choices: tuple[str, ...] = Field(description="The closed set of `choice`.")
    codes: tuple[int, ...] = Field(
        description="Tokens of the edge model that the LoRA writes in place of the choices, or of the functions' names "
        "and then of `none`; empty when it writes them."
    )
    json_schema: dict[str, Any] | None = Field(default=None, description="The schema of `json`, as it is enforced.")
    functions: tuple[AnswerFunction, ...] = Field(default=(), description="What `tool_calls` may call.")
    none: str | None = Field(default=None, description="What stands for calling none of them.")
    parallel: bool = Field(default=False, description="Whether an answer may be several calls, one a line.")


class Generated(AnswerModel):
    """The LoRA for a task description."""

    id: str = Field(description="Bundle id: sha256 of its bytes.")
    bundle_bytes: int
    recipe_id: str
    recipe_bytes: int
    cached: bool = Field(description="Whether an earlier or concurrent request did the work.")
    generator: Reference
    edge_model: Reference
    gates: tuple[tuple[tuple[float, ...], ...], ...] | None = Field(
        default=None,
        exclude_if=lambda gates: gates is None,
        description="(layers, groups, experts), rounded to 4 decimals for reading; the recipe has every bit. Only with "
        "`include: ['gates']`, and not where all are zero.",
    )
    prompt_tokens: int = Field(description="Length of the whole prompt, in tokens of the edge model.")
    tokens_saved_per_call: int = Field(description="`prompt_tokens` without those of the residual prompt.")
    residual_prompt: str = Field(
        description="What is left of the prompt: the device puts it in front of each chat. Empty for nothing."
    )
    answer: AnswerContract
    confidence: float | None = Field(
        description="Expected share of the task's inputs that the edge model answers right with the LoRA, and not "
        "without it; null when the generator was not calibrated."
    )
    warnings: tuple[TaskWarning, ...]
    probe: Probe | None = Field(default=None, exclude_if=lambda probe: probe is None)
    timings: Timings
    links: Links


class ImportLinks(AnswerModel):
    """Paths to fetch from next."""

    bundle: str
    channel: str | None = Field(default=None, exclude_if=lambda channel: channel is None)


class Imported(AnswerModel):
    """A user's own LoRA, as a bundle."""

    id: str = Field(description="Bundle id: sha256 of its bytes.")
    bundle_bytes: int
    edge_model: Reference
    modules: int = Field(description="Linear layers that the LoRA acts on.")
    answer: AnswerContract
    links: ImportLinks


class BankSummary(AnswerModel):
    """The expert bank of a generator."""

    digest: str
    bytes: int
    link: str


class GeneratorSummary(AnswerModel):
    """A loaded generator."""

    id: str
    digest: str
    default: bool
    cloud_model: Reference
    edge_model: Reference
    layers: int
    groups: int
    experts: int
    rank: int
    alpha: float
    mix: str
    gating: str
    max_prompt_tokens: int
    most_choices: int = Field(description="Choices of the largest set that its choice head answers; 0 without a head.")
    bank: BankSummary


class GeneratorList(AnswerModel):
    """The loaded generators; the first is the default."""

    generators: tuple[GeneratorSummary, ...]
