"""Which patterns a contract takes, and of what their texts are made."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loragen.contract.errors import FormatError, LimitError
from loragen.contract.text_pattern import Characters, InOrder, OneOf, Repeated, of_length, parse_pattern

A = Characters(((0x61, 0x61),))
DIGIT = Characters(((0x30, 0x39),))
ANY_TEXT = parse_pattern("").part
LOWER = Characters(((0x61, 0x7A),))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^a$", A),
        ("^$", InOrder(())),
        ("^a|a$", OneOf((InOrder((A, ANY_TEXT)), InOrder((ANY_TEXT, A))))),
        ("a", InOrder((ANY_TEXT, A, ANY_TEXT))),
        ("", ANY_TEXT),
        (r"^\d{4}$", Repeated(DIGIT, 4, 4)),
        (r"^[0-9]{2,}?$", Repeated(DIGIT, 2, None)),
        ("^(?:a|[a-z]+)$", OneOf((A, Repeated(LOWER, 1, None)))),
        ("^(?P<name>a)?$", Repeated(A, 0, 1)),
        (r"^[\x61-\u007a]$", LOWER),
        (r"^[\]a-]$", Characters(((0x2D, 0x2D), (0x5D, 0x5D), (0x61, 0x61)))),
        ("^{$", Characters(((0x7B, 0x7B),))),
        ("^[a\\n]$", A),
    ],
)
def test_pattern_is_read(pattern: str, expected: object) -> None:
    found = parse_pattern(pattern)
    assert found.part == expected
    assert found.ahead == found.not_ahead == ()


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=a)b$", "look-around"),
        ("^b(?=a)$", "look-around"),
        ("^(x(?=a))$", "look-around"),
        ("^(?<=a)b$", "look-around"),
        ("^(?=a)b|c$", "with alternatives"),
        ("^(?=a)*b$", "no count behind"),
        ("^(?=a(b$))b$", "outside of groups"),
        ("(?i)a", "flags"),
        (r"^(a)\1$", r"'\\1' is not supported"),
        (r"\bword", r"'\\b' is not supported"),
        (r"^\p{L}+$", r"'\\p' is not supported"),
        (r"^a\nb$", "control characters"),
        ("^a^b$", "in front of an alternative"),
        ("^(^a|b)$", "outside of groups"),
        ("^(a*)*$", "may be empty"),
        ("^(a|b?)+$", "may be empty"),
        ("^a{3,2}$", "least to the most"),
        ("^a**$", "one count"),
        ("^a++$", "one count"),
        ("^*$", "in front of"),
        ("^(a$", r"outside of groups|for each '\('"),
        ("^a)$", r"for each '\)'"),
        ("^[a", "whole"),
        ("^[b-a]$", "range"),
        *((f"^{each}$", "range") for each in (r"[\d-z]", r"[\s-_]", r"[_\s-.]", r"[+-\d]", r"[!-\s]", r"[\w-.]")),
        ("^[^]]$", "class with characters"),
        ("^[]a-]$", "class with characters"),
        *((f"^a{{{count}}}$", "256 repetitions") for count in ("1000000000", "1000000000,", "1,1000000000")),
        ("^\\", "whole"),
        ("^[\\u0001]$", "can be written"),
        ("^a{257}$", "256 repetitions"),
        ("^(a{200}b){3}$", "512 parts"),
        ("(" * 20 + "a" + ")" * 20, "16 levels"),
        ("a" * 2_000, "1024 characters"),
    ],
)
def test_pattern_that_cannot_be_held_is_refused_with_its_reason(pattern: str, reason: str) -> None:
    with pytest.raises((FormatError, LimitError), match=reason):
        parse_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "least", "most", "expected"),
    [
        ("^[a-z]+$", 0, 20, Repeated(LOWER, 1, 20)),
        ("^[a-z]*$", 3, None, Repeated(LOWER, 3, None)),
        (r"^a\d{1,9}$", 3, 5, InOrder((A, Repeated(DIGIT, 2, 4)))),
        (r"^\d{4}$", 1, 9, Repeated(DIGIT, 4, 4)),
        ("^(a|aa)$", 1, 2, OneOf((A, InOrder((A, A))))),
    ],
)
def test_length_beside_a_pattern_is_a_part_of_it(pattern: str, least: int, most: int | None, expected: object) -> None:
    found = of_length(parse_pattern(pattern).part, least, most)
    assert (found.parts[0] if isinstance(found, InOrder) and len(found.parts) == 1 else found) == expected


@pytest.mark.parametrize(
    ("pattern", "least", "most"), [("a", 0, 9), ("^[a-z]*a+$", 0, 9), ("^a{3}$", 4, 9), ("^a{1,3}$", 4, 9)]
)
def test_length_that_a_pattern_does_not_say_is_none_of_its_parts(pattern: str, least: int, most: int) -> None:
    assert of_length(parse_pattern(pattern).part, least, most) is None


def test_look_ahead_is_read_apart() -> None:
    found = parse_pattern(r"^(?=.{1,9}$)(?!a|b$)\d+$")
    assert found.part == Repeated(DIGIT, 1, None)
    point = parse_pattern("^.$").part
    assert found.ahead == (Repeated(point, 1, 9),)
    assert parse_pattern(r"^(?!^a$)b$").not_ahead == (A,)
    assert found.not_ahead == (OneOf((InOrder((A, ANY_TEXT)), Characters(((0x62, 0x62),)))),)


WHITE = "\u00a0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
"""All kinds of white space of ECMAScript but the space and control characters."""

SIGNS = [*map(chr, range(0x20, 0x7F)), *"\u0085é߀１中" + WHITE]
MEMBERS = st.sampled_from([*" -_.+a^é", *(f"\\{each}" for each in r"dDwWsS-]\.^"), r"\x41", r"\u00a0", "A-Z", "+-9"])


def signs_of(pattern: str) -> set[str]:
    found = parse_pattern(f"^{pattern}$").part
    assert isinstance(found, Characters)
    return {sign for sign in SIGNS if any(low <= ord(sign) <= high for low, high in found.ranges)}


@pytest.mark.parametrize("pattern", [r"\S", r"[^\s]", r"[^a\s]", r"[\S]"])
def test_no_white_space_is_none_of_ecmascripts(pattern: str) -> None:
    assert signs_of(pattern).isdisjoint(f" {WHITE}")
    assert signs_of(pattern) >= set("!_é中\u0085")


def test_white_space_and_points_are_as_ecmascript_has_them() -> None:
    assert signs_of(r"\s") == signs_of(r"[\s]") == signs_of(r"[^\S]") == {" "}
    assert signs_of(".") == set(SIGNS) - set("\u2028\u2029")
    assert signs_of(r"[^\n]") == set(SIGNS)


@pytest.mark.filterwarnings("ignore:Possible set difference:FutureWarning")
@given(st.lists(MEMBERS, min_size=1, max_size=5).map("".join), st.booleans())
def test_no_class_has_a_character_that_python_does_not_take(members: str, is_negated: bool) -> None:
    assume(is_negated or not members.startswith("^"))
    pattern = f"[{'^' if is_negated else ''}{members}]"
    try:
        found = signs_of(pattern)
    except FormatError:
        return
    taken = re.compile(pattern, re.ASCII)
    assert found <= {sign for sign in SIGNS if taken.fullmatch(sign)}
