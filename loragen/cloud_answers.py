"""Values: what the cloud service answers over HTTP, for the service, its OpenAPI document and its clients.

Errors are in `loragen.web.error_answers`; what only clients make of an answer is in `loragen.client.cloud_answers`.
"""

from datetime import datetime
from typing import Any

from pydantic import Field

from loragen.answer_model import AnswerModel

RECIPE_HEADER = "x-loragen-recipe-id"
"""The header of a bundle that says which recipe makes it."""


class Reference(AnswerModel):
    """A model or generator, and its digest."""

    id: str
    digest: str


class Timings(AnswerModel):
    """Milliseconds that each part took.

    Queue and generate are 0 when nothing was generated for this answer; assemble, which is to build the bundle or to
    find it, when the request did not need the bundle.
    """

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

    code: str = Field(
        description="`low_confidence`, `far_from_training`, `contradictory_examples` or `examples_outside`."
    )
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
    """The edge model on the probe's inputs, or on the examples: as it is, and with the LoRA and its residual prompt."""

    base: ProbeScores
    specialized: ProbeScores


class AnswerFunction(AnswerModel):
    """A function that an answer may call."""

    name: str
    parameters: dict[str, Any] | None = Field(default=None, description="The schema of its arguments, as enforced.")


class AllowedAnswer(AnswerModel):
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


class HeldOutScore(AnswerModel):
    """How well examples are answered that nothing was tuned on."""

    right: float = Field(
        description="Share of them that greedy decoding answers exactly, in [0, 1]; with codes, among the codes."
    )
    loss: float = Field(description="Cross entropy of an answer, in nats a token; with codes, among the codes. Mean.")


class Refinement(AnswerModel):
    """What tuning on the request's examples came to."""

    tuned: str = Field(description="`keys`, those of a closed set's choices, or `gates`.")
    kept: bool = Field(
        description="Whether held-out examples are answered better; without, the LoRA is that of one pass."
    )
    examples: int = Field(description="Different examples that were used.")
    held_out: int = Field(description="How many of them were held out: of a closed set each in turn, else a part.")
    before: HeldOutScore = Field(description="Of the one-pass LoRA.")
    after: HeldOutScore = Field(description="Of the LoRA of this answer; never worse than before.")
    steps: int = Field(description="Steps taken; for keys, problems solved.")
    seconds: float
    stopped: str = Field(description="Why it ended: `steps`, `budget`, or `no_gain` for long.")


class Generated(AnswerModel):
    """The LoRA for a task description."""

    id: str = Field(
        description="Names the LoRA wherever the id of a bundle is asked for. With `publish`, `probe`, `refine` or "
        "`probe_examples` it is the bundle's, the sha256 of its bytes. Else the bundle is not made before somebody "
        "needs it, and it is the recipe's."
    )
    bundle_bytes: int
    recipe_id: str = Field(description="sha256 of the recipe's bytes.")
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
    answer: AllowedAnswer
    confidence: float | None = Field(
        description="Expected share of the task's inputs that the edge model answers right with the LoRA, and not "
        "without it. What a probe found counts. Null when the generator was not calibrated."
    )
    warnings: tuple[TaskWarning, ...]
    probe: Probe | None = Field(default=None, exclude_if=lambda probe: probe is None)
    refinement: Refinement | None = Field(default=None, exclude_if=lambda refinement: refinement is None)
    timings: Timings
    links: Links


class JobProgress(AnswerModel):
    """How far a refinement is."""

    done: int = Field(description="Steps that are done.")
    total: int = Field(description="Steps in all, at most; 0 before it began.")


class JobError(AnswerModel):
    """Why a job failed: as in an error answer."""

    code: str
    message: str
    hint: str = ""


class Job(AnswerModel):
    """A request that is answered in the background."""

    id: str
    state: str = Field(description="`queued`, `running`, and at last `done`, `failed` or `cancelled`.")
    generator: str = Field(description="Id of the generator that answers.")
    created_at: datetime
    changed_at: datetime = Field(description="A job that is alive changes every few seconds.")
    deadline_at: datetime = Field(description="When it fails if it is not done.")
    progress: JobProgress
    result: Generated | None = Field(default=None, description="The answer to the request, when it is done.")
    error: JobError | None = Field(default=None, description="When it failed.")

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.state in ("done", "failed", "cancelled")


class JobList(AnswerModel):
    """Jobs, the most recent first."""

    jobs: tuple[Job, ...]
    next_before: int | None = Field(description="Asks for the next page, as `before`; null on the last one.")


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
    answer: AllowedAnswer
    links: ImportLinks


class BankSummary(AnswerModel):
    """The expert bank of a generator."""

    digest: str
    bytes: int
    link: str


class GeneratorSummary(AnswerModel):
    """A loaded generator, as it goes over the wire: the service's own value has what no client needs."""

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
