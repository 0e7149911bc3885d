"""What OpenAI's responses interface accepts, and the chat that it means."""

from typing import Any

import pytest
from pydantic import ValidationError

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.chat import ChatMessage, FunctionCall
from edge_runtime.serving.completion import ChatPrompt
from edge_runtime.serving.responses_body import ResponsesBody
from loragen.web.translation import describe_faults

CALLED = {"type": "function_call", "call_id": "c1", "name": "find", "arguments": '{"a": 1}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "12"}


def messages(fields: Any, **more: Any) -> tuple[ChatMessage, ...]:
    request = ResponsesBody.model_validate({"model": "base", "input": fields, **more}).to_request()
    assert isinstance(request.prompt, ChatPrompt)
    return request.prompt.messages


def test_input_is_a_text_or_a_conversation() -> None:
    user = ChatMessage("user", "hi")
    assert messages("hi") == (user,)
    assert messages("hi", instructions="Be kind.") == (ChatMessage("system", "Be kind."), user)
    parts = [{"type": "input_text", "text": "h"}, {"type": "input_text", "text": "i"}]
    assert messages([{"role": "user", "content": parts}]) == (user,)
    said = {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed"}
    said["content"] = [{"type": "output_text", "text": "yes", "annotations": []}]  # type: ignore[assignment]
    assert messages([{"role": "developer", "content": "x"}, said])[1] == ChatMessage("assistant", "yes")


def test_calls_and_results_stand_in_the_conversation() -> None:
    found = messages([{"role": "user", "content": "hi"}, CALLED, CALLED | {"call_id": "c2"}, RESULT])
    call = FunctionCall("find", '{"a": 1}')
    assert found[1:] == (ChatMessage("assistant", "", (call, call)), ChatMessage("tool", "12", name="find"))


def test_form_and_bounds_of_the_answer() -> None:
    tool = {"type": "function", "name": "find", "description": "d", "parameters": None, "strict": True}
    form = {"format": {"type": "json_schema", "name": "x", "schema": {"enum": ["a"]}, "strict": True}}
    body = {"model": "base", "input": "hi", "max_output_tokens": 5, "temperature": 0.5, "tools": [tool]}
    request = ResponsesBody.model_validate(body | {"text": form, "store": False}).to_request()
    assert (request.max_tokens, request.sampling.temperature) == (5, 0.5)
    assert request.sampling.schema == '{"enum":["a"]}'
    assert [each.name for each in request.tool_use.tools] == ["find"]
    named = ResponsesBody.model_validate(body | {"tool_choice": {"type": "function", "name": "find"}}).to_request()
    assert (named.tool_use.choice, named.tool_use.function) == ("required", "find")


@pytest.mark.parametrize(
    "change",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"store": True},
        {"background": True},
        {"truncation": "auto"},
        {"include": ["reasoning.encrypted_content"]},
        {"reasoning": {"effort": "high"}},
        {"max_tool_calls": 1},
        {"unheard_of": 1},
        {"temperature": 5},
        {"max_output_tokens": 0},
        {"tools": [{"type": "function", "name": "no name"}]},
    ],
)
def test_what_is_not_supported_is_refused_by_name(change: dict[str, Any]) -> None:
    body = ResponsesBody.model_validate({"model": "base", "input": "hi", **change})
    with pytest.raises(InvalidRequestError, match=next(iter(change))):
        body.to_request()


@pytest.mark.parametrize("schema", [{"type": "nothing"}, None, {"pattern": 5}])
def test_fault_of_the_form_is_named_as_the_client_knows_it(schema: Any) -> None:
    text = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    body = ResponsesBody.model_validate({"model": "base", "input": "hi", "text": text})
    with pytest.raises(InvalidRequestError, match=r"^text\.format") as caught:
        body.to_request()
    assert caught.value.field == "text.format"
    assert (caught.value.code == "unsupported_schema") is (schema is not None)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [{"type": "reasoning", "summary": []}],
        [{"type": "item_reference", "id": "msg_1"}],
        [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}],
        [{"role": "tool", "content": "x"}],
        5,
    ],
)
def test_input_that_is_not_understood_is_refused(fields: Any) -> None:
    with pytest.raises(ValidationError):
        ResponsesBody.model_validate({"model": "base", "input": fields})


@pytest.mark.parametrize("item", [{"type": "z" * 10_000}, {"type": 5}, 5])
def test_unknown_item_is_not_quoted(item: Any) -> None:
    """It may be as long as a body, and nothing of this code is named."""
    with pytest.raises(ValidationError) as caught:
        ResponsesBody.model_validate({"model": "base", "input": [item]})
    text = describe_faults([{**fault, "loc": ("body", *fault["loc"])} for fault in caught.value.errors()])
    assert text == "input.0: expected an item of the type message, function_call or function_call_output"


def test_tools_of_the_host_are_refused() -> None:
    with pytest.raises(ValidationError):
        ResponsesBody.model_validate({"model": "base", "input": "hi", "tools": [{"type": "web_search"}]})
