"""Bundles: what may be made, written and read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loragen.contract.bank import Bank, write_bank
from loragen.contract.bundle import Bundle, content_id, encode_bundle, parse_bundle
from loragen.contract.errors import MismatchError, NonFiniteError
from loragen.contract.lora import EdgeShape
from tests.loragen.contract.files import canonical, split

SHAPE = EdgeShape(layers=1, hidden=4, intermediate=6)


@pytest.mark.parametrize("change", [{"layers": 2}, {"rank": 3}, {"alpha": 5.0}])
def test_bundle_whose_header_contradicts_the_lora_cannot_be_made(
    make_bundle: Callable[..., Bundle], change: dict[str, int]
) -> None:
    bundle = make_bundle(SHAPE)
    with pytest.raises(MismatchError):
        Bundle(replace(bundle.header, **change), bundle.lora)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_never_written(
    make_bundle: Callable[..., Bundle], make_bank: Callable[..., Bank], tmp_path: Path, number: float
) -> None:
    bundle = make_bundle(SHAPE)
    bundle.lora.factors[0, "down"][1][0, 0] = number
    with pytest.raises(NonFiniteError, match="layer 0 down B"):
        encode_bundle(bundle)
    header = make_bank(SHAPE).header
    tensors = {name: np.full(spec.shape, number, np.float16) for name, spec in header.tensor_specs().items()}
    with pytest.raises(NonFiniteError):
        write_bank(tmp_path / "bank", header, tensors)
    assert list(tmp_path.iterdir()) == []


def test_bundle_does_not_depend_on_the_layout_of_its_arrays(make_bundle: Callable[..., Bundle]) -> None:
    """Column order in memory and another order of the dict give the same bytes."""
    bundle = make_bundle(SHAPE)
    factors = {
        block: tuple(map(np.asfortranarray, bundle.lora.factors[block])) for block in reversed(bundle.lora.factors)
    }
    other = Bundle(bundle.header, replace(bundle.lora, factors=factors))
    assert content_id(encode_bundle(other)) == content_id(encode_bundle(bundle))


@pytest.mark.parametrize(
    "number", [b"\x00\x7e", b"\x01\xfc", b"\x00\x7c", b"\x00\xfc"], ids=["nan", "-nan", "inf", "-inf"]
)
@pytest.mark.parametrize("position", [0, -2])
def test_bundle_with_a_number_that_is_not_finite_is_refused(
    golden_bytes: Callable[[str], bytes], number: bytes, position: int
) -> None:
    header, data = split(golden_bytes("bundle"))
    changed = bytearray(data)
    changed[position : position + 2 or None] = number
    with pytest.raises(NonFiniteError):
        parse_bundle(canonical(header, bytes(changed)))
