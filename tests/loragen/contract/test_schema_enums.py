"""Values of an enum: scalars, each once, of the types beside them."""

import pytest

from loragen.contract.errors import FormatError, LimitError
from loragen.contract.schema_enums import enum_values, verified_text


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (None, ["a", 1, 2.0, 2.5, True, None]),
        ("string", ["a"]),
        ("integer", [1, 2.0]),
        ("number", [1, 2.0, 2.5]),
        ("boolean", [True]),
        (["null", "boolean", "unknown"], [True, None]),
    ],
)
def test_values_of_other_types_are_left_out(kinds: object, expected: list[object]) -> None:
    found = enum_values(["a", 1, 2.0, 2.5, True, None, "a"], kinds, "x")
    assert list(map(repr, found)) == list(map(repr, expected))


@pytest.mark.parametrize(
    ("values", "kinds", "message"),
    [
        ("a", None, "x: expected a list"),
        ([], None, "x: expected a list"),
        ([[]], None, "found list"),
        ([float("nan")], None, "finite"),
        ([1], "string", "values of the type beside it"),
    ],
)
def test_what_is_no_enum_is_refused(values: object, kinds: object, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        enum_values(values, kinds, "x")


def test_texts_have_a_limit() -> None:
    assert verified_text("ä", "x") == "ä"
    with pytest.raises(LimitError, match="x: expected texts of at most 3 bytes, found 4"):
        verified_text("ää", "x", 3)
    with pytest.raises(FormatError, match="surrogate"):
        verified_text("\ud800", "x")
