"""Which values are of a schema: the same as for a published validator."""

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragen.contract.errors import ContractError
from loragen.contract.json_schema import canonical_schema
from loragen.contract.schema_values import closed_values, find_fault, is_of_schema
from tests.loragen.contract.schemas import SCALARS, SCHEMAS

VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


@given(schema=SCHEMAS, value=VALUES)
def test_no_value_is_taken_that_a_validator_refuses(schema: Any, value: object) -> None:
    try:
        normal = canonical_schema(schema)
    except ContractError:
        return
    if is_of_schema(value, normal):
        assert jsonschema_rs.validator_for(json.loads(normal)).is_valid(value)


PLACE = canonical_schema(
    {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 6}, "days": {"type": ["integer", "null"]}, "x": {}},
        "required": ["city"],
    }
)


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({"city": "Oslo"}, True),
        ({"city": "Oslo", "days": 2, "x": [{}]}, True),
        ({"city": "Oslo", "days": None}, True),
        ({"days": 2}, False),
        ({"city": "Hamburg"}, False),
        ({"city": "Oslo", "days": True}, False),
        ({"city": "Oslo", "days": 2.5}, False),
        ({"city": "Oslo", "y": 1}, False),
        ([], False),
        (None, False),
    ],
)
def test_value_is_of_a_schema_or_not(value: object, fits: bool) -> None:
    assert is_of_schema(value, PLACE) is fits


def test_enum_tells_numbers_from_truth() -> None:
    assert is_of_schema(1, '{"enum":[1,"a",null]}')
    assert is_of_schema(None, '{"enum":[1,"a",null]}')
    assert not is_of_schema(True, '{"enum":[1,"a",null]}')


@pytest.mark.parametrize(
    ("value", "schema", "fits"),
    [
        (2, {"type": "integer", "minimum": 2}, True),
        (1, {"type": "integer", "minimum": 2}, False),
        (0, {"type": "number", "exclusiveMinimum": 0}, False),
        (1e-9, {"type": "number", "exclusiveMinimum": 0}, True),
        (9.99, {"type": "number", "multipleOf": 0.01}, True),
        ({"x": 1}, {"additionalProperties": {"type": "integer"}}, True),
        ({"x": "1"}, {"additionalProperties": {"type": "integer"}}, False),
        ({"a": "1", "x": 1}, {"properties": {"a": {}}, "additionalProperties": {"type": "integer"}}, True),
        (1.0, {"enum": [1]}, True),
        (0.5, {"enum": [0.5]}, True),
        ({}, {"type": "object", "additionalProperties": False}, True),
        ({"a": 1}, {"type": "object", "additionalProperties": False}, False),
    ],
)
def test_bounds_and_other_properties_count(value: object, schema: object, fits: bool) -> None:
    assert is_of_schema(value, canonical_schema(schema)) is fits


DESK = {"desk": {"enum": ["billing", "Zürich"]}}


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        ({"enum": ["a", 1, None]}, [("a", '"a"'), ("1", "1"), ("null", "null")]),
        ({"type": "boolean"}, [("true", "true"), ("false", "false")]),
        ({"anyOf": [{"enum": ["a"]}, {"type": "null"}]}, [("a", '"a"'), ("null", "null")]),
        (
            {"properties": DESK, "required": ["desk"]},
            [("billing", '{"desk": "billing"}'), ("Zürich", '{"desk": "Zürich"}')],
        ),
        (
            {
                "properties": {"a": {"properties": DESK, "required": ["desk"]}, "v": {"const": 1}},
                "required": ["v", "a"],
            },
            [("billing", '{"a": {"desk": "billing"}, "v": 1}'), ("Zürich", '{"a": {"desk": "Zürich"}, "v": 1}')],
        ),
        ({"enum": ["a"]}, []),
        ({"properties": DESK}, []),
        ({"properties": {**DESK, "other": {"type": "boolean"}}, "required": ["desk", "other"]}, []),
        ({"properties": {**DESK, "why": {"type": "string"}}, "required": ["desk", "why"]}, []),
        ({"properties": DESK, "required": ["desk"], "additionalProperties": {"type": "string"}}, []),
        ({"anyOf": [{"enum": ["a", "b"]}, {"type": "string"}]}, []),
        ({"type": "object"}, []),
        ({}, []),
    ],
)
def test_schema_that_leaves_a_label_open_has_few_values(schema: object, values: list[tuple[str, str]]) -> None:
    normal = canonical_schema(schema)
    assert list(closed_values(normal)) == values
    assert all(is_of_schema(json.loads(text), normal) for _, text in values)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"days": 2}, "x: expected 'city', which is required"),
        ({"city": "Hamburg"}, "x.city: expected a text of a length of at most 6"),
        ({"city": "Oslo", "days": True}, "x.days: expected a value of one of the schemas of its anyOf"),
        ({"city": "Oslo", "tags": ["a", 5]}, "x.tags.1: expected one of the values of its enum"),
        ({"city": "Oslo", "tags": ["a"] * 3}, "x.tags: expected another number of items, found 3"),
        ({"city": "Oslo", "town": 1}, "x: expected no 'town', which its schema does not have"),
        ([], "x: expected object, found array"),
        ({"city": "Oslo", "tags": []}, ""),
    ],
)
def test_fault_of_a_value_names_its_place(value: object, fault: str) -> None:
    fields = json.loads(PLACE)
    fields["properties"]["tags"] = {"type": "array", "items": {"enum": ["a"]}, "maxItems": 2}
    assert find_fault(value, canonical_schema(fields), "x") == fault


def test_items_of_a_tuple_and_counts_of_properties() -> None:
    pair = canonical_schema({"prefixItems": [{"type": "integer"}, {"type": "string"}], "type": "array"})
    assert is_of_schema([1, "a"], pair)
    assert not is_of_schema([1], pair)
    assert not is_of_schema(["a", 1], pair)
    assert find_fault([1, 2], pair, "x") == "x.1: expected string, found integer"
    assert find_fault([1, "a", 2], pair, "x") == "x: expected another number of items, found 3"
    some = canonical_schema({"type": "object", "minProperties": 1, "maxProperties": 2})
    assert [is_of_schema(dict.fromkeys(names), some) for names in ("", "a", "ab", "abc")] == [False, True, True, False]
    assert find_fault({}, some, "x") == "x: expected another number of properties, found 0"
