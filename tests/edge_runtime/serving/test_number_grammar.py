"""The decimals of a range are those that its expression takes, and no others."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.serving.number_grammar import decimals_between
from loragen.contract.number_bounds import WrittenRange

UNITS = st.integers(-(10**7), 10**7) | st.integers(-120, 120)


def pattern(written: WrittenRange) -> re.Pattern[str]:
    """The expression as a regular expression."""
    expression = re.sub('"(.)"', lambda found: re.escape(found[1]), decimals_between(written))
    return re.compile(expression.replace(" ", ""))


def spelled(units: int, decimals: int, zeros: int) -> str:
    """A number of so many units of the last place, with at most so many zeros left at its end."""
    digits = f"{abs(units):0{decimals + 1}}"
    front, behind = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
    kept = behind.rstrip("0")
    behind = kept + "0" * min(zeros, len(behind) - len(kept))
    return ("-" if units < 0 else "") + front + (f".{behind}" if behind else "")


@given(bounds=st.tuples(UNITS, UNITS), number=UNITS, decimals=st.integers(0, 6), zeros=st.integers(0, 6))
def test_expression_takes_what_is_in_the_range_and_nothing_else(
    bounds: tuple[int, int], number: int, decimals: int, zeros: int
) -> None:
    low, high = sorted(bounds)
    takes = pattern(WrittenRange(low, high, decimals)).fullmatch
    for each in (number, low, high, low - 1, high + 1):
        text = spelled(each, decimals, zeros)
        assert Fraction(text) * 10**decimals == each
        assert bool(takes(text)) is (low <= each <= high), text


@pytest.mark.parametrize("text", ["", "-", "00", "01", "1.", ".5", "-0", "1e1", "+1", "0.0000001", "1.50000000"])
def test_what_is_no_number_of_json_or_has_too_many_digits_is_not_taken(text: str) -> None:
    assert not pattern(WrittenRange(-(10**9), 10**9, 6)).fullmatch(text)
