"""What a model wrote as JSON can be sent again, whatever its escapes stand for."""

import json
from typing import Any

import pytest

from edge_runtime.serving.call_forms import OWN_FORM, CallForm
from edge_runtime.serving.json_text import AnswerResponse, json_text
from edge_runtime.serving.openai import sse


@pytest.mark.parametrize("value", ["é 😀", "\ud83d", {"a": ["\udc00 é", 1, None]}, {"\ud83d": "b"}, "\u2028\n\0"])
@pytest.mark.parametrize("compact", [False, True])
def test_any_text_can_be_encoded_and_comes_back(value: Any, compact: bool) -> None:
    assert json.loads(json_text(value, compact=compact).encode()) == value


def test_letters_stay_as_they_are() -> None:
    assert json_text({"a": "é 😀", "b": 1}) == '{"a": "é 😀", "b": 1}'
    assert json_text({"a": "é", "b": 1}, compact=True) == '{"a":"é","b":1}'


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (OWN_FORM, r'{"name": "find", "arguments": {"a": "\ud83d"}}'),
        (CallForm("<", "", ">", quote="|"), r'find{a:"\ud83d"}'),
    ],
)
def test_call_with_half_of_a_surrogate_pair_can_be_sent(form: CallForm, text: str) -> None:
    call = form.parse(text)
    assert call is not None
    assert json.loads(call.arguments) == {"a": "\ud83d"}
    assert call.arguments.encode()
    body = {"arguments": json.loads(call.arguments)}
    assert json.loads(AnswerResponse(body).body) == body
    assert sse(body).encode()
