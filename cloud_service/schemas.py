"""Schemas of requests and reports: what clients and devices send is checked here, over HTTP and gRPC alike.

Every length and count has a limit in `cloud_service.limits`. Unknown fields are refused, because a misspelled one would
silently change the task. The parts of a task are in `cloud_service.task_bodies`.
The service checks which generators exist, and how long a prompt is in tokens.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, StrictBool, StringConstraints, model_validator

from cloud_service import limits
from cloud_service.answer.call_shapes import is_plain_call, with_plain_calls
from cloud_service.answer.choices import as_choice
from cloud_service.answer.contract import find_answer_fault, find_contradiction
from cloud_service.body import Body, Number, Whole
from cloud_service.errors import InvalidRequestError
from cloud_service.lora_request import LoraRequest, PublishTarget
from cloud_service.refinement import RefinePlan
from cloud_service.store import DeviceEntry
from cloud_service.task import Example, TaskDescription
from cloud_service.task_bodies import AnswerBody, ExampleBody, JsonText, ToolBody, answer_of_format, as_json_text
from loragen.contract.answer import AnswerContract, Function
from loragen.contract.errors import checked_value
from loragen.contract.limits import MAX_CHANNEL_VERSION, MAX_LABELS, MAX_SPECIALIZATIONS, MAX_STATUS_MESSAGE_CHARS
from loragen.contract.names import DEVICE_NAME_PATTERN, DIGEST_PATTERN, NAME_PATTERN, verify_name
from loragen.web.body_fields import Text, verify_unicode

_MAX_MODEL_ID_CHARS = 200


# The pattern is part of the OpenAPI schema; the rule against ".." does not fit into it.
Name = Annotated[
    str, StringConstraints(pattern=NAME_PATTERN), AfterValidator(lambda name: checked_value(verify_name, name))
]
Labels = Annotated[dict[Name, Name], Field(max_length=MAX_LABELS)]
_DeviceName = Annotated[str, StringConstraints(pattern=DEVICE_NAME_PATTERN)]
Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]


class ProbeBody(Body):
    """One input to try the edge model on, and the answer expected."""

    input: JsonText = Field(max_length=limits.MAX_PROBE_CHARS)
    output: JsonText = Field(max_length=limits.MAX_PROBE_CHARS)


def _verify_format(output_format: dict[str, Any]) -> dict[str, Any]:
    text = as_json_text(output_format)
    verify_unicode(text)
    if len(text) > limits.MAX_OUTPUT_SCHEMA_CHARS:
        raise ValueError(f"expected at most {limits.MAX_OUTPUT_SCHEMA_CHARS} characters of JSON, found {len(text)}")
    checked_value(answer_of_format, output_format)
    return output_format


class PublishBody(Body):
    """Where to publish the bundle."""

    channel: Name
    name: Name


class RefineBody(Body):
    """How long to tune on the examples."""

    steps: Whole = Field(
        default=60,
        ge=1,
        le=limits.MAX_REFINE_STEPS,
        description="Most steps of gradient for an open task; a closed set takes as many as it needs.",
    )
    budget_seconds: Number = Field(
        default=30.0,
        ge=limits.MIN_REFINE_SECONDS,
        description=f"Longest time; over {limits.MAX_SYNCHRONOUS_SECONDS:g} only with `Prefer: respond-async`. The "
        "wait for other refinements does not count.",
    )


class GenerateLoraBody(Body):
    """A task description, and what to do with its LoRA."""

    description: Text = Field(
        default="",
        max_length=limits.MAX_DESCRIPTION_CHARS,
        description="The task in words; may be empty when there are examples or tools.",
        examples=["Sort each support mail into billing, delivery or other."],
    )
    examples: list[ExampleBody] = Field(
        default=[],
        max_length=limits.MAX_REFINE_EXAMPLES,
        description=f"At most {limits.MAX_EXAMPLES}, or with `refine` {limits.MAX_REFINE_EXAMPLES}.",
    )
    refine: RefineBody | None = Field(
        default=None,
        description="Tune the LoRA on the examples: the generator reads the first few of them, and the outcome is kept "
        "where held-out ones are answered better.",
    )
    tools: list[ToolBody] = Field(
        default=[],
        max_length=limits.MAX_TOOLS,
        validation_alias=AliasChoices("tools", "functions"),
        description="As OpenAI, Anthropic or MCP write them; `functions`, the older name, is taken too.",
    )
    output_format: (
        Annotated[Text, Field(max_length=limits.MAX_OUTPUT_FORMAT_CHARS)]
        | Annotated[dict[str, Any], AfterValidator(_verify_format)]
    ) = Field(
        default="",
        description="The form of answers: in words, as an OpenAI `response_format`, or as a JSON Schema; one that only "
        "lists texts is a closed set.",
    )
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
        description="Refuse, with 422 `low_confidence`, a task with a confidence below 0.5, after the probe, or that "
        "of the examples, if there is one.",
    )
    probe: list[ProbeBody] = Field(
        default=[],
        max_length=limits.MAX_PROBES,
        description="Run the edge model on these without the LoRA and with it, then with the residual prompt in front "
        "as on a device, which holds answers to the contract, and answer with both scores. Where the LoRA writes "
        "codes, each output must be one of the choices. The confidence then counts what was found: give inputs that "
        "are none of the examples.",
    )
    probe_examples: StrictBool = Field(
        default=False,
        description="In place of a probe: for each of the examples, generate without it, run the edge model on it "
        f"without that LoRA and with it, and answer with both scores as `probe`. At least {limits.MIN_LEFT_OUT} "
        f"different inputs; of more than {limits.MAX_LEFT_OUT}, so many are left out. Of calls that begin with "
        "a code, only the first function counts. The confidence counts what was found. Each takes the time of a "
        "generation and of two answers of the edge model.",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_of_two_names(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        given = {name: fields[name] for name in ("tools", "functions") if fields.get(name)}
        if len(given) > 1:
            raise ValueError("expected tools or functions, found both")
        answer = fields.get("answer")
        if given and isinstance(answer, dict) and answer.get("type") == "tool_calls" and not answer.get("functions"):
            answer = {**answer, "functions": next(iter(given.values()))}
            fields = {**fields, "answer": answer}
        if not {"tools", "functions"} <= fields.keys():
            return fields
        others = {name: value for name, value in fields.items() if name not in ("tools", "functions")}
        return others | given

    @model_validator(mode="after")
    def _verify_task(self) -> Self:
        if not (self.description.strip() or self.examples or self.tools):
            raise ValueError("expected a description, examples or tools, found none of them")
        if self.refine is None and len(self.examples) > limits.MAX_EXAMPLES:
            raise ValueError(
                f"examples: expected at most {limits.MAX_EXAMPLES} items without refine, found {len(self.examples)}"
            )
        if self.probe_examples and (self.probe or self.refine):
            other = "probe" if self.probe else "refine, which holds out examples itself"
            raise ValueError(f"probe_examples: expected nothing else that tries the LoRA, found {other}")
        names = Counter(tool.function.name for tool in self.tools)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"tools: expected each tool once, found {', '.join(twice)} again")
        contract = self._contract()
        for number, example in enumerate(self._labelled(self.examples)):
            output = example.output.strip()
            # Without a contract examples decide what answers are; but a call can be of nothing else than a tool.
            expected = self._calls() if contract is None and is_plain_call(output) else contract
            if expected and (fault := find_answer_fault(output, expected, f"examples.{number}.output")):
                raise ValueError(fault)
        if (outside := find_contradiction(self._task())) is not None:
            raise ValueError(
                f"examples.{outside}.output: expected one of the answers that the task names and other examples show, "
                "found another; correct it, add it to what the task names, or say in 'answer' what an answer may be"
            )
        return self

    def _task(self) -> TaskDescription:
        contract = self._contract()
        # A device chooses among the values of a schema: it need not read the schema in each prompt.
        is_chosen = contract is not None and contract.kind == "choice" and isinstance(self.output_format, dict)
        return TaskDescription(
            description=self.description,
            examples=self._labelled(self.examples),
            tools=tuple(tool.to_tool() for tool in self.tools),
            output_format="" if is_chosen else as_json_text(self.output_format),
            answer=contract,
        )

    def _calls(self) -> AnswerContract | None:
        """Calls of the task's tools."""
        functions = tuple(Function(tool.name, tool.schema) for tool in map(ToolBody.to_tool, self.tools))
        return AnswerContract("tool_calls", functions=functions, parallel=True) if functions else None

    def _labelled(self, examples: Sequence[ExampleBody] | Sequence[ProbeBody]) -> tuple[Example, ...]:
        """Examples whose outputs are written as a device writes them."""
        contract = self._contract()
        calls = bool(self.tools) or (contract is not None and contract.kind == "tool_calls")
        choices = () if contract is None else contract.choices
        return tuple(
            Example(each.input, as_choice(with_plain_calls(each.output) if calls else each.output, choices))
            for each in examples
        )

    def _contract(self) -> AnswerContract | None:
        """The answer contract that the request states; None where it follows from the task."""
        if self.answer is not None:
            return self.answer.to_contract()
        return answer_of_format(self.output_format) if isinstance(self.output_format, dict) else None

    def to_request(self) -> LoraRequest:
        """The same as a value of the service."""
        task = self._task()
        probe = self._labelled(self.probe)
        publish = None if self.publish is None else PublishTarget(self.publish.channel, self.publish.name)
        refine = None if self.refine is None else RefinePlan(self.refine.steps, self.refine.budget_seconds)
        return LoraRequest(
            task,
            self.edge_model or None,
            self.generator or None,
            self.strict,
            probe,
            publish,
            refine=refine,
            probe_examples=self.probe_examples,
        )

    @property
    def only_asks(self) -> bool:
        """Whether nothing is to be done but to answer."""
        return self.refine is None and self.publish is None and not (self.probe or self.probe_examples)

    def verify_synchronous(self) -> None:
        """Return when the connection can wait for the answer.

        Raises:
            InvalidRequestError: The budget of the refinement is too large for that.
        """
        most = limits.MAX_SYNCHRONOUS_SECONDS
        if self.refine is not None and self.refine.budget_seconds > most:
            raise InvalidRequestError(
                f"refine.budget_seconds: expected at most {most:g} without Prefer: respond-async, "
                f"found {self.refine.budget_seconds:g}",
                "send the header, over HTTP, and ask for the job at its Location",
            )


class PublishSpecializationBody(Body):
    """The bundle that a name shall mean."""

    bundle_id: Digest


class RunningSpecialization(Body):
    """The state of one specialization on a device."""

    name: Name
    bundle_id: Digest
    state: Literal["pending", "adapter", "merged", "failed"]
    message: Text = Field(default="", max_length=MAX_STATUS_MESSAGE_CHARS)
    failed_bundle_id: str = Field(
        default="", pattern=r"^(?:[0-9a-f]{64})?$", description="A newer bundle that should serve and does not."
    )
    slower: StrictBool = Field(
        default=False, description="Whether it answers clearly more slowly than what was under its name before."
    )


class DeviceReport(Body):
    """The report of a device."""

    device_id: _DeviceName
    channel: Name
    channel_version: Whole = Field(ge=0, le=MAX_CHANNEL_VERSION)
    specializations: list[RunningSpecialization] = Field(default=[], max_length=MAX_SPECIALIZATIONS)
    runtime_version: Text = Field(default="", max_length=100)
    edge_model_digest: str = Field(default="", pattern=r"^(?:[0-9a-f]{64})?$")
    labels: Labels = Field(default={}, description="What the device's owner says of it.")
    reported_at: str = Field(default="", max_length=40, description="When the cloud received it, ISO 8601, UTC.")

    def to_entry(self) -> DeviceEntry:
        """The same in short."""
        failed = {each.bundle_id for each in self.specializations if each.state == "failed"}
        failed |= {each.failed_bundle_id for each in self.specializations if each.failed_bundle_id}
        slower = {each.bundle_id for each in self.specializations if each.slower}
        return DeviceEntry(
            self.channel,
            self.device_id,
            self.channel_version,
            tuple(sorted(failed)),
            self.labels,
            tuple(sorted(slower)),
        )
