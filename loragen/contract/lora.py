"""Values: the shape of an edge model's feed-forward layers, and a LoRA over some or all of their projections.

Shapes and element types are checked when a value is made. To check that all numbers are finite takes a pass over them,
which is done where they come in or go out (`loragen.contract.bundle`, `loragen.contract.assembly`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loragen.contract.errors import FormatError, LimitError, NonFiniteError
from loragen.contract.fields import format_decimal, verify_count
from loragen.contract.limits import MAX_ALPHA, MAX_HIDDEN, MAX_INTERMEDIATE, MAX_LAYERS, MAX_RANK
from loragen.contract.names import PROJECTIONS, SIDES

Block = tuple[int, str]
"""A layer, and one of its projections."""

FactorPair = tuple[NDArray[np.float16], NDArray[np.float16]]
"""A (rank, in) and B (out, rank), float16; the delta of the weight (out, in) is B @ A."""


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

    def blocks(self, first_layer: int = 0) -> Iterator[Block]:
        """(layer, projection) in the order of every loop: layers ascending from the first, then gate, up, down."""
        return ((layer, projection) for layer in range(first_layer, self.layers) for projection in PROJECTIONS)

    def lora_numbers(self, ranks: Iterable[int]) -> int:
        """How many numbers the factors of a LoRA hold, from the rank of each of its projections."""
        return sum(ranks) * (self.hidden + self.intermediate)


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA: factors for at least one projection of one layer. All other weights of the edge model stay as they are.

    Each pair of factors has a rank of its own. The scale is in B.

    Attributes:
        shape: Shape of the edge model.
        factors: By (layer, projection): A (rank, in) and B (out, rank), float16.

    Raises:
        FormatError: There are no factors, or factors of an unknown projection, of another element type or shape.
        LimitError: A rank is over its limit.
    """

    shape: EdgeShape
    factors: Mapping[Block, FactorPair]

    def __post_init__(self) -> None:
        if not self.factors:
            raise FormatError("LoRA: expected factors for at least one projection, found none")
        unknown = self.factors.keys() - set(self.shape.blocks())
        if unknown:
            raise FormatError(f"LoRA: the edge model has {self.shape.layers} layers, found factors for {min(unknown)}")
        for (layer, projection), (a, b) in self.factors.items():
            width_in, width_out = self.shape.in_out(projection)
            rank = verify_count(a.shape[0] if a.ndim else 0, f"layer {layer} {projection}: rank", 1, MAX_RANK)
            for side, factor, shape in (("A", a, (rank, width_in)), ("B", b, (width_out, rank))):
                if factor.dtype != np.float16 or factor.shape != shape:
                    raise FormatError(
                        f"layer {layer} {projection} {side}: expected float16 {shape}, "
                        f"found {factor.dtype} {factor.shape}"
                    )

    @property
    def ranks(self) -> dict[Block, int]:
        """The rank of each pair of factors, in the order of `EdgeShape.blocks`."""
        return {block: len(self.factors[block][0]) for block in self.shape.blocks() if block in self.factors}

    def verify_finite(self) -> None:
        """Read every factor and check its numbers.

        Raises:
            NonFiniteError: There is NaN or infinity.
        """
        for layer, projection in self.ranks:
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
