"""Shapes, and LoRAs that fit them."""

from collections.abc import Callable

import numpy as np
import pytest

from loragen.contract.bundle import Bundle
from loragen.contract.errors import ContractError, FormatError, LimitError
from loragen.contract.lora import EdgeShape, Lora

SHAPE = EdgeShape(layers=1, hidden=4, intermediate=6)


@pytest.mark.parametrize(
    ("sizes", "error"),
    [
        ((0, 4, 6), FormatError),
        ((1, -4, 6), FormatError),
        ((True, 4, 6), FormatError),
        ((257, 4, 6), LimitError),
        ((1, 65_537, 6), LimitError),
        ((1, 4, 262_145), LimitError),
    ],
)
def test_edge_shape_out_of_range_is_refused(sizes: tuple[int, int, int], error: type[ContractError]) -> None:
    with pytest.raises(error):
        EdgeShape(*sizes)


def test_down_projection_narrows() -> None:
    assert [SHAPE.in_out(projection) for projection in ("gate", "up", "down")] == [(4, 6), (4, 6), (6, 4)]


@pytest.mark.parametrize(
    "change",
    [
        lambda factors: {**factors, (0, "down"): factors[0, "gate"]},
        lambda factors: {**factors, (0, "gate"): factors[0, "gate"][::-1]},
        lambda factors: {**factors, (1, "gate"): factors[0, "gate"]},
        lambda factors: {block: pair for block, pair in factors.items() if block != (0, "up")},
        lambda factors: {block: tuple(factor.astype(np.float32) for factor in pair) for block, pair in factors.items()},
    ],
    ids=["shape of another projection", "A and B swapped", "layer too many", "projection missing", "float32"],
)
def test_lora_that_does_not_fit_its_shape_cannot_be_made(make_bundle: Callable[..., Bundle], change: Callable) -> None:
    lora = make_bundle(SHAPE).lora
    with pytest.raises(FormatError):
        Lora(lora.shape, lora.rank, lora.alpha, change(lora.factors))
