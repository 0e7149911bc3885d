"""Values: the shape of an edge model, and a LoRA over some or all linear layers of its decoder layers.

Shapes and element types are checked when a value is made. To check that all numbers are finite takes a pass over them,
which is done where they come in or go out (`loragen.contract.bundle`, `loragen.contract.assembly`).

Rule: to know shapes takes no numpy; a device loads it with its first model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

from loragen.contract.errors import FormatError, MismatchError, NonFiniteError
from loragen.contract.fields import verify_count
from loragen.contract.limits import MAX_ATTENTION, MAX_HIDDEN, MAX_INTERMEDIATE, MAX_LAYERS, MAX_RANK
from loragen.contract.names import ATTENTION, LINEARS, PROJECTIONS, SIDES

_OTHER_MODEL = "it was made for another model; take one for this model"

Block = tuple[int, str]
"""A layer, and one of its projections (`loragen.contract.names.LINEARS`)."""

Linears = Mapping[Block, tuple[int, int]]
"""Input and output width of each linear layer of an edge model that a LoRA may act on."""

FactorPair: TypeAlias = "tuple[NDArray[np.float16], NDArray[np.float16]]"
"""A (rank, in) and B (out, rank), float16; the delta of the weight (out, in) is B @ A."""


@dataclass(frozen=True, slots=True)
class EdgeShape:
    """The sizes of an edge model that determine the shapes of a generated LoRA, which is over feed-forward layers.

    The widths of attention are not among them. The factors have them, and the code that has the model compares them.

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
        """Input and output width of a feed-forward projection: gate and up widen, down narrows."""
        return (self.intermediate, self.hidden) if projection == "down" else (self.hidden, self.intermediate)

    def blocks(self, first_layer: int = 0) -> Iterator[Block]:
        """(layer, projection) of what generators adapt: layers ascending from the first, then gate, up, down."""
        return ((layer, projection) for layer in range(first_layer, self.layers) for projection in PROJECTIONS)

    def linears(self) -> Iterator[Block]:
        """(layer, projection) of all that a LoRA may act on: layers ascending, then in the order of `LINEARS`."""
        return ((layer, projection) for layer in range(self.layers) for projection in LINEARS)

    def lora_numbers(self, ranks: Iterable[int]) -> int:
        """How many numbers the factors of a feed-forward LoRA hold, from the rank of each of its projections."""
        return sum(ranks) * (self.hidden + self.intermediate)


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA: factors for at least one projection of one layer. All other weights of the edge model stay as they are.

    Each pair of factors has a rank of its own. The scale is in B. Of attention, one side of each projection has the
    model's hidden width; the other may be any, because nothing here says how many heads the model has.

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
        unknown = self.factors.keys() - set(self.shape.linears())
        if unknown:
            raise FormatError(f"LoRA: the edge model has {self.shape.layers} layers, found factors for {min(unknown)}")
        for (layer, projection), (a, b) in self.factors.items():
            width_in, width_out = self._in_out(layer, projection)
            rank = verify_count(a.shape[0] if a.ndim else 0, f"layer {layer} {projection}: rank", 1, MAX_RANK)
            for side, factor, shape in (("A", a, (rank, width_in)), ("B", b, (width_out, rank))):
                if factor.dtype != "float16" or factor.shape != shape:
                    raise FormatError(
                        f"layer {layer} {projection} {side}: expected float16 {shape}, "
                        f"found {factor.dtype} {factor.shape}"
                    )

    @property
    def ranks(self) -> dict[Block, int]:
        """The rank of each pair of factors, in the order of `EdgeShape.linears`."""
        return {block: len(self.factors[block][0]) for block in self.shape.linears() if block in self.factors}

    @property
    def numbers(self) -> int:
        """How many numbers the factors hold."""
        return sum(a.size + b.size for a, b in self.factors.values())

    def _in_out(self, layer: int, projection: str) -> tuple[int, int]:
        if projection not in ATTENTION:
            return self.shape.in_out(projection)
        a, b = self.factors[layer, projection]
        # Factors without two axes fit no width: they are refused for their shape.
        free = a.shape[-1:] if projection == "o" else b.shape[:1]
        width = verify_count(free[0] if free else 0, f"layer {layer} {projection}: width", 1, MAX_ATTENTION)
        return (width, self.shape.hidden) if projection == "o" else (self.shape.hidden, width)

    def verify_finite(self) -> None:
        """Read every factor and check its numbers.

        Raises:
            NonFiniteError: There is NaN or infinity.
        """
        for layer, projection in self.ranks:
            for side, factor in zip(SIDES, self.factors[layer, projection], strict=True):
                verify_finite(factor, f"layer {layer} {projection} {side}")


def verify_fits(factors: Mapping[Block, tuple[NDArray[Any], NDArray[Any]]], linears: Linears) -> None:
    """Check that a LoRA has the shapes of an edge model, layer by layer.

    Args:
        factors: By (layer, projection): A (rank, in) and B (out, rank), of any element type.
        linears: The widths of the edge model.

    Raises:
        MismatchError: The model has no such layer, or one of another shape.
    """
    for (layer, projection), (a, b) in sorted(factors.items(), key=lambda each: each[0]):
        widths = linears.get((layer, projection))
        found = f"A {tuple(a.shape)} and B {tuple(b.shape)}"
        if widths is None:
            raise MismatchError(
                f"layer {layer} {projection}: the edge model has no such layer, the LoRA has {found}", hint=_OTHER_MODEL
            )
        width_in, width_out = widths
        if a.ndim != 2 or b.ndim != 2 or (a.shape[1], b.shape[0]) != (width_in, width_out):
            raise MismatchError(
                f"layer {layer} {projection}: expected A (rank, {width_in}) and B ({width_out}, rank) "
                f"for the edge model, found {found}",
                hint=_OTHER_MODEL,
            )


def verify_finite(values: NDArray[np.float16], name: str) -> None:
    """Check float16 numbers for NaN and infinity.

    It looks at the bits (all exponent bits are set in both), which is several times faster than converting numbers.

    Raises:
        NonFiniteError: There is one.
    """
    if ((values.view("uint16") & 0x7C00) == 0x7C00).any():
        raise NonFiniteError(f"{name}: expected finite numbers, found NaN or infinity")
