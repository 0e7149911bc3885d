"""Bundle format 1: a LoRA in one safetensors file that plain PEFT loads, with its origin in the header.

The id of a bundle is the sha256 of its bytes. There is no time stamp inside, so the same gates of the same generator
have the same id on every machine. See docs/bundle-format.md.
`loragen.contract.assembly` makes a LoRA from gates; the edge decides what to do with it.
"""

from dataclasses import asdict, dataclass

import numpy as np

from loragen.contract.container import Container, TensorSpec, encode_header, parse_container, tensor_order
from loragen.contract.digest import sha256_hex
from loragen.contract.errors import FormatError, LimitError, MismatchError
from loragen.contract.fields import COUNT, DECIMAL, NAMES, TEXT, encode_fields, parse_fields, verify_count
from loragen.contract.limits import MAX_BUNDLE_BYTES, MAX_HEADER_BYTES, MAX_LAYERS, MAX_PROMPT_TOKENS, MAX_RANK
from loragen.contract.lora import EdgeShape, Lora, verify_alpha
from loragen.contract.names import PROJECTIONS, SIDES, peft_name, verify_digest, verify_model_id, verify_name

BUNDLE_FORMAT = 1

TARGETS = tuple(f"{projection}_proj" for projection in PROJECTIONS)
"""PEFT's names of the modules that a bundle of format 1 adapts."""

_KIND = "bundle"
_FORMS = {
    "format": TEXT,
    "loragen.alpha": DECIMAL,
    "loragen.edge_model.digest": TEXT,
    "loragen.edge_model.id": TEXT,
    "loragen.gates.digest": TEXT,
    "loragen.generator.digest": TEXT,
    "loragen.generator.id": TEXT,
    "loragen.layers": COUNT,
    "loragen.prompt_tokens": COUNT,
    "loragen.rank": COUNT,
    "loragen.targets": NAMES,
}
_PEFT_FORMAT = {"format": "pt"}
"""PEFT writes it, and accelerate refuses a safetensors file without it."""


@dataclass(frozen=True, slots=True)
class BundleHeader:
    """Where a LoRA comes from and what it fits.

    Attributes:
        generator_id: Name of the generator.
        generator_digest: Digest of the generator's checkpoint.
        edge_model_id: The edge model that the LoRA is for.
        edge_model_digest: Its digest; devices refuse the LoRA for any other model.
        layers: Edge layers L.
        rank: LoRA rank.
        alpha: Numerator of the scale alpha / rank; at most six decimals.
        targets: Adapted modules, always `TARGETS` in format 1.
        gates_digest: `loragen.contract.recipe.gates_digest` of the gates that made the LoRA.
        prompt_tokens: Length of the prompt that the LoRA replaces, in tokens of the edge model.

    Raises:
        ContractError: A malformed name or digest, or a number out of its range.
    """

    generator_id: str
    generator_digest: str
    edge_model_id: str
    edge_model_digest: str
    layers: int
    rank: int
    alpha: float
    targets: tuple[str, ...]
    gates_digest: str
    prompt_tokens: int

    def __post_init__(self) -> None:
        verify_name(self.generator_id)
        verify_digest(self.generator_digest)
        verify_model_id(self.edge_model_id)
        verify_digest(self.edge_model_digest)
        verify_count(self.layers, "layers", 1, MAX_LAYERS)
        verify_count(self.rank, "rank", 1, MAX_RANK)
        verify_alpha(self.alpha)
        if self.targets != TARGETS:
            raise FormatError(f"targets: expected {','.join(TARGETS)}, found {ascii(','.join(self.targets))[:80]}")
        verify_digest(self.gates_digest)
        verify_count(self.prompt_tokens, "prompt_tokens", 0, MAX_PROMPT_TOKENS)


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A LoRA and its header.

    Raises:
        MismatchError: Layers, rank or alpha of the two differ.
    """

    header: BundleHeader
    lora: Lora

    def __post_init__(self) -> None:
        expected = (self.header.layers, self.header.rank, self.header.alpha)
        found = (self.lora.shape.layers, self.lora.rank, self.lora.alpha)
        if expected != found:
            raise MismatchError(f"bundle: header says (layers, rank, alpha) = {expected}, the LoRA has {found}")


def content_id(data: bytes | memoryview) -> str:
    """The id of a bundle or a recipe: sha256 of its bytes."""
    return sha256_hex(data)


def encode_bundle(bundle: Bundle) -> bytes:
    """The bytes of a bundle file; equal bundles give equal bytes.

    Raises:
        NonFiniteError: A factor holds NaN or infinity.
        LimitError: The file would be larger than `MAX_BUNDLE_BYTES`.
    """
    lora = bundle.lora
    verify_bundle_size(lora.shape, lora.rank)
    lora.verify_finite()
    tensors = {
        peft_name(*block, side): factor
        for block, factors in lora.factors.items()
        for side, factor in zip(SIDES, factors, strict=True)
    }
    specs = {name: TensorSpec("F16", factor.shape) for name, factor in tensors.items()}
    metadata = encode_fields(_PEFT_FORMAT | asdict(bundle.header), _FORMS)
    header = encode_header(_KIND, BUNDLE_FORMAT, metadata, specs)
    return b"".join([header, *(np.ascontiguousarray(tensors[name]).data for name in tensor_order(specs))])


def parse_bundle(data: bytes | memoryview) -> Bundle:
    """Parse a bundle file into read-only views of `data`; `encode_bundle` of the result gives `data` again.

    Example:
        bundle = parse_bundle(Path("mail.safetensors").read_bytes())
        bundle.header.edge_model_id, bundle.lora.rank

    Raises:
        ContractError: Any bytes that `encode_bundle` could not have made.
    """
    container = parse_container(data, kind=_KIND, version=BUNDLE_FORMAT, max_bytes=MAX_BUNDLE_BYTES)
    fields = parse_fields(container.metadata, _FORMS)
    if fields.pop("format") != "pt":
        raise FormatError("bundle: expected format = 'pt'")
    header = BundleHeader(**fields)
    shape = _edge_shape(container, header)
    expected = {peft_name(*block, side) for block in shape.blocks() for side in SIDES}
    if container.specs.keys() != expected:
        raise FormatError(f"bundle: expected {len(expected)} LoRA tensors, found {len(container.specs)} or other names")
    factors = {
        block: (container.float16(peft_name(*block, "A")), container.float16(peft_name(*block, "B")))
        for block in shape.blocks()
    }
    lora = Lora(shape, header.rank, header.alpha, factors)
    lora.verify_finite()
    return Bundle(header, lora)


def verify_bundle_size(shape: EdgeShape, rank: int) -> None:
    """Check that a LoRA of this shape and rank fits into a bundle.

    Raises:
        LimitError: Its rank or its size is over the limit.
    """
    if rank > MAX_RANK:
        raise LimitError(f"rank: expected at most {MAX_RANK}, found {rank}")
    size = 2 * shape.lora_numbers(rank) + MAX_HEADER_BYTES
    if size > MAX_BUNDLE_BYTES:
        raise LimitError(f"bundle: expected at most {MAX_BUNDLE_BYTES} bytes, found about {size}")


def _edge_shape(container: Container, header: BundleHeader) -> EdgeShape:
    """The shape of the edge model by layer 0's gate projection; `Lora` compares every other tensor with it."""
    first = [container.specs.get(peft_name(0, "gate", side)) for side in SIDES]
    sizes = [spec.shape for spec in first if spec is not None and len(spec.shape) == 2]
    if len(sizes) != 2:
        raise FormatError(f"bundle: expected matrices {peft_name(0, 'gate', 'A')} and B")
    return EdgeShape(header.layers, hidden=sizes[0][1], intermediate=sizes[1][0])
