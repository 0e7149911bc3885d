"""What a client sees of arguments that all were asked for."""

import json
import random

import pytest

from edge_runtime.serving.asked_arguments import GivenArguments

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
