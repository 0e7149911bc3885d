"""A body of any kind costs little to refuse: few faults are made, however many keys it has."""

from typing import Any

import pytest
from pydantic import ValidationError

from cloud_service.answer.contract import find_answer
from cloud_service.schemas import GenerateLoraBody
from loragen.contract.answer import AnswerContract

BAD_KEYS = {f"a b{number}": 1 for number in range(1000)}
FUNCTION = {"name": "find", "parameters": {"properties": BAD_KEYS}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"tools": [{"type": "function", "function": FUNCTION}]}, "at most 64, found 1000"),
        (BAD_KEYS, "at most 16 items, found 1000"),
        ({"examples": [BAD_KEYS]}, "at most 16 items, found 1000"),
        ({"description": "a", "publish": BAD_KEYS}, "at most 16 items, found 1000"),
        ({"description": "a", "probe": [1] * 1000}, "at most 32 items"),
    ],
    ids=["properties", "body", "example", "publish", "probe"],
)
def test_body_with_very_many_keys_is_one_fault(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        GenerateLoraBody.model_validate(body)
    assert caught.value.error_count() == 1


def test_given_answer_is_taken_as_it_is() -> None:
    body = {"description": "Labels: a, b", "answer": {"type": "choice", "choices": ["spam", "ham"]}}
    task = GenerateLoraBody.model_validate(body).to_request().task
    assert task.answer == AnswerContract("choice", ("spam", "ham"))
    assert find_answer(task).choices == ("spam", "ham")
    text = GenerateLoraBody.model_validate({**body, "answer": {"type": "text"}}).to_request().task
    assert find_answer(text).kind == "text"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"type": "choice", "choices": ["a"]}, "at least 2 choices, found 1"),
        ({"type": "choice"}, "at least 2 choices, found 0"),
        ({"type": "text", "choices": ["a", "b"]}, "found choices for an answer of type 'text'"),
        ({"type": "choice", "choices": ["a", "a"]}, "each of them once"),
        ({"type": "choice", "choices": ["caf\u00e9", "cafe\u0301"]}, "only Unicode writes differently"),
        ({"type": "choice", "choices": ["a", " b"]}, "white space around them"),
        ({"type": "choice", "choices": ["a", "b" * 401]}, "at most 400 bytes"),
        ({"type": "choice", "choices": [str(n) for n in range(257)]}, "at most 256"),
        (
            {"type": "choice", "choices": ["a", "b"], "codes": [1, 2]},
            "Extra inputs",
        ),  # pydantic's words, put plainly over HTTP
        ({"type": "json"}, "expected json_schema"),
        ({"type": "json", "json_schema": "yes"}, "json_schema"),
        ({"type": "choice", "choices": ["x", "y"]}, r"examples\.0\.output: expected one of the choices"),
    ],
)
def test_answer_that_cannot_be_is_refused(answer: dict[str, object], message: str) -> None:
    body = {"examples": [{"input": "1", "output": "a"}], "answer": answer}
    with pytest.raises(ValidationError, match=message):
        GenerateLoraBody.model_validate(body)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"probe": [{"input": "a", "output": "b"}]}, "probe_examples: expected nothing else .*, found probe"),
        ({"refine": {}}, "probe_examples: expected nothing else .*, found refine"),
    ],
)
def test_examples_are_tried_alone(other: dict[str, object], message: str) -> None:
    body = {"examples": [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}], "probe_examples": True}
    plain = GenerateLoraBody.model_validate(body)
    assert (plain.to_request().probe_examples, plain.only_asks) == (True, False)
    with pytest.raises(ValidationError, match=message):
        GenerateLoraBody.model_validate(body | other)


def test_schema_of_a_closed_set_does_not_stay_in_the_task() -> None:
    """Else a device would read it in front of each input, only to choose among the values that it has."""
    schema = {"type": "object", "properties": {"label": {"enum": ["spam", "ham"]}}, "required": ["label"]}
    body = {"description": "Sort.", "examples": [{"input": "a", "output": '{"label":"spam"}'}], "output_format": schema}
    task = GenerateLoraBody.model_validate(body).to_request().task
    assert (task.output_format, find_answer(task).choices) == ("", ('{"label": "spam"}', '{"label": "ham"}'))
    assert task.examples[0].output == '{"label": "spam"}'
    schema["properties"] = {"label": {"type": "string"}}
    assert "label" in GenerateLoraBody.model_validate(body).to_request().task.output_format


def test_tools_stand_for_the_functions_of_an_answer() -> None:
    tools = [{"name": "find", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]
    for name in ("tools", "functions"):
        body = {name: tools, "answer": {"type": "tool_calls", "parallel": True}}
        answer = GenerateLoraBody.model_validate(body).to_request().task.answer
        assert answer is not None
        assert ([each.name for each in answer.functions], answer.parallel) == (["find"], True)


def test_schema_of_an_answer_has_two_names() -> None:
    for name in ("json_schema", "schema"):
        body = {"description": "a", "answer": {"type": "json", name: {"type": "null"}}}
        assert GenerateLoraBody.model_validate(body).to_request().task.answer == AnswerContract(
            "json", schema='{"type":"null"}'
        )
