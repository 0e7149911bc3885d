"""Rule: which JSON values are of a schema in the normal form of `json_schema`, and why others are not."""

import json
from collections.abc import Mapping
from itertools import chain
from typing import Any

from loragen.contract.limits import MAX_CHOICES
from loragen.contract.number_bounds import is_in_bounds
from loragen.contract.schema_texts import is_plain, takes_text

_LENGTHS = ("minLength", "maxLength")


def is_of_schema(value: object, schema: str) -> bool:
    """Whether parsed JSON is of a schema.

    Args:
        value: Parsed JSON.
        schema: As `canonical_schema` writes it.
    """
    return _fits(value, json.loads(schema))


def find_fault(value: object, schema: str, place: str) -> str:
    """What keeps parsed JSON from being of a schema, with its place in the value; empty when it is.

    Args:
        value: Parsed JSON.
        schema: As `canonical_schema` writes it.
        place: What the value is called.
    """
    return _fault(value, json.loads(schema), place)


def closed_values(schema: str) -> tuple[tuple[str, str], ...]:
    """The values of a schema that leaves one label open and nothing else; empty for any other schema.

    Returns:
        Of each value the label, and the JSON that a device writes: `("billing", '{"desk": "billing"}')`.
    """
    values = _closed(json.loads(schema))
    if not 1 < len(values) <= MAX_CHOICES:
        return ()
    return tuple((label, json.dumps(value, ensure_ascii=False)) for label, value in values)


def _closed(schema: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Label and value of all values; empty where there are others too."""
    match schema:
        case {"enum": values}:
            return [(each if isinstance(each, str) else json.dumps(each), each) for each in values]
        case {"anyOf": parts}:
            found = [_closed(part) for part in parts]
            return list(chain(*found)) if all(found) else []
        case {"type": "boolean"}:
            return [("true", True), ("false", False)]
        case {"type": "null"}:
            return [("null", None)]
        case {"type": "object", "properties": properties, "required": required} if len(required) == len(properties):
            if "additionalProperties" in schema:
                return []
            members = {name: _closed(part) for name, part in properties.items()}
            choices = [name for name, values in members.items() if len(values) != 1]
            if len(choices) > 1 or not all(members.values()):
                return []
            first = {name: values[0][1] for name, values in members.items()}  # in the order of the properties
            if not choices:
                return [(json.dumps(first), first)]
            return [(label, {**first, choices[0]: value}) for label, value in members[choices[0]]]
    return []


def _fault(value: object, schema: Mapping[str, Any], place: str) -> str:
    if _fits(value, schema):
        return ""
    kind = schema.get("type")
    if kind == "object" and isinstance(value, dict):
        return _fault_of_object(value, schema, place)
    if kind == "array" and isinstance(value, list):
        faults = (
            _fault(each, part, f"{place}.{number}")
            for number, (each, part) in enumerate(zip(value, _parts_of(schema, len(value)), strict=False))
        )
        return next(filter(None, faults), f"{place}: expected another number of items, found {len(value)}")
    if "enum" in schema:
        return f"{place}: expected one of the values of its enum"
    if kind is None:
        return f"{place}: expected a value of one of the schemas of its anyOf"
    if kind == "string" and isinstance(value, str):
        return f"{place}: expected {_text_name(schema)}"
    bounds = "" if len(schema) == 1 or kind != _type_name(value) else " within its bounds"
    return f"{place}: expected {kind}{bounds}, found {_type_name(value)}"


def _fault_of_object(value: Mapping[str, Any], schema: Mapping[str, Any], place: str) -> str:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    if missing := [name for name in schema.get("required", ()) if name not in value]:
        return f"{place}: expected {ascii(missing[0])[:64]}, which is required"
    for name, each in value.items():
        if fault := _fault(name, schema.get("propertyNames", {}), f"{place}: the name {ascii(name)[:64]}"):
            return fault
        if name not in properties and others is None and "properties" in schema:
            return f"{place}: expected no {ascii(name)[:64]}, which its schema does not have"
        if fault := _fault(each, properties.get(name, others or {}), f"{place}.{ascii(name)[1:-1][:64]}"):
            return fault
    return f"{place}: expected another number of properties, found {len(value)}"


def _text_name(schema: Mapping[str, Any]) -> str:
    """What a text should be, in words."""
    length = "a length of " + " and ".join(
        f"{word} {schema[key]}" for key, word in (("minLength", "at least"), ("maxLength", "at most")) if key in schema
    )
    parts = [f"the format {schema['format']}"] if "format" in schema else []
    parts += [f"the pattern {ascii(schema['pattern'])[:80]}"] if "pattern" in schema else []
    return "a text of " + ", ".join([*parts, *([length] if not schema.keys().isdisjoint(_LENGTHS) else [])])


def _type_name(value: object) -> str:
    return {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", type(None): "null"}.get(
        type(value), "number"
    )


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
            parts = _parts_of(schema, len(value))
            return _in_bounds(len(value), schema, "Items") and all(map(_fits, value, parts))
        case "string", str():
            return _in_bounds(len(value), schema, "Length") if is_plain(schema) else takes_text(schema, value)
        case ("boolean", bool()) | ("null", None):
            return True
        case ("integer", int()) | ("number", int() | float()):
            return not isinstance(value, bool) and is_in_bounds(value, schema)
    return False


def _parts_of(schema: Mapping[str, Any], count: int) -> list[Mapping[str, Any]]:
    """The schema of each item of an array."""
    parts: list[Mapping[str, Any]] = schema.get("prefixItems", [schema.get("items", {})] * count)
    return parts


def _is_same(value: object, other: object) -> bool:
    """Whether two values are equal; true is not 1, but 1.0 is."""
    return isinstance(value, bool) is isinstance(other, bool) and value == other


def _fits_object(value: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    properties: Mapping[str, Any] = schema.get("properties", {})
    others: Mapping[str, Any] | None = schema.get("additionalProperties", None if "properties" in schema else {})
    if others is None and not value.keys() <= properties.keys():
        return False
    if not _in_bounds(len(value), schema, "Properties"):
        return False
    if "propertyNames" in schema and not all(_fits(name, schema["propertyNames"]) for name in value):
        return False
    return set(schema.get("required", ())) <= value.keys() and all(
        _fits(each, properties.get(name, others or {})) for name, each in value.items()
    )


def _in_bounds(count: int, schema: Mapping[str, Any], what: str) -> bool:
    return bool(schema.get(f"min{what}", 0) <= count <= schema.get(f"max{what}", count))
