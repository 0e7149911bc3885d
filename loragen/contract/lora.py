"""Values: the shape of an edge model's feed-forward layers, and a LoRA over all of them.

Shapes and element types are checked when a value is made. To check that all numbers are finite takes a pass over them,
which is done where they come in or go out (`loragen.contract.bundle`, `loragen.contract.assembly`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loragen.contract.errors import FormatError, LimitError, NonFiniteError
from loragen.contract.fields import format_decimal, verify_count
from loragen.contract.limits import MAX_ALPHA, MAX_HIDDEN, MAX_INTERMEDIATE, MAX_LAYERS, MAX_RANK
from loragen.contract.names import PROJECTIONS, SIDES

FactorPair = tuple[NDArray[np.float16], NDArray[np.float16]]
"""A (rank, in) and B (out, rank), float16; the delta of the weight (out, in) is alpha / rank * B @ A."""


@dataclass(frozen=True, slots=True)
class EdgeShape:
    """The sizes of an edge model that determine the shapes of its LoRA.

    Attributes:
        layers: Number of decoder layers L.
        hidden: Width of the residual stream.
        intermediate: Width of the feed-forward layer.

    Raises:
        FormatError, LimitError: A number out of its range.
    """

    layers: int
    hidden: int
    intermediate: int

    def __post_init__(self) -> None:
        verify_count(self.layers, "layers", 1, MAX_LAYERS)
        verify_count(self.hidden, "hidden", 1, MAX_HIDDEN)
        verify_count(self.intermediate, "intermediate", 1, MAX_INTERMEDIATE)

    def in_out(self, projection: str) -> tuple[int, int]:
        """Input and output width of a projection: gate and up widen, down narrows."""
        return (self.intermediate, self.hidden) if projection == "down" else (self.hidden, self.intermediate)

    def blocks(self) -> Iterator[tuple[int, str]]:
        """(layer, projection) in the order of every loop: layers ascending, then gate, up, down."""
        return ((layer, projection) for layer in range(self.layers) for projection in PROJECTIONS)

    def lora_numbers(self, rank: int) -> int:
        """How many numbers the factors of a LoRA of this rank hold."""
        return self.layers * len(PROJECTIONS) * rank * (self.hidden + self.intermediate)


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA for every projection of every layer.

    Attributes:
        shape: Shape of the edge model.
        rank: Rank of every pair of factors.
        alpha: Numerator of the scale; at most six decimals.
        factors: For each (layer, projection), A (rank, in) and B (out, rank), float16.

    Raises:
        FormatError, LimitError: A number out of its range, or a factor that is missing, unknown or of another shape.
    """

    shape: EdgeShape
    rank: int
    alpha: float
    factors: Mapping[tuple[int, str], FactorPair]

    def __post_init__(self) -> None:
        verify_count(self.rank, "rank", 1, MAX_RANK)
        verify_alpha(self.alpha)
        expected = set(self.shape.blocks())
        if self.factors.keys() != expected:
            raise FormatError(f"expected factors for {len(expected)} projections, found {len(self.factors)} or others")
        for layer, projection in expected:
            width_in, width_out = self.shape.in_out(projection)
            for factor, side, shape in zip(
                self.factors[layer, projection],
                SIDES,
                ((self.rank, width_in), (width_out, self.rank)),
                strict=True,
            ):
                if factor.dtype != np.float16 or factor.shape != shape:
                    raise FormatError(
                        f"layer {layer} {projection} {side}: expected float16 {shape}, "
                        f"found {factor.dtype} {factor.shape}"
                    )

    @property
    def scale(self) -> float:
        """The factor of B @ A in the merged weight, alpha / rank."""
        return self.alpha / self.rank

    def verify_finite(self) -> None:
        """Read every factor and check its numbers.

        Raises:
            NonFiniteError: There is NaN or infinity.
        """
        for layer, projection in self.shape.blocks():
            for side, factor in zip(SIDES, self.factors[layer, projection], strict=True):
                verify_finite(factor, f"layer {layer} {projection} {side}")


def verify_alpha(alpha: float) -> float:
    """Return `alpha` when it is above 0, within its limit and has at most six decimals.

    Raises:
        FormatError: It is 0, negative, not finite or has more decimals.
        LimitError: It is over the limit.
    """
    format_decimal(alpha, "alpha")
    if alpha == 0:
        raise FormatError("alpha: expected a number above 0, found 0")
    if alpha > MAX_ALPHA:
        raise LimitError(f"alpha: expected at most {MAX_ALPHA}, found {alpha}")
    return alpha


def verify_finite(values: NDArray[np.float16], name: str) -> None:
    """Check float16 numbers for NaN and infinity.

    It looks at the bits (all exponent bits are set in both), which is several times faster than converting numbers.

    Raises:
        NonFiniteError: There is one.
    """
    exponent = np.uint16(0x7C00)
    if ((values.view(np.uint16) & exponent) == exponent).any():
        raise NonFiniteError(f"{name}: expected finite numbers, found NaN or infinity")
