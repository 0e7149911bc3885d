"""Rule: which texts a device can write under an answer contract without codes, as a regular expression.

A device holds an answer to a grammar; the cloud knows no llama.cpp. It need not: whoever has an expected answer asks
only whether another token could stand in the place of the next one, and that a partial match of `regex` tells.
The expression takes what the device's grammar takes, in the same spacing, and a little more: bounds of numbers, what a
pattern looks ahead for, and what else holds beside a pattern or a format are not in it. So a probe that uses it may
take an answer for wrong that a device gives.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import regex

from loragen.contract.answer import AnswerContract, Function
from loragen.contract.asked_arguments import ask_for_all
from loragen.contract.limits import MAX_PARALLEL_CALLS
from loragen.contract.text_formats import PATTERN_OF_FORMAT
from loragen.contract.text_pattern import Characters, InOrder, OneOf, Part, Repeated, of_length, parse_pattern

_CHARACTER = r'(?:[^"\\\x00-\x1f\x7f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))'
_TEXT = f'"{_CHARACTER}*+"'
_INTEGER = r"-?(?:0|[1-9]\d{0,15})"
_NUMBER = rf"{_INTEGER}(?:\.\d{{1,16}})?(?:[eE][-+]?\d\d?)?"
_PAIRS = rf"\{{(?:{_TEXT}: (?&any)(?:, {_TEXT}: (?&any))*)?\}}"
_ANY = rf"(?(DEFINE)(?<any>{_TEXT}|{_NUMBER}|true|false|null|\[(?:(?&any)(?:, (?&any))*)?\]|{_PAIRS}))"
_OF_TYPE = {"integer": _INTEGER, "number": _NUMBER, "boolean": "true|false", "null": "null"}
_NEXT = r"(?:(?<=\{)|(?<!\{), )"
"""In front of each property: what separates it from one before it, if there is one."""


@lru_cache(maxsize=8)
def answer_pattern(contract: AnswerContract) -> "regex.Pattern[str] | None":
    """The texts that a device can write; None where it may write any.

    Args:
        contract: One without codes: what the device writes for a code is not up to the model.
    """
    if contract.kind == "text" or contract.codes:
        return None
    if contract.kind == "choice":
        return regex.compile(_one_of(map(regex.escape, contract.choices)))
    if contract.kind == "json":
        return regex.compile(_ANY + _value(json.loads(contract.schema)))
    call = _one_of(map(_call, contract.functions))
    calls = f"{call}(?:\n{call}){{0,{MAX_PARALLEL_CALLS - 1}}}" if contract.parallel else call
    return regex.compile(_ANY + _one_of([calls] if contract.none is None else [calls, regex.escape(contract.none)]))


def written_answer(text: str, contract: AnswerContract) -> str:
    """An expected answer as a device writes it before anything is left out; one that it cannot write as it is."""
    try:
        if contract.kind == "json":
            return _dumps(_in_order(json.loads(text), json.loads(contract.schema)))
        if contract.kind == "tool_calls" and text != contract.none:
            functions = {each.name: each for each in contract.functions}
            return "\n".join(_written_call(json.loads(line), functions) for line in text.split("\n"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return text


def _written_call(call: Mapping[str, Any], functions: Mapping[str, Function]) -> str:
    arguments = call.get("arguments") or {}
    if parameters := functions[call["name"]].parameters:
        schema, optional = ask_for_all(parameters)
        asked = json.loads(schema)
        given = {name: arguments.get(name) for name in asked["properties"] if name in arguments or name in optional}
        arguments = _in_order(given | arguments, asked)
    return _dumps({"name": call["name"], "arguments": arguments})


def _in_order(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value with the properties of its objects in the order of the schema; those of a union stay as they are."""
    if isinstance(value, dict):
        parts = schema.get("properties", {})
        names = [*(name for name in parts if name in value), *(name for name in value if name not in parts)]
        return {name: _in_order(value[name], parts.get(name, {})) for name in names}
    if isinstance(value, list):
        return [_in_order(each, schema.get("items", {})) for each in value]
    return value


def _call(function: Function) -> str:
    schema = json.loads(ask_for_all(function.parameters)[0]) if function.parameters else {"properties": {}}
    beginning = regex.escape(f'{{"name": {json.dumps(function.name)}, "arguments": ')
    return rf"{beginning}{_value({'type': 'object', **schema})}\}}"


def _value(schema: Mapping[str, Any]) -> str:
    match schema:
        case {"anyOf": parts}:
            return _one_of(map(_value, parts))
        case {"enum": values}:
            return _one_of(regex.escape(_dumps(value)) for value in values)
        case {"type": "object"}:
            return _object(schema)
        case {"prefixItems": parts}:
            return rf"\[{', '.join(map(_value, parts))}\]"
        case {"type": "array"}:
            return rf"\[{_repeated(_value(schema.get('items', {})), schema, 'Items')}\]"
        case {"pattern": pattern}:
            found = parse_pattern(pattern).part
            part = of_length(found, schema.get("minLength", 0), schema.get("maxLength"))
            return f'"{_texts(found if part is None else part)}"'
        case {"format": form}:
            return f'"{_texts(parse_pattern(PATTERN_OF_FORMAT[form]).part)}"'
        case {"type": "string"}:
            return f'"{_CHARACTER}{{{schema.get("minLength", 0)},{schema.get("maxLength", "")}}}"'
        case {"type": kind}:
            return f"(?:{_OF_TYPE[kind]})"
    return "(?&any)"


def _object(schema: Mapping[str, Any]) -> str:
    properties, required = schema.get("properties"), schema.get("required", ())
    others = schema.get("additionalProperties", None if properties is not None else {})
    pairs = ""
    for name, part in (properties or {}).items():
        pair = f"{_NEXT}{regex.escape(_dumps(name))}: {_value(part)}"
        pairs += pair if name in required else f"(?:{pair})?"
    if others is None:
        return rf"\{{{pairs}\}}"
    other = f"{_value(schema['propertyNames']) if 'propertyNames' in schema else _TEXT}: {_value(others)}"
    if not properties:
        return rf"\{{{_repeated(other, schema, 'Properties')}\}}"
    return rf"\{{{pairs}(?:{_NEXT}{other})*\}}"


def _repeated(part: str, schema: Mapping[str, Any], what: str) -> str:
    """So many parts with commas between them."""
    least, most = schema.get(f"min{what}", 0), schema.get(f"max{what}")
    if most == 0:
        return ""
    some = f"{part}(?:, {part}){{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
    return some if least else f"(?:{some})?"


def _texts(part: Part) -> str:
    match part:
        case Characters(ranges):
            return _character(ranges)
        case InOrder(parts):
            return "".join(map(_texts, parts))
        case OneOf(parts):
            return _one_of(map(_texts, parts))
        case Repeated(each, least, most):
            return f"(?:{_texts(each)}){{{least},{'' if most is None else most}}}"


def _character(ranges: Sequence[tuple[int, int]]) -> str:
    """One character as JSON has it: a quote and a backslash are escaped."""
    options = []
    for sign in '"\\':
        code = ord(sign)
        if any(low <= code <= high for low, high in ranges):
            options.append(regex.escape(f"\\{sign}"))
        parts = [each for low, high in ranges for each in ((low, min(high, code - 1)), (max(low, code + 1), high))]
        ranges = list(dict.fromkeys((low, high) for low, high in parts if low <= high))
    spelled = "".join(rf"\U{low:08x}-\U{high:08x}" for low, high in ranges)
    return _one_of([*([f"[{spelled}]"] if spelled else []), *options])


def _one_of(parts: Iterable[str]) -> str:
    return f"(?:{'|'.join(parts)})"


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
