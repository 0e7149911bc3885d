"""The parts of a task as clients write them."""

from typing import Any

import pytest
from pydantic import ValidationError

from cloud_service.task import Tool
from cloud_service.task_bodies import AnswerBody, ToolBody, answer_of_format, as_json_text
from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.answer_forms import ResponseFormat
from loragen.contract.answer import AnswerContract
from loragen.contract.errors import FormatError

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string", "description": " The\ncity. " + "x" * 200}}}
LABELLED = {"properties": {"form": {"const": "v1"}, "label": {"enum": ["spam", "Müll"]}}, "required": ["form", "label"]}
SCHEMA = '{"properties":{"city":{"type":"string"}},"type":"object"}'


def test_tool_is_read_whole() -> None:
    tool = ToolBody.model_validate({"name": "find", "description": "Finds.", "inputSchema": PARAMETERS}).to_tool()
    assert tool == Tool("find", "Finds.", ("city",), SCHEMA, (("city", "The city. " + "x" * 90),))
    plain = ToolBody.model_validate({"type": "custom", "name": "find", "input_schema": None}).to_tool()
    assert plain == Tool("find", "")
    free = {"type": "object", "additionalProperties": {"type": "string"}}
    mapped = ToolBody.model_validate({"name": "find", "input_schema": free}).to_tool()
    assert mapped == Tool("find", "", (), '{"additionalProperties":{"type":"string"},"type":"object"}')


@pytest.mark.parametrize(
    "tool",
    [{"name": "a", "type": "web"}, {"name": "a", "type": "custom"}, {"type": "function"}, "a", {}, {"name": ["a"]}],
)
def test_tool_that_is_none_is_refused(tool: Any) -> None:
    with pytest.raises(ValidationError):
        ToolBody.model_validate(tool)


@pytest.mark.parametrize(
    ("tool", "key"),
    [
        ({"name": "a", "parameter_definitions": {"day": {"type": "str"}}}, "parameter_definitions"),
        ({"name": "a", "description": "b", "inputs": {"day": {"type": "string"}}}, "inputs"),
        ({"type": "function", "function": {"name": "a", "properties": {"day": {}}}}, "properties"),
        ({"name": "a", "parameters": {}, "args_schema": {"type": "object"}}, "args_schema"),
    ],
)
def test_parameters_in_the_form_of_other_makers_are_refused_rather_than_lost(tool: Any, key: str) -> None:
    with pytest.raises(ValidationError, match=f"in 'parameters', found '{key}'"):
        ToolBody.model_validate(tool)
    result = {"name": "a", "outputSchema": {"type": "object"}, "annotations": {"title": "A"}, "parameters": None}
    assert ToolBody.model_validate(result).to_tool() == Tool("a", "")


@pytest.mark.parametrize(
    ("asked", "contract"),
    [
        ({"type": "text"}, AnswerContract()),
        ({"type": "json_object"}, AnswerContract("json", schema='{"type":"object"}')),
        ({"type": "json_schema", "json_schema": {"schema": PARAMETERS}}, AnswerContract("json", schema=SCHEMA)),
        ({"format": {"type": "json_schema", "schema": PARAMETERS}}, AnswerContract("json", schema=SCHEMA)),
        ({"format": {"type": "a date"}}, None),
        ({"type": "array", "items": {}}, AnswerContract("json", schema='{"type":"array"}')),
        ({"city": "a name"}, None),
        ({"type": ["string", "xml"]}, None),
        ({"type": "xml"}, None),
        ({"properties": "a list of them"}, None),
        ({"type": ["string"]}, AnswerContract("json", schema='{"type":"string"}')),
        ({"properties": PARAMETERS["properties"]}, AnswerContract("json", schema=SCHEMA)),
        ({"$ref": "#/$defs/a", "$defs": {"a": PARAMETERS}}, AnswerContract("json", schema=SCHEMA)),
        ({"anyOf": [{"type": "null"}]}, AnswerContract("json", schema='{"type":"null"}')),
        ({"const": 1}, AnswerContract("json", schema='{"enum":[1]}')),
        ({"enum": ["yes", 1]}, AnswerContract("choice", ('"yes"', "1"))),
        ({"enum": [1, 2, 3]}, AnswerContract("choice", ("1", "2", "3"))),
        ({"enum": ["yes", "n" * 399]}, AnswerContract("choice", ("yes", "n" * 399))),
        ({"enum": ["no", "no"]}, AnswerContract("json", schema='{"enum":["no"]}')),
        ({"enum": ["yes", "no\n"]}, AnswerContract("json", schema='{"enum":["yes","no\\n"]}')),
        ({"enum": ["yes", "no"]}, AnswerContract("choice", ("yes", "no"))),
        ({"type": "string", "enum": ["yes", "no"], "title": "x"}, AnswerContract("choice", ("yes", "no"))),
        (
            {"type": "json_schema", "json_schema": {"schema": {"enum": ["yes", "no"]}}},
            AnswerContract("choice", ('"yes"', '"no"')),
        ),
        (
            {"type": "json_schema", "schema": {**LABELLED, "additionalProperties": False}},
            AnswerContract("choice", ('{"form": "v1", "label": "spam"}', '{"form": "v1", "label": "Müll"}')),
        ),
        (
            {"properties": {"n": {"enum": list(range(65))}}, "required": ["n"]},
            AnswerContract(
                "json",
                schema=f'{{"properties":{{"n":{{"enum":{list(range(65))}}}}},"required":["n"],"type":"object"}}'.replace(
                    " ", ""
                ),
            ),
        ),
    ],
)
def test_format_that_is_a_schema_is_a_contract(asked: dict[str, Any], contract: AnswerContract | None) -> None:
    assert answer_of_format(asked) == contract


NULL = {"type": "null"}


@pytest.mark.parametrize(
    "asked",
    [
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_object", "schema": NULL},
        {"type": "json_object", "schema": None, "json_schema": None},
        {"type": "json_schema", "schema": NULL},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": NULL}},
        {"type": "json_schema"},
        {"type": "json_schema", "schema": None},
        {"type": "json_schema", "json_schema": {"name": "a"}},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": None}},
        {"type": "json_schema", "schema": NULL, "json_schema": {"schema": NULL}},
        {"type": "json_object", "json_schema": {"schema": NULL}},
        {"type": "text", "json_schema": {"schema": NULL}},
        {"type": "text", "schema": NULL},
    ],
)
def test_cloud_and_device_read_a_response_format_alike(asked: dict[str, Any]) -> None:
    try:
        found = answer_of_format(asked)
    except FormatError:
        with pytest.raises(InvalidRequestError, match=r"expected (?:alone|a schema|with)"):
            ResponseFormat.model_validate(asked).to_schema()
    else:
        assert found is not None
        assert found.schema == ResponseFormat.model_validate(asked).to_schema()


@pytest.mark.parametrize("text", ["a\0", "a\rb", "a\u2028b", "a\u202eb", "\x1b[31ma", " a", "a\nb"])
def test_choice_that_nobody_can_type_is_refused(text: str) -> None:
    for body in (
        {"type": "choice", "choices": [text, "b"]},
        {"type": "tool_calls", "functions": [{"name": "stop"}], "none": text},
    ):
        with pytest.raises(ValidationError, match="without control characters and white space around them"):
            AnswerBody.model_validate(body)


def test_only_what_json_has_becomes_text() -> None:
    values = ({"a": "ü"}, 1.5, True, "x", None)
    assert [as_json_text(each) for each in values] == ['{"a": "ü"}', "1.5", "true", "x", None]
    with pytest.raises(ValueError, match="JSON compliant"):
        as_json_text(float("nan"))


def test_answer_may_be_several_calls() -> None:
    body = {"type": "tool_calls", "functions": [{"name": "stop"}]}
    assert not AnswerBody.model_validate(body).to_contract().parallel
    assert AnswerBody.model_validate(body | {"parallel": True}).to_contract().parallel
    for faulty in (body | {"parallel": "yes"}, {"type": "text", "parallel": True}):
        with pytest.raises(ValidationError):
            AnswerBody.model_validate(faulty)
