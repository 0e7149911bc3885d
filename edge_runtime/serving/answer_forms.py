"""What a request says of the form of its answer: a closed set, JSON, or calls of functions."""

import json
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.constraint import ToolUse
from edge_runtime.serving.request_objects import Fields
from loragen.contract.answer import FUNCTION_NAME_PATTERN, Function
from loragen.contract.errors import ContractError
from loragen.contract.json_schema import ANY_OBJECT, canonical_parameters, canonical_schema
from loragen.contract.limits import MAX_CHOICES
from loragen.web.body_fields import Text, verify_unicode

MAX_CHOICE_CHARACTERS = 256

_T = TypeVar("_T")


class StructuredOutputs(Fields):
    """What an answer must look like: of vLLM's forms, the one that a specialization for a closed set needs.

    Attributes:
        choice: The answer is exactly one of these texts; `max_tokens` cuts none.
    """

    model_config = ConfigDict(extra="forbid")

    choice: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=MAX_CHOICE_CHARACTERS)]],
        Field(min_length=1, max_length=MAX_CHOICES, fail_fast=True),
    ]


class NamedSchema(Fields):
    """A JSON Schema with the name that OpenAI gives it; it holds whether `strict` or not."""

    model_config = ConfigDict(extra="forbid")

    name: str = ""
    description: str = ""
    strict: bool = True
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")


class ResponseFormat(Fields):
    """OpenAI's `response_format`, with the schema also where llama.cpp has it."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None
    schema_: Annotated[
        dict[str, Any] | None, Field(alias="schema", description="llama.cpp's place for the schema, beside `type`.")
    ] = None

    def to_schema(self) -> str:
        """The JSON Schema of the answer; empty for any text.

        Raises:
            InvalidRequestError: There is none, or it is not supported.
        """
        named, bare = self.json_schema, self.schema_
        if named is not None and (bare is not None or self.type != "json_schema"):
            raise InvalidRequestError(
                "response_format.json_schema: expected alone, with the type 'json_schema'", field="response_format"
            )
        if bare is not None and self.type == "text":
            raise InvalidRequestError(
                "response_format.schema: expected with the type 'json_schema' or 'json_object'", field="response_format"
            )
        if named is not None and named.schema_ is not None:
            return _supported("response_format.json_schema", partial(canonical_schema, named.schema_))
        if bare is not None:
            return _supported("response_format.schema", partial(canonical_schema, bare))
        if self.type == "json_schema":
            raise InvalidRequestError(
                "response_format: expected a schema with the type 'json_schema', found none",
                'say {"type": "json_object"} for any object',
                field="response_format",
            )
        return ANY_OBJECT if self.type == "json_object" else ""


def _verify_encodable(schema: dict[str, Any]) -> dict[str, Any]:
    verify_unicode(json.dumps(schema, ensure_ascii=False))
    return schema


class OfferedFunction(Fields):
    """A function that an answer may call."""

    name: Annotated[str, Field(pattern=FUNCTION_NAME_PATTERN)]
    description: Text = ""
    parameters: Annotated[dict[str, Any], AfterValidator(_verify_encodable)] = Field(default_factory=dict)


class ChatTool(Fields):
    """A tool of the OpenAI schema."""

    type: Literal["function"]
    function: OfferedFunction

    def to_definition(self) -> str:
        """The definition that a chat template gets: OpenAI's, as JSON."""
        function = self.function
        parameters = function.parameters or {"type": "object", "properties": {}}
        fields = {"name": function.name, "description": function.description, "parameters": parameters}
        return json.dumps({"type": "function", "function": fields}, ensure_ascii=False)


class NamedFunction(Fields):
    """The name of a function."""

    name: Annotated[str, Field(pattern=FUNCTION_NAME_PATTERN)]


class NamedTool(Fields):
    """The tool that the answer must call."""

    type: Literal["function"]
    function: NamedFunction


Tools = Annotated[list[ChatTool], Field(max_length=MAX_CHOICES, fail_fast=True)]


def verify_choice(choice: Any) -> Any:
    """The choice itself, when it has one of the forms that are known: other forms would be told one by one.

    Raises:
        ValueError: It has another form, such as OpenAI's `allowed_tools`.
    """
    is_known = choice.get("type") == "function" if isinstance(choice, dict) else choice in ("none", "auto", "required")
    if not (is_known or isinstance(choice, BaseModel)):
        raise ValueError("expected none, auto, required or a function; to allow some tools, send these alone")
    return choice


ToolChoice = Annotated[Literal["none", "auto", "required"] | NamedTool, BeforeValidator(verify_choice)]


def tool_use(tools: list[ChatTool], choice: ToolChoice, has_result: bool, parallel: bool = True) -> ToolUse:
    """What a request says of functions.

    Raises:
        InvalidRequestError: The parameters of one are not supported, or two have one name.
    """
    functions = []
    for number, tool in enumerate(tools):
        name, parameters = tool.function.name, tool.function.parameters
        functions.append(Function(name, _supported(f"tools.{number}", partial(canonical_parameters, parameters))))
    if len({function.name for function in functions}) < len(functions):
        raise InvalidRequestError("tools: expected each function once")
    if isinstance(choice, NamedTool):
        return ToolUse("required", choice.function.name, tuple(functions), has_result, parallel)
    return ToolUse(choice, "", tuple(functions), has_result, parallel)


def _supported(field: str, value: Callable[[], _T]) -> _T:
    try:
        return value()
    except ContractError as error:
        raise InvalidRequestError(
            f"{field}: {error}",
            "docs/bundle-format.md lists what a schema may say",
            code="unsupported_schema",
            field=field.partition(".")[0],
        ) from error
