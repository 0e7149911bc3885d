"""Answers have the shape that OpenAI's clients read."""

import json

import pytest

from edge_runtime.serving.answer_format import TokenCounts, WholeAnswer
from edge_runtime.serving.engine import Likelihood, Token
from edge_runtime.serving.events import ArgumentsPiece, CallFinished, CallStarted, Finished, TextPiece
from edge_runtime.serving.openai import STREAM_END, CompletionFormat, ErrorAnswer, model_entry, sse
from edge_runtime.serving.status import ERROR_ANSWERS
from loragen.device_answers import ServedModel
from loragen.web.errors import MediaTypeError

USAGE = TokenCounts(prompt_tokens=5, completion_tokens=3, cached_tokens=2)


def answer(kind: str, reports_usage: bool = False) -> CompletionFormat:
    return CompletionFormat(kind, "id-1", 1_700_000_000, "router", "merged-1", reports_usage)  # type: ignore[arg-type]


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
    body = answer(kind).whole([WholeAnswer("hi", reason="stop")], USAGE)
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
    form = answer("chat", reports_usage=True)
    stream = form.chunk(TextPiece("hi")) + form.chunk(Finished("length", 3)) + form.closing(USAGE)
    assert stream.endswith(STREAM_END)
    first, second, last, usage = chunks(stream)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert second["choices"][0]["delta"] == {"content": "hi"}
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "length")
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 3)
    assert {chunk["object"] for chunk in (first, second, last, usage)} == {"chat.completion.chunk"}


def test_text_stream_has_no_opening_and_no_usage_unless_it_is_asked_for() -> None:
    form = answer("text")
    assert len(chunks(form.chunk(TextPiece("hi")) + form.chunk(Finished("stop", 1)) + form.closing(USAGE))) == 2


def test_answer_without_text_still_says_who_speaks() -> None:
    first, last = chunks(answer("chat").chunk(Finished("stop", 0)))
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert last["choices"][0]["finish_reason"] == "stop"


CALL = (CallStarted("find"), ArgumentsPiece('{"a":'), ArgumentsPiece(" 1}"), Finished("tool_calls", 4))


def test_call_is_reported_whole_and_in_pieces() -> None:
    """The first piece has the id and the name, the others have arguments, as OpenAI's client adds them up."""
    whole = WholeAnswer()
    for event in CALL:
        whole.add(event)
    (choice,) = answer("chat").whole([whole], USAGE)["choices"]
    call = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}
    assert choice["message"] == {"role": "assistant", "content": None, "tool_calls": [call]}
    assert choice["finish_reason"] == "tool_calls"
    form = answer("chat")
    first, *pieces, last = [chunks(form.chunk(event))[0]["choices"][0] for event in CALL]
    started = {"index": 0, **call, "function": {"name": "find", "arguments": ""}}
    assert first["delta"] == {"role": "assistant", "content": None, "tool_calls": [started]}
    texts = [piece["delta"]["tool_calls"][0]["function"]["arguments"] for piece in pieces]
    assert texts == ['{"a":', " 1}"]
    assert (last["delta"], last["finish_reason"]) == ({}, "tool_calls")


def test_end_of_a_call_is_no_chunk() -> None:
    """What OpenAI's client has when the answer ends is the call as it was told."""
    assert answer("chat").chunk(CallFinished()) == ""


def test_several_answers_have_their_own_index_and_call() -> None:
    form = answer("chat")
    places = [(0, 0), (0, 1), (1, 0), (11, 0), (1, 10)]
    calls = [chunks(form.chunk(CallStarted("f", *place)))[0]["choices"][0] for place in places]
    reported = [(choice["index"], choice["delta"]["tool_calls"][0]["index"]) for choice in calls]
    assert reported == places
    assert len({choice["delta"]["tool_calls"][0]["id"] for choice in calls}) == len(places)


def test_several_calls_are_reported_whole_and_in_pieces() -> None:
    """As OpenAI's client adds them up, by the index of each; text in front of them stays."""
    second = (CallStarted("stop", 0, 1), ArgumentsPiece("{}", 0, 1))
    whole, form = WholeAnswer(), answer("chat")
    said = [TextPiece("So. "), *CALL[:-1], *second, CALL[-1]]
    for event in said:
        whole.add(event)
    message = form.whole([whole], USAGE)["choices"][0]["message"]
    assert message["content"] == "So."
    functions = [call["function"] for call in message["tool_calls"]]
    assert functions == [{"name": "find", "arguments": '{"a": 1}'}, {"name": "stop", "arguments": "{}"}]
    assert len({call["id"] for call in message["tool_calls"]}) == 2
    arguments = ["", ""]
    for event in said:
        for chunk in chunks(form.chunk(event)):
            for delta in chunk["choices"][0]["delta"].get("tool_calls", ()):
                arguments[delta["index"]] += delta["function"]["arguments"]
    assert arguments == [each["arguments"] for each in functions]


TOKENS = [
    Token("é".encode()[:1], likelihood=Likelihood("é".encode()[:1], -0.5), likeliest=(Likelihood(b"a", -0.25),)),
    Token(b"b", likelihood=Likelihood(b"b", -1.0), likeliest=(Likelihood(b"b", -1.0),)),
]


def test_likelihoods_are_reported_as_each_interface_has_them() -> None:
    whole = WholeAnswer("?b", reason="stop", tokens=TOKENS)
    (choice,) = answer("chat").whole([whole], USAGE)["choices"]
    first, second = choice["logprobs"]["content"]
    assert first["bytes"] == [0xC3]
    assert second == {"token": "b", "logprob": -1.0, "bytes": [98], "top_logprobs": [second["top_logprobs"][0]]}
    (choice,) = answer("text").whole([whole], USAGE)["choices"]
    assert choice["logprobs"]["token_logprobs"] == [-0.5, -1.0]
    assert choice["logprobs"]["top_logprobs"] == [{"a": -0.25, "bytes:\\xc3": -0.5}, {"b": -1.0}]
    assert choice["logprobs"]["text_offset"] == [0, 0]


SMILE = "😀".encode()


@pytest.mark.parametrize("is_streamed", [False, True])
def test_offsets_count_the_characters_of_the_text(is_streamed: bool) -> None:
    """They go on through a stream, for each answer by itself; parts of a character stand where it begins."""
    pieces = [b"a ", SMILE[:2], SMILE[2:3], SMILE[3:], b"", b" b"]
    tokens = [Token(piece, likelihood=Likelihood(piece or b"<|end|>", -1.0)) for piece in pieces]
    texts = [TextPiece("a ", 0, tuple(tokens[:1])), TextPiece("😀 b", 0, tuple(tokens[1:])), TextPiece("x", 1)]
    form = answer("text")
    if is_streamed:
        parts = [choice for text in texts for choice in chunks(form.chunk(text))[0]["choices"] if choice["index"] == 0]
    else:
        parts = form.whole([WholeAnswer("a 😀 b", reason="stop", tokens=tokens)], USAGE)["choices"]
    offsets = [offset for part in parts for offset in part["logprobs"]["text_offset"]]
    assert offsets == [0, 2, 2, 2, 3, 3]


@pytest.mark.parametrize("kind", ["text", "chat"])
@pytest.mark.parametrize("reports_usage", [False, True])
def test_chunks_have_an_empty_usage_where_the_last_one_has_the_counts(kind: str, reports_usage: bool) -> None:
    form = answer(kind, reports_usage)
    parts = chunks(form.chunk(TextPiece("a")) + form.chunk(Finished("stop", 1)))
    assert [part.get("usage", "none") for part in parts] == [None if reports_usage else "none"] * len(parts)


def test_event_is_one_line_whatever_it_holds() -> None:
    assert sse({"text": "a\nb\n\nc é"}) == 'data: {"text":"a\\nb\\n\\nc é"}\n\n'


def test_model_entry_is_one_of_openai_with_what_the_device_adds() -> None:
    entry = model_entry(ServedModel("router", "merged", "1" * 64))
    assert (entry["object"], entry["owned_by"], entry["id"], entry["state"]) == ("model", "loragen", "router", "merged")


def test_error_body_is_what_the_schema_says() -> None:
    body = ERROR_ANSWERS.body(MediaTypeError("expected JSON", "send JSON"), "abc")
    assert ErrorAnswer.model_validate(body).model_dump() == body
    assert body["error"]["type"] == "invalid_request_error"
