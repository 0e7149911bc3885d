"""Schemas of requests and reports: what clients and devices send is checked here, over HTTP and gRPC alike.

Every length and count has a limit in `cloud_service.limits`. Unknown fields are refused, because a misspelled one would
silently change the task. Tools follow the OpenAI schema; only their names and descriptions are used.
The service checks which generators exist, and how long a prompt is in tokens.
"""

from collections import Counter
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    model_validator,
)

from cloud_service import limits
from cloud_service.service import LoraRequest, PublishTarget
from cloud_service.task import Example, TaskDescription, Tool
from loragen.contract.answer import AnswerContract
from loragen.contract.errors import ContractError
from loragen.contract.limits import MAX_CHOICES, MAX_SPECIALIZATIONS, MAX_STATUS_MESSAGE_CHARS
from loragen.contract.names import DEVICE_NAME_PATTERN, DIGEST_PATTERN, NAME_PATTERN, verify_name
from loragen.web.body_fields import Text, verify_few

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

    @model_validator(mode="after")
    def _verify_not_empty(self) -> Self:
        if not (self.input.strip() or self.output.strip()):
            raise ValueError("expected an input or an output, found neither")
        return self


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


class AnswerBody(_Body):
    """What an answer may look like: any text, or one of a closed set."""

    type: Literal["text", "choice"]
    choices: list[Text] = Field(default=[], max_length=MAX_CHOICES, description="At least two texts for `choice`.")

    @model_validator(mode="after")
    def _verify_choices(self) -> Self:
        if self.type == "choice" and len(self.choices) < 2:
            raise ValueError(f"expected at least 2 choices, found {len(self.choices)}")
        if any(choice != choice.strip() or "\n" in choice for choice in self.choices):
            raise ValueError("expected choices of one line without white space around them")
        try:
            self.to_contract()
        except ContractError as e:
            raise ValueError(str(e)) from e
        return self

    def to_contract(self) -> AnswerContract:
        """The same as a value of the contract."""
        return AnswerContract(self.type, tuple(self.choices))


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
    answer: AnswerBody | None = Field(
        default=None,
        description="What an answer may look like; without it, the tools, labels and examples of the task decide.",
    )
    edge_model: Text | None = Field(default=None, max_length=_MAX_MODEL_ID_CHARS)
    generator: Text | None = Field(default=None, max_length=_MAX_MODEL_ID_CHARS)
    publish: PublishBody | None = None
    include: list[Literal["gates"]] = Field(
        default=[], max_length=1, description="What to answer with besides; the recipe has the gates in any case."
    )
    strict: StrictBool = Field(
        default=False,
        description="Refuse, with 422 `low_confidence`, a task with a confidence below 0.5.",
    )
    probe: list[ProbeBody] = Field(
        default=[],
        max_length=limits.MAX_PROBES,
        description="Run the edge model on these without the LoRA and with it, then with the residual prompt in front "
        "as on a device, and answer with both scores. Where the LoRA writes codes, each output must be one of the "
        "choices.",
    )

    @model_validator(mode="after")
    def _verify_task(self) -> Self:
        if not (self.description.strip() or self.examples or self.tools):
            raise ValueError("expected a description, examples or tools, found none of them")
        names = Counter(tool.function.name for tool in self.tools)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"expected each tool once, found {', '.join(twice)} again")
        if self.answer is not None and self.answer.choices:
            for number, example in enumerate(self.examples):
                if example.output.strip() not in self.answer.choices:
                    raise ValueError(f"examples.{number}.output: expected one of answer.choices, found another text")
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
            answer=None if self.answer is None else self.answer.to_contract(),
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
