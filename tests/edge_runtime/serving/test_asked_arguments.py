"""The rule that asks a specialization for every parameter, and leaves out what it says null to."""

import json
import random

import pytest

from edge_runtime.serving.asked_arguments import MOST_ASKED, GivenArguments, ask_for_all
from edge_runtime.serving.grammar import grammar_of

SCHEMA = json.dumps(
    {
        "properties": {
            "to": {"type": "string"},
            "seats": {"type": "integer"},
            "class": {"enum": ["first", "second"]},
            "note": {},
        },
        "required": ["to"],
        "type": "object",
    }
)


def test_every_parameter_is_asked_for_and_optional_ones_may_be_null() -> None:
    schema, optional = ask_for_all(SCHEMA)
    asked = json.loads(schema)
    assert asked["required"] == ["to", "seats", "class", "note"] == list(asked["properties"])
    assert asked["properties"]["to"] == {"type": "string"}
    assert asked["properties"]["class"] == {"anyOf": [{"enum": ["first", "second"]}, {"type": "null"}]}
    assert optional == {"seats", "class", "note"}
    assert '"null"' in grammar_of(schema)


@pytest.mark.parametrize(
    "schema",
    [
        json.dumps({"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}),
        json.dumps({"type": "object", "properties": {f"p{n}": {} for n in range(MOST_ASKED + 1)}}),
        '{"type":"object"}',
    ],
)
def test_a_function_with_no_optional_parameter_or_very_many_is_written_as_its_schema_is(schema: str) -> None:
    assert ask_for_all(schema) == (schema, frozenset())


GIVEN = [
    ({"to": "Oslo", "seats": None, "class": "first"}, {"to": "Oslo", "class": "first"}),
    ({"to": None, "seats": None, "class": None}, {"to": None}),
    ({"seats": None, "class": None}, {}),
    ({"seats": None, "class": "x", "note": None, "to": "b"}, {"class": "x", "to": "b"}),
    (
        {"note": {"a": None, "b": [None, {"c": None}]}, "seats": 2},
        {"note": {"a": None, "b": [None, {"c": None}]}, "seats": 2},
    ),
    (
        {"to": 'say "null", {or} [\\', "note": "null", "seats": -1.5},
        {"to": 'say "null", {or} [\\', "note": "null", "seats": -1.5},
    ),
    (
        {"class": "nu", "note": False, 'a "key": null, "b': None},
        {"class": "nu", "note": False, 'a "key": null, "b': None},
    ),
    ({"note": "ü, ß: \n"}, {"note": "ü, ß: \n"}),
    ({}, {}),
]


@pytest.mark.parametrize(("written", "given"), GIVEN)
def test_nulls_of_optional_parameters_are_left_out_however_the_text_comes(written: object, given: object) -> None:
    text, wanted = json.dumps(written, ensure_ascii=False), json.dumps(given, ensure_ascii=False)
    rng = random.Random(text)
    for _ in range(20):
        arguments, passed, left = GivenArguments(frozenset(("seats", "class", "note"))), "", text
        while left:
            size = rng.randint(1, 9)
            passed += arguments.push(left[:size])
            left = left[size:]
        assert passed == wanted


def test_a_value_is_passed_on_while_it_is_written() -> None:
    arguments = GivenArguments(frozenset(("note",)))
    assert arguments.push('{"note": ') == "{"
    assert arguments.push('"No') == '"note": "No'
    assert arguments.push('w"') == 'w"'
    assert arguments.push(', "to": 1}') == ', "to": 1}'
