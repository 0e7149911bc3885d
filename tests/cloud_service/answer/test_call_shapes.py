"""Calls in examples, as clients write them."""

import json

import pytest

from cloud_service.answer.call_shapes import is_plain_call, with_plain_calls

PLAIN = '{"name": "find", "arguments": {"city": "Zürich"}}'
ARGUMENTS = {"city": "Zürich"}
TEXT = json.dumps(ARGUMENTS)


@pytest.mark.parametrize(
    "written",
    [
        {"name": "find", "arguments": ARGUMENTS},
        {"name": "find", "arguments": TEXT},
        {"type": "function_call", "call_id": "c", "name": "find", "arguments": TEXT},
        {"id": "c", "type": "function", "function": {"name": "find", "arguments": TEXT}},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "find", "arguments": TEXT}}]},
        {"role": "assistant", "content": None, "function_call": {"name": "find", "arguments": TEXT}},
        {"type": "tool_use", "id": "c", "name": "find", "input": ARGUMENTS},
        [{"type": "tool_use", "id": "c", "name": "find", "input": ARGUMENTS}],
    ],
)
def test_call_of_each_shape_is_written_as_devices_write_it(written: object) -> None:
    assert with_plain_calls(json.dumps(written)) == PLAIN
    assert is_plain_call(PLAIN)


def test_several_calls_are_lines() -> None:
    call = {"type": "tool_use", "name": "stop", "input": {}}
    lines = with_plain_calls(json.dumps([call, call]))
    assert lines == '{"name": "stop", "arguments": {}}\n{"name": "stop", "arguments": {}}'
    assert is_plain_call(lines)
    assert with_plain_calls(lines) == lines
    assert with_plain_calls('{"name": "stop", "arguments": null}') == '{"name": "stop", "arguments": {}}'


@pytest.mark.parametrize(
    "output",
    [
        "none",
        "[]",
        '{"name": "find"}',
        '{"name": "find", "arguments": "Rome"}',
        '{"name": "Anna", "arguments": {}, "age": 4}',
        '[{"type": "tool_use", "name": "find", "input": {}}, {"type": "text", "text": "x"}]',
        '{"content": "Well,", "tool_calls": [{"function": {"name": "find"}}]}',
        "[" * 5_000,
    ],
)
def test_what_is_more_or_less_than_calls_stays_as_it_is(output: str) -> None:
    assert with_plain_calls(output) == output
    assert not is_plain_call(output) or output.endswith('"Rome"}')
