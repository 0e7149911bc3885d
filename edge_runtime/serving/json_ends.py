"""Rule: when JSON on its way has to come to its end: because little room is left, or because it repeats itself.

A small model often goes on for ever inside of a text, a list, or an object of any names. A grammar does not mind. So
the open brackets are counted, and a token behind which they could not be closed any more is not written; a closing one
is, where the grammar lets it. No value is made up: what is required and still missing is left to the model. Of an
outermost object these members keep their room, so that a long text in front of them ends in time.
No object gets a name twice, which a grammar of any names cannot see: readers resolve that differently.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_LONGEST_UNIT = 64
_REPEATED_TEXT = 96
_REPEATED_JSON = 192
"""Characters of something repeated, in a text or of JSON, from which on it is a loop: three times at least. Lines of
dashes and lists of zeros are shorter."""

_BEHIND_NAME = 3
"""Tokens of a colon, a blank and a value, at least."""

_UNFINISHED = frozenset("tfnruas+-.E")
"""Signs behind which a number, or true, false or null, is not whole yet."""

_LONGEST_SHORT = 2**14
"""Characters of a required member for which room is counted; what is longer hardly has room in any answer."""

_MOST_COMPARED = max(_REPEATED_JSON, 3 * _LONGEST_UNIT)


@dataclass(slots=True)
class _Open:
    """A list or an object that is open.

    Attributes:
        sign: What opened it.
        began: Tokens in front of its last member.
        shortest: Tokens of the shortest member so far; a comma counts.
        names: Of its members, when it is an object.
    """

    sign: str
    began: int
    shortest: int = 1
    names: set[str] = field(default_factory=set)


def room_of_members(schema: str, count: Callable[[str], int]) -> dict[str, int]:
    """Tokens that each required member of an outermost object takes, written as shortly as may be.

    Args:
        schema: As `loragen.contract.json_schema.canonical_schema` writes it.
        count: How many tokens a text has.

    Returns:
        By name, as `JsonEnds` compares names.
    """
    parsed = json.loads(schema)
    if parsed.get("type") != "object":
        return {}
    required = {name: parsed["properties"][name] for name in parsed.get("required", ())}
    return {
        json.dumps(name, ensure_ascii=False)[1:-1][-_MOST_COMPARED:]: count(_cut(_member(name, part)))
        for name, part in required.items()
    }


def _member(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f", {json.dumps(name, ensure_ascii=False)}: "
    yield from _short_value(schema)


def _short_value(schema: Mapping[str, Any]) -> Iterator[str]:
    """A short text of a schema, in pieces; of an enum the longest, because the model chooses."""
    match schema:
        case {"anyOf": parts}:
            yield max((_cut(_short_value(part)) for part in parts), key=len)
        case {"enum": values}:
            yield max((json.dumps(value, ensure_ascii=False) for value in values), key=len)
        case {"type": "object"}:
            yield "{"
            for name in schema.get("required", ()):
                yield from _member(name, schema["properties"][name])
            yield "}"
        case {"prefixItems": parts}:
            yield from _list(parts)
        case {"type": "array"}:
            yield from _list(itertools.repeat(schema.get("items", {}), schema.get("minItems", 0)))
        case {"format": _} | {"pattern": _}:
            yield f'"{"0-" * max(8, schema.get("minLength", 0))}"'
        case {"type": "number" | "integer"}:
            yield "0"
        case {"type": "boolean" | "null"}:
            yield "null"
        case _:
            yield f'"{"a" * schema.get("minLength", 1)}"'


def _list(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield "["
    for number, item in enumerate(items):
        yield ", " if number else ""
        yield from _short_value(item)
    yield "]"


def _cut(pieces: Iterable[str]) -> str:
    """The text of pieces, no longer than any answer: lists in lists have items without number."""
    text = ""
    for piece in pieces:
        text += piece[:_LONGEST_SHORT]
        if len(text) >= _LONGEST_SHORT:
            break
    return text


class JsonEnds:
    """Follows one JSON value as it is written.

    Args:
        members: Tokens that each required member of the outermost object takes.
    """

    def __init__(self, members: Mapping[str, int] | None = None) -> None:
        self._members = members or {}
        self._keeps_room: bool | None = None  # not known before it is asked for the first time
        self._open: list[_Open] = []
        self._tokens = 0
        self._is_text = self._is_escaped = self._has_name_twice = False
        self._before = self._last = ""  # signs outside of texts; of a text there is its first
        self._json = self._text = ""  # all of it, and the text that is open; no more than is compared

    def push(self, piece: str) -> None:
        """Take the next token's text."""
        self._tokens += 1
        self._json = (self._json + piece)[-_MOST_COMPARED:]
        for sign in piece:
            self._take(sign)
        self._text = self._text[-_MOST_COMPARED:]

    def has_room_behind(self, piece: str, left: int) -> bool:
        """Whether so many tokens can close what is open behind a further one."""
        longest = max((each.shortest for each in self._open), default=0) + _BEHIND_NAME + 2
        if self._keeps_room is None:
            # Where the members do not fit at all, the first of them are not cut short for it.
            self._keeps_room = sum(self._members.values()) + _BEHIND_NAME <= left
        if left > len(self._open) + len(piece) + longest + self._missing:
            return True
        after = self._copy()
        after.push(piece)
        return after._needed + after._missing <= left

    def gives_name_twice(self, piece: str) -> bool:
        """Whether an object would have a name twice with a further token."""
        if '"' not in piece or not any(each.names for each in self._open):
            return False
        after = self._copy()
        after.push(piece)
        return after._has_name_twice

    @property
    def closings(self) -> tuple[bytes, ...]:
        """What may close the innermost thing that is open."""
        if self._is_text:
            return () if self._is_escaped else (b'"',)
        return (b"]", b"}")

    @property
    def repeats_itself(self) -> bool:
        """Whether what was written last is one thing again and again."""
        text, least = (self._text, _REPEATED_TEXT) if self._is_text else (self._json, _REPEATED_JSON)
        for unit in range(1, _LONGEST_UNIT + 1):
            size = max(least, 3 * unit)
            if len(text) >= size and text[-size:-unit] == text[unit - size :]:
                return True
        return False

    @property
    def _needed(self) -> int:
        """Tokens that close what is open, one each, behind a member that is begun."""
        if self._is_text:
            # A name that the object has is made another by a further token.
            behind = _BEHIND_NAME + (self._text in self._open[-1].names) if self._is_name else 0
            return len(self._open) + 1 + self._is_escaped + behind
        if self._last == "," and self._open:
            return len(self._open) + self._open[-1].shortest
        if self._is_name:
            return len(self._open) + _BEHIND_NAME
        return len(self._open) + (_BEHIND_NAME - 1 if self._last == ":" else self._last in _UNFINISHED)

    @property
    def _missing(self) -> int:
        """Tokens of the members that are required and not there yet."""
        if not self._keeps_room or not self._open:
            return 0
        return sum(tokens for name, tokens in self._members.items() if name not in self._open[0].names)

    @property
    def _is_name(self) -> bool:
        """Whether the text that is open, or was last, is the name of a member."""
        return self._last == '"' and bool(self._open) and self._open[-1].sign == "{" and self._before in "{,"

    def _take(self, sign: str) -> None:
        if self._is_text:
            self._is_text = self._is_escaped or sign != '"'
            if not self._is_text and self._is_name:
                names = self._open[-1].names
                self._has_name_twice |= self._text in names
                names.add(self._text)
            self._is_escaped = not self._is_escaped and sign == "\\"
            self._text += sign
            return
        if sign.isspace():
            return
        self._before, self._last = self._last, sign
        if sign == '"':
            self._is_text, self._text = True, ""
        elif sign in "[{":
            self._open.append(_Open(sign, self._tokens))
        elif sign in "]}" and self._open:
            self._open.pop()
        elif sign == "," and self._open:
            last = self._open[-1]
            length = max(1, self._tokens - last.began)
            last.shortest = length if last.shortest == 1 else min(last.shortest, length)
            last.began = self._tokens

    def _copy(self) -> "JsonEnds":
        copied = JsonEnds(self._members)
        copied._keeps_room = self._keeps_room
        copied._open = [_Open(each.sign, each.began, each.shortest, set(each.names)) for each in self._open]
        copied._tokens, copied._before, copied._last = self._tokens, self._before, self._last
        copied._is_text, copied._is_escaped, copied._text = self._is_text, self._is_escaped, self._text
        return copied
