"""Numbers as text: one form for each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragen.contract.errors import FormatError
from loragen.contract.fields import format_decimal, parse_decimal


@given(st.integers(0, 10**12).map(lambda millionths: millionths / 1_000_000))
def test_decimal_with_six_places_has_one_text(value: float) -> None:
    text = format_decimal(value, "x")
    assert parse_decimal(text, "x") == value
    assert format_decimal(parse_decimal(text, "x"), "x") == text


@pytest.mark.parametrize("value", [1e-7, 1 / 3, -1.0, float("nan"), float("inf"), 1e300, 5e-324])
def test_number_without_a_short_decimal_is_refused(value: float) -> None:
    with pytest.raises(FormatError):
        format_decimal(value, "x")


@given(st.text(max_size=12))
def test_any_text_is_the_one_form_of_a_decimal_or_refused(text: str) -> None:
    try:
        value = parse_decimal(text, "x")
    except FormatError:
        return
    assert format_decimal(value, "x") == text
