"""Rule: whether a JSON value is of a schema in the normal form of `loragen.contract.json_schema`.

The form of dates, times and ids is left to the grammar that a device writes them by.
"""

import json
from collections.abc import Mapping
from typing import Any

from loragen.contract.number_bounds import is_in_bounds


def is_of_schema(value: object, schema: str) -> bool:
    """Whether parsed JSON is of a schema.

    Args:
        value: Parsed JSON.
        schema: As `canonical_schema` writes it.
    """
    return _fits(value, json.loads(schema))


def _fits(value: object, schema: Mapping[str, Any]) -> bool:
    if "anyOf" in schema:
        return any(_fits(value, each) for each in schema["anyOf"])
    if "enum" in schema:
        return any(_is_same(value, each) for each in schema["enum"])
    match schema.get("type"), value:
        case None, _:
            return True
        case "object", dict():
            return _fits_object(value, schema)
        case "array", list():
            items = schema.get("items", {})
            return _in_bounds(len(value), schema, "Items") and all(_fits(each, items) for each in value)
        case "string", str():
            return _in_bounds(len(value), schema, "Length")
        case ("boolean", bool()) | ("null", None):
            return True
        case ("integer", int()) | ("number", int() | float()):
            return not isinstance(value, bool) and is_in_bounds(value, schema)
    return False


def _is_same(value: object, other: object) -> bool:
    """Whether two values are equal; true is not 1, but 1.0 is."""
    return isinstance(value, bool) is isinstance(other, bool) and value == other


def _fits_object(value: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    properties: Mapping[str, Any] = schema.get("properties", {})
    others: Mapping[str, Any] | None = schema.get("additionalProperties", None if "properties" in schema else {})
    if others is None and not value.keys() <= properties.keys():
        return False
    return set(schema.get("required", ())) <= value.keys() and all(
        _fits(each, properties.get(name, others or {})) for name, each in value.items()
    )


def _in_bounds(count: int, schema: Mapping[str, Any], what: str) -> bool:
    return bool(schema.get(f"min{what}", 0) <= count <= schema.get(f"max{what}", count))
