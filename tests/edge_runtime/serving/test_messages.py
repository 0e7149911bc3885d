"""Messages as clients send them, and the text of each."""

from typing import Any

import pytest
from pydantic import ValidationError

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.chat import ChatMessage, FunctionCall
from edge_runtime.serving.messages import MAX_CALLS, MessageBody, to_messages

CALL = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"unit": "km"}'}}
FIND = FunctionCall("find", '{"unit": "km"}')


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "developer", "content": "x"}, ChatMessage("system", "x")),
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, ChatMessage("assistant", "", (FIND,))),
        (
            {"role": "assistant", "content": "So:", "tool_calls": [CALL] * 2},
            ChatMessage("assistant", "So:", (FIND,) * 2),
        ),
        ({"role": "assistant", "content": "", "tool_calls": None}, ChatMessage("assistant", "")),
        ({"role": "tool", "tool_call_id": "call_1", "content": "12"}, ChatMessage("tool", "12")),
        ({"role": "user", "content": [{"type": "text", "text": t} for t in "ab"]}, ChatMessage("user", "ab")),
    ],
)
def test_message_has_one_text_and_its_calls(message: dict[str, Any], expected: ChatMessage) -> None:
    assert MessageBody.model_validate(message).to_message() == expected


def test_result_of_a_call_knows_which_function_was_called() -> None:
    bodies = [
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "12"},
        {"role": "tool", "tool_call_id": "other", "content": "13"},
    ]
    _, known, unknown = to_messages([MessageBody.model_validate(body) for body in bodies])
    assert (known, unknown) == (ChatMessage("tool", "12", name="find"), ChatMessage("tool", "13"))


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
    with pytest.raises(InvalidRequestError, match=found) as caught:
        MessageBody.model_validate(message).to_message()
    assert caught.value.hint
    assert caught.value.field in ("messages", "function_call")


@pytest.mark.parametrize(
    "calls",
    ["f", [{"type": "function"}], [CALL | {"type": "code"}], [CALL | {"function": {"name": "a b"}}], [CALL] * 65],
)
def test_call_that_is_none_is_refused(calls: Any) -> None:
    assert MAX_CALLS == 64
    with pytest.raises(ValidationError):
        MessageBody.model_validate({"role": "assistant", "tool_calls": calls})
