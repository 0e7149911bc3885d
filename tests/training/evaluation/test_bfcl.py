"""The table of BFCL, and how answers are read as calls."""

import json

import pytest

from loragen.client.device_answers import Completion, ToolCall, Usage
from loragen.contract.json_schema import canonical_schema
from training.evaluation.bfcl import WAYS, BfclScore, call_schema, called, render, wilson

TOOL = {"type": "function", "function": {"name": "f.g", "parameters": {"type": "object", "properties": {"a": {}}}}}


def completion(text: str, *calls: ToolCall) -> Completion:
    usage = Usage(prompt_tokens=1, completion_tokens=1)
    return Completion(text=text, finish_reason="stop", usage=usage, tool_calls=calls)


def test_table_has_a_line_for_each_way_and_names_its_command() -> None:
    scores = {(category, way): BfclScore() for category in ("simple", "multiple") for way in WAYS}
    scores["simple", "specialized"] = BfclScore(5, 10, 20, [30] * 20, [0.5] * 20)
    table = render(scores, 20, 3)
    assert "--sample 20 --seed 3" in table
    assert "| simple | specialized | 20 | 25.0 (11.2 to 46.9) | 50.0 | 30 | 0.50 |" in table
    assert table.count("\n| ") == 7
    assert "61.6" in table


@pytest.mark.parametrize(
    ("right", "asked", "interval"), [(0, 0, (0.0, 1.0)), (0, 20, (0.0, 0.161)), (20, 20, (0.839, 1.0))]
)
def test_interval_of_a_share(right: int, asked: int, interval: tuple[float, float]) -> None:
    assert wilson(right, asked) == pytest.approx(interval, abs=0.001)


def test_answer_is_read_as_a_call() -> None:
    call = ToolCall.model_validate({"id": "1", "function": {"name": "f", "arguments": "{}"}})
    assert called(completion("", call)) == ("f", "{}")
    assert called(completion('{"name": "f", "arguments": {"a": 1}}')) == ("f", '{"a": 1}')
    for text in ("", "f", "[]", '{"name": 5}'):
        assert called(completion(text)) == ("", "")


def test_base_is_constrained_to_calls_of_the_functions() -> None:
    assert json.loads(canonical_schema(call_schema([TOOL, TOOL])))["properties"]["name"] == {"enum": ["f.g"]}
