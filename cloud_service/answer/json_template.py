"""Rule: what JSON a template in a description stands for, such as `{"name": string, "tags": ["...", ...]}`.

A template is read as people write it: names with or without quotes, kinds of values in words or as samples, points for
more of the same. A value of which no kind is said may be any. `cloud_service.answer.stated_json` decides whether a
template is that of the answer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_FIELDS = 40
MOST_LEVELS = 6
LONGEST_NAME = 40

NAME = r"[^\W\d][\w-]{0,39}"
"""The name of a field without quotes."""

Schema = dict[str, Any]

_TYPES = {
    **dict.fromkeys(("string", "str", "text", "texts", "strings"), "string"),
    **dict.fromkeys(("integer", "int", "integers", "ints", "whole number"), "integer"),
    **dict.fromkeys(("number", "float", "decimal", "double", "numeric", "numbers", "floats"), "number"),
    **dict.fromkeys(("boolean", "bool", "booleans", "true or false", "true/false", "true|false"), "boolean"),
    **dict.fromkeys(("null", "none"), "null"),
}
_LEADING_TYPE = re.compile(
    r"(?:an? |as an? )?(?P<kind>string|integer|int|whole number|boolean|bool|true or false|true/false|number|float)"
    r"(?= (?:from|between) \d[\d.]* ?(?:to|and|-|–) ?\d[\d.]*\Z|\Z)"
)
_LIST = re.compile(
    r"(?:an? )?(?:list|array)(?: of (?P<items>\w+))?|(?:list|array)[\[<](?P<inner>\w+)[\]>]|(?P<of>\w+)\[\]"
)
_DATE = re.compile(r"y{4}-m{2}-d{2}", re.IGNORECASE)
_LABEL = re.compile(r"[^\W_][\w /'&+-]{0,39}")
_PLACEHOLDER = re.compile(r"|\.{2,3}|…|<[^<>]*>|\[[^\[\]]*\]", re.DOTALL)
_ANY_KEY = re.compile(
    r"(?:key|field|property|attribute|name|item|word|entity|label|column|value)s?_?\d*", re.IGNORECASE
)
"""Names that stand for any: `{"key1": "value1"}`. Alone they say nothing, but `name` and `label` may be meant."""

_SAID = r"[ \t]*(?://|#)[^\n]*"
_OPEN_SAID = re.compile(r"\b(?:or|if|unless|omit\w*|skip\w*|leave|drop|optional\w*)\b", re.IGNORECASE)
_LEFT_OUT = re.compile(r"\b(?:omit\w*|skip\w*|leave|drop|only (?:if|when)|optional\w*)\b", re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”"}


@dataclass(frozen=True, slots=True)
class JsonTemplate:
    """A template that was read.

    Attributes:
        schema: JSON Schema of what it stands for.
        is_plain: Whether it leaves no doubt that its names are those of every answer; samples may be of one answer.
        end: Where it ends in its text.
    """

    schema: Schema
    is_plain: bool
    end: int


def read_template(text: str, begin: int) -> JsonTemplate | None:
    """The template of an object, or of a list of objects, that begins at a place of a text; None for anything else."""
    reader = _Reader(text, begin)
    try:
        schema = reader.value(0)
    except _NoTemplateError:
        return None
    item = schema.get("items", schema) if schema.get("type") == "array" else schema
    return JsonTemplate(schema, reader.is_plain, reader.at) if item.get("properties") else None


def object_of(fields: Mapping[str, Schema], optional: frozenset[str] = frozenset()) -> Schema:
    """The schema of an object of these fields."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "properties": dict(fields), **({"required": required} if required else {})}


def schema_of_words(words: str) -> Schema:
    """What values a few words mean, such as `integer`, `YYYY-MM-DD`, `list of strings` or `low | high`.

    What the input does not give is null: but for lists, which are empty then, and for what is true, false or a label.
    """
    said = " ".join(words.split()).strip(" .;:<>").casefold()
    if said in _TYPES:
        return _or_null(_TYPES[said])
    if _DATE.fullmatch(said) or re.fullmatch(rf"(?:date|string|text|in)[,:]? (?:as |in )?{_DATE.pattern}", said):
        return {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}
    if found := _LIST.fullmatch(said):
        kind = _TYPES.get(found["items"] or found["inner"] or found["of"] or "")
        return {"type": "array", **({"items": {"type": kind}} if kind else {})}
    parts = [part.strip(" \"'`<>") for part in re.split(r"\||\bor\b", " ".join(words.split()).strip(" .;:"))]
    kinds = [_TYPES.get(part.casefold()) for part in parts]
    if len(parts) > 1 and all(kinds):
        named = list(dict.fromkeys(filter(None, kinds)))
        return {"type": named} if "null" in named or named == ["boolean"] else {"type": [*named, "null"]}
    if found := _LEADING_TYPE.match(said):
        return _or_null(_TYPES[found["kind"]])
    if "|" in words and _are_labels(parts):
        return {"enum": parts}
    return {}


def _are_labels(parts: list[str]) -> bool:
    return (
        1 < len(parts) == len(set(parts))
        and all(map(_LABEL.fullmatch, parts))
        and not any(part.isdigit() or part.casefold() in _TYPES or part.casefold() == "etc" for part in parts)
    )


def _or_null(kind: str) -> Schema:
    return {"type": kind} if kind in ("boolean", "null") else {"type": [kind, "null"]}


class _NoTemplateError(Exception):
    """What was read is no template."""


class _Reader:
    def __init__(self, text: str, at: int) -> None:
        self._text, self.at = text, at
        self.is_plain = True
        self._fields = 0

    def value(self, level: int) -> Schema:
        if level > MOST_LEVELS:
            raise _NoTemplateError
        self._skip()
        sign = self._text[self.at : self.at + 1]
        if sign == "{":
            return self._object(level)
        if sign == "[":
            return self._list(level)
        return self._leaf()

    def _object(self, level: int) -> Schema:
        self.at += 1
        fields: dict[str, Schema] = {}
        while not self._takes("}"):
            name = self._name()
            self._fields += 1
            if name in fields or self._fields > MOST_FIELDS or not self._takes(":"):
                raise _NoTemplateError
            fields[name] = self.value(level + 1)
            self._skip_said()
            if not self._takes(",") and not self._text.startswith("}", self.at):
                raise _NoTemplateError
            self._skip_said()
        if not fields or all(_ANY_KEY.fullmatch(name) and name[-1].isdigit() for name in fields):
            raise _NoTemplateError
        if len(fields) == 1 and _ANY_KEY.fullmatch(next(iter(fields))):
            self.is_plain = False
        return object_of(fields)

    def _list(self, level: int) -> Schema:
        self.at += 1
        items: list[Schema] = []
        while not self._takes("]"):
            if not self._matches(r"(?:\.{2,3}|…)(?=\s*[,\]])"):
                items.append(self.value(level + 1))
            if not self._takes(",") and not self._text.startswith("]", self.at):
                raise _NoTemplateError
        first = items[0] if items else {}
        if first.get("type") == "object" and any(each != first for each in items):
            raise _NoTemplateError
        if isinstance(first.get("type"), list) and all(each == first for each in items):
            first = {"type": first["type"][0]}
            return {"type": "array", "items": first}
        return {"type": "array", "items": first} if first.get("type") == "object" else {"type": "array"}

    def _name(self) -> str:
        self._skip()
        if quoted := self._quoted():
            name = quoted
        elif found := self._matches(NAME):
            name = found
        else:
            raise _NoTemplateError
        if re.fullmatch(rf"{NAME}(?: [\w-]+){{0,3}}", name) is None or len(name) > LONGEST_NAME:
            raise _NoTemplateError
        return name

    def _leaf(self) -> Schema:
        if self._text[self.at : self.at + 1] in _QUOTES and (quoted := self._quoted()) is not None:
            others = [quoted]
            while self._matches(r"[ \t]*\|[ \t]*(?=[\"'`“])"):
                others.append(self._quoted() or "")
            if len(others) > 1:
                if not _are_labels(others):
                    raise _NoTemplateError
                return {"enum": others}
            return self._of_sample(quoted)
        words = self._matches(r"<[^<>\n]{1,80}>|[^,{}\[\]\n\"]{1,80}(?:\[\])?") or ""
        words, *said = re.split(r"(?:\s//|\s#)", words)
        words = words.strip()
        if any(map(_OPEN_SAID.search, said)) or _LEFT_OUT.search(words):
            raise _NoTemplateError
        if re.fullmatch(r"-?\d+(?:\.\d+)?", words):
            self.is_plain &= float(words) == 0
            return _or_null("number")
        if words in ("true", "false"):
            return {"type": "boolean"}
        if words in ("", "null"):
            if not words:
                raise _NoTemplateError
            return {}
        found = schema_of_words(words)
        if not found and not _PLACEHOLDER.fullmatch(words):
            self.is_plain = False
        return found

    def _of_sample(self, quoted: str) -> Schema:
        """What a text in quotes stands for: a kind of values in words, or a sample."""
        if found := schema_of_words(quoted):
            return found
        if _LEFT_OUT.search(quoted):
            raise _NoTemplateError
        if quoted.strip() in ("", "...", "…"):
            return _or_null("string")
        if not _PLACEHOLDER.fullmatch(quoted) and not re.search(r"[A-Z]{2}[:-][A-Z]{2}", quoted):
            self.is_plain = False
        return {}

    def _quoted(self) -> str | None:
        closing = _QUOTES.get(self._text[self.at : self.at + 1])
        if closing is None:
            return None
        end = self._text.find(closing, self.at + 1)
        if end < 0 or "\n" in self._text[self.at : end]:
            raise _NoTemplateError
        quoted, self.at = self._text[self.at + 1 : end], end + 1
        return quoted

    def _skip(self) -> None:
        self._matches(r"\s*")

    def _skip_said(self) -> None:
        if _OPEN_SAID.search(self._matches(rf"(?:{_SAID})?\s*(?:{_SAID}\s*)*") or ""):
            raise _NoTemplateError

    def _takes(self, sign: str) -> bool:
        self._skip()
        is_there = self._text.startswith(sign, self.at)
        self.at += is_there
        if not is_there and self.at >= len(self._text):
            raise _NoTemplateError
        return is_there

    def _matches(self, pattern: str) -> str | None:
        match = re.compile(pattern).match(self._text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match[0]
