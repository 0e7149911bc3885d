"""Which JSON the answers of a task are."""

import json

import pytest

from cloud_service.answer.contract import find_answer, find_outside
from cloud_service.task import Example, TaskDescription
from loragen.contract.answer import AnswerContract

PEOPLE = ('{"name": "Ann", "age": 30}', '{"name": "Ben", "age": null}', '{"name": "Cy", "age": 7.5}')
OF_PEOPLE = {
    "type": "object",
    "properties": {
        "name": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "age": {"anyOf": [{"type": "number"}, {"type": "null"}]},
    },
    "required": ["name", "age"],
}


def _task(description: str, *outputs: str, text: str = "input") -> TaskDescription:
    return TaskDescription(description, tuple(Example(f"{text} {n}", each) for n, each in enumerate(outputs)))


def _schema(task: TaskDescription) -> object:
    found = find_answer(task)
    return json.loads(found.schema) if found.kind == "json" else found.kind


def test_examples_of_one_shape_make_a_contract() -> None:
    assert _schema(_task("Who is it?", *PEOPLE)) == OF_PEOPLE
    reordered = (PEOPLE[0], '{"age": null, "name": "Ben"}', PEOPLE[2])
    assert _schema(_task("Who is it?", *reordered)) == OF_PEOPLE


@pytest.mark.parametrize(
    ("outputs", "schema"),
    [
        (('{"a": [1]}', '{"a": []}', '{"a": [2, 3.5]}'), {"type": "array", "items": {"type": "number"}}),
        (('{"a": [1]}', '{"a": []}', '{"a": ["x"]}'), {"type": "array"}),
        (('{"a": [{}]}', '{"a": []}', '{"a": [{"x": 1}]}'), {"type": "array"}),
        (('{"a": true}', '{"a": false}', '{"a": true}'), {"type": "boolean"}),
        (('{"a": 1}', '{"a": "1"}', '{"a": true}'), {}),
        (('{"a": null}', '{"a": null}', '{"a": null}'), {}),
        (('{"a": {"b": 1}}', '{"a": {"c": 1}}', '{"a": {}}'), {}),
        (
            ('{"a": {"b": true}}', '{"a": {"b": false}}', '{"a": {"b": true}}'),
            {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]},
        ),
    ],
)
def test_values_are_of_the_kinds_that_are_shown(outputs: tuple[str, ...], schema: object) -> None:
    texts = tuple(f'{{"x": {n}, {each[1:]}' for n, each in enumerate(outputs))
    found = _schema(_task("Do it.", *texts))
    assert isinstance(found, dict)
    assert found["properties"]["a"] == schema


@pytest.mark.parametrize(
    "task",
    [
        _task("Who is it?", *PEOPLE[:2]),
        _task("Who is it?", *PEOPLE, "nobody"),
        _task("Who is it?", *PEOPLE, '{"name": "Di"}'),
        _task("Who is it?", *PEOPLE, "[]"),
        _task("Who is it? If nobody is named, return {}.", *PEOPLE),
        _task("Turn it into JSON.", *PEOPLE, text="name: x, age: y"),
        TaskDescription("Who is it?", tuple(Example("the same", each) for each in PEOPLE)),
        _task("Count.", "1", "2", "3"),
        _task("Count the fruit.", *['{"apple": 2, "pear": 1}'] * 3, text="two apples and pears"),
        TaskDescription(
            "Count the fruit.",
            tuple(
                Example(text, '{"apple": 2, "pear": 1}')
                for text in ("apples, a pear", "one Apple, two", "we had three pears")
            ),
        ),
        _task("Count.", "{}", "{}", "{}"),
    ],
)
def test_examples_that_leave_doubt_make_none(task: TaskDescription) -> None:
    assert find_answer(task).kind == "text"


def test_labels_in_json_that_examples_repeat_are_still_a_closed_set() -> None:
    outputs = ['{"label": "ham"}', '{"label": "spam"}'] * 3
    assert find_answer(_task("Sort.", *outputs)) == AnswerContract("choice", tuple(sorted(set(outputs))))


def test_stated_labels_in_json_are_a_closed_set_in_the_spelling_of_devices() -> None:
    said = 'Return JSON: {"mood": "good" | "bad"}'
    choices = ('{"mood": "good"}', '{"mood": "bad"}')
    assert find_answer(TaskDescription(said)) == AnswerContract("choice", choices)
    assert find_answer(_task(said, choices[1])) == AnswerContract("choice", choices)
    assert find_answer(_task(said, '{"mood":"bad"}')).kind == "json"


def test_examples_decide_over_words() -> None:
    said = "Return a JSON object with the fields name and age (integer)."
    assert find_answer(TaskDescription(said)).kind == "json"
    assert find_answer(_task(said, PEOPLE[0])).kind == "json"
    for outside in ('{"name": "Ann"}', PEOPLE[2], "Ann, 30", "[]"):
        task = _task(said, PEOPLE[0], outside)
        assert find_answer(task).kind == "text"
        assert find_outside(task) == (2,)


def test_sample_of_one_answer_counts_with_an_example_of_its_names() -> None:
    said = 'Split the name. Return JSON like {"first": "Ada", "last": "Lovelace"}.'
    assert find_answer(TaskDescription(said)).kind == "text"
    assert find_answer(_task(said, '{"first": "Alan", "last": "Turing"}')).kind == "json"
    assert find_answer(_task(said, '{"given": "Alan", "family": "Turing"}')).kind == "text"


def test_words_over_a_limit_leave_answers_open() -> None:
    said = "Return JSON: " + "{a: " * 40 + "string" + "}" * 40
    assert find_answer(TaskDescription(said)).kind == "text"
