"""Bodies and streams for Ollama's clients."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from edge_runtime.serving.answer_format import TokenCounts, WholeAnswer
from edge_runtime.serving.events import ArgumentsPiece, CallFinished, CallStarted, Event, Finished, TextPiece
from edge_runtime.serving.ollama_format import OllamaFormat, tag_entry
from loragen.device_answers import ServedModel

USAGE = TokenCounts(5, 3, 2)
CALL: list[Event] = [
    CallStarted("find"),
    ArgumentsPiece('{"a":'),
    ArgumentsPiece(" 1}"),
    CallFinished(),
    Finished("tool_calls", 3),
]


def lines(form: OllamaFormat, events: list[Event]) -> list[dict[str, Any]]:
    stream = "".join(form.chunk(event) for event in events) + form.closing(USAGE)
    return [json.loads(line) for line in stream.splitlines()]


def test_text_comes_in_lines_and_the_last_has_the_counts() -> None:
    first, second, last = lines(OllamaFormat("chat", "desks", 0), [TextPiece("h"), TextPiece("i"), Finished("stop", 3)])
    assert [line["message"]["content"] for line in (first, second, last)] == ["h", "i", ""]
    assert [line["done"] for line in (first, second, last)] == [False, False, True]
    assert (last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == ("stop", 5, 3)
    assert last["total_duration"] >= last["eval_duration"] >= 0


def test_durations_are_those_of_the_prompt_and_of_the_answer() -> None:
    """Clients divide by them: an answer that is not streamed has them as well."""
    form = OllamaFormat("chat", "desks", time.monotonic() - 10)
    answer = WholeAnswer("hi", reason="stop")
    body = form.whole([answer], replace(USAGE, decode_seconds=4.0))
    assert body["eval_duration"] == 4_000_000_000
    assert body["prompt_eval_duration"] == body["total_duration"] - 4_000_000_000
    assert body["total_duration"] >= 10_000_000_000


def test_call_is_reported_when_it_is_whole() -> None:
    (last,) = lines(OllamaFormat("chat", "desks", 0), CALL)
    assert last["message"]["tool_calls"] == [{"function": {"name": "find", "arguments": {"a": 1}}}]
    assert last["done_reason"] == "stop"
    (text,) = lines(OllamaFormat("generate", "desks", 0), CALL)
    assert text["response"] == '{"name": "find", "arguments": {"a": 1}}'


def test_call_with_half_of_a_surrogate_pair_can_be_sent() -> None:
    form = OllamaFormat("chat", "desks", 0)
    pair: list[Event] = [CallStarted("find"), ArgumentsPiece('{"a": "\\ud83d"}'), CallFinished(), Finished("stop", 1)]
    stream = "".join(form.chunk(event) for event in pair) + form.closing(USAGE)
    assert "\\ud83d" in stream.encode().decode()


@pytest.mark.parametrize("kind", ["chat", "generate"])
def test_call_that_was_cut_is_not_reported(kind: Any) -> None:
    (last,) = lines(OllamaFormat(kind, "desks", 0), [*CALL[:2], Finished("length", 3)])
    assert last["done_reason"] == "length"
    assert "tool_calls" not in json.dumps(last)


def test_whole_call_stays_when_the_next_one_is_cut() -> None:
    in_arguments: list[Event] = [CallStarted("find", 0, 1), ArgumentsPiece('{"a":', 0, 1)]
    for behind in (in_arguments, []):
        cut: list[Event] = [*CALL[:-1], *behind, Finished("length", 5)]
        (last,) = lines(OllamaFormat("chat", "desks", 0), cut)
        assert last["message"]["tool_calls"] == [{"function": {"name": "find", "arguments": {"a": 1}}}]
        assert last["done_reason"] == "length"
        answer = WholeAnswer()
        for event in cut:
            answer.add(event)
        assert OllamaFormat("chat", "desks", 0).whole([answer], USAGE)["message"] == last["message"]


def test_whole_answer_has_all_in_one_body() -> None:
    body = OllamaFormat("generate", "desks", 0).whole([WholeAnswer("hi", reason="length")], USAGE)
    assert (body["response"], body["done"], body["done_reason"]) == ("hi", True, "length")


def test_failure_is_a_line_and_loading_an_answer() -> None:
    form = OllamaFormat("chat", "desks", 0)
    assert json.loads(form.failure({"error": {"message": "not finite"}})) == {"error": "not finite"}
    assert form.without_answer("load")["done_reason"] == "load"
    assert json.loads(form.waiting())["done"] is False


def test_model_has_a_tag_entry() -> None:
    entry = tag_entry(ServedModel("desks", "merged", "ab" * 32, created=1_700_000_000), "cd" * 32)
    assert (entry["name"], entry["digest"], entry["modified_at"][:4]) == ("desks", "ab" * 32, "2023")
    assert tag_entry(ServedModel("base", "base"), "cd" * 32)["digest"] == "cd" * 32
