"""The GBNF of patterns; that llama.cpp takes it, and writes what matches, is tested in `test_grammar`."""

import pytest

from edge_runtime.serving.pattern_grammar import texts_of
from loragen.contract.text_pattern import parse_pattern


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
    ],
)
def test_pattern_is_spelled_as_it_stands_in_json(pattern: str, expected: str) -> None:
    assert texts_of(parse_pattern(pattern)) == expected
