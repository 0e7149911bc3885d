"""The parts of a task as clients write them."""

from typing import Any

import pytest
from pydantic import ValidationError

from cloud_service.task import Tool
from cloud_service.task_bodies import AnswerBody, ToolBody, answer_of_format, as_json_text
from loragen.contract.answer import AnswerContract

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string", "description": " The\ncity. " + "x" * 200}}}
SCHEMA = '{"properties":{"city":{"type":"string"}},"type":"object"}'


def test_tool_is_read_whole() -> None:
    tool = ToolBody.model_validate({"name": "find", "description": "Finds.", "inputSchema": PARAMETERS}).to_tool()
    assert tool == Tool("find", "Finds.", ("city",), SCHEMA, (("city", "The city. " + "x" * 90),))
    plain = ToolBody.model_validate({"type": "custom", "name": "find"}).to_tool()
    assert plain == Tool("find", "")


@pytest.mark.parametrize("tool", [{"name": "a", "type": "web"}, {"type": "function"}, "a", {}, {"name": ["a"]}])
def test_tool_that_is_none_is_refused(tool: Any) -> None:
    with pytest.raises(ValidationError):
        ToolBody.model_validate(tool)


@pytest.mark.parametrize(
    ("asked", "contract"),
    [
        ({"type": "text"}, AnswerContract()),
        ({"type": "json_object"}, AnswerContract("json", schema='{"type":"object"}')),
        ({"type": "json_schema", "json_schema": {"schema": PARAMETERS}}, AnswerContract("json", schema=SCHEMA)),
        ({"type": "array", "items": {}}, AnswerContract("json", schema='{"type":"array"}')),
        ({"city": "a name"}, None),
        ({"type": ["string"]}, None),
        ({"type": "json_schema"}, None),
    ],
)
def test_format_that_is_a_schema_is_a_contract(asked: dict[str, Any], contract: AnswerContract | None) -> None:
    assert answer_of_format(asked) == contract


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
