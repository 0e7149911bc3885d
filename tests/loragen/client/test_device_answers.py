"""What clients make of the answers of a device."""

import json

from loragen.client.device_answers import Completion, ToolCall, Usage


def test_answer_as_text_has_a_line_of_json_for_each_call() -> None:
    usage = Usage(prompt_tokens=1, completion_tokens=1)
    calls = tuple(
        ToolCall.model_validate({"id": name, "function": {"name": name, "arguments": '{"time": "7"}'}})
        for name in ("wake", "schlafen_über")
    )
    answer = Completion(text="", finish_reason="tool_calls", usage=usage, tool_calls=calls)
    assert [json.loads(line) for line in answer.as_text.splitlines()] == [
        {"name": "wake", "arguments": {"time": "7"}},
        {"name": "schlafen_über", "arguments": {"time": "7"}},
    ]
    assert "über" in answer.as_text
    assert Completion(text=" Rome ", finish_reason="stop", usage=usage).as_text == " Rome "
