"""The form of an answer that a request asks for."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.answer_forms import ChatTool, NamedTool, ResponseFormat, tool_use
from edge_runtime.serving.constraint import ToolUse
from loragen.contract.answer import Function
from loragen.contract.json_schema import ANY_OBJECT


@pytest.mark.parametrize(
    ("asked", "schema"),
    [
        ({"type": "text"}, ""),
        ({"type": "json_object"}, ANY_OBJECT),
        ({"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"title": "A"}}}, "{}"),
        ({"type": "json_schema", "json_schema": {"schema": {"type": "null"}}}, '{"type":"null"}'),
        ({"type": "json_object", "schema": {"type": "null"}}, '{"type":"null"}'),  # as llama.cpp has it
        ({"type": "json_schema", "schema": {"type": "null"}}, '{"type":"null"}'),
        ({"type": "json_object", "schema": None}, ANY_OBJECT),
    ],
)
def test_response_format_is_a_schema(asked: dict[str, Any], schema: str) -> None:
    assert ResponseFormat.model_validate(asked).to_schema() == schema


@pytest.mark.parametrize(
    "asked",
    [
        {"type": "text", "schema": {"type": "null"}},
        {"type": "text", "json_schema": {"schema": {"type": "null"}}},
        {"type": "json_object", "json_schema": {"schema": {"type": "null"}}},
        {"type": "json_schema", "schema": {}, "json_schema": {"schema": {"type": "null"}}},
        {"type": "json_schema", "json_schema": {"type": "object", "properties": {}}},
        {"type": "json_object", "grammar": "root ::= .*"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"name": "x"}},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": None}},
    ],
)
def test_schema_that_is_missing_or_stands_where_nobody_reads_it_is_refused(asked: dict[str, Any]) -> None:
    """An answer of any form would come in place of the one that was asked for."""
    with pytest.raises((InvalidRequestError, ValidationError), match=r"expected|Extra inputs"):
        ResponseFormat.model_validate(asked).to_schema()


def test_schema_that_no_grammar_enforces_is_refused_by_name() -> None:
    asked = {"type": "json_schema", "json_schema": {"schema": {"type": "array", "uniqueItems": True}}}
    with pytest.raises(InvalidRequestError, match=r"response_format\.json_schema: schema: 'uniqueItems'") as caught:
        ResponseFormat.model_validate(asked).to_schema()
    assert caught.value.code == "unsupported_schema"


def _tool(**function: Any) -> ChatTool:
    return ChatTool.model_validate({"type": "function", "function": {"name": "find", "strict": True, **function}})


def test_tools_are_compared_without_what_describes_them() -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "integer", "description": "x"}}, "required": ["a"]}
    use = tool_use([_tool(description="finds", parameters=parameters)], "auto", has_result=True)
    (function,) = use.tools
    assert json.loads(function.parameters)["properties"] == {"a": {"type": "integer"}}
    assert use == ToolUse("auto", "", (function,), has_result=True)
    assert tool_use([_tool(parameters={})], "none", has_result=False).tools == (Function("find"),)
    named = NamedTool.model_validate({"type": "function", "function": {"name": "find"}})
    assert tool_use([], named, has_result=False) == ToolUse("required", "find")
    with pytest.raises(InvalidRequestError, match="each function once"):
        tool_use([_tool(), _tool(parameters={})], "auto", has_result=False)
    with pytest.raises(InvalidRequestError, match=r"tools\.0: parameters"):
        tool_use([_tool(parameters={"type": "string"})], "auto", has_result=False)


def test_definition_has_what_describes_it() -> None:
    definition = json.loads(_tool(description="finds", parameters=None).to_definition())
    assert definition["function"] == {
        "name": "find",
        "description": "finds",
        "parameters": {"type": "object", "properties": {}},
    }
    with pytest.raises(ValidationError, match="lone surrogate"):
        _tool(parameters={"type": "object", "description": "\ud800"})
