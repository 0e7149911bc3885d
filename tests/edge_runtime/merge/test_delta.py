"""A delta is B A, for any rows, rank and width."""

import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType

from edge_runtime.gguf.base_gguf import BaseGguf
from edge_runtime.gguf.quantization import Codec
from edge_runtime.merge import delta as measured
from edge_runtime.merge.delta import Delta, measure_retained_delta


def factors(rank: int, width_in: int, width_out: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rank)
    return tuple(rng.standard_normal(shape).astype(np.float16) for shape in ((rank, width_in), (width_out, rank)))


@pytest.mark.parametrize(("rank", "width_in", "width_out"), [(1, 32, 7), (16, 5632, 20), (100, 1000, 33), (256, 96, 8)])
def test_rows_equal_the_plain_product(rank, width_in, width_out):
    a, b = factors(rank, width_in, width_out)
    delta = Delta.of(a, b)
    expected = b.astype(np.float64) @ a.astype(np.float64)
    for index in (slice(0, width_out), slice(3, 6), np.array([0, 4, 5])):
        found = delta.rows(index)
        assert found.dtype == np.float32
        assert np.allclose(found, expected[index], rtol=1e-4, atol=1e-4 * rank**0.5)


@pytest.mark.parametrize("zero", [0, 1])
def test_delta_with_a_zero_factor_is_none(zero):
    pair = list(factors(4, 32, 8))
    pair[zero] = np.zeros_like(pair[zero])
    assert Delta.of(*pair) is None


@pytest.mark.parametrize("size", [0.003, 0.01, 0.03])
def test_share_on_some_rows_says_how_far_it_may_be_from_that_on_all(size, base_gguf, monkeypatch):
    monkeypatch.setattr(measured, "SAMPLED_WEIGHTS", 2**13)
    off = []
    with BaseGguf(base_gguf) as opened:
        for name, info in opened.tensors.items():
            if not name.endswith(("ffn_up.weight", "ffn_down.weight")):
                continue
            a, b = factors(8, info.columns, info.rows)
            delta = Delta.of(a, (size / 50 * b).astype(np.float16))
            share, error = measure_retained_delta(opened, info, delta, GGMLQuantizationType.Q4_0, Codec())
            exact, none = measure_retained_delta(opened, info, delta, GGMLQuantizationType.Q4_0, Codec(), all_rows=True)
            assert none == 0.0
            assert error > 0.0
            off.append(abs(share - exact) / error)
    assert len(off) > 3
    assert max(off) < 4
    assert max(off) > 0.1  # not so wide that it says nothing
