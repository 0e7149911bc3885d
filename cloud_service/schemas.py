"""Schemas of requests and answers. Requests are checked here, over HTTP and gRPC alike.

Every length and count has a limit in `cloud_service.limits`. Unknown fields are refused, because a misspelled one would
silently change the task. Tools follow the OpenAI schema; only their names and descriptions are used.
The service checks which generators exist, and how long a prompt is in tokens.
"""

from collections import Counter
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from cloud_service import limits
from cloud_service.generation import GeneratorInfo, ProbeScores
from cloud_service.probing import ProbeComparison
from cloud_service.service import GeneratedLora, LoraRequest, PublishTarget
from cloud_service.task import Example, TaskDescription, Tool
from loragen.contract.errors import ContractError
from loragen.contract.limits import MAX_SPECIALIZATIONS, MAX_STATUS_MESSAGE_CHARS
from loragen.contract.names import DEVICE_NAME_PATTERN, DIGEST_PATTERN, NAME_PATTERN, verify_name
from loragen.web.fields import Text, verify_few

_MAX_MODEL_ID_CHARS = 200

_MAX_FIELDS = 16
"""More than any body has. Pydantic reports each unknown key, and a body can hold very many of them."""


def _verify_name(name: str) -> str:
    # The pattern is part of the OpenAPI schema; the rule against ".." does not fit into it.
    try:
        return verify_name(name)
    except ContractError as e:
        raise ValueError(str(e)) from e


_Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN), AfterValidator(_verify_name)]
_DeviceName = Annotated[str, StringConstraints(pattern=DEVICE_NAME_PATTERN)]
_Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _verify_fields(cls, fields: Any) -> Any:
        return verify_few(fields, _MAX_FIELDS)


class ExampleBody(_Body):
    """One few-shot example."""

    input: Text = Field(max_length=limits.MAX_EXAMPLE_CHARS)
    output: Text = Field(max_length=limits.MAX_EXAMPLE_CHARS)


class ProbeBody(_Body):
    """One input to try the edge model on, and the answer expected."""

    input: Text = Field(max_length=limits.MAX_PROBE_CHARS)
    output: Text = Field(max_length=limits.MAX_PROBE_CHARS)


class ParametersBody(BaseModel):
    """JSON Schema of a function's arguments; only the names of the properties are read."""

    model_config = ConfigDict(frozen=True)

    type: Literal["object"] = "object"
    properties: Annotated[
        dict[Annotated[Text, StringConstraints(pattern=r"^\S{1,64}$")], Any],
        BeforeValidator(lambda properties: verify_few(properties, limits.MAX_TOOL_PARAMETERS)),
    ] = Field(default_factory=dict, max_length=limits.MAX_TOOL_PARAMETERS)


class FunctionBody(BaseModel):
    """The function of a tool, as in the OpenAI schema."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=limits.MAX_TOOL_NAME_CHARS)
    description: Text = Field(default="", max_length=limits.MAX_TOOL_DESCRIPTION_CHARS)
    parameters: ParametersBody = ParametersBody()


class ToolBody(BaseModel):
    """A tool of the OpenAI schema: `{"type": "function", "function": {"name", "description", "parameters"}}`."""

    model_config = ConfigDict(frozen=True)

    type: Literal["function"]
    function: FunctionBody


class PublishBody(_Body):
    """Where to publish the bundle."""

    channel: _Name
    name: _Name


class GenerateLoraBody(_Body):
    """A task description, and what to do with its LoRA."""

    description: Text = Field(
        default="",
        max_length=limits.MAX_DESCRIPTION_CHARS,
        description="The task in words; may be empty when there are examples or tools.",
        examples=["Sort each support mail into billing, delivery or other."],
    )
    examples: list[ExampleBody] = Field(default=[], max_length=limits.MAX_EXAMPLES)
    tools: list[ToolBody] = Field(default=[], max_length=limits.MAX_TOOLS)
    output_format: Text = Field(default="", max_length=limits.MAX_OUTPUT_FORMAT_CHARS)
    edge_model: Text | None = Field(default=None, max_length=_MAX_MODEL_ID_CHARS)
    generator: Text | None = Field(default=None, max_length=_MAX_MODEL_ID_CHARS)
    publish: PublishBody | None = None
    strict: bool = Field(
        default=False,
        description="Refuse, with 422 `low_confidence`, a task that the generator most likely cannot follow.",
    )
    probe: list[ProbeBody] = Field(
        default=[],
        max_length=limits.MAX_PROBES,
        description="Run the edge model on these without the LoRA and with it, and answer with both scores.",
    )

    @model_validator(mode="after")
    def _verify_task(self) -> Self:
        if not (self.description.strip() or self.examples or self.tools):
            raise ValueError("expected a description, examples or tools, found none of them")
        names = Counter(tool.function.name for tool in self.tools)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"expected each tool once, found {', '.join(twice)} again")
        return self

    def to_request(self) -> LoraRequest:
        """The same as a value of the service."""
        tools = (
            Tool(tool.function.name, tool.function.description, tuple(tool.function.parameters.properties))
            for tool in self.tools
        )
        task = TaskDescription(
            description=self.description,
            examples=tuple(Example(example.input, example.output) for example in self.examples),
            tools=tuple(tools),
            output_format=self.output_format,
        )
        probe = tuple(Example(probed.input, probed.output) for probed in self.probe)
        publish = None if self.publish is None else PublishTarget(self.publish.channel, self.publish.name)
        return LoraRequest(task, self.edge_model or None, self.generator or None, self.strict, probe, publish)


class PublishSpecializationBody(_Body):
    """The bundle that a name shall mean."""

    bundle_id: _Digest


class RunningSpecialization(_Body):
    """The state of one specialization on a device."""

    name: _Name
    bundle_id: _Digest
    state: Literal["pending", "adapter", "merged", "failed"]
    message: Text = Field(default="", max_length=MAX_STATUS_MESSAGE_CHARS)


class DeviceReport(_Body):
    """The report of a device."""

    device_id: _DeviceName
    channel: _Name
    channel_version: int = Field(ge=0)
    specializations: list[RunningSpecialization] = Field(default=[], max_length=MAX_SPECIALIZATIONS)
    runtime_version: Text = Field(default="", max_length=100)
    edge_model_digest: str = Field(default="", pattern=r"^(?:[0-9a-f]{64})?$")
    reported_at: str = Field(default="", max_length=40, description="When the cloud received it, ISO 8601, UTC.")


class DeviceList(BaseModel):
    """The devices of a channel, the most recent report first."""

    devices: list[DeviceReport]


class Reference(BaseModel):
    """A model or generator, and its digest."""

    id: str
    digest: str


class AnswerTimings(BaseModel):
    """Milliseconds that each part took; all but the total are 0 when nothing was generated for this answer."""

    queue_ms: float
    generate_ms: float
    assemble_ms: float
    total_ms: float


class Links(BaseModel):
    """Paths to fetch from next."""

    bundle: str
    recipe: str
    bank: str
    channel: str | None = Field(default=None, exclude_if=lambda channel: channel is None)


class WarningAnswer(BaseModel):
    """A warning about the task description."""

    code: str = Field(description="`low_confidence`, `far_from_training` or `contradictory_examples`.")
    message: str


class ProbeScoresAnswer(BaseModel):
    """The edge model's scores on the probe."""

    exact_match: float = Field(description="Share of the inputs that greedy decoding answers exactly.")
    log_likelihood: float = Field(description="Natural logarithm of the probability of an answer; mean over inputs.")

    @classmethod
    def of(cls, scores: ProbeScores) -> Self:
        """The scores as they go over the wire."""
        return cls(exact_match=round(scores.exact_match, 4), log_likelihood=round(scores.log_likelihood, 4))


class ProbeAnswer(BaseModel):
    """The edge model on the probe's inputs, without the task description: without the LoRA, and with it."""

    base: ProbeScoresAnswer
    specialized: ProbeScoresAnswer

    @classmethod
    def of(cls, compared: ProbeComparison) -> Self:
        """The comparison as it goes over the wire."""
        return cls(base=ProbeScoresAnswer.of(compared.base), specialized=ProbeScoresAnswer.of(compared.specialized))


class GenerateLoraAnswer(BaseModel):
    """The LoRA for a task description."""

    id: str = Field(description="Bundle id: sha256 of its bytes.")
    bundle_bytes: int
    recipe_id: str
    recipe_bytes: int
    cached: bool = Field(description="Whether an earlier or concurrent request did the work.")
    generator: Reference
    edge_model: Reference
    gates: list[list[list[float]]] = Field(
        description="(layers, groups, experts), rounded to 4 decimals for reading; the recipe has every bit."
    )
    prompt_tokens: int = Field(description="Length of the prompt that the LoRA replaces, in tokens of the edge model.")
    tokens_saved_per_call: int
    confidence: float | None = Field(
        description="Probability that the generator can follow the task; null when it was not calibrated."
    )
    warnings: list[WarningAnswer]
    probe: ProbeAnswer | None = Field(default=None, exclude_if=lambda probe: probe is None)
    timings: AnswerTimings
    links: Links

    @classmethod
    def of(cls, answer: GeneratedLora) -> Self:
        """The answer as it goes over the wire."""
        lora, recipe, timings = answer.lora, answer.recipe, answer.timings
        return cls(
            id=lora.bundle_id,
            bundle_bytes=lora.bundle_bytes,
            recipe_id=lora.recipe_id,
            recipe_bytes=len(lora.recipe),
            cached=answer.cached,
            generator=Reference(id=recipe.generator_id, digest=recipe.generator_digest),
            edge_model=Reference(id=recipe.edge_model_id, digest=recipe.edge_model_digest),
            gates=_readable(recipe.gates),
            prompt_tokens=recipe.prompt_tokens,
            tokens_saved_per_call=recipe.prompt_tokens,
            confidence=None if answer.confidence is None else round(answer.confidence.score, 4),
            warnings=[WarningAnswer(code=warning.code, message=warning.message) for warning in answer.warnings],
            probe=None if answer.probe is None else ProbeAnswer.of(answer.probe),
            timings=AnswerTimings(
                queue_ms=_milliseconds(timings.queue),
                generate_ms=_milliseconds(timings.generate),
                assemble_ms=_milliseconds(timings.assemble),
                total_ms=_milliseconds(timings.total),
            ),
            links=Links(
                bundle=f"/bundles/{lora.bundle_id}",
                recipe=f"/recipes/{lora.recipe_id}",
                bank=f"/generators/{recipe.generator_id}/bank",
                channel=None if answer.channel is None else f"/channels/{answer.channel}",
            ),
        )


class BankAnswer(BaseModel):
    """The expert bank of a generator."""

    digest: str
    bytes: int
    link: str


class GeneratorAnswer(BaseModel):
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
    bank: BankAnswer

    @classmethod
    def of(cls, info: GeneratorInfo, *, bank_digest: str, bank_bytes: int, default: bool) -> Self:
        """The generator as it goes over the wire."""
        return cls(
            id=info.id,
            digest=info.digest,
            default=default,
            cloud_model=Reference(id=info.cloud_model_id, digest=info.cloud_model_digest),
            edge_model=Reference(id=info.edge_model_id, digest=info.edge_model_digest),
            layers=info.layers,
            groups=info.groups,
            experts=info.experts,
            rank=info.rank,
            alpha=info.alpha,
            mix=info.mix,
            gating=info.gating,
            max_prompt_tokens=info.max_prompt_tokens,
            bank=BankAnswer(digest=bank_digest, bytes=bank_bytes, link=f"/generators/{info.id}/bank"),
        )


class GeneratorList(BaseModel):
    """The loaded generators."""

    generators: list[GeneratorAnswer]


class HealthAnswer(BaseModel):
    """Alive, or ready."""

    status: str


def _readable(gates: NDArray[np.float32]) -> list[list[list[float]]]:
    rounded: list[list[list[float]]] = np.round(gates.astype(np.float64), 4).tolist()
    return rounded


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
