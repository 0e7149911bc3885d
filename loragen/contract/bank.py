"""Bank format 1: the LoRA experts of a generator, in one file that is mapped into memory and read where needed.

A bank's file never changes: its sha256 is its name, and a new bank is a new file, renamed into place.
See docs/bundle-format.md. `loragen.contract.assembly` mixes the experts; the cloud's router chooses them.
"""

import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from loragen.contract.atomic import atomic_path
from loragen.contract.choice_head import CHOICE, ChoiceHeadLayout
from loragen.contract.container import Container, TensorSpec, encode_header, parse_container, tensor_order
from loragen.contract.digest import stream_sha256
from loragen.contract.errors import FormatError, LimitError, MismatchError
from loragen.contract.fields import COUNT, DECIMAL, TEXT, encode_fields, format_decimal, parse_fields, verify_count
from loragen.contract.limits import MAX_ALPHA, MAX_BANK_BYTES, MAX_EXPERTS, MAX_RANK
from loragen.contract.lora import Block, EdgeShape, FactorPair, verify_finite
from loragen.contract.mixes import MIXES, Mix
from loragen.contract.names import bank_name, verify_digest, verify_model_id, verify_name
from loragen.contract.recipe import GROUP_COUNTS

BANK_FORMAT = 1

_KIND = "bank"
_FORMS = {
    "loragen.alpha": DECIMAL,
    "loragen.choice": CHOICE,
    "loragen.edge_model.digest": TEXT,
    "loragen.edge_model.hidden": COUNT,
    "loragen.edge_model.id": TEXT,
    "loragen.edge_model.intermediate": COUNT,
    "loragen.experts": COUNT,
    "loragen.first_layer": COUNT,
    "loragen.generator.id": TEXT,
    "loragen.groups": COUNT,
    "loragen.layers": COUNT,
    "loragen.mix": TEXT,
    "loragen.rank": COUNT,
}


@dataclass(frozen=True, slots=True)
class BankHeader:
    """What a bank holds.

    Attributes:
        generator_id: Name of the generator. Its digest covers the bank, so the bank cannot hold it.
        edge_model_id: The edge model that the experts are for.
        edge_model_digest: Its digest.
        shape: Its shape.
        groups: Groups of gates G in each adapted layer, 1 or 3.
        experts: Experts n in each adapted layer.
        rank: LoRA rank of one expert.
        alpha: Numerator of the scale alpha / rank of one expert; at most six decimals.
        mix: What a gate multiplies.
        first_layer: The first adapted layer, from 0; layers below it have neither experts nor gates.
        choice: The choice head; None when the bank has none.

    Raises:
        ContractError: A malformed name or digest, or a number out of its range.
    """

    generator_id: str
    edge_model_id: str
    edge_model_digest: str
    shape: EdgeShape
    groups: int
    experts: int
    rank: int
    alpha: float
    mix: Mix
    first_layer: int = 0
    choice: ChoiceHeadLayout | None = None

    def __post_init__(self) -> None:
        verify_name(self.generator_id)
        verify_model_id(self.edge_model_id)
        verify_digest(self.edge_model_digest)
        if self.groups not in GROUP_COUNTS:
            raise FormatError(f"groups: expected 1 or 3, found {self.groups}")
        verify_count(self.experts, "experts", 1, MAX_EXPERTS)
        verify_count(self.rank, "rank", 1, MAX_RANK)
        _verify_alpha(self.alpha)
        if self.mix not in MIXES:
            raise FormatError(f"mix: expected {' or '.join(MIXES)}, found {ascii(self.mix)[:40]}")
        last = self.shape.layers - 1
        verify_count(self.first_layer, "first_layer", 0, last)
        if self.choice is not None:
            verify_count(self.choice.first_layer, "choice: first_layer", 0, last)
        size = sum(spec.nbytes for spec in self.tensor_specs().values())
        if size > MAX_BANK_BYTES:
            raise LimitError(f"bank: expected at most {MAX_BANK_BYTES} bytes of tensors, found {size}")

    @property
    def layers(self) -> int:
        return self.shape.layers

    @property
    def edge_model_hidden(self) -> int:
        return self.shape.hidden

    @property
    def edge_model_intermediate(self) -> int:
        return self.shape.intermediate

    @property
    def scale(self) -> np.float32:
        """The scale of one expert: alpha / rank, divided in float64 and then rounded to float32."""
        return np.float32(self.alpha / self.rank)

    @property
    def gates_shape(self) -> tuple[int, int, int]:
        """(adapted layers, groups, experts)."""
        return self.shape.layers - self.first_layer, self.groups, self.experts

    @property
    def choice_layers(self) -> range:
        """The layers that have a part of the choice head; none without a head."""
        return range(self.shape.layers if self.choice is None else self.choice.first_layer, self.shape.layers)

    def blocks(self) -> Iterator[Block]:
        """(layer, projection) of the adapted layers, in the order of every loop."""
        return self.shape.blocks(self.first_layer)

    def tensor_specs(self) -> dict[str, TensorSpec]:
        """The tensors that a bank with this header has, float16.

        Experts have A (experts, rank, in) and B (experts, out, rank), the choice head has A (its rank, intermediate)
        and B (hidden, codes).
        """
        specs = {}
        for layer, projection in self.blocks():
            width_in, width_out = self.shape.in_out(projection)
            specs[bank_name(layer, projection, "A")] = TensorSpec("F16", (self.experts, self.rank, width_in))
            specs[bank_name(layer, projection, "B")] = TensorSpec("F16", (self.experts, width_out, self.rank))
        if self.choice is not None:
            for layer in self.choice_layers:
                shape_a = (self.choice.rank, self.shape.intermediate)
                specs[bank_name(layer, "choice", "A")] = TensorSpec("F16", shape_a)
                specs[bank_name(layer, "choice", "B")] = TensorSpec("F16", (self.shape.hidden, len(self.choice.codes)))
        return specs


class Bank:
    """An open bank.

    Example:
        bank = Bank.open(Path("bank.safetensors"))
        experts_a, experts_b = bank.factors(0, "gate")

    Attributes:
        header: What it holds.
        digest: sha256 of the file.
        data: The whole mapped file, read-only, for a server to send.
    """

    __slots__ = ("_container", "data", "digest", "header")

    def __init__(self, header: BankHeader, digest: str, container: Container, data: memoryview) -> None:
        """Use `Bank.open`."""
        self.header = header
        self.digest = digest
        self.data = data
        self._container = container

    @classmethod
    def open(cls, path: Path, *, expected_digest: str | None = None) -> Self:
        """Map a bank's file, and check all of it except whether its numbers are finite (`verify_finite`).

        The file is read once as a stream for its digest. It stays mapped while the bank or one of its arrays lives.

        Args:
            path: The file.
            expected_digest: The sha256 that it must have, when the caller knows it.

        Raises:
            ContractError: Any bytes that `write_bank` could not have made.
            MismatchError: The digest differs from the expected one.
            OSError: The file cannot be read.
        """
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:  # which mmap refuses
                raise FormatError("bank: expected a safetensors file, found 0 bytes")
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            container = parse_container(data, kind=_KIND, version=BANK_FORMAT, max_bytes=MAX_BANK_BYTES)
            header = _from_metadata(container.metadata)
            if container.specs != header.tensor_specs():
                raise FormatError("bank: tensors are missing, unknown, or not of the shape that the header implies")
            digest = stream_sha256(file)
        if expected_digest is not None and digest != expected_digest:
            raise MismatchError(f"bank: expected sha256 {expected_digest}, found {digest}", hint="fetch the bank again")
        return cls(header, digest, container, data)

    def factors(self, layer: int, projection: str) -> FactorPair:
        """All experts of a projection: A (experts, rank, in) and B (experts, out, rank), float16 views of the file."""
        return self.tensor(bank_name(layer, projection, "A")), self.tensor(bank_name(layer, projection, "B"))

    def choice_factors(self, layer: int) -> FactorPair:
        """The choice head in one of its layers: A (rank, intermediate) and B (hidden, codes), float16 views."""
        return self.tensor(bank_name(layer, "choice", "A")), self.tensor(bank_name(layer, "choice", "B"))

    def tensor(self, name: str) -> NDArray[np.float16]:
        """A view of the tensor of this name in `BankHeader.tensor_specs`."""
        return self._container.float16(name)

    def verify_finite(self) -> None:
        """Read the whole bank and check its numbers. Assembly checks what it makes, so that this is for acceptance.

        Raises:
            NonFiniteError: There is NaN or infinity.
        """
        for name in self.header.tensor_specs():
            for part in self.tensor(name):  # an expert, or a row of the choice head
                verify_finite(part, name)


def write_bank(path: Path, header: BankHeader, tensors: Mapping[str, NDArray[np.float16]]) -> None:
    """Write a bank's file, whole or not at all.

    Args:
        path: Where to.
        header: What it holds.
        tensors: float16 arrays by name, as `header.tensor_specs()` says.

    Raises:
        FormatError: A tensor is missing, unknown, or of another shape or element type.
        NonFiniteError: A tensor holds NaN or infinity.
        OSError: The file cannot be written.
    """
    specs = header.tensor_specs()
    if tensors.keys() != specs.keys():
        raise FormatError(f"bank: expected {len(specs)} tensors, found {len(tensors)} or other names")
    for name, spec in specs.items():
        tensor = tensors[name]
        if tensor.dtype != np.float16 or tensor.shape != spec.shape:
            raise FormatError(f"bank: {name}: expected float16 {spec.shape}, found {tensor.dtype} {tensor.shape}")
        verify_finite(tensor, name)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(encode_header(_KIND, BANK_FORMAT, encode_fields(header, _FORMS), specs))
        for name in tensor_order(specs):
            file.write(np.ascontiguousarray(tensors[name]).data)


def _from_metadata(metadata: Mapping[str, str]) -> BankHeader:
    values = parse_fields(metadata, _FORMS)
    shape = (values.pop(name) for name in ("layers", "edge_model_hidden", "edge_model_intermediate"))
    return BankHeader(shape=EdgeShape(*shape), **values)


def _verify_alpha(alpha: float) -> None:
    format_decimal(alpha, "alpha")
    if alpha == 0:
        raise FormatError("alpha: expected a number above 0, found 0")
    if alpha > MAX_ALPHA:
        raise LimitError(f"alpha: expected at most {MAX_ALPHA}, found {alpha}")
