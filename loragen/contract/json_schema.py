"""The JSON Schemas that an answer contract may hold: those that a grammar can enforce, in one normal form.

Rules:
- Keywords that only describe (`title`, `description`, `default`, ...) are left out, and with them formats that are not
  in `text_formats`, and a `maxLength` over `MAX_SCHEMA_LENGTH`. What a format, a pattern and a length of one text say
  counts together.
- A keyword that no grammar can enforce is refused by name.
- A keyword that is null is left out, but for `const`. `nullable`, of OpenAPI 3.0, adds null.
- A reference is replaced by what it names. One that leads back to itself is refused, and so is every other keyword.
- The properties of an object keep their order, because arguments are written in it. All other keys are sorted.

`edge_runtime.serving.grammar` makes a grammar of each schema that this module takes (tested).
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from loragen.contract.errors import FormatError, LimitError
from loragen.contract.limits import (
    MAX_CONTRACT_BYTES,
    MAX_PATTERN_CHARACTERS,
    MAX_SCHEMA_DEPTH,
    MAX_SCHEMA_LENGTH,
    MAX_SCHEMA_NODES,
    MAX_SCHEMA_PROPERTIES,
    MAX_SCHEMA_REPEATS,
)
from loragen.contract.number_bounds import BOUND_KEYWORDS, canonical_number
from loragen.contract.schema_enums import enum_values, verified_text
from loragen.contract.schema_texts import is_plain, lengths_of_format, size_of_texts
from loragen.contract.text_formats import PATTERN_OF_FORMAT
from loragen.contract.text_pattern import MOST_SPELLED

ANY_OBJECT = '{"type":"object"}'
"""The schema of any JSON object."""

_DEFINITIONS = ("$defs", "definitions")
_LEFT_OUT = frozenset(
    (*_DEFINITIONS, "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly")
).union(("$schema", "$id", "$comment", "strict", "discriminator", "contentEncoding", "contentMediaType"))
_OF_TYPE: dict[str, frozenset[str]] = {
    "object": frozenset(
        (
            *("properties", "required", "additionalProperties", "propertyNames", "patternProperties"),
            *("minProperties", "maxProperties"),
        )
    ),
    "array": frozenset(("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems")),
    "string": frozenset(("minLength", "maxLength", "format", "pattern")),
    "number": BOUND_KEYWORDS | {"format"},
    "integer": BOUND_KEYWORDS | {"format"},
    "boolean": frozenset(),
    "null": frozenset(),
}
_REPEATS_OF_A_PART = 16


def canonical_schema(schema: object) -> str:
    """The text of a schema in normal form. Normalizing this text again does not change it.

    Example:
        >>> canonical_schema({"type": "integer", "title": "Days"})
        '{"type":"integer"}'

    Args:
        schema: Parsed JSON.

    Raises:
        FormatError: It is no JSON Schema, or has a keyword that a grammar cannot enforce; the message names its place.
        LimitError: It is too deep, or too large.
    """
    text = json.dumps(_Normalizer(schema).normalize(schema, "schema", 0), separators=(",", ":"))
    if len(text) > MAX_CONTRACT_BYTES:
        raise LimitError(f"schema: expected at most {MAX_CONTRACT_BYTES} bytes, found {len(text)}")
    return text


def canonical_parameters(schema: object) -> str:
    """The same for the parameters of a function; empty for a function without any.

    Raises:
        ContractError: As for `canonical_schema`, or the schema is not that of an object.
    """
    if schema is None or schema == {}:
        return ""
    if isinstance(schema, Mapping) and "type" not in schema and not schema.keys() & {"$ref", "anyOf", "allOf"}:
        schema = {"type": "object", **schema}
    text = canonical_schema(schema)
    if text in (ANY_OBJECT, '{"properties":{},"type":"object"}'):
        return ""
    if json.loads(text).get("type") != "object":
        raise FormatError("parameters: expected the schema of an object")
    return text


class _Normalizer:
    def __init__(self, root: object) -> None:
        self._root = root
        self._nodes = 0
        self._open: list[str] = []  # references that are being replaced now
        self._texts: set[str] = set()  # patterns and formats that were counted

    def normalize(self, node: object, place: str, depth: int) -> dict[str, Any]:
        self._count(1)
        if depth > MAX_SCHEMA_DEPTH:
            raise LimitError(f"{place}: expected at most {MAX_SCHEMA_DEPTH} levels")
        if node is True:
            return {}
        if not isinstance(node, Mapping):
            raise FormatError(f"{place}: expected a JSON Schema, found {type(node).__name__}")
        keywords = {
            key: value
            for key, value in node.items()
            # Some writers say null for a keyword that they do not use; for `const` it is a value.
            if not (key in _LEFT_OUT or key.startswith("x-") or (value is None and key != "const"))
        }
        if keywords.pop("nullable", False) is True:
            return self._union([keywords, {"type": "null"}], place, depth)
        if "$ref" in keywords:
            return self._referred(keywords, place, depth)
        if "allOf" in keywords:
            return self._merged(keywords, place, depth)
        if "const" in keywords:
            keywords["enum"] = [keywords.pop("const")]
        if "enum" in keywords:
            kinds = keywords.pop("type", None)
            return self._only(keywords, "enum", place, lambda values, at: {"enum": enum_values(values, kinds, at)})
        if "properties" in keywords and isinstance(keywords.get("anyOf"), list):
            return self._with_one_of_required(keywords, place, depth)
        for union in ("anyOf", "oneOf"):
            if union in keywords:
                return self._only(keywords, union, place, lambda value, at: self._union(value, at, depth))
        return self._typed(keywords, place, depth)

    def _count(self, parts: int) -> None:
        self._nodes += parts
        if self._nodes > MAX_SCHEMA_NODES:
            raise LimitError(f"schema: expected at most {MAX_SCHEMA_NODES} parts, with references in place")

    def _bounds(self, keywords: Mapping[str, Any], what: str, place: str) -> dict[str, int]:
        bounds = _bounds(keywords, what, place)
        self._count_bounds(bounds)
        return bounds

    def _count_bounds(self, bounds: Mapping[str, Any]) -> None:
        # A grammar spells each repetition, so that large bounds count as parts too.
        counts = [min(bound, MOST_SPELLED) for bound in bounds.values() if isinstance(bound, int)]
        self._count(sum(counts) // _REPEATS_OF_A_PART)

    def _referred(self, keywords: dict[str, Any], place: str, depth: int) -> dict[str, Any]:
        reference = keywords["$ref"]
        if len(keywords) > 1 or not isinstance(reference, str):
            raise FormatError(f"{place}: expected a text, and nothing else, as $ref")
        if reference in self._open:
            raise FormatError(
                f"{place}.$ref: expected no schema that contains itself", hint="write out as many levels as are needed"
            )
        way = reference.split("/")
        if len(way) != 3 or way[0] != "#" or way[1] not in _DEFINITIONS:
            raise FormatError(f"{place}.$ref: expected '#/$defs/NAME', found {ascii(reference)[:60]}")
        definitions = self._root.get(way[1]) if isinstance(self._root, Mapping) else None
        if not isinstance(definitions, Mapping) or way[2] not in definitions:
            raise FormatError(f"{place}.$ref: {ascii(reference)[:60]} is not defined")
        self._open.append(reference)
        found = self.normalize(definitions[way[2]], place, depth + 1)
        self._open.pop()
        return found

    def _merged(self, keywords: dict[str, Any], place: str, depth: int) -> dict[str, Any]:
        parts = keywords["allOf"]
        if len(keywords) > 1 or not isinstance(parts, list) or len(parts) != 1:
            raise FormatError(f"{place}: 'allOf' is not supported, but for a single schema and nothing beside it")
        return self.normalize(parts[0], place, depth + 1)

    def _only(
        self, keywords: dict[str, Any], key: str, place: str, normalized: Callable[[object, str], dict[str, Any]]
    ) -> dict[str, Any]:
        if others := keywords.keys() - {key}:
            raise _unsupported(place, others, f" beside {key!r}")
        return normalized(keywords[key], f"{place}.{key}")

    def _union(self, parts: object, place: str, depth: int) -> dict[str, Any]:
        if not isinstance(parts, list) or not parts:
            raise FormatError(f"{place}: expected a list of schemas")
        found: list[dict[str, Any]] = []
        for number, part in enumerate(parts):
            if part == {"not": {}} and len(parts) > 1:  # as zod says of what may be undefined
                continue
            schema = self.normalize(part, f"{place}.{number}", depth + 1)
            found += [schema] if schema not in found else []
        return found[0] if len(found) == 1 else {"anyOf": found}

    def _with_one_of_required(self, keywords: dict[str, Any], place: str, depth: int) -> dict[str, Any]:
        """An object of which some names or some others are required: `"anyOf": [{"required": ["id"]}, ...]`."""
        parts, required = keywords.pop("anyOf"), keywords.get("required", [])
        found = []
        for number, part in enumerate(parts):
            at = f"{place}.anyOf.{number}"
            if not isinstance(part, Mapping) or not isinstance(required, list):
                raise FormatError(f"{at}: expected a JSON Schema, beside a list of names as 'required'")
            others = {key for key in part if key not in _LEFT_OUT and (key, part[key]) != ("type", "object")}
            if others != {"required"} or not isinstance(part["required"], list):
                raise _unsupported(at, others - {"required"} or ["anyOf"], " beside 'properties'")
            found.append({**keywords, "required": [*required, *part["required"]]})
        return self._union(found, place, depth)

    def _typed(self, keywords: dict[str, Any], place: str, depth: int) -> dict[str, Any]:
        kind = keywords.pop("type", None)
        if isinstance(kind, list):
            if not all(isinstance(each, str) for each in kind):
                raise FormatError(f"{place}.type: expected names of types")
            shared = {key for each in kind for key in _OF_TYPE.get(each, ())}
            if unknown := keywords.keys() - shared:
                raise _unsupported(place, unknown, " for these types")
            parts = [
                {"type": each, **{key: keywords[key] for key in _OF_TYPE.get(each, ()) if key in keywords}}
                for each in kind
            ]
            return self._union(parts, f"{place}.type", depth)
        if kind is None:
            kind = next(
                (each for each in ("object", "array", "string", "number") if keywords.keys() & _OF_TYPE[each]), None
            )
            if kind is None and not keywords:
                return {}
        if not isinstance(kind, str) or kind not in _OF_TYPE:
            if kind is None:
                raise _unsupported(place, keywords)
            raise FormatError(f"{place}.type: expected one of {', '.join(sorted(_OF_TYPE))}, found {ascii(kind)[:40]}")
        if unknown := keywords.keys() - _OF_TYPE[kind]:
            raise _unsupported(place, unknown, f" for type {kind!r}")
        fields: dict[str, Any] = {"type": kind}
        if kind == "object":
            fields |= self._object(keywords, place, depth)
        elif kind in ("number", "integer"):
            return canonical_number(kind, keywords, place)
        elif kind == "array":
            fields |= self._array(keywords, place, depth)
            if keywords.get("uniqueItems", False) is not False and fields.get("maxItems", math.inf) > 1:
                raise _unsupported(place, ["uniqueItems"], " where more than one item may be")
        elif kind == "string":
            fields |= self._string(keywords, place)
        return dict(sorted(fields.items()))

    def _string(self, keywords: Mapping[str, Any], place: str) -> dict[str, Any]:
        fields: dict[str, Any] = _bounds(keywords, "Length", place)
        if isinstance(form := keywords.get("format"), str) and form in PATTERN_OF_FORMAT:
            fields["format"] = form
            fewest, longest = lengths_of_format(form)
            if fields.get("minLength", 0) <= fewest:
                fields.pop("minLength", None)
            if longest is not None and fields.get("maxLength", longest) >= longest:
                fields.pop("maxLength", None)
        if "pattern" in keywords:
            if not isinstance(keywords["pattern"], str):
                raise FormatError(f"{place}.pattern: expected a text")
            fields["pattern"] = verified_text(keywords["pattern"], f"{place}.pattern", 4 * MAX_PATTERN_CHARACTERS)
        # A grammar spells equal texts once.
        key = json.dumps(fields, sort_keys=True)
        if is_plain(fields):
            self._count_bounds(fields)
        elif key not in self._texts:
            self._texts.add(key)
            self._count_bounds(fields)
            what = "pattern" if "pattern" in fields else "format"
            try:
                self._count(size_of_texts(fields) // _REPEATS_OF_A_PART)
            except (FormatError, LimitError) as e:
                raise type(e)(f"{place}.{what}: {e}", hint=e.hint or "write it otherwise, or leave it out") from e
        return fields

    def _array(self, keywords: dict[str, Any], place: str, depth: int) -> dict[str, Any]:
        fields: dict[str, Any] = self._bounds(keywords, "Items", place)
        first, rest = keywords.get("prefixItems"), keywords.get("items", True)
        if isinstance(rest, list):  # as JSON Schema had it before 2020
            first, rest = rest, keywords.get("additionalItems", True)
        if first is None:
            if items := self.normalize(rest, f"{place}.items", depth + 1):
                fields["items"] = items
            return fields
        if not isinstance(first, list) or not first:
            raise FormatError(f"{place}.prefixItems: expected a list of schemas")
        count = len(first)
        if fields.get("minItems", 0) > count or fields.get("maxItems", count) < count:
            raise FormatError(f"{place}: expected as many items as 'prefixItems' has, {count}: no others are written")
        parts = [self.normalize(each, f"{place}.prefixItems.{number}", depth + 1) for number, each in enumerate(first)]
        return {"maxItems": count, "minItems": count, "prefixItems": parts}

    def _object(self, keywords: dict[str, Any], place: str, depth: int) -> dict[str, Any]:
        properties, required = keywords.get("properties"), keywords.get("required", [])
        others = keywords.get("additionalProperties", True)
        fields: dict[str, Any] = {}
        if patterns := keywords.get("patternProperties"):
            # Of an object with a pattern of names that may have any others too, a device writes those of the pattern.
            if not isinstance(patterns, Mapping) or len(patterns) > 1 or properties or "propertyNames" in keywords:
                raise _unsupported(place, ["patternProperties"], ", but with one pattern and no other names")
            (pattern, others), *_ = patterns.items()
            keywords = {**keywords, "propertyNames": {"pattern": pattern}}
        if "propertyNames" in keywords:
            names = self.normalize(keywords["propertyNames"], f"{place}.propertyNames", depth + 1)
            if "enum" in names and not properties:
                properties = dict.fromkeys([name for name in names["enum"] if isinstance(name, str)], others)
                others = False
            elif names.setdefault("type", "string") != "string":
                raise _unsupported(place, ["propertyNames"], ", but of texts")
            elif names != {"type": "string"} and properties:
                raise _unsupported(place, ["propertyNames"], " beside 'properties'")
            elif names != {"type": "string"}:  # which zod says of every record
                properties, fields["propertyNames"] = None, names
        # Of an object with properties that may have any others too, a device writes those with a name here.
        if not isinstance(others, bool) and (
            schema := self.normalize(others, f"{place}.additionalProperties", depth + 1)
        ):
            fields["additionalProperties"] = schema
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise FormatError(f"{place}.required: expected a list of names")
        if properties is None:
            if required:
                raise FormatError(f"{place}.required: expected 'properties' that have these names")
            counts = self._property_counts(keywords, None, 0, place)
            return {"properties": {}} if others is False else fields | counts
        if not isinstance(properties, Mapping):
            raise FormatError(f"{place}.properties: expected an object")
        if len(properties) > MAX_SCHEMA_PROPERTIES:
            raise LimitError(f"{place}.properties: expected at most {MAX_SCHEMA_PROPERTIES}, found {len(properties)}")
        self._property_counts(keywords, None if fields else len(properties), len(required), place, is_closed=True)
        if unknown := set(required) - properties.keys():
            raise FormatError(f"{place}.required: {_names(unknown)} is not among the properties")
        fields["properties"] = {
            verified_text(name, f"{place}.properties"): self.normalize(
                schema, f"{place}.properties.{ascii(name)[1:-1][:40]}", depth + 1
            )
            for name, schema in properties.items()
        }
        if required:
            fields["required"] = [name for name in properties if name in required]
        return fields

    def _property_counts(
        self, keywords: dict[str, Any], most: int | None, least: int, place: str, is_closed: bool = False
    ) -> dict[str, int]:
        """Bounds of an object of any names; of one with properties they must follow from these."""
        counts = self._bounds(keywords, "Properties", place)
        if counts.get("minProperties", 0) <= least:
            counts.pop("minProperties", None)
        if most is not None and counts.get("maxProperties", most) >= most:
            counts.pop("maxProperties", None)
        if (is_closed and counts) or counts.get("minProperties", 0) > 1:
            raise _unsupported(place, counts, ": a device does not count names")
        if counts.get("maxProperties") == 0:
            raise FormatError(f"{place}.maxProperties: expected at least 1")
        return counts


def _bounds(keywords: Mapping[str, Any], what: str, place: str) -> dict[str, int]:
    """`minItems` and `maxItems`, or the same of a length or of properties; too long a `maxLength` is left out."""
    fields: dict[str, int] = {}
    for key in (f"min{what}", f"max{what}"):
        if key not in keywords:
            continue
        value = keywords[key]
        if type(value) is not int or value < 0:
            raise FormatError(f"{place}.{key}: expected a count")
        most = MAX_SCHEMA_LENGTH if what == "Length" else MAX_SCHEMA_REPEATS
        if value > most:
            if key == "maxLength":
                continue
            raise LimitError(f"{place}.{key}: expected at most {most}, found {str(value)[:40]}")
        fields[key] = value
    if fields.get(f"min{what}") == 0:
        del fields[f"min{what}"]
    if fields.get(f"min{what}", 0) > fields.get(f"max{what}", math.inf):
        raise FormatError(f"{place}: expected min{what} of at most max{what}")
    return fields


def _unsupported(place: str, keywords: Iterable[str], where: str = "") -> FormatError:
    way_out = "leave it out: no device could hold an answer to it"
    return FormatError(f"{place}: {_names(keywords)} is not supported{where}", hint=way_out)


def _names(keys: Iterable[str]) -> str:
    return ", ".join(sorted(ascii(key)[:40] for key in keys))
