"""Adapter: a grammar for llama.cpp's sampler from a JSON Schema of an answer contract, by llama-cpp-python's converter.

The converter is made stricter, so that whatever follows the grammar is JSON, and in one spacing, that of Python's
`json.dumps`: a model cannot go on writing white space. Which schemas there are is `loragen.contract.json_schema`'s.
"""

import json
from collections.abc import Set
from typing import Any

from llama_cpp.llama_grammar import PRIMITIVE_RULES, SchemaConverter

from edge_runtime.serving.number_grammar import decimals_between
from edge_runtime.serving.pattern_grammar import BLOCK, repeated_character, rules_of, texts_of
from loragen.contract.number_bounds import written_range
from loragen.contract.schema_texts import is_plain, written_texts

_ANY = {"type": "any"}
"""Stands for the schema of any value: the converter takes an empty schema for an object, or for none at all."""

_PLAIN = r'"\\\x00-\x1F\x7F'
"""What does not stand for itself in a text: JSON wants control characters escaped."""

_HEX = "[0-9a-fA-F]"
_CHARACTER = f"""[^{_PLAIN}] | "\\\\" (["\\\\/bfnrt] | "u" ([0-9abcefABCEF] {_HEX} | [dD] [0-7]) {_HEX} {_HEX})"""
"""Without halves of surrogate pairs: one alone is no Unicode, and two are one character, which a length counts once."""

_NUMBER = '("-"? integral-part) ("." decimal-part)? ([eE] [-+]? [0-9] [0-9]?)? space'
"""With two digits of the exponent at most, so that it is finite: many readers take 1e999 for infinity or refuse it."""


def grammar_of(schema: str, beginning: str = "") -> str:
    """The grammar of JSON values of a schema, in GBNF.

    Args:
        schema: As `loragen.contract.json_schema.canonical_schema` writes it.
        beginning: What stands in front of the value.
    """
    converter = _StrictConverter()
    answer = converter.visit(json.loads(schema), "answer")
    return converter.grammar(f'"{beginning}" {answer}' if beginning else answer)


class _StrictConverter(SchemaConverter):
    def __init__(self) -> None:
        super().__init__(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
        # Rules of its own come first: a property may have the name of one.
        self._rules |= {name: rule.content for name, rule in PRIMITIVE_RULES.items()}
        self._texts: dict[str, str] = {}  # names of rules for patterns and formats

    def visit(self, schema: dict[str, Any], name: str) -> str:
        """The name of the rule for a schema."""
        if schema in ({}, _ANY):
            return str(self._add_rule(name, "value"))
        kind = schema.get("type")
        if kind in ("number", "integer") and len(schema) > 1:
            return str(self._add_rule(name, decimals_between(written_range(schema))))
        if kind == "string" and not is_plain(schema):
            return self._patterned(schema)
        if "prefixItems" in schema:
            items = [self.visit(each, f"{name}-{number}") for number, each in enumerate(schema["prefixItems"])]
            return str(self._add_rule(name, '"[" {} "]"'.format(' ", " '.join(items))))
        if not {"minProperties", "maxProperties", "propertyNames"}.isdisjoint(schema):
            return str(self._add_rule(name, self._counted_object(schema, name)))
        if kind == "string" and not {"minLength", "maxLength"}.isdisjoint(schema):
            block = self._add_rule("char-block", f"char{{{BLOCK}}}")
            text = repeated_character("char", block, schema.get("minLength", 0), schema.get("maxLength"))
            return str(self._add_rule(name, rf'"\"" {text} "\""'))
        if kind == "array" and not schema.get("items"):
            schema = {**schema, "items": _ANY}
        return str(super().visit(schema, name))

    def _patterned(self, schema: dict[str, Any]) -> str:
        """The rule of a text with a pattern or a format; equal ones have one."""
        key = json.dumps(schema, sort_keys=True)
        if key not in self._texts:
            name = self._texts[key] = f"text-{len(self._texts)}"
            written = written_texts(schema)
            if isinstance(written, tuple):
                self._rules |= rules_of(written, f"{name}-")
                self._rules[name] = rf'"\"" {name}-0 "\""'
            else:
                self._rules[name] = rf'"\"" {texts_of(written)} "\""'
        return self._texts[key]

    def _format_literal(self, literal: str) -> str:
        # It comes as JSON in ASCII. The model writes letters as they are, and what JSON escapes needs two backslashes.
        text = json.dumps(json.loads(literal), ensure_ascii=False)
        return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))

    def _counted_object(self, schema: dict[str, Any], name: str) -> str:
        """An object of any names, or of such names, so many of them."""
        if "propertyNames" in schema:
            names = self.visit(schema["propertyNames"], f"{name}-names")
            value = self.visit(schema.get("additionalProperties", {}), f"{name}-others")
            pair = str(self._add_rule(f"{name}-pair", f'{names} ": " {value}'))
        else:
            pair = self._other_pair(set(), schema.get("additionalProperties", {}), name)
        most = schema.get("maxProperties")
        pairs = f'{pair} (", " {pair}){"*" if most is None else f"{{0,{most - 1}}}"}'
        return f'"{{" {pairs} "}}"' if schema.get("minProperties") else f'"{{" ({pairs})? "}}"'

    def _other_pair(self, known: Set[str], others: dict[str, Any], name: str) -> str:
        value = self.visit(others, f"{name}-others")
        return str(self._add_rule(f"{name}-others-pair", rf'"\"" {_other_text(known | {""})} "\": " {value}'))

    def _build_object_rule(
        self, properties: list[tuple[str, Any]], required: set[str], name: str, others: dict[str, Any] | None
    ) -> str:
        # The library's own rule has all required properties first; here each stands in its place.
        first = rest = '""'  # of what follows: with nothing in front of it, and with a property
        if others:
            pair = self._other_pair({key for key, _ in properties}, others, name)
            first, rest = f'({pair} (", " {pair})*)?', f'(", " {pair})*'
        for key, schema in reversed(properties):
            value = self.visit(schema, f"{name}-{key}")
            pair = self._add_rule(f"{name}-{key}-pair", f'{self._format_literal(json.dumps(key))} ": " {value}')
            first = self._add_rule(f"{name}-{key}-first", first)
            rest = self._add_rule(f"{name}-{key}-rest", rest)
            first, rest = (
                f"{pair} {rest}" + ("" if key in required else f" | {first}"),
                f'", " {pair} {rest}' + ("" if key in required else f" | {rest}"),
            )
        return f'"{{" ({first}) "}}"'

    def grammar(self, root: str) -> str:
        """All rules; `root` is the content of the first."""
        rules = self._rules | {"char": _CHARACTER, "number": _NUMBER, "space": '""', "root": root}
        text = "\n".join(f"{name} ::= {rule}" for name, rule in rules.items())
        # No text of the schema has these quotes, for in a literal they are escaped.
        return text.replace('":" space', '": "').replace('"," space', '", "')


def _other_text(texts: Set[str]) -> str:
    """An expression for all texts without escapes but these."""
    after: dict[str, set[str]] = {}
    for text in texts - {""}:
        after.setdefault(text[0], set()).add(text[1:])
    letters = "".join(f"\\U{ord(letter):08x}" for letter in after)
    parts = [f"[^{_PLAIN}{letters}] [^{_PLAIN}]*"]
    parts += [f'"\\U{ord(letter):08x}" {_other_text(rest)}' for letter, rest in after.items()]
    # An operator such as ? counts all rules inside, and llama.cpp takes some thousand of them.
    parts += [] if "" in texts else ['""']
    return f"({' | '.join(parts)})"
