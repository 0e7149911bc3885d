"""Answers have the shape that OpenAI's clients read."""

import json

import pytest

from edge_runtime.serving.openai import STREAM_END, AnswerFormat, ErrorAnswer, Usage, model_entry, sse
from edge_runtime.serving.status import ERROR_ANSWERS
from loragen.device_answers import ServedModel
from loragen.web.errors import MediaTypeError

USAGE = Usage(prompt_tokens=5, completion_tokens=3, cached_tokens=2)


def answer(kind: str) -> AnswerFormat:
    return AnswerFormat(kind, "id-1", 1_700_000_000, "router", "merged-1")  # type: ignore[arg-type]


def chunks(stream: str) -> list[dict]:  # type: ignore[type-arg]
    return [json.loads(line.removeprefix("data: ")) for line in stream.split("\n\n") if line and "[DONE]" not in line]


@pytest.mark.parametrize(
    ("kind", "object_name", "content"),
    [
        ("text", "text_completion", {"text": "hi"}),
        ("chat", "chat.completion", {"message": {"role": "assistant", "content": "hi"}}),
    ],
)
def test_whole_answer_has_one_choice_and_its_usage(kind: str, object_name: str, content: object) -> None:
    body = answer(kind).whole("hi", "stop", USAGE)
    assert (body["object"], body["id"], body["model"], body["system_fingerprint"]) == (
        object_name,
        "id-1",
        "router",
        "merged-1",
    )
    assert body["choices"] == [{"index": 0, **content, "logprobs": None, "finish_reason": "stop"}]  # type: ignore[dict-item]
    assert body["usage"]["total_tokens"] == 8
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}


def test_chat_stream_opens_with_the_role_and_ends_with_usage() -> None:
    form = answer("chat")
    stream = form.opening() + form.delta("hi") + form.closing("length", USAGE)
    assert stream.endswith(STREAM_END)
    first, second, last, usage = chunks(stream)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert second["choices"][0]["delta"] == {"content": "hi"}
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "length")
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 3)
    assert {chunk["object"] for chunk in (first, second, last, usage)} == {"chat.completion.chunk"}


def test_text_stream_has_no_opening_and_no_usage_unless_it_is_asked_for() -> None:
    form = answer("text")
    assert form.opening() == ""
    assert len(chunks(form.closing("stop", None))) == 1


def test_event_is_one_line_whatever_it_holds() -> None:
    assert sse({"text": "a\nb\n\nc é"}) == 'data: {"text":"a\\nb\\n\\nc é"}\n\n'


def test_model_entry_is_one_of_openai_with_what_the_device_adds() -> None:
    entry = model_entry(ServedModel("router", "merged", "1" * 64))
    assert (entry["object"], entry["owned_by"], entry["id"], entry["state"]) == ("model", "loragen", "router", "merged")


def test_error_body_is_what_the_schema_says() -> None:
    body = ERROR_ANSWERS.body(MediaTypeError("expected JSON", "send JSON"), "abc")
    assert ErrorAnswer.model_validate(body).model_dump() == body
    assert body["error"]["type"] == "invalid_request_error"
