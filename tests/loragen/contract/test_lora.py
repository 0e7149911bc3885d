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
        lambda factors: {**factors, (0, "gate"): (factors[0, "gate"][0][:1], factors[0, "gate"][1])},
        lambda factors: {**factors, (0, "gate"): (factors[0, "gate"][0][0], factors[0, "gate"][1])},
        lambda factors: {**factors, (0, "gate"): (factors[0, "gate"][0][:0], factors[0, "gate"][1][:, :0])},
        lambda factors: {**factors, (1, "gate"): factors[0, "gate"]},
        lambda factors: {**factors, (0, "query"): factors[0, "gate"]},
        lambda factors: {},
        lambda factors: {block: tuple(factor.astype(np.float32) for factor in pair) for block, pair in factors.items()},
    ],
    ids=[
        "shape of another projection",
        "A and B swapped",
        "ranks of A and B differ",
        "A flat",
        "rank 0",
        "layer too many",
        "unknown projection",
        "nothing",
        "float32",
    ],
)
def test_lora_that_does_not_fit_its_shape_cannot_be_made(make_bundle: Callable[..., Bundle], change: Callable) -> None:
    lora = make_bundle(SHAPE).lora
    with pytest.raises(FormatError):
        Lora(lora.shape, change(lora.factors))


def test_rank_over_the_limit_is_refused() -> None:
    with pytest.raises(LimitError, match="layer 0 up: rank"):
        Lora(SHAPE, {(0, "up"): (np.zeros((1025, 4), np.float16), np.zeros((6, 1025), np.float16))})


def test_each_projection_has_a_rank_of_its_own(make_bundle: Callable[..., Bundle]) -> None:
    """In the order of every loop, whatever the order of the factors."""
    lora = make_bundle(SHAPE, ranks={(0, "down"): 3, (0, "gate"): 1}).lora
    assert list(lora.ranks.items()) == [((0, "gate"), 1), ((0, "down"), 3)]
    sizes = [factor.size for pair in lora.factors.values() for factor in pair]
    assert SHAPE.lora_numbers(lora.ranks.values()) == sum(sizes)
