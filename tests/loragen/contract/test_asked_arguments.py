"""The rule that asks a specialization for every parameter of a function."""

import json

import pytest

from loragen.contract.asked_arguments import MOST_ASKED, ask_for_all

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
