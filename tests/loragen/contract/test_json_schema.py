"""Which JSON Schemas a contract holds, and in what form."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragen.contract.errors import ContractError, FormatError, LimitError
from loragen.contract.json_schema import ANY_OBJECT, canonical_parameters, canonical_schema
from tests.loragen.contract.schemas import SCHEMAS

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "enum", "items", "properties", "anyOf", "$ref", "format"]), inner)
    ),
    max_leaves=10,
)


@given(schema=SCHEMAS | ANYTHING)
def test_any_schema_has_one_normal_form_or_is_refused(schema: object) -> None:
    try:
        text = canonical_schema(schema)
    except ContractError:
        return
    assert canonical_schema(json.loads(text)) == text


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer", "title": "Days", "default": 2}, {"type": "integer"}),
        ({"type": ["string", "null"], "description": "x"}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"const": "a", "type": "string"}, {"enum": ["a"]}),
        ({"enum": [1, True, "1", 1]}, {"enum": [1, True, "1"]}),
        ({"oneOf": [{"type": "null"}, {"type": "null", "title": "x"}]}, {"type": "null"}),
        ({"allOf": [{"type": "null"}], "description": "x"}, {"type": "null"}),
        (True, {}),
        (
            {"type": "object", "properties": {"a": {"type": "null", "enum": None}}, "required": None, "items": None},
            {"properties": {"a": {"type": "null"}}, "type": "object"},
        ),
        ({"const": None}, {"enum": [None]}),
        ({"type": "string", "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"type": "string", "nullable": False, "contentEncoding": "base64"}, {"type": "string"}),
        ({"oneOf": [{"const": "a"}], "discriminator": {"propertyName": "kind"}}, {"enum": ["a"]}),
        (
            {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {"type": "null"}},
            {"additionalProperties": {"type": "null"}, "type": "object"},
        ),
        ({"items": {"type": "null"}, "minItems": 0}, {"items": {"type": "null"}, "type": "array"}),
        ({"type": "string", "format": "password", "maxLength": 500_000}, {"type": "string"}),
        ({"type": "string", "format": ["email"]}, {"type": "string"}),
        ({"type": "string", "format": "email", "minLength": 1}, {"format": "email", "type": "string"}),
        ({"type": "array", "uniqueItems": False}, {"type": "array"}),
        ({"type": "array", "uniqueItems": True, "maxItems": 1}, {"type": "array", "maxItems": 1}),
        (
            {
                "properties": {"a": {}, "b": {}, "c": {}},
                "required": ["c"],
                "anyOf": [{"required": ["a"], "title": "x"}, {"type": "object", "required": ["b"]}],
            },
            {
                "anyOf": [
                    {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "required": ["a", "c"]},
                    {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "required": ["b", "c"]},
                ]
            },
        ),
        (
            {"properties": {"a": {}}, "anyOf": [{"required": ["a"]}]},
            {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        ),
        ({"type": "string", "format": "date", "maxLength": 10}, {"format": "date", "type": "string"}),
        ({"type": "object", "additionalProperties": False}, {"properties": {}, "type": "object"}),
    ],
)
def test_what_only_describes_is_left_out(schema: object, expected: object) -> None:
    assert json.loads(canonical_schema(schema)) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"minimum": 1, "type": ["integer", "null"]}, '{"anyOf":[{"minimum":1,"type":"integer"},{"type":"null"}]}'),
        ({"exclusiveMinimum": 0}, '{"exclusiveMinimum":0,"type":"number"}'),
        ({"type": "string", "maxLength": 5_000}, '{"maxLength":5000,"type":"string"}'),
        ({"enum": [0.5, 1, 1.0]}, '{"enum":[0.5,1,1.0]}'),
        (
            {"type": "object", "additionalProperties": {"type": "string", "title": "x"}},
            '{"additionalProperties":{"type":"string"},"type":"object"}',
        ),
        (
            {"properties": {"a": {}}, "additionalProperties": {"type": "null"}},
            '{"additionalProperties":{"type":"null"},"properties":{"a":{}},"type":"object"}',
        ),
        ({"properties": {"a": {}}, "additionalProperties": {"title": "x"}}, '{"properties":{"a":{}},"type":"object"}'),
        ({"format": "email", "maxLength": 99}, '{"format":"email","maxLength":99,"type":"string"}'),
        ({"format": "uri", "pattern": "^https:"}, '{"format":"uri","pattern":"^https:","type":"string"}'),
        ({"pattern": "^[a-z]+.$", "maxLength": 9}, '{"maxLength":9,"pattern":"^[a-z]+.$","type":"string"}'),
        ({"pattern": "^(?=a)..$"}, '{"pattern":"^(?=a)..$","type":"string"}'),
        (
            {"propertyNames": {"format": "uuid"}, "additionalProperties": {"type": "null"}},
            '{"additionalProperties":{"type":"null"},"propertyNames":{"format":"uuid","type":"string"},"type":"object"}',
        ),
        ({"type": "string", "enum": ["a", 1, None]}, '{"enum":["a"]}'),
        ({"type": ["integer", "null"], "enum": ["a", 1, 2.0, 2.5, True, None]}, '{"enum":[1,2.0,null]}'),
        ({"type": "boolean", "enum": [1, True]}, '{"enum":[true]}'),
        (
            {"patternProperties": {"^a": {"type": "null"}}, "additionalProperties": False},
            '{"additionalProperties":{"type":"null"},"propertyNames":{"pattern":"^a","type":"string"},"type":"object"}',
        ),
        (
            {"propertyNames": {"minLength": 1}, "properties": {}},
            '{"propertyNames":{"minLength":1,"type":"string"},"type":"object"}',
        ),
    ],
)
def test_what_a_grammar_holds_stays(schema: object, expected: str) -> None:
    assert canonical_schema(schema) == expected


def test_pattern_that_is_compared_with_texts_too_slowly_is_refused() -> None:
    with pytest.raises(LimitError, match=r"schema\.pattern: expected texts that are told apart"):
        canonical_schema({"pattern": "^(a|b)*a(a|b){20}$"})


def test_bound_of_very_many_digits_is_cut_in_the_message() -> None:
    with pytest.raises(LimitError) as caught:
        canonical_schema({"type": "string", "minLength": 10**3_000})
    assert len(str(caught.value)) < 200


def test_references_are_put_in_place_and_properties_keep_their_order() -> None:
    schema = {
        "type": "object",
        "required": ["a", "b"],
        "properties": {"b": {"$ref": "#/$defs/Unit", "description": "the unit"}, "a": {"type": "null"}},
        "$defs": {"Unit": {"type": "string", "enum": ["c", "f"]}},
    }
    assert canonical_schema(schema) == (
        '{"properties":{"b":{"enum":["c","f"]},"a":{"type":"null"}},"required":["b","a"],"type":"object"}'
    )


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"properties": {"a": {"pattern": "(a*)+"}}}, r"schema.properties.a.pattern: expected no repetition"),
        ({"pattern": "(?=a)"}, "schema.pattern: groups with"),
        ({"pattern": "^a+$", "format": "email"}, "schema.pattern: expected a text that is of the pattern, the format"),
        ({"format": "email", "maxLength": 5}, "schema.format: expected a text that is of the pattern, the format"),
        ({"pattern": "^a{3}$", "minLength": 4}, "schema.pattern: expected a text that is of the pattern"),
        ({"propertyNames": {"type": "integer"}}, "'propertyNames' is not supported, but of texts"),
        ({"propertyNames": {"format": "email"}, "properties": {"a": {}}}, "'propertyNames' is not supported beside"),
        ({"pattern": 3}, "schema.pattern: expected a text"),
        ({"type": "string", "enum": [1]}, "schema.enum: expected values of the type"),
        ({"patternProperties": {"a": {}, "b": {}}}, "'patternProperties' is not supported, but with one pattern"),
        ({"patternProperties": {"a": {}}, "properties": {"b": {}}}, "'patternProperties' is not supported, but with"),
        ({"not": {}}, "'not'"),
        ({"type": "array", "prefixItems": []}, "prefixItems: expected a list"),
        ({"type": "array", "prefixItems": [{}], "minItems": 2}, "as many items as 'prefixItems' has, 1"),
        ({"type": "array", "prefixItems": [{}, {}], "maxItems": 1}, "as many items as 'prefixItems' has, 2"),
        ({"type": "object", "additionalProperties": {"pattern": "("}}, "schema.additionalProperties.pattern"),
        ({"type": "object", "minProperties": 2}, "'minProperties' is not supported: a device does not count"),
        ({"properties": {"a": {}}, "minProperties": 1}, "'minProperties' is not supported"),
        ({"properties": {"a": {}, "b": {}}, "maxProperties": 1}, "'maxProperties' is not supported"),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "null"}, "maxProperties": 9}, "'maxProperties'"),
        ({"properties": {}, "minProperties": 1}, "'minProperties'"),
        ({"type": "object", "maxProperties": 0}, "maxProperties: expected at least 1"),
        ({"properties": {"a": {"type": "array", "uniqueItems": True}}}, "schema.properties.a: 'uniqueItems'"),
        ({"properties": {"a": {"type": "integer", "multipleOf": 7}}}, "schema.properties.a.multipleOf"),
        ({"type": "string", "minimum": 1}, "'minimum' is not supported for type 'string'"),
        ({"type": "object", "properties": {}, "required": ["x"]}, r"required: 'x'"),
        ({"type": "array", "uniqueItems": True, "maxItems": 2}, "'uniqueItems' is not supported where more than one"),
        ({"type": "object", "properties": {}, "anyOf": [{}]}, "schema.anyOf.0: 'anyOf' is not supported beside"),
        ({"properties": {"a": {}}, "anyOf": [{"required": ["a"], "minProperties": 1}]}, "'minProperties' is not supp"),
        ({"properties": {"a": {}}, "anyOf": [{"required": "a"}]}, "schema.anyOf.0: 'anyOf' is not supported beside"),
        ({"properties": {"a": {}}, "anyOf": [{"required": ["b"]}]}, "required: 'b' is not among the properties"),
        ({"properties": {"a": {}}, "anyOf": [3]}, "schema.anyOf.0: expected a JSON Schema"),
        ({"properties": {"a": {}}, "anyOf": []}, "expected a list of schemas"),
        ({"properties": {"a": {}}, "oneOf": [{"required": ["a"]}]}, "'properties' is not supported beside 'oneOf'"),
        ({"allOf": [{}, {}]}, "'allOf'"),
        ({"type": "text"}, "expected one of"),
        ({"enum": []}, "list of values"),
        ({"enum": [float("inf")]}, "finite"),
        ({"enum": [[]]}, "found list"),
        ({"enum": ["\ud800"]}, "surrogate"),
        ({"type": "string", "minLength": -1}, "minLength"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "minItems"),
        ({"$ref": "http://example.org/schema"}, "expected '#/"),
        ({"$ref": "#/$defs/a", "$defs": {"b": {}}}, "not defined"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, "contains itself"),
        (3, "found int"),
        ({"type": "array", "items": [3]}, "schema.prefixItems.0: expected a JSON Schema, found int"),
    ],
)
def test_what_no_grammar_enforces_is_refused_by_name(schema: object, found: str) -> None:
    with pytest.raises(FormatError, match=found):
        canonical_schema(schema)


def _nested(levels: int) -> dict[str, Any]:
    return {"type": "array", "items": _nested(levels - 1)} if levels else {"type": "null"}


def test_limits() -> None:
    bomb = {"$ref": "#/$defs/d9", "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 9} for n in range(10)}}
    bomb["$defs"]["d0"] = {"type": "null"}  # type: ignore[index]
    for schema in (
        _nested(17),
        bomb,
        {"enum": [str(number) for number in range(5_000)]},
        {"enum": ["x" * 401]},
        {"type": "string", "minLength": 65_537},
        {"type": "array", "maxItems": 257},
        {"properties": {str(number): {"type": "string", "maxLength": 256} for number in range(40)}},
        {"properties": {str(number): {} for number in range(65)}},
    ):
        with pytest.raises(LimitError):
            canonical_schema(schema)


def test_parameters_are_those_of_an_object_or_none() -> None:
    assert [canonical_parameters(each) for each in (None, {}, {"type": "object", "properties": {}})] == [""] * 3
    assert canonical_parameters(json.loads(ANY_OBJECT)) == ""
    assert canonical_parameters({"properties": {"a": {}}}) == '{"properties":{"a":{}},"type":"object"}'
    for schema in ({"type": "string"}, {"anyOf": [{"type": "object"}, {"type": "null"}]}, [], "x"):
        with pytest.raises(FormatError):
            canonical_parameters(schema)


def test_items_that_may_be_anything_are_left_out_however_they_are_written() -> None:
    for items in (True, {}, {"anyOf": [{}]}, {"description": "anything"}):
        assert canonical_schema({"type": "array", "items": items}) == '{"type":"array"}'


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"pattern": "^[a-z]+$", "maxLength": 9}, '{"maxLength":9,"pattern":"^[a-z]+$","type":"string"}'),
        ({"type": ["string", "null"], "pattern": "a"}, '{"anyOf":[{"pattern":"a","type":"string"},{"type":"null"}]}'),
        (
            {"type": "array", "prefixItems": [{"type": "null"}, {}], "maxItems": 2},
            '{"maxItems":2,"minItems":2,"prefixItems":[{"type":"null"},{}],"type":"array"}',
        ),
        (
            {"type": "array", "items": [{"type": "null"}], "additionalItems": False},
            '{"maxItems":1,"minItems":1,"prefixItems":[{"type":"null"}],"type":"array"}',
        ),
        (
            {"type": "object", "minProperties": 1, "maxProperties": 3},
            '{"maxProperties":3,"minProperties":1,"type":"object"}',
        ),
        (
            {"properties": {"a": {}}, "required": ["a"], "minProperties": 1, "maxProperties": 1},
            '{"properties":{"a":{}},"required":["a"],"type":"object"}',
        ),
        (
            {"type": "object", "propertyNames": {"$ref": "#/$defs/K"}, "additionalProperties": {"type": "null"}}
            | {"$defs": {"K": {"enum": ["a", "b"], "type": "string"}}},
            '{"properties":{"a":{"type":"null"},"b":{"type":"null"}},"type":"object"}',
        ),
        ({"anyOf": [{"not": {}}, {"type": "null"}]}, '{"type":"null"}'),
    ],
)
def test_what_libraries_of_clients_write_is_held(schema: object, expected: str) -> None:
    """Tuples, records of an enum's names, patterns and their lengths, and zod's undefined."""
    assert canonical_schema(schema) == expected
    assert canonical_schema(json.loads(expected)) == expected


def test_pattern_may_be_as_long_as_its_own_limit() -> None:
    longest = "|".join("é" * 511) + "|é"
    assert json.loads(canonical_schema({"pattern": longest}))["pattern"] == longest
    with pytest.raises(LimitError, match="1024 characters"):
        canonical_schema({"pattern": f"{longest}aa"})
