"""What JSON a template stands for."""

import pytest

from cloud_service.answer.json_template import Schema, read_template, schema_of_words

TEXT: Schema = {"type": ["string", "null"]}
NUMBER: Schema = {"type": ["number", "null"]}
DATE: Schema = {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("words", "schema"),
    [
        ("string", TEXT),
        ("an integer", {"type": ["integer", "null"]}),
        ("integer from 1 to 10", {"type": ["integer", "null"]}),
        ("float", NUMBER),
        ("true or false", {"type": "boolean"}),
        ("YYYY-MM-DD", DATE),
        ("string, YYYY-MM-DD", DATE),
        ("list of strings", {"type": "array", "items": {"type": "string"}}),
        ("int[]", {"type": "array", "items": {"type": "integer"}}),
        ("list", {"type": "array"}),
        ("string or null", {"type": ["string", "null"]}),
        ("string | number", {"type": ["string", "number", "null"]}),
        ("low | medium | high", {"enum": ["low", "medium", "high"]}),
        ("low or high", {}),  # perhaps the two of several that matter
        ("1 | 2 | 3", {}),  # numbers or texts
        ("number of items", {}),
        ("the city's name", {}),
        ("", {}),
    ],
)
def test_words_say_the_kind_of_a_value(words: str, schema: Schema) -> None:
    assert schema_of_words(words) == schema


@pytest.mark.parametrize(
    ("text", "fields", "is_plain"),
    [
        ('{"a": string, "b": number}', {"a": TEXT, "b": NUMBER}, True),
        ("{a: 'string', b: `number`,}", {"a": TEXT, "b": NUMBER}, True),
        ('{"a": ..., "b": "<b>", "c": ""}', {"a": {}, "b": {}, "c": TEXT}, True),
        ('{\n  "a": "YYYY-MM-DD",  // when it was\n  "b": 0.0  # how much\n}', {"a": DATE, "b": NUMBER}, True),
        (
            '{"a": [string], "b": [], "c": ["x", ...]}',
            {"a": {"type": "array", "items": {"type": "string"}}, "b": {"type": "array"}, "c": {"type": "array"}},
            False,
        ),
        ('{"a": "x" | "y", "b": "x|y"}', {"a": {"enum": ["x", "y"]}, "b": {"enum": ["x", "y"]}}, True),
        ('{"first": "Ada", "born": 1815}', {"first": {}, "born": NUMBER}, False),
        ('{"name": ...}', {"name": {}}, False),
    ],
)
def test_template_has_names_and_kinds(text: str, fields: dict[str, Schema], is_plain: bool) -> None:
    """A sample of one answer leaves doubt: its names may be of that answer alone."""
    found = read_template(f"so: {text}.", 4)
    assert found is not None
    assert found.schema == {"type": "object", "properties": fields, "required": list(fields)}
    assert (found.is_plain, found.end) == (is_plain, 4 + len(text))


@pytest.mark.parametrize(
    "text",
    [
        *("{}", "[]", "[string]", "{city}", "{a: }", "{a: 1, ...}", '{"a": 1', '{"a" 1}', '{"a": 1, "a": 2}'),
        *('{"key1": "value1", "key2": "value2"}', '{"<name>": 1}', '{"a": {"key1": 1, "key2": 2}}'),
        *('[{"a": 1}, {"b": 2}]', '{"a": ' * 2_000, "[" * 2_000, '{"a\nb": 1}', '{"a": "x" | "1"}', "a"),
        "{" + ", ".join(f"a{number}x: string" for number in range(100)) + "}",
    ],
)
def test_what_is_no_template_is_none(text: str) -> None:
    assert read_template(text, 0) is None
