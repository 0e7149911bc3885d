"""Recipe format 1: the gates of one generation, and the digests of the generator and bank that they belong to.

A few kilobytes. Together with the bank, a recipe is enough to rebuild the bundle bit for bit
(`loragen.contract.assembly.build_bundle`). See docs/bundle-format.md. The services decide how long a recipe is stored.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loragen.contract.answer import ANSWER, TEXT_ANSWER, AnswerContract
from loragen.contract.container import TensorSpec, encode_header, parse_container
from loragen.contract.digest import sha256_hex
from loragen.contract.errors import FormatError, NonFiniteError
from loragen.contract.fields import COUNT, TEXT, encode_fields, parse_fields, verify_count
from loragen.contract.limits import MAX_EXPERTS, MAX_LAYERS, MAX_PROMPT_TOKENS, MAX_RECIPE_BYTES
from loragen.contract.names import verify_digest, verify_model_id, verify_name

RECIPE_FORMAT = 1

GROUP_COUNTS = (1, 3)
"""One set of gates for all three projections of a layer, as in the paper, or one for each of gate, up, down."""

_KIND = "recipe"
_GATES = "gates"
_FORMS = {
    "loragen.answer": ANSWER,
    "loragen.bank.digest": TEXT,
    "loragen.edge_model.digest": TEXT,
    "loragen.edge_model.id": TEXT,
    "loragen.generator.digest": TEXT,
    "loragen.generator.id": TEXT,
    "loragen.prompt_tokens": COUNT,
}
_EXPONENT = np.uint32(0x7F800000)


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """Gates and the digests of what they belong to.

    Attributes:
        generator_id: Name of the generator.
        generator_digest: Digest of the generator's checkpoint; it covers the bank.
        bank_digest: sha256 of the bank's file.
        edge_model_id: The edge model that the LoRA is for.
        edge_model_digest: Its digest.
        prompt_tokens: Length of the prompt that the LoRA replaces, in tokens of the edge model.
        gates: (layers, groups, experts) float32, made canonical by `canonical_gates`; read-only.
        answer: What an answer may look like.

    Raises:
        ContractError: A malformed name, digest or count, or gates that `canonical_gates` refuses.
    """

    generator_id: str
    generator_digest: str
    bank_digest: str
    edge_model_id: str
    edge_model_digest: str
    prompt_tokens: int
    gates: NDArray[np.float32]
    answer: AnswerContract = TEXT_ANSWER

    def __post_init__(self) -> None:
        verify_name(self.generator_id)
        verify_digest(self.generator_digest)
        verify_digest(self.bank_digest)
        verify_model_id(self.edge_model_id)
        verify_digest(self.edge_model_digest)
        verify_count(self.prompt_tokens, "prompt_tokens", 0, MAX_PROMPT_TOKENS)
        object.__setattr__(self, "gates", canonical_gates(self.gates))


def canonical_gates(gates: NDArray[np.float32]) -> NDArray[np.float32]:
    """A read-only copy of the gates in which every zero and every subnormal number is +0.0.

    Assembly skips an expert whose gate is zero. A processor that flushes subnormal numbers to zero (torch and some
    libraries switch that on) would skip an expert that another processor adds. Gates below 2**-126 change nothing in
    the LoRA, so they become zero on every machine.

    Returns:
        (layers, groups, experts) float32.

    Raises:
        FormatError, LimitError: Not float32, not three dimensions, or one out of its range.
        NonFiniteError: NaN or infinity.
    """
    if gates.dtype != np.float32:
        raise FormatError(f"gates: expected float32, found {gates.dtype}")
    _verify_gates_shape(gates.shape)
    copy = np.array(gates, order="C")
    bits = copy.view(np.uint32)
    exponents = bits & _EXPONENT
    if (exponents == _EXPONENT).any():
        raise NonFiniteError("gates: expected finite numbers, found NaN or infinity")
    bits[exponents == 0] = 0
    copy.flags.writeable = False
    return copy


def gates_digest(gates: NDArray[np.float32]) -> str:
    """sha256 of the shape as text (`22,1,8` and a line feed) followed by the canonical gates, little-endian, C order.

    Raises:
        ContractError: Gates that `canonical_gates` refuses.
    """
    canonical = canonical_gates(gates)
    return sha256_hex(",".join(map(str, canonical.shape)).encode("ascii") + b"\n" + canonical.tobytes())


def encode_recipe(recipe: Recipe) -> bytes:
    """The bytes of a recipe file; equal recipes give equal bytes.

    Raises:
        LimitError: The answer contract is over its limit.
    """
    specs = {_GATES: TensorSpec("F32", recipe.gates.shape)}
    return encode_header(_KIND, RECIPE_FORMAT, encode_fields(recipe, _FORMS), specs) + recipe.gates.tobytes()


def parse_recipe(data: bytes | memoryview) -> Recipe:
    """Parse a recipe file; `encode_recipe` of the result gives `data` again.

    Raises:
        ContractError: Any bytes that `encode_recipe` could not have made.
    """
    container = parse_container(data, kind=_KIND, version=RECIPE_FORMAT, max_bytes=MAX_RECIPE_BYTES)
    values = parse_fields(container.metadata, _FORMS)
    if container.specs.keys() != {_GATES}:
        raise FormatError(f"recipe: expected one tensor {_GATES!r}, found {len(container.specs)} or another")
    gates = container.float32(_GATES)
    recipe = Recipe(**values, gates=gates)
    if recipe.gates.tobytes() != gates.tobytes():
        raise FormatError("recipe: gates hold a negative zero or a subnormal number")
    return recipe


def _verify_gates_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or shape[1] not in GROUP_COUNTS:
        raise FormatError(f"gates: expected (layers, 1 or 3 groups, experts), found {shape}")
    verify_count(shape[0], "layers", 1, MAX_LAYERS)
    verify_count(shape[2], "experts", 1, MAX_EXPERTS)
