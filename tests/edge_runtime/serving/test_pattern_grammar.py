"""The GBNF of patterns; that llama.cpp takes it, and writes what matches, is tested in `test_grammar`."""

import pytest

from edge_runtime.serving.pattern_grammar import repeated_character, rules_of, texts_of
from loragen.contract.text_automaton import TextState
from loragen.contract.text_pattern import Characters, Repeated, parse_pattern


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^[a-c]$", r"[\U00000061-\U00000063]"),
        (r"^\d{2}x?$", r"([\U00000030-\U00000039]{2,2} [\U00000078]{0,1})"),
        ("^(a|b)+$", r"([\U00000061] | [\U00000062]){1,}"),
        ("^$", '""'),
        ('^"$', r'"\\\""'),
        (r"^[\\\]]$", r'([\U0000005d] | "\\\\")'),
        (r"^[!-#]$", r'([\U00000021\U00000023] | "\\\"")'),
        ("^a{0}$", '""'),
        ("^(a{0}())?$", '""'),
    ],
)
def test_pattern_is_spelled_as_it_stands_in_json(pattern: str, expected: str) -> None:
    assert texts_of(parse_pattern(pattern).part) == expected


def test_states_are_rules_that_name_each_other() -> None:
    digits = ((0x30, 0x39),)
    states = (TextState(False, ((digits, 1),)), TextState(True, ((digits, 1), (((0x22, 0x22),), 0))))
    assert rules_of(states, "t") == {
        "t0": r"[\U00000030-\U00000039] t1",
        "t1": r'[\U00000030-\U00000039] t1 | "\\\"" t0 | ""',
    }


def test_set_of_many_ranges_is_spelled_once_however_often_it_is_repeated() -> None:
    many = Characters(tuple((code, code) for code in range(0x1000, 0x1100, 2)))
    assert texts_of(Repeated(many, 3, 3)).startswith("([")
    assert texts_of(Repeated(many, 3, 3)).endswith("]){3,3}")


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [
        (3, None, "B{0} c{3} c*"),
        (600, None, "B{2} c{88} c*"),
        (1, 200, "B{0} c{1} c{0,199}"),
        (0, 600, "B{0} c{0} (B{0,1} c{0,255} | B{2} c{0,88})"),
    ],
)
def test_long_text_is_spelled_in_blocks(least: int, most: int | None, expected: str) -> None:
    assert repeated_character("c", "B", least, most) == expected
