"""Body of OpenAI's responses interface: what is accepted, and the chat completion that it means.

Nothing is stored here, so that whatever refers to an earlier response is refused by name. Limits and defaults are those
of `serving.schemas`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.answer_forms import verify_choice
from edge_runtime.serving.completion import CompletionRequest
from edge_runtime.serving.messages import MAX_PARTS
from edge_runtime.serving.neutral_fields import RESPONSES, RESPONSES_HINTS, verify_neutral
from edge_runtime.serving.request_objects import Fields, OpenFields
from edge_runtime.serving.schemas import MAX_MESSAGES, ChatCompletionBody, CompletionBody
from loragen.contract.limits import MAX_CHOICES
from loragen.web.body_fields import Text
from loragen.web.translation import describe_faults, field_at_fault


class _Part(Fields):
    type: Literal["input_text", "output_text", "text"]
    text: Text


class _Message(Fields):
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[_Part], Field(max_length=MAX_PARTS, fail_fast=True)]

    def to_chat(self) -> dict[str, Any]:
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": self.role, "content": content}


class _Called(Fields):
    type: Literal["function_call"]
    call_id: Annotated[str, Field(max_length=256)]
    name: str
    arguments: Text = "{}"

    def to_chat(self) -> dict[str, Any]:
        function = {"name": self.name, "arguments": self.arguments}
        return {"role": "assistant", "tool_calls": [{"id": self.call_id, "type": "function", "function": function}]}


class _Result(Fields):
    type: Literal["function_call_output"]
    call_id: Annotated[str, Field(max_length=256)]
    output: Text | Annotated[list[_Part], Field(max_length=MAX_PARTS, fail_fast=True)]

    def to_chat(self) -> dict[str, Any]:
        output = self.output if isinstance(self.output, str) else "".join(part.text for part in self.output)
        return {"role": "tool", "tool_call_id": self.call_id, "content": output}


def _kind_of(item: Any) -> str | None:
    if isinstance(item, dict):
        return item.get("type") or "message"
    return getattr(item, "type", None)


_Item = Annotated[
    Annotated[_Message, Tag("message")]
    | Annotated[_Called, Tag("function_call")]
    | Annotated[_Result, Tag("function_call_output")],
    Discriminator(
        _kind_of,
        custom_error_type="unknown_item",
        custom_error_message="expected an item of the type message, function_call or function_call_output",
    ),
]


class _Tool(Fields):
    type: Literal["function"]
    name: str
    description: Text = ""
    parameters: dict[str, Any] = Field(default_factory=dict)

    def to_chat(self) -> dict[str, Any]:
        return {"type": "function", "function": self.model_dump(exclude={"type"})}


class _NamedTool(Fields):
    type: Literal["function"]
    name: str


class _TextFormat(Fields):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text", "json_object", "json_schema"]
    name: str = ""
    description: str = ""
    strict: bool = True
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")

    def to_chat(self) -> dict[str, Any]:
        return {"type": self.type, "schema": self.schema_}


class _TextOptions(Fields):
    model_config = ConfigDict(extra="forbid")

    format: _TextFormat = _TextFormat(type="text")
    verbosity: Literal["medium"] = "medium"


class ResponsesBody(OpenFields):
    """Body of `POST /v1/responses`."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"model": "desks", "input": "Where is my parcel?"}]}
    )

    model: Annotated[str, Field(min_length=1, max_length=256, description="Specialization, or `base`.")]
    input: Text | Annotated[list[_Item], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
    instructions: Text = Field(default="", description="A system message in front of the input.")
    max_output_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    tools: Annotated[list[_Tool], Field(max_length=MAX_CHOICES, fail_fast=True)] = Field(default=[])
    tool_choice: Annotated[Literal["none", "auto", "required"] | _NamedTool, BeforeValidator(verify_choice)] = "auto"
    parallel_tool_calls: bool = True
    text: _TextOptions = _TextOptions()
    stream: bool = False
    constrain: bool = Field(default=True, description="As for chat completions.")

    def to_request(self) -> CompletionRequest:
        """The request that this body describes.

        Raises:
            InvalidRequestError: It asks for something that is not supported.
        """
        verify_neutral(self.model_extra, RESPONSES, RESPONSES_HINTS)
        messages: list[dict[str, Any]] = [{"role": "system", "content": self.instructions}] if self.instructions else []
        if isinstance(self.input, str):
            messages.append({"role": "user", "content": self.input})
        else:
            messages += _joined(self.input)
        choice = self.tool_choice
        fields = {
            "model": self.model,
            "messages": messages,
            "max_completion_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "tools": [tool.to_chat() for tool in self.tools],
            "tool_choice": choice
            if isinstance(choice, str)
            else {"type": "function", "function": {"name": choice.name}},
            "parallel_tool_calls": self.parallel_tool_calls,
            "response_format": self.text.format.to_chat(),
            "constrain": self.constrain,
        }
        return chat_request(fields, _NAMES)


_NAMES = {"max_completion_tokens": "max_output_tokens", "response_format": "text.format"}


def chat_request(
    fields: dict[str, Any],
    names: Mapping[str, str],
    body: type[ChatCompletionBody | CompletionBody] = ChatCompletionBody,
) -> CompletionRequest:
    """The request of a completion that another interface's body was made into.

    Args:
        fields: Of the completion.
        names: What the other interface calls them, where it has other names: its client knows no others.
        body: Of the completion.

    Raises:
        InvalidRequestError: A value is out of its range, or something is asked that is not supported.
    """
    try:
        return body.model_validate(fields).to_request()
    except ValidationError as error:
        faults = [
            {**fault, "loc": ("body", names.get(str(fault["loc"][0]), fault["loc"][0]), *fault["loc"][1:])}
            for fault in error.errors(include_url=False)
        ]
        hint = "the form of requests, and all limits, are at /docs"
        raise InvalidRequestError(describe_faults(faults), hint, field=field_at_fault(faults)) from error
    except InvalidRequestError as error:
        if error.field is None or error.field not in names:
            raise
        name = names[error.field]
        message = str(error).replace(error.field, name, 1)
        raise InvalidRequestError(message, error.hint, code=error.code, field=name) from error


def _joined(items: list[Any]) -> list[dict[str, Any]]:
    """Messages of a chat; calls that follow each other are those of one answer."""
    messages: list[dict[str, Any]] = []
    for item in items:
        message = item.to_chat()
        if isinstance(item, _Called) and messages and messages[-1]["role"] == "assistant":
            messages[-1] = {**messages[-1], "tool_calls": [*messages[-1].get("tool_calls", ()), *message["tool_calls"]]}
        else:
            messages.append(message)
    return messages
