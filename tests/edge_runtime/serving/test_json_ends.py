"""When JSON is closed: in time for its greatest length, and where it repeats itself."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from edge_runtime.serving.json_ends import JsonEnds, room_of_members
from loragen.contract.json_schema import canonical_schema


def following(pieces: Iterable[str]) -> JsonEnds:
    ends = JsonEnds()
    for piece in pieces:
        ends.push(piece)
    return ends


@pytest.mark.parametrize(
    ("written", "piece", "needed"),
    [
        ('{"a": "', "x", 2),
        ('{"a": "', "\\", 3),
        ('{"a": ["', 'x"', 2),
        ('[{"a": 1}', "]", 0),
        ("[1", "]", 0),
        ("[1", ",", 3),
        ('{"a"', ":", 3),
        ("[", "t", 2),
        ("[", "true", 1),
        ("[1", ".", 2),
        ("[1.", "5", 1),
        ('{"a', "x", 5),
        ('{"a', '"', 4),
        ('{"a": {"b": 1, "c', "x", 6),
        ('{"a": ["b", "c', "x", 3),
        ('{"a": "b", "c', '"', 4),
        ('{"ab": 1, "a', "b", 6),
        ('"', "x", 1),
        ('"', '"', 0),
        ('["[{', "x", 2),
        (r'["\"[', "x", 2),
    ],
)
def test_everything_that_is_open_takes_a_token(written: str, piece: str, needed: int) -> None:
    ends = following(written)
    assert ends.has_room_behind(piece, needed)
    assert not ends.has_room_behind(piece, needed - 1)


def _with_members(written: Iterable[str], left: int) -> JsonEnds:
    ends = JsonEnds({"a": 4, "b": 5, "c": 6})
    for piece in written:
        ends.push(piece)
        ends.has_room_behind("", left)
    return ends


@pytest.mark.parametrize(
    ("written", "piece", "needed"),
    [
        ('{"a": "', "x", 2 + 11),
        ('{"a": "', '"', 1 + 11),
        ('{"a": "x", "b": [', "1", 2 + 6),
        ('{"c": "', "x", 2 + 9),
        ('{"a": {"b": "', "x", 3 + 11),  # another object's b
        ('{"a": 1, "b": 2, "c": 3', "}", 0),
    ],
)
def test_members_that_an_object_requires_keep_their_room(written: str, piece: str, needed: int) -> None:
    ends = _with_members(written, 100)
    assert ends.has_room_behind(piece, needed)
    assert not ends.has_room_behind(piece, needed - 1)


def test_room_of_lists_in_lists_is_counted_in_little_memory() -> None:
    part: dict[str, Any] = {"type": "integer"}
    for _ in range(8):
        part = {"type": "array", "items": part, "minItems": 256}  # 256 ** 8 integers
    schema = canonical_schema({"type": "object", "properties": {"x": part}, "required": ["x"]})
    assert 10_000 < room_of_members(schema, len)["x"] < 20_000


def test_required_name_is_known_as_it_is_written() -> None:
    name = 'a "b" \\ ' + "c" * 300
    schema = canonical_schema({"type": "object", "properties": {name: {"type": "integer"}}, "required": [name]})
    room = room_of_members(schema, len)
    ends = JsonEnds(room)
    assert ends.has_room_behind("", 1_000)
    for sign in "{" + json.dumps(name) + ": 1":
        ends.push(sign)
    assert ends.has_room_behind("}", 0)


def test_members_that_never_had_room_cut_nothing_short() -> None:
    ends = _with_members('{"a": "', 17)
    assert ends.has_room_behind("x", 2)


def test_room_of_members_is_that_of_short_values() -> None:
    texts: list[str] = []

    def count(text: str) -> int:
        texts.append(text)
        return len(text)

    parts = {
        "text": {"type": "string"},
        "long": {"type": "string", "minLength": 3},
        "day": {"type": "string", "format": "date"},
        "kind": {"enum": ["a", "much longer", None]},
        "both": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
        "pair": {"type": "array", "items": {"type": "number"}, "minItems": 2},
        "first": {"type": "array", "prefixItems": [{}, {}], "minItems": 2, "maxItems": 2},
        "inner": {"type": "object", "properties": {"x": {}, "y": {"type": "null"}}, "required": ["y"]},
        "optional": {},
    }
    schema = {"type": "object", "properties": parts, "required": [name for name in parts if name != "optional"]}
    found = room_of_members(canonical_schema(schema), count)
    assert list(found) == list(parts)[:-1]
    assert list(found.values()) == list(map(len, texts))
    assert texts == [
        ', "text": "a"',
        ', "long": "aaa"',
        ', "day": "0-0-0-0-0-0-0-0-"',
        ', "kind": "much longer"',
        ', "both": null',
        ', "pair": [0, 0]',
        ', "first": ["a", "a"]',
        ', "inner": {, "y": null}',
    ]
    assert room_of_members('{"type":"array"}', count) == room_of_members('{"type":"object"}', count) == {}


def test_no_member_is_begun_that_is_longer_than_what_is_left() -> None:
    ends = following(["[", "[1", ", 2", "]", ",", " [", "3", "]"])
    assert ends.has_room_behind(",", 5)
    assert not ends.has_room_behind(",", 4)
    assert ends.has_room_behind("]", 0)


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ('{"a": "' + "12.50, " * 20, True),
        ('{"a": "' + "12.50, " * 12, False),
        ('{"a": "' + "-" * 80, False),
        ('{"a": "' + " ".join(map(str, range(90))), False),
        ("[" + "0, " * 80 + "0", True),
        ("[" + "0, " * 40 + "0", False),
        ("[" + '"2026-05-03", ' * 10 + '"20', False),
        ("{" + '"date": 2026, ' * 20 + '"date": 2026', True),
        (json.dumps({"a": "x" * 90, "b": "y" * 90}), False),
    ],
)
def test_what_comes_again_and_again_is_seen(text: str, repeats: bool) -> None:
    assert following(text).repeats_itself is repeats


@pytest.mark.parametrize(
    ("written", "piece", "is_twice"),
    [
        ('{"a": 1, "a', '"', True),
        ('{"a": 1, "a', '":', True),
        ('{"a": 1, "a', 'b"', False),
        ('{"a": 1, "', "a", False),
        ('{"a": 1', ', "a"', True),
        ('{"a": {"b": 1}, "b', '"', False),
        ('{"a": {"b": 1, "b', '"', True),
        ('{"a": "b", "b', '"', False),
        ('{"b": "a", "c": ["b', '"', False),
        ('[{"a": 1}, {"a', '"', False),
    ],
)
def test_name_that_an_object_has_is_seen(written: str, piece: str, is_twice: bool) -> None:
    ends = following(written)
    assert ends.gives_name_twice(piece) is is_twice
    assert ends.gives_name_twice(piece) is is_twice, "nothing is written by asking"


def test_only_what_is_open_is_closed() -> None:
    assert following('{"a').closings == (b'"',)
    assert following('{"a\\').closings == ()
    assert following("[1").closings == (b"]", b"}")
