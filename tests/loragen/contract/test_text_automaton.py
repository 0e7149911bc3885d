"""Automata of patterns: the same texts as for a regular expression, in a bounded time."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragen.contract.errors import ContractError, LimitError
from loragen.contract.text_automaton import Automaton, TextState, states_of
from loragen.contract.text_pattern import Part, parse_pattern
from tests.loragen.contract.schemas import PATTERNS

TEXTS = st.text(st.sampled_from([*'abcxAé.\\"/-1 _']), max_size=8)


def part_of(pattern: str) -> Part:
    return parse_pattern(pattern).part


def is_written(states: tuple[TextState, ...], text: str) -> bool:
    number: int | None = 0
    for character in text:
        code, ways = ord(character), states[number or 0].ways
        number = next((to for ranges, to in ways if any(low <= code <= high for low, high in ranges)), None)
        if number is None:
            return False
    return states[number or 0].may_end


@settings(deadline=None)  # some take a tenth of a second, and more on a busy machine
@given(pattern=PATTERNS, text=TEXTS, is_whole=st.booleans())
def test_automaton_takes_what_a_regular_expression_takes(pattern: str, text: str, is_whole: bool) -> None:
    pattern = f"^(?:{pattern})$" if is_whole else pattern
    try:
        automaton = Automaton(part_of(pattern))
    except ContractError:
        return
    assert automaton.takes(text) is (re.search(pattern, text, re.ASCII) is not None)


@pytest.mark.parametrize(
    ("pattern", "taken", "refused"),
    [
        ("^(x{2}){2}$", ["xxxx"], ["", "xx", "xxx", "xxxxx"]),
        ("^((xx?){2})?$", ["", "xx", "xxx", "xxxx"], ["x", "xxxxx"]),
        ("^((x?)?)?()?$", ["", "x"], ["xx"]),
        ("^a{2,}b{0,2}$", ["aa", "aaaabb"], ["a", "aabbb"]),
        ("^a{0}$", [""], ["a"]),
        ("", ["", "any"], ["\x00"]),
    ],
)
def test_repetitions_are_counted(pattern: str, taken: list[str], refused: list[str]) -> None:
    automaton = Automaton(part_of(pattern))
    assert [text for text in (*taken, *refused) if automaton.takes(text)] == taken


def test_pattern_that_tells_texts_apart_in_too_many_steps_is_refused_soon() -> None:
    started = time.monotonic()
    with pytest.raises(LimitError, match="at most 16384 steps"):
        Automaton(part_of("^(a|b)*a(a|b){100}$"))
    assert time.monotonic() - started < 5


def test_text_that_others_compare_for_ever_is_compared_at_once() -> None:
    automaton, started = Automaton(part_of("^((a+)+b)+$")), time.monotonic()
    assert not automaton.takes("a" * 100_000)
    assert time.monotonic() - started < 5


@settings(deadline=None)
@given(pattern=PATTERNS, text=TEXTS, least=st.integers(0, 4), more=st.integers(0, 4))
def test_states_write_what_is_of_all_and_of_a_length(pattern: str, text: str, least: int, more: int) -> None:
    try:
        needed, forbidden = (part_of(pattern), part_of("^[^x]*$")), (part_of("ab"),)
        states = states_of(needed, forbidden, least, least + more)
    except ContractError:
        return
    fits = least <= len(text) <= least + more and "x" not in text and "ab" not in text
    expected = fits and re.search(pattern, text, re.ASCII) is not None
    assert (bool(states) and is_written(states, text)) is expected


def test_states_that_come_to_no_end_are_left_out() -> None:
    assert states_of((part_of("^a+$"), part_of("^b+$")), (), 0, None) == ()
    assert states_of((part_of("^(a|bc)$"),), (), 0, 1) == (
        TextState(False, ((((0x61, 0x61),), 1),)),
        TextState(True, ()),
    )


def test_too_many_states_are_refused() -> None:
    with pytest.raises(LimitError, match="8192 states"):
        states_of((part_of("^.*$"),), (), 0, 65_536)
