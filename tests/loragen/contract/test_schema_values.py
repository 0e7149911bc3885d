"""Which values are of a schema: the same as for a published validator."""

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragen.contract.errors import ContractError
from loragen.contract.json_schema import canonical_schema
from loragen.contract.schema_values import is_of_schema
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
