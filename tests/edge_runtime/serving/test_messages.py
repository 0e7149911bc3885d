"""Messages as clients send them, and the text of each."""

from typing import Any

import pytest
from pydantic import ValidationError

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.engine import ChatMessage
from edge_runtime.serving.messages import MAX_CALLS, MessageBody

CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"unit": "km"}'}}
TEXT = '{"name": "find", "arguments": {"unit": "km"}}'


@pytest.mark.parametrize(
    ("message", "role", "content"),
    [
        ({"role": "developer", "content": "x"}, "system", "x"),
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, "assistant", TEXT),
        ({"role": "assistant", "content": "So:", "tool_calls": [CALL, CALL]}, "assistant", f"So:\n{TEXT}\n{TEXT}"),
        ({"role": "assistant", "content": "", "tool_calls": None}, "assistant", ""),
        ({"role": "tool", "tool_call_id": "call_1", "content": "12"}, "tool", "12"),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "user", "ab"),
    ],
)
def test_message_is_one_text(message: dict[str, Any], role: str, content: str) -> None:
    """A call reads as this server writes one."""
    assert MessageBody.model_validate(message).to_message() == ChatMessage(role, content)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ({"role": "user", "content": None}, "the content of a message of the role 'user' is missing"),
        ({"role": "assistant"}, "missing"),
        ({"role": "user", "content": "", "tool_calls": [CALL]}, "only 'assistant' calls"),
        ({"role": "assistant", "content": "", "function_call": {"name": "f"}}, "'function_call' is not supported"),
    ],
)
def test_what_would_be_lost_is_refused(message: dict[str, Any], found: str) -> None:
    with pytest.raises(InvalidRequestError, match=found):
        MessageBody.model_validate(message).to_message()


@pytest.mark.parametrize(
    "calls",
    ["f", [{"type": "function"}], [CALL | {"type": "code"}], [CALL | {"function": {"name": "a b"}}], [CALL] * 65],
)
def test_call_that_is_none_is_refused(calls: Any) -> None:
    assert MAX_CALLS == 64
    with pytest.raises(ValidationError):
        MessageBody.model_validate({"role": "assistant", "tool_calls": calls})
