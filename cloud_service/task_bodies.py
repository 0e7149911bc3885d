"""Schemas of the parts of a task: examples, tools, the form of answers.

Clients write them differently, so these take what is meant: tools as OpenAI's chat and responses interfaces, Anthropic
and MCP have them; examples whose output is JSON, which becomes text; an output format that is a JSON Schema.
What cannot be enforced on a device is refused here, by field and reason.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    WithJsonSchema,
    model_validator,
)

from cloud_service import limits
from cloud_service.answer.choices import are_distinct, is_choice
from cloud_service.answer.json_answers import answer_of_schema
from cloud_service.body import Body
from cloud_service.task import Tool
from loragen.contract.answer import FUNCTION_NAME_PATTERN, AnswerContract, contract_of, encode_answer
from loragen.contract.errors import FormatError, checked_value
from loragen.contract.json_schema import ANY_OBJECT, canonical_parameters
from loragen.contract.limits import MAX_CHOICES
from loragen.web.body_fields import Text, verify_unicode

_PARAMETER = re.compile(r"\S{1,64}")
_SCHEMA_KEYS = ("parameters", "input_schema", "inputSchema")
"""OpenAI's name for the schema of a tool's arguments, Anthropic's, and that of MCP."""

_OTHER_PARAMETERS = re.compile(r"(?:input|param|arg|propert|schema|json_?schema)", re.IGNORECASE)
"""Beginnings of names, such as Cohere's `parameter_definitions` and smolagents' `inputs`."""

_JSON_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")


def as_json_text(value: Any) -> Any:
    """A value that is no text as JSON text in the spacing that devices write; others as they are.

    Raises:
        ValueError: It has a number that JSON does not have.
    """
    if isinstance(value, dict | list | int | float):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    return value


JsonText = Annotated[Text, BeforeValidator(as_json_text)]
"""A text, or JSON that becomes one."""


class ExampleBody(Body):
    """One few-shot example; an output that is JSON becomes text."""

    input: JsonText = Field(max_length=limits.MAX_EXAMPLE_CHARS)
    output: JsonText = Field(max_length=limits.MAX_EXAMPLE_CHARS)

    @model_validator(mode="after")
    def _verify_not_empty(self) -> Self:
        if not (self.input.strip() or self.output.strip()):
            raise ValueError("expected an input or an output, found neither")
        return self


class Parameters(BaseModel):
    """The parameters of a tool: their schema in normal form, and what is said of each."""

    model_config = ConfigDict(frozen=True)

    schema_text: str = ""
    notes: tuple[tuple[str, str], ...] = ()


def _parameters(schema: Any) -> Parameters:
    text = checked_value(canonical_parameters, schema)
    if not text:
        return Parameters()
    names = json.loads(text).get("properties", {})
    if strange := [name for name in names if _PARAMETER.fullmatch(name) is None]:
        raise ValueError(
            f"properties: expected names of 1 to 64 characters without white space, found {ascii(strange[0])[:80]}"
        )
    said = schema.get("properties", {})
    notes = {
        name: " ".join(verify_unicode(note).split())[: limits.MAX_PARAMETER_NOTE_CHARS]
        for name in names
        if isinstance(each := said.get(name), Mapping) and isinstance(note := each.get("description"), str)
    }
    return Parameters(schema_text=text, notes=tuple(notes.items()))


def _verify_parameters_are_known(function: object) -> None:
    """Refuse what other makers call parameters, rather than lose it."""
    if isinstance(function, Mapping) and not any(function.get(key) for key in _SCHEMA_KEYS):
        for key in function:
            if isinstance(key, str) and function[key] and _OTHER_PARAMETERS.match(key):
                raise ValueError(f"expected the parameters as JSON Schema in 'parameters', found {ascii(key)[:40]}")


class FunctionBody(BaseModel):
    """The function of a tool, as in the OpenAI schema."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=FUNCTION_NAME_PATTERN, max_length=limits.MAX_TOOL_NAME_CHARS)
    description: Annotated[Text, BeforeValidator(lambda text: text or "")] = Field(
        default="", max_length=limits.MAX_TOOL_DESCRIPTION_CHARS
    )
    parameters: Annotated[
        Parameters,
        BeforeValidator(_parameters),
        WithJsonSchema({"type": "object", "description": "JSON Schema of the arguments."}),
    ] = Parameters()


class ToolBody(BaseModel):
    """A tool: `{"type": "function", "function": {"name", "description", "parameters"}}`, or those three by themselves.

    For `parameters` there may be `input_schema` or `inputSchema`.
    """

    model_config = ConfigDict(frozen=True)

    type: Literal["function"] = "function"
    function: FunctionBody

    @model_validator(mode="before")
    @classmethod
    def _of_any_shape(cls, tool: Any) -> Any:
        if not isinstance(tool, dict):
            raise ValueError(f"expected a tool as an object, found {type(tool).__name__}")
        kind = tool.get("type") or "function"
        if kind != "function" and not (kind == "custom" and "input_schema" in tool):  # as Anthropic calls functions
            raise ValueError(
                f"expected a function, found a tool of the type {ascii(kind)[:40]}; "
                "leave out tools that their maker's servers run, and describe others by name and parameters"
            )
        if "function" in tool:
            _verify_parameters_are_known(tool["function"])
            return {"function": tool["function"]}
        if "name" not in tool:
            raise ValueError('expected a name: {"name", "description", "parameters"}, alone or as "function"')
        _verify_parameters_are_known(tool)
        schema = next((tool[key] for key in _SCHEMA_KEYS if tool.get(key) is not None), None)
        return {"function": {"name": tool["name"], "description": tool.get("description"), "parameters": schema}}

    def to_tool(self) -> Tool:
        """The same as a value of the task."""
        function, schema = self.function, self.function.parameters.schema_text
        names = tuple(json.loads(schema).get("properties", ())) if schema else ()
        return Tool(function.name, function.description, names, schema, function.parameters.notes)


class AnswerBody(Body):
    """What an answer may look like."""

    type: Literal["text", "choice", "json", "tool_calls"]
    choices: list[JsonText] = Field(default=[], max_length=MAX_CHOICES, description="At least two texts for `choice`.")
    json_schema: dict[str, Any] | StrictBool | None = Field(
        default=None,
        validation_alias=AliasChoices("json_schema", "schema"),
        description="JSON Schema of `json`; `schema`, its name in files, is taken too.",
    )
    functions: list[ToolBody] = Field(
        default=[],
        max_length=limits.MAX_TOOLS,
        description="What `tool_calls` may call, in the form of `tools`, which stand for it.",
    )
    none: Text | None = Field(
        default=None, description="What stands for calling none of the functions; without it every answer is a call."
    )
    parallel: StrictBool = Field(default=False, description="Whether an answer may be several calls, one a line.")

    @model_validator(mode="after")
    def _verify(self) -> Self:
        if self.type == "choice" and len(self.choices) < 2:
            raise ValueError(f"expected at least 2 choices, found {len(self.choices)}")
        if self.type == "json" and self.json_schema is None:
            raise ValueError('expected json_schema for an answer of type \'json\', such as {"type": "object"}')
        if self.type == "tool_calls" and not self.functions:
            raise ValueError("expected functions for an answer of type 'tool_calls', here or as the task's tools")
        texts = [*self.choices, *([] if self.none is None else [self.none])]
        if not all(map(is_choice, texts)):
            raise ValueError("expected choices of one line without control characters and white space around them")
        checked_value(lambda body: encode_answer(body.to_contract()), self)
        if not are_distinct(texts):
            raise ValueError("expected each choice once, found two that only Unicode writes differently")
        return self

    def to_contract(self) -> AnswerContract:
        """The same as a value of the contract.

        Raises:
            ContractError: It is no answer contract.
        """
        functions: list[dict[str, Any]] = []
        for each in self.functions:
            schema = each.function.parameters.schema_text
            functions.append({"name": each.function.name, "parameters": json.loads(schema) if schema else None})
        fields: dict[str, Any] = {"type": self.type, "choices": self.choices, "functions": functions, "none": self.none}
        fields["parallel"] = self.parallel
        if self.json_schema is not None:
            fields["schema"] = self.json_schema
        return contract_of(fields)


def answer_of_format(output_format: Mapping[str, Any]) -> AnswerContract | None:
    """The answer contract of an OpenAI `response_format` or of a JSON Schema; None for any other object.

    A schema that leaves nothing open but a label is a closed set, of JSON: `"spam"` or `{"label": "spam"}`. One that is
    nothing but a list of texts is the set of these, as they are, but inside of a `response_format`.

    Raises:
        ContractError: Its schema is missing or not supported, or its type is not known.
    """
    match output_format:
        case {"type": "text" | "json_object" | "json_schema" as kind}:
            return _answer_of_kind(kind, output_format.get("json_schema"), output_format.get("schema"))
        case {"format": {"type": "text" | "json_object" | "json_schema"} as form} if len(output_format) == 1:
            return answer_of_format(form)  # the field `text` of the responses interface
        case {"type": kind, "json_schema": dict()} | {"type": kind, "schema": dict()}:
            raise FormatError(f"type: expected text, json_object or json_schema, found {ascii(kind)[:40]}")
    return answer_of_schema(output_format, are_bare=True) if _is_schema(output_format) else None


def _answer_of_kind(kind: str, named: object, bare: object) -> AnswerContract:
    """The contract of a `response_format`, as devices take it.

    Args:
        kind: Its type.
        named: Its schema with a name, as the chat interface has it.
        bare: Its schema as the responses interface and llama.cpp have it.
    """
    if named is not None and (bare is not None or kind != "json_schema"):
        raise FormatError("json_schema: expected alone, with the type 'json_schema'")
    if kind == "text":
        if bare is not None:
            raise FormatError("schema: expected with the type 'json_schema' or 'json_object'")
        return contract_of({"type": "text"})
    schema = named.get("schema") if isinstance(named, Mapping) else bare
    if schema is not None:
        return answer_of_schema(schema)
    if kind == "json_schema":
        raise FormatError("json_schema: expected a schema, found none")
    return contract_of({"type": "json", "schema": json.loads(ANY_OBJECT)})


def _is_schema(value: Mapping[str, Any]) -> bool:
    """Whether an object is a JSON Schema, and not a description of the form in keys and words."""
    match value:
        case {"type": str(kind)}:
            return kind in _JSON_TYPES
        case {"type": [*kinds]} if kinds:
            return all(isinstance(kind, str) and kind in _JSON_TYPES for kind in kinds)
        case {"properties": Mapping() as parts}:
            return all(isinstance(part, Mapping | bool) for part in parts.values())
        case {"anyOf": [*parts]} | {"oneOf": [*parts]} | {"allOf": [*parts]}:
            return all(isinstance(part, Mapping) for part in parts)
        case {"enum": list()} | {"$ref": str()} | {"const": _}:
            return True
    return False
