"""Texts that a device can write under a contract. That they are all that it writes is tested in `test_grammar`."""

from typing import Any

import pytest

from cloud_service.answer.written_answers import answer_pattern, written_answer
from loragen.contract.answer import TEXT_ANSWER, AnswerContract, contract_of
from loragen.contract.limits import MAX_PARALLEL_CALLS
from loragen.contract.text_formats import PATTERN_OF_FORMAT

FLIGHT = {
    "type": "object",
    "properties": {"to": {"type": "string"}, "seats": {"type": "integer"}, "class": {"enum": ["first", "second"]}},
    "required": ["to"],
}
CALLS = contract_of({"type": "tool_calls", "functions": [{"name": "fly", "parameters": FLIGHT}, {"name": "stop"}]})


def of_schema(schema: dict[str, Any]) -> AnswerContract:
    return contract_of({"type": "json", "schema": schema})


def takes(contract: AnswerContract, text: str) -> bool:
    pattern = answer_pattern(contract)
    assert pattern is not None
    found = pattern.fullmatch(text) is not None
    begins = all(pattern.fullmatch(text[:end], partial=True) for end in range(len(text)))
    assert begins or not found, "every beginning of it may go on"
    return found


def test_any_text_and_codes_have_no_pattern() -> None:
    assert answer_pattern(TEXT_ANSWER) is None
    assert answer_pattern(AnswerContract("choice", ("a", "b"), (5, 7))) is None


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        (FLIGHT, ['{"to": "a"}', '{"to": "a", "class": "first"}'], ["{}", '{"class": "first"}', '{"to":"a"}']),
        ({"type": "object"}, ["{}", '{"a": [1, {"b": null}]}'], ['{"a": 01}', "[]", '{"a": 1,}']),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 2}, ["[]", "[null, null]"], ["[null, null, null]"]),
        ({"type": "array", "items": {"type": "null"}, "minItems": 2}, ["[null, null]"], ["[]", "[null]"]),
        ({"prefixItems": [{"type": "boolean"}, {}]}, ['[true, "x"]'], ["[true]", '["x", true]']),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, ["-12", "null"], ["1.5", "nul"]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ['"ab"', r'"a\n\""'], ['"a"', '"abcd"']),
        ({"pattern": r'^["\\]x$'}, [r'"\"x"', r'"\\x"'], ['""x"', '"ax"']),
        ({"type": "string", "format": "date"}, ['"2026-02-28"'], ['"2026-13-01"', '"today"']),
        ({"type": "string", "format": "date-time"}, ['"2026-02-28T10:00:00Z"'], ['"2026-02-28"']),
        ({"enum": ["a.c", 1, None]}, ['"a.c"', "1", "null"], ['"abc"', "2"]),
        ({"properties": {}, "additionalProperties": {"type": "null"}}, ["{}", '{"x": null}'], ['{"x": 1}']),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "null"}}, ['{"a": 1, "x": null}'], ['{"x": 1}']),
        ({"type": "object", "minProperties": 1, "maxProperties": 1}, ['{"x": 1}'], ["{}", '{"x": 1, "y": 2}']),
        ({"type": "object", "properties": {"a{": {"enum": ["{"]}, "b": {}}}, ['{"a{": "{", "b": 1}'], ['{, "b": 1}']),
    ],
)
def test_pattern_takes_json_of_a_schema_in_one_spacing(
    schema: dict[str, Any], right: list[str], wrong: list[str]
) -> None:
    for text in right:
        assert takes(of_schema(schema), text), text
    for text in wrong:
        assert not takes(of_schema(schema), text), text


@pytest.mark.parametrize("form", PATTERN_OF_FORMAT)
def test_every_format_has_a_pattern(form: str) -> None:
    assert not takes(of_schema({"type": "string", "format": form}), '"a b"')


def test_calls_are_asked_for_every_parameter() -> None:
    call = '{"name": "fly", "arguments": {"to": "Oslo", "seats": null, "class": "first"}}'
    assert takes(CALLS, call)
    assert not takes(CALLS, '{"name": "fly", "arguments": {"to": "Oslo"}}')
    assert takes(CALLS, '{"name": "stop", "arguments": {}}')
    assert not takes(CALLS, f"{call}\n{call}")
    assert written_answer('{"name":"fly","arguments":{"class":"first","to":"Oslo"}}', CALLS) == call


def test_several_calls_and_none() -> None:
    functions = [{"name": "stop"}]
    contract = contract_of({"type": "tool_calls", "functions": functions, "none": "none", "parallel": True})
    call = '{"name": "stop", "arguments": {}}'
    assert takes(contract, "none")
    assert takes(contract, "\n".join([call] * MAX_PARALLEL_CALLS))
    assert not takes(contract, "\n".join([call] * (MAX_PARALLEL_CALLS + 1)))
    assert written_answer(f'{call}\n{{"name":"stop"}}', contract) == f"{call}\n{call}"
    assert written_answer("none", contract) == "none"


def test_expected_json_is_written_in_the_order_and_spacing_of_the_schema() -> None:
    assert written_answer('{"class":"first","to":"ü"}', of_schema(FLIGHT)) == '{"to": "ü", "class": "first"}'
    for text in (
        "no json",
        "[" * 5_000,
        '{"name": "other", "arguments": {}}',
        "[1]",
        '{"name": "fly", "arguments": "x"}',
    ):
        assert written_answer(text, CALLS) == text
