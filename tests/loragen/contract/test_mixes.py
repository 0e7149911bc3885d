"""Every mix has a rule; `test_assembly` and `test_golden` prove the bits."""

from typing import get_args

import numpy as np
import pytest

from loragen.contract.mixes import MIXES, Mix


def test_every_mix_has_a_rule() -> None:
    assert tuple(MIXES) == get_args(Mix)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("chosen", [[(1, np.float32(2.0))], [(0, np.float32(0.5)), (2, np.float32(-1.0))]])
def test_factors_have_the_rank_of_the_blocks(mix: Mix, chosen: list[tuple[int, np.float32]]) -> None:
    """Small whole numbers, which float16 holds, so that B A is the same in any order."""
    rng = np.random.default_rng(0)
    experts = tuple(rng.integers(-4, 5, shape).astype(np.float16) for shape in ((3, 2, 5), (3, 4, 2)))
    rank = MIXES[mix].blocks(len(chosen)) * 2
    a, b = MIXES[mix].factors((experts[0], experts[1]), chosen, np.float32(0.5))
    assert (a.shape, b.shape) == ((rank, 5), (4, rank))
    if mix == "deltas":
        delta = sum((0.5 * gate * experts[1][j] @ experts[0][j] for j, gate in chosen), np.zeros((4, 5), np.float16))
        np.testing.assert_array_equal(b @ a, delta)
