"""Bundle format 1: a LoRA in one safetensors file that plain PEFT loads, with its origin in the header.

A LoRA comes from a generator, or a user imported it (`loragen.contract.peft_adapter`): then no generator and no gates
stand in its header, and there is no recipe for it.

The id of a bundle is the sha256 of its bytes. There is no time stamp inside, so the same gates of the same generator
have the same id on every machine. See docs/bundle-format.md.
`loragen.contract.assembly` makes a LoRA from gates; the edge decides what to do with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from loragen.contract.answer import ANSWER, TEXT_ANSWER, AnswerContract
from loragen.contract.container import (
    TensorSpec,
    encode_header,
    measure_header,
    measure_tensors,
    parse_container,
    tensor_order,
)
from loragen.contract.digest import sha256_hex
from loragen.contract.errors import FormatError, LimitError, MismatchError
from loragen.contract.fields import COUNT, TEXT, TEXT_OR_NONE, encode_fields, parse_fields, verify_count
from loragen.contract.limits import MAX_BUNDLE_BYTES, MAX_HEADER_BYTES, MAX_PROMPT_TOKENS
from loragen.contract.lora import Block, EdgeShape, Lora
from loragen.contract.names import SIDES, peft_name, verify_digest, verify_model_id, verify_name
from loragen.contract.residual_prompt import verify_counted

BUNDLE_FORMAT = 1

_KIND = "bundle"
_FORMS = {
    "loragen.answer": ANSWER,
    "loragen.edge_model.digest": TEXT,
    "loragen.edge_model.hidden": COUNT,
    "loragen.edge_model.id": TEXT,
    "loragen.edge_model.intermediate": COUNT,
    "loragen.gates.digest": TEXT_OR_NONE,
    "loragen.generator.digest": TEXT_OR_NONE,
    "loragen.generator.id": TEXT_OR_NONE,
    "loragen.layers": COUNT,
    "loragen.prompt_tokens": COUNT,
    "loragen.residual_prompt": TEXT,
    "loragen.residual_prompt_tokens": COUNT,
}
_PEFT_FORMAT = {"format": "pt"}
"""PEFT writes it, and accelerate refuses a safetensors file without it."""


@dataclass(frozen=True, slots=True)
class BundleHeader:
    """Where a LoRA comes from and what it fits.

    Attributes:
        generator_id: Name of the generator; None when the LoRA was imported.
        generator_digest: Digest of the generator's checkpoint; None when the LoRA was imported.
        edge_model_id: The edge model that the LoRA is for.
        edge_model_digest: Its digest; devices refuse the LoRA for any other model.
        layers: Decoder layers of the edge model; the LoRA need not touch all of them.
        edge_model_hidden: Width of its residual stream.
        edge_model_intermediate: Width of its feed-forward layers.
        gates_digest: `loragen.contract.recipe.gates_digest` of the gates that made the LoRA; None when it was imported.
        prompt_tokens: Length of the whole prompt, in tokens of the edge model; 0 when nobody knows.
        answer: What an answer may look like; the device that serves the LoRA enforces it.
        residual_prompt: What is left of the prompt, to be put in front of each input as system message; empty for none.
        residual_prompt_tokens: Its length, in tokens of the edge model.

    Raises:
        ContractError: A malformed name, digest or text, a number out of its range, or some but not all of what a
            generator leaves in a header.
    """

    generator_id: str | None
    generator_digest: str | None
    edge_model_id: str
    edge_model_digest: str
    layers: int
    edge_model_hidden: int
    edge_model_intermediate: int
    gates_digest: str | None
    prompt_tokens: int
    answer: AnswerContract = TEXT_ANSWER
    residual_prompt: str = ""
    residual_prompt_tokens: int = 0

    def __post_init__(self) -> None:
        origin = (self.generator_id, self.generator_digest, self.gates_digest)
        if origin != (None, None, None):
            if self.generator_id is None or self.generator_digest is None or self.gates_digest is None:
                raise FormatError("bundle: expected generator and gates, or none of them, found only some")
            verify_name(self.generator_id)
            verify_digest(self.generator_digest)
            verify_digest(self.gates_digest)
        verify_model_id(self.edge_model_id)
        verify_digest(self.edge_model_digest)
        verify_count(self.prompt_tokens, "prompt_tokens", 0, MAX_PROMPT_TOKENS)
        verify_counted(self.residual_prompt, self.residual_prompt_tokens)
        _ = self.shape  # which checks the sizes

    @property
    def tokens_saved_per_call(self) -> int:
        """Tokens of the edge model that a call no longer carries."""
        return max(0, self.prompt_tokens - self.residual_prompt_tokens)

    @property
    def is_imported(self) -> bool:
        """Whether a user imported the LoRA; then there is no generator and no recipe."""
        return self.generator_id is None

    @property
    def shape(self) -> EdgeShape:
        """Shape of the edge model."""
        return EdgeShape(self.layers, self.edge_model_hidden, self.edge_model_intermediate)


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A LoRA and its header.

    Raises:
        MismatchError: They are for edge models of different shapes.
    """

    header: BundleHeader
    lora: Lora

    def __post_init__(self) -> None:
        if self.header.shape != self.lora.shape:
            raise MismatchError(f"bundle: header says {self.header.shape}, the LoRA is for {self.lora.shape}")


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
    verify_bundle_size(lora.numbers)
    lora.verify_finite()
    tensors = {
        peft_name(*block, side): factor
        for block, factors in lora.factors.items()
        for side, factor in zip(SIDES, factors, strict=True)
    }
    specs = {name: TensorSpec("F16", factor.shape) for name, factor in tensors.items()}
    header = encode_header(_KIND, BUNDLE_FORMAT, _metadata(bundle.header), specs)
    return b"".join([header, *(np.ascontiguousarray(tensors[name]).data for name in tensor_order(specs))])


def encoded_bytes(header: BundleHeader, ranks: Mapping[Block, int]) -> int:
    """The length that `encode_bundle` has for a feed-forward LoRA of these ranks; no weights are needed."""
    tensors, data_bytes = _measure_factors(header.shape, tuple(ranks.items()))
    return measure_header(_KIND, BUNDLE_FORMAT, _metadata(header), tensors) + data_bytes


@lru_cache(maxsize=64)
def _measure_factors(shape: EdgeShape, ranks: tuple[tuple[Block, int], ...]) -> tuple[int, int]:
    # Remembered, because a generator makes LoRAs of few different ranks.
    specs = {}
    for block, rank in ranks:
        width_in, width_out = shape.in_out(block[1])
        for side, factor in zip(SIDES, ((rank, width_in), (width_out, rank)), strict=True):
            specs[peft_name(*block, side)] = TensorSpec("F16", factor)
    return measure_tensors(specs)


def _metadata(header: BundleHeader) -> dict[str, str]:
    return _PEFT_FORMAT | encode_fields(header, _FORMS)


def parse_bundle(data: bytes | memoryview) -> Bundle:
    """Parse a bundle file into read-only views of `data`; `encode_bundle` of the result gives `data` again.

    Example:
        bundle = parse_bundle(Path("mail.safetensors").read_bytes())
        bundle.header.edge_model_id, bundle.lora.ranks

    Raises:
        ContractError: Any bytes that `encode_bundle` could not have made.
    """
    container = parse_container(data, kind=_KIND, version=BUNDLE_FORMAT, max_bytes=MAX_BUNDLE_BYTES)
    fields = parse_fields(container.metadata, _FORMS | dict.fromkeys(_PEFT_FORMAT, TEXT))
    if {name: fields.pop(name) for name in _PEFT_FORMAT} != _PEFT_FORMAT:
        raise FormatError("bundle: expected format = 'pt'")
    header = BundleHeader(**fields)
    pairs = {block: (peft_name(*block, "A"), peft_name(*block, "B")) for block in header.shape.linears()}
    present = {block: names for block, names in pairs.items() if not container.specs.keys().isdisjoint(names)}
    if container.specs.keys() != {name for names in present.values() for name in names}:
        raise FormatError(f"bundle: expected pairs of LoRA tensors, found {len(container.specs)} or other names")
    factors = {block: (container.float16(a), container.float16(b)) for block, (a, b) in present.items()}
    lora = Lora(header.shape, factors)
    lora.verify_finite()
    return Bundle(header, lora)


def verify_bundle_size(numbers: int) -> None:
    """Check that a LoRA of this size, counted in numbers, fits into a bundle.

    Raises:
        LimitError: It would be too large.
    """
    size = 2 * numbers + MAX_HEADER_BYTES
    if size > MAX_BUNDLE_BYTES:
        raise LimitError(f"bundle: expected at most {MAX_BUNDLE_BYTES} bytes, found about {size}")
