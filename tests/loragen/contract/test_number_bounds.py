"""Bounds of numbers have one normal form, and what is written keeps to them."""

import json
from fractions import Fraction
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragen.contract.errors import FormatError
from loragen.contract.number_bounds import canonical_number, is_in_bounds, written_range

BOUNDS = st.integers(-(10**18), 10**18) | st.floats(-1e18, 1e18) | st.floats(-2, 2) | st.integers(-3, 3)
KEYWORDS = st.fixed_dictionaries(
    {},
    optional={
        "minimum": BOUNDS,
        "maximum": BOUNDS,
        "exclusiveMinimum": BOUNDS | st.booleans(),
        "exclusiveMaximum": BOUNDS | st.booleans(),
        "multipleOf": st.sampled_from([1, 0.1, 0.01, 0.5, 5, 2.5, 1e-6]),
    },
)


@given(kind=st.sampled_from(["number", "integer"]), keywords=KEYWORDS)
def test_ends_of_what_is_written_are_within_the_bounds_as_floats(kind: str, keywords: dict[str, Any]) -> None:
    try:
        schema = canonical_number(kind, keywords, "schema")
    except FormatError:
        return
    valid = jsonschema_rs.validator_for(
        {"type": kind, **{key: value for key, value in keywords.items() if not isinstance(value, bool)}}
    )
    if "enum" in schema:
        values = schema["enum"]
    else:
        assert canonical_number(schema["type"], schema, "schema") == schema
        written = written_range(schema)
        values = [float(Fraction(units, 10**written.decimals)) for units in (written.low, written.high)]
        values = [int(value) if schema["type"] == "integer" else value for value in values]
        assert all(is_in_bounds(value, schema) for value in values)
    if "multipleOf" not in keywords:  # the library divides floats
        for value in values:
            valid.validate(value)


@pytest.mark.parametrize(
    ("kind", "keywords", "expected"),
    [
        ("integer", {"minimum": 1, "exclusiveMaximum": 5}, {"maximum": 4, "minimum": 1, "type": "integer"}),
        ("integer", {"minimum": 0.5, "maximum": 3.5}, {"maximum": 3, "minimum": 1, "type": "integer"}),
        ("integer", {"maximum": 2**63 - 1}, {"maximum": 2**63 - 1, "type": "integer"}),
        ("integer", {"multipleOf": 1}, {"type": "integer"}),
        ("integer", {"multipleOf": 5, "minimum": 1, "maximum": 20}, {"enum": [5, 10, 15, 20]}),
        ("number", {"minimum": 0, "exclusiveMinimum": 0}, {"exclusiveMinimum": 0, "type": "number"}),
        ("number", {"minimum": 1.0, "exclusiveMinimum": 0}, {"minimum": 1, "type": "number"}),
        ("number", {"minimum": 0, "exclusiveMinimum": True}, {"exclusiveMinimum": 0, "type": "number"}),
        ("number", {"maximum": 1, "exclusiveMaximum": False}, {"maximum": 1, "type": "number"}),
        ("number", {"multipleOf": 0.01}, {"multipleOf": 0.01, "type": "number"}),
        ("number", {"multipleOf": 1, "minimum": 0.5}, {"minimum": 1, "type": "integer"}),
        ("number", {"multipleOf": 0.5, "minimum": 0, "maximum": 1}, {"enum": [0, 0.5, 1]}),
    ],
)
def test_normal_form(kind: str, keywords: dict[str, Any], expected: object) -> None:
    assert canonical_number(kind, keywords, "schema") == expected


@pytest.mark.parametrize(
    ("keywords", "found"),
    [
        ({"minimum": "1"}, "schema.minimum: expected a number, found str"),
        ({"minimum": True}, "schema.minimum: expected a number"),
        ({"maximum": float("nan")}, "schema.maximum: expected a number"),
        ({"maximum": 10**400}, "schema.maximum: expected a number"),
        ({"minimum": 2, "maximum": 1}, "a number between them"),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1e-7}, "a number between them"),
        ({"minimum": 10**15}, "at most 15 digits"),
        ({"multipleOf": 0}, "above 0"),
        ({"multipleOf": 3}, "multipleOf: expected 1, a power of ten"),
        ({"multipleOf": 3, "minimum": 0, "maximum": 10_000}, "at most 256 multiples"),
        ({"multipleOf": 3, "minimum": 1, "maximum": 2}, "a multiple of"),
    ],
)
def test_what_cannot_be_held_is_refused_by_name(keywords: dict[str, Any], found: str) -> None:
    with pytest.raises(FormatError, match=found):
        canonical_number("number", keywords, "schema")


def test_multiples_are_those_of_decimals() -> None:
    schema = {"type": "number", "multipleOf": 0.01}
    assert [is_in_bounds(value, schema) for value in (0.07, 1.1, -3, 0.005, 1e30)] == [True, True, True, False, True]
    assert json.dumps(canonical_number("number", schema, "")) == '{"multipleOf": 0.01, "type": "number"}'
