"""Every schema of a contract has a grammar, and what follows the grammar is JSON of the schema."""

import ctypes
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

import jsonschema_rs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from cloud_service.answer.written_answers import answer_pattern
from edge_runtime.errors import ModelOutputError
from edge_runtime.serving.engine import Sampling
from edge_runtime.serving.grammar import grammar_of
from edge_runtime.serving.llama import LlamaLoader
from edge_runtime.serving.llama_model import LlamaModel
from edge_runtime.serving.sampler import Grammars, TokenSampler
from loragen.contract.answer import contract_of
from loragen.contract.errors import ContractError
from loragen.contract.json_schema import canonical_schema
from loragen.contract.text_formats import PATTERN_OF_FORMAT
from tests.loragen.contract.schemas import SCHEMAS

LONGEST = 250


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> Iterator[LlamaModel]:
    LlamaLoader(64, 1)
    made = LlamaModel(tiny_base, 0)
    yield made
    made.close()


def written(model: LlamaModel, schema: str, seed: int) -> tuple[str, bool]:
    """What a model of random opinions writes, and whether it is whole."""
    rng, grammars = np.random.default_rng(seed), Grammars(model)
    sampler = TokenSampler(model, Sampling(schema=schema, seed=seed), grammars)
    text = b""
    try:
        for _ in range(LONGEST):
            # Whoever likes to close what is open comes to an end.
            logits = rng.standard_normal(model.vocab_size).astype(np.float32)
            for closing in b'"}]':
                logits[model.tokens_of[bytes([closing])]] += 6
            logits[model.ends] += 6
            token = sampler.choose(logits)
            if token in model.ends:
                break
            sampler.accept(token)
            text += model.piece(token)
            if sampler.must_end():
                break
        return text.decode("utf-8", "replace"), sampler.may_end
    finally:
        sampler.close()
        grammars.close()


@given(schema=SCHEMAS)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_every_schema_that_a_contract_takes_has_a_grammar_whose_texts_are_of_it(
    model: LlamaModel, schema: object
) -> None:
    try:
        normal = canonical_schema(schema)
    except ContractError:
        return
    text, is_whole = written(model, normal, random.Random(normal).randrange(2**31))
    if is_whole:
        value = json.loads(text)
        jsonschema_rs.validator_for(json.loads(normal)).validate(value)
        probed = answer_pattern(contract_of({"type": "json", "schema": json.loads(normal)}))
        assert probed is not None
        assert probed.fullmatch(text), "the cloud's probe takes fewer texts than a device writes"


def test_white_space_is_that_of_python(model: LlamaModel) -> None:
    schema = canonical_schema(
        {
            "type": "object",
            "properties": {"a b": {"type": "array", "items": {"enum": ["größe", 'q"\\', 1, None]}, "minItems": 3}},
            "required": ["a b"],
        }
    )
    for seed in range(4):
        text, is_whole = written(model, schema, seed)
        assert is_whole
        assert json.dumps(json.loads(text), ensure_ascii=False) == text


def test_numbers_are_finite(model: LlamaModel) -> None:
    whole = [text for text, is_whole in (written(model, '{"type":"number"}', seed) for seed in range(200)) if is_whole]
    assert any("e" in text.lower() for text in whole)
    assert all(math.isfinite(float(text)) for text in whole)


def test_properties_come_in_their_order_and_optional_ones_may_be_missing(model: LlamaModel) -> None:
    names = ["a", "b", "c", "d"]
    properties = {name: {"type": "null"} for name in names}
    schema = canonical_schema({"type": "object", "properties": properties, "required": ["b", "d"]})
    found = {written(model, schema, seed) for seed in range(40)}
    keys = {tuple(json.loads(text)) for text, is_whole in found if is_whole}
    assert keys == {("a", "b", "c", "d"), ("a", "b", "d"), ("b", "c", "d"), ("b", "d")}


def test_largest_bounds_compile(model: LlamaModel) -> None:
    grammars = Grammars(model)
    for schema in (
        {"type": "string", "minLength": 65_535, "maxLength": 65_536},
        {"type": "string", "maxLength": 65_536},
        {"type": "array", "items": {"type": "string"}, "maxItems": 256},
        {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(64)}},
        {"enum": [f"{number}{'x' * 300}" for number in range(256)]},
    ):
        sampler = grammars.start(canonical_schema(schema), " ")
        assert ctypes.cast(sampler, ctypes.c_void_p).value
        import llama_cpp

        llama_cpp.llama_sampler_free(sampler)
    grammars.close()


MANY_RANGES = "".join(chr(0x1000 + 2 * number) for number in range(990))
LONGEST_PATTERNS = [
    {"pattern": "^[a-z]+$", "minLength": 3_000},
    {"pattern": "^[a-z]+$", "maxLength": 3_000},
    {"pattern": "^[a-z]+$", "minLength": 65_535, "maxLength": 65_536},
    {"pattern": "^[a-z]*$", "maxLength": 0},
    {"pattern": f"^x[{MANY_RANGES}]+$", "minLength": 2, "maxLength": 65_536},
    {"pattern": f"^[{MANY_RANGES}]{{256}}$"},
    {"pattern": "^" + "".join(f"{each}{{250}}" for each in "ab") + "$"},
    {"pattern": "^" + "x" * 500 + "$"},
    {"pattern": "^" + "|".join("(ab)?" for _ in range(100)) + "$"},
    {"pattern": "^(((ab?){7}c){7}d){2}$"},
    {"pattern": "^" + "(" * 15 + "a" + ")?" * 15 + "$"},
    {"pattern": "^a()?$"},
    {"pattern": "^(a{0})?$"},
    {"pattern": "^((a{0}()|b{0}){0,1})?$"},
    {"pattern": "^(|a)?(a|b?)?$"},
]


@pytest.mark.parametrize("form", PATTERN_OF_FORMAT)
def test_every_field_of_a_schema_may_have_a_format(model: LlamaModel, form: str) -> None:
    """Equal texts are spelled once, so they do not cost a field each; and each format has an end."""
    schema = canonical_schema({"properties": {f"p{number}": {"format": form} for number in range(64)}})
    grammars = Grammars(model)
    sampler = TokenSampler(model, Sampling(schema=schema), grammars)
    assert not sampler.may_end
    sampler.close()
    grammars.close()


@pytest.mark.parametrize("schema", LONGEST_PATTERNS)
def test_patterns_at_the_bounds_of_a_contract_compile(model: LlamaModel, schema: object) -> None:
    grammars = Grammars(model)
    TokenSampler(model, Sampling(schema=canonical_schema(schema)), grammars).close()
    grammars.close()


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": r"^\d{4}-\d{2}-\d{2}to\d{4}-\d{2}-\d{2}$"},
        {"pattern": r"^(foo|bar)\.[a-z0-9_]*$"},
        {"pattern": "^[a-z]+$", "minLength": 3, "maxLength": 9},
        {"pattern": r'^["\\é]{1,4}$'},
        {"pattern": "^b.b$"},
        {"pattern": "^(a+)+b$"},
        {"pattern": r"^[^\s@]{1,4}@[^\s@]{1,4}\.[a-z]{2,3}$"},
        {"prefixItems": [{"type": "boolean"}, {"pattern": "^x$"}, {}], "type": "array"},
        {"type": "object", "minProperties": 1, "maxProperties": 2, "additionalProperties": {"type": "null"}},
        {"type": "object", "maxProperties": 1},
    ],
)
def test_patterns_tuples_and_counted_objects_are_held(model: LlamaModel, schema: object) -> None:
    normal = canonical_schema(schema)
    found = [text for text, is_whole in (written(model, normal, seed) for seed in range(12)) if is_whole]
    assert found
    validator = jsonschema_rs.validator_for(json.loads(normal))
    for text in found:
        validator.validate(json.loads(text))


def test_beginning_stands_in_front() -> None:
    assert '"{" x' not in grammar_of('{"type":"null"}')
    assert 'root ::= " " null' in grammar_of('{"type":"null"}', " ")


_LONG = {"type": "string", "maxLength": 256}
_DEEP: dict[str, object] = {"type": "integer"}
for _ in range(14):
    _DEEP = {"type": "array", "minItems": 256, "maxItems": 256, "items": _DEEP}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"p" * 400: {}, **{f"{number}" * 90: {} for number in range(60)}}, "additionalProperties": {}},
        {"properties": {f"{number} {'p' * 300}": {} for number in range(60)}, "additionalProperties": {"type": "null"}},
        {"properties": {f"p{number}": {"type": "string", "maxLength": 60_000} for number in range(14)}},
        {"properties": {f"p{number}": {"type": "number", "minimum": -7e8, "maximum": 7.77e8} for number in range(64)}},
        {"type": "array", "maxItems": 256, "items": {"type": "number", "minimum": -123456.5, "maximum": 123456.78}},
        {"type": "array", "maxItems": 256, "items": {"type": "array", "maxItems": 256, "items": _LONG}},
        {"properties": {f"p{number}": {"pattern": "^([a-z]{0,250}x?[0-9]{1,200})$"} for number in range(13)}},
        {"type": "array", "maxItems": 256, "items": {"pattern": "^((a|b|[c-z]+){1,30}-?)$"}},
        {"type": "object", "minProperties": 1, "maxProperties": 256},
        _DEEP,
        {"type": "object", "properties": {f"p{number}": {"type": "string", "maxLength": 100} for number in range(64)}},
        {"type": "array", "maxItems": 256, "items": {"enum": [f"value {number}" for number in range(256)]}},
        {"type": "array", "maxItems": 256, "items": {"type": "string", "format": "date-time"}},
    ],
)
def test_largest_schemas_of_a_contract_have_a_grammar(model: LlamaModel, schema: object) -> None:
    """So the limits of a contract, which the cloud checks for every bundle, promise that a device can hold it."""
    grammars = Grammars(model)
    sampler = TokenSampler(model, Sampling(schema=canonical_schema(schema)), grammars)
    assert not sampler.may_end
    sampler.close()
    grammars.close()


def takes(model: LlamaModel, schema: object, text: str) -> bool:
    """Whether the grammar of a schema takes a text."""
    grammars = Grammars(model)
    sampler = TokenSampler(model, Sampling(schema=canonical_schema(schema)), grammars)
    only = np.full(model.vocab_size, -np.inf, np.float32)
    try:
        for token in model.tokenize(text, add_special=False, markup=False):
            logits = only.copy()
            logits[token] = 0
            try:
                sampler.choose(logits)
            except ModelOutputError:
                return False
            sampler.accept(token)
        return sampler.may_end
    finally:
        sampler.close()
        grammars.close()


ZOD_EMAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
"""As zod 4 writes it beside the format."""

CONTAINING = {"ac": True, "xbcx": True, "xabc": True, "c": False, "xxxac": False, '\\"bcx': True}
PASSWORD = r"^(?=.*[A-Z])(?=.*\d).{3,9}$"


@pytest.mark.parametrize(
    ("schema", "text", "fits"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 12}, "12", True),
        ({"type": "integer", "minimum": 1, "maximum": 12}, "13", False),
        ({"type": "integer", "minimum": 1, "maximum": 12}, "0", False),
        ({"type": "number", "minimum": -0.5, "exclusiveMaximum": 1}, "-0.5", True),
        ({"type": "number", "minimum": -0.5, "exclusiveMaximum": 1}, "0.999999", True),
        ({"type": "number", "minimum": -0.5, "exclusiveMaximum": 1}, "1", False),
        ({"enum": [0.5, 1]}, "0.5", True),
        ({"additionalProperties": {"type": "integer"}}, '{"größe": 1, "b": 2}', True),
        ({"additionalProperties": {"type": "integer"}}, '{"a": "x"}', False),
        ({"additionalProperties": {"type": "integer"}}, "{}", True),
        ({"properties": {"ab": {}}, "additionalProperties": {"type": "null"}}, '{"ab": 1, "a": null}', True),
        ({"properties": {"ab": {}}, "additionalProperties": {"type": "null"}}, '{"a": null, "abc": null}', True),
        ({"properties": {"ab": {}}, "additionalProperties": {"type": "null"}}, '{"a": null, "ab": null}', False),
        ({"properties": {"ab": {}}, "additionalProperties": {"type": "null"}}, '{"": null}', False),
        ({"type": "string", "maxLength": 1}, r'"\ud83d\ude00"', False),
        ({"type": "string", "maxLength": 1}, r'"\u00e9"', True),
        ({"type": "string", "format": "email"}, '"first.last@mail.example.com"', True),
        ({"type": "string", "format": "email"}, '"first.last@mail"', False),
        ({"type": "string", "format": "ipv6"}, '"fe80::1:2"', True),
        ({"type": "string", "format": "ipv6"}, '"1:2:3"', False),
        ({"type": "string", "format": "duration"}, '"PT15M"', True),
        ({"type": "string", "format": "duration"}, '"P15"', False),
        ({"type": "string", "format": "uri"}, '"https://example.com/a?b=c"', True),
        ({"type": "string", "format": "uri"}, '"example"', False),
        ({"type": "string", "format": "date"}, '"2024-02-29"', True),
        ({"type": "string", "format": "date"}, '"2026-02-29"', False),
        ({"type": "string", "format": "date-time"}, '"2026-02-28T10:00:00.25Z"', True),
        ({"type": "string", "format": "email", "maxLength": 9}, '"a@bcd.com"', True),
        ({"type": "string", "format": "email", "maxLength": 9}, '"a@bcde.com"', False),
        ({"type": "string", "format": "uri", "pattern": "^https:"}, '"https://a.b"', True),
        ({"type": "string", "format": "uri", "pattern": "^https:"}, '"http://a.b"', False),
        ({"type": "string", "format": "email", "pattern": ZOD_EMAIL}, '"first.last@mail.example.com"', True),
        ({"type": "string", "format": "email", "pattern": ZOD_EMAIL}, '"first..last@mail.example.com"', False),
        *(({"pattern": "[ab]c", "maxLength": 4}, f'"{text}"', fits) for text, fits in CONTAINING.items()),
        *(({"pattern": PASSWORD}, f'"{text}"', fits) for text, fits in {"abcD1": True, "abcd1": False}.items()),
        ({"propertyNames": {"pattern": "^[ab]$"}}, '{"a": 1, "b": "x"}', True),
        ({"propertyNames": {"pattern": "^[ab]$"}}, '{"c": 1}', False),
        ({"propertyNames": {"format": "date"}, "additionalProperties": {"type": "null"}}, '{"2026-01-31": null}', True),
        (
            {"propertyNames": {"format": "date"}, "additionalProperties": {"type": "null"}},
            '{"2026-01-32": null}',
            False,
        ),
        *(({"type": "string", "maxLength": most}, f'"{"x" * most}"', True) for most in (255, 256, 257, 1_000)),
        *(({"type": "string", "maxLength": most}, f'"{"x" * (most + 1)}"', False) for most in (255, 256, 257, 1_000)),
        *(({"pattern": "^x+$", "maxLength": 700}, f'"{"x" * count}"', 0 < count <= 700) for count in (0, 1, 700, 701)),
        *(({"pattern": "^ax*$", "minLength": 300}, f'"a{"x" * count}"', count >= 299) for count in (298, 299, 900)),
        *(({"pattern": "^(x{2})?$"}, f'"{"x" * count}"', count in (0, 2)) for count in range(4)),
        *(({"pattern": "^(x{2}){2}$"}, f'"{"x" * count}"', count == 4) for count in range(6)),
        *(({"pattern": "^((xx?){2})?$"}, f'"{"x" * count}"', count in (0, 2, 3, 4)) for count in range(6)),
        *(({"pattern": "^((x?)?)?()?$"}, f'"{"x" * count}"', count < 2) for count in range(3)),
        *(({"type": "string", "minLength": 300}, f'"{"x" * count}"', count >= 300) for count in (299, 300, 900)),
        *(
            ({"type": "string", "minLength": 300, "maxLength": 600}, f'"{"x" * count}"', 300 <= count <= 600)
            for count in (299, 300, 555, 556, 557, 600, 601)
        ),
    ],
)
def test_grammar_takes_what_the_schema_says(model: LlamaModel, schema: object, text: str, fits: bool) -> None:
    assert takes(model, schema, text) is fits
