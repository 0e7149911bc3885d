"""Recipes: gates have one form."""

from collections.abc import Callable

import pytest

from loragen.contract.errors import ContractError, FormatError, NonFiniteError
from loragen.contract.recipe import parse_recipe
from tests.loragen.contract.files import canonical, split


@pytest.mark.parametrize(
    ("gate", "error"),
    [
        (b"\x00\x00\xc0\x7f", NonFiniteError),
        (b"\x00\x00\x80\x7f", NonFiniteError),
        (b"\x00\x00\x80\xff", NonFiniteError),
        (b"\x00\x00\x00\x80", FormatError),
        (b"\x01\x00\x00\x00", FormatError),
    ],
    ids=["nan", "inf", "-inf", "negative zero", "subnormal"],
)
def test_recipe_with_a_gate_that_is_not_canonical_is_refused(
    golden_bytes: Callable[[str], bytes], gate: bytes, error: type[ContractError]
) -> None:
    header, data = split(golden_bytes("recipe"))
    with pytest.raises(error):
        parse_recipe(canonical(header, gate + data[4:]))
