"""What a chat request may say of its messages."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.completion import ChatPrompt
from edge_runtime.serving.engine import ChatMessage
from edge_runtime.serving.schemas import ChatCompletionBody


def parse(message: str) -> ChatCompletionBody:
    """The body of a request with one message."""
    return ChatCompletionBody.model_validate(json.loads(f'{{"model": "base", "messages": [{message}]}}'))


def test_answer_sent_back_as_clients_keep_it_is_taken() -> None:
    """With the fields that OpenAI's client adds to each answer, all of them empty."""
    empty: dict[str, Any] = {"refusal": None, "tool_calls": None, "function_call": None, "annotations": []}
    request = parse(json.dumps({"role": "assistant", "content": "yes", "name": "bot", **empty})).to_request()
    assert request.prompt == ChatPrompt((ChatMessage("assistant", "yes"),))


def test_closed_set_of_answers_reaches_the_sampling() -> None:
    body = parse('{"role": "user", "content": "hi"}').model_dump() | {"structured_outputs": {"choice": ["a", "b c"]}}
    assert ChatCompletionBody.model_validate(body).to_request().sampling.choices == ("a", "b c")


@pytest.mark.parametrize("field", ["tool_calls", "function_call"])
def test_call_in_a_message_is_refused_and_not_forgotten(field: str) -> None:
    """The model would answer as if it had called nothing."""
    body = parse(json.dumps({"role": "assistant", "content": "", field: [{"name": "f"}]}))
    with pytest.raises(InvalidRequestError, match=field) as caught:
        body.to_request()
    assert caught.value.code == "unsupported_parameter"


@pytest.mark.parametrize("content", [r'"hi\ud800"', r'[{"type": "text", "text": "\udfff"}]'])
def test_lone_surrogate_in_a_message_is_refused(content: str) -> None:
    """The engine marks control tokens with one."""
    with pytest.raises(ValidationError, match="valid"):
        parse(f'{{"role": "user", "content": {content}}}')
