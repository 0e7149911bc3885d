"""Mixes: what the experts of one projection become under their gates, the same bits on every machine.

The paper leaves open what is summed, so a bank says which of these it was trained for:

- `parameters`: A = sum_j g_j A_j and B = s sum_j g_j B_j. The rank stays.
- `deltas`: B A = s sum_j g_j B_j A_j. This is exact when the chosen experts' factors are put side by side; the rank is
  multiplied by their number.

s is the scale of one expert, alpha / rank. It goes into B, so that a LoRA has no scale of its own.

Rules that make it reproducible: experts are taken in ascending order, and a gate of exactly zero is skipped; each
product and each sum is rounded to float32 on its own (numpy, no fused operations); sums start at +0.0; B is then
multiplied by s; the end result is rounded once to float16, to nearest even; a negative zero is stored as +0.0. See
docs/bundle-format.md.
`cloud_service.generator.experts` has the same mixes in torch, for training.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loragen.contract.lora import FactorPair

Mix = Literal["parameters", "deltas"]
"""What a gate multiplies: `parameters` both factors of an expert, `deltas` their product B @ A."""

Chosen = Sequence[tuple[int, np.float32]]
"""(expert, gate) for each gate that is not zero, experts ascending; at least one."""


@dataclass(frozen=True, slots=True)
class MixRule:
    """The arithmetic of one mix.

    Attributes:
        blocks: From the number of chosen experts to the rank of the LoRA, in ranks of one expert.
        factors: From all experts of a projection, A (experts, expert rank, in) and B (experts, out, expert rank), the
            chosen ones and the scale, to A (rank, in) and B (out, rank); float16.
    """

    blocks: Callable[[int], int]
    factors: Callable[[FactorPair, Chosen, np.float32], FactorPair]


def _mix_parameters(experts: FactorPair, chosen: Chosen, scale: np.float32) -> FactorPair:
    return round_half(_weighted_sum(experts[0], chosen)), round_half(_weighted_sum(experts[1], chosen) * scale)


def _weighted_sum(experts: NDArray[np.float16], chosen: Chosen) -> NDArray[np.float32]:
    """sum_j g_j E_j, from experts (experts, rows, columns) float16 to (rows, columns) float32."""
    total = np.zeros(experts.shape[1:], np.float32)
    product = np.empty_like(total)
    for expert, gate in chosen:
        # Widening float16 is exact. Two calls instead of one fused operation: each of them rounds to float32.
        np.multiply(experts[expert].astype(np.float32), gate, out=product)
        np.add(total, product, out=total)
    return total


def _mix_deltas(experts: FactorPair, chosen: Chosen, scale: np.float32) -> FactorPair:
    """The chosen experts side by side: A = [A_j ...] (rank, in) and B = [s g_j B_j ...] (out, rank).

    B A is then s times the sum of g_j B_j A_j. A is copied as it is, only B is scaled.
    """
    numbers, gates = [expert for expert, _ in chosen], np.array([gate for _, gate in chosen], np.float32)
    # (chosen, rank, in) and (chosen, out, rank), each of them one copy for all experts.
    factor_a, widened = experts[0][numbers], experts[1][numbers].astype(np.float32)
    widened *= gates[:, None, None]
    widened *= scale
    side_by_side = round_half(widened).transpose(1, 0, 2)
    width_in, width_out = factor_a.shape[2], len(side_by_side)
    return without_negative_zero(factor_a.reshape(-1, width_in)), side_by_side.reshape(width_out, -1)


def round_half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round to float16, to nearest even, without negative zeros."""
    return without_negative_zero(values.astype(np.float16))


def without_negative_zero(values: NDArray[np.float16]) -> NDArray[np.float16]:
    """Turn -0.0 into +0.0 in place: its sign may depend on how a processor rounds subnormal numbers."""
    bits = values.view(np.uint16)
    bits[bits == 0x8000] = 0
    return values


MIXES: Mapping[Mix, MixRule] = MappingProxyType(
    {
        "parameters": MixRule(lambda chosen: 1, _mix_parameters),
        "deltas": MixRule(lambda chosen: chosen, _mix_deltas),
    }
)
"""Every mix. A new one is a name in `Mix`, a line here, and one in the table of `cloud_service.generator.experts`."""
