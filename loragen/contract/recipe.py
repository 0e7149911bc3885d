"""Recipe format 1: gates and keys of one generation, and the digests of the generator and bank that they belong to.

A few kilobytes. Together with the bank, a recipe is enough to rebuild the bundle bit for bit
(`loragen.contract.assembly.build_bundle`). See docs/bundle-format.md. The services decide how long a recipe is stored.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loragen.contract.answer import ANSWER, TEXT_ANSWER, AnswerContract
from loragen.contract.container import TensorSpec, encode_header, parse_container, tensor_order
from loragen.contract.digest import sha256_hex
from loragen.contract.errors import FormatError, LimitError, NonFiniteError
from loragen.contract.fields import COUNT, TEXT, encode_fields, parse_fields, verify_count
from loragen.contract.limits import (
    MAX_CHOICES,
    MAX_EXPERTS,
    MAX_LAYERS,
    MAX_PROMPT_TOKENS,
    MAX_RANK,
    MAX_RECIPE_BYTES,
)
from loragen.contract.names import verify_digest, verify_model_id, verify_name
from loragen.contract.residual_prompt import verify_counted

RECIPE_FORMAT = 1

GROUP_COUNTS = (1, 3)
"""One set of gates for all three projections of a layer, as in the paper, or one for each of gate, up, down."""

_KIND = "recipe"
_GATES, _KEYS = "gates", "keys"
_FORMS = {
    "loragen.answer": ANSWER,
    "loragen.bank.digest": TEXT,
    "loragen.edge_model.digest": TEXT,
    "loragen.edge_model.id": TEXT,
    "loragen.generator.digest": TEXT,
    "loragen.generator.id": TEXT,
    "loragen.prompt_tokens": COUNT,
    "loragen.residual_prompt": TEXT,
    "loragen.residual_prompt_tokens": COUNT,
}
_EXPONENT = np.uint32(0x7F800000)


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """Gates, keys, and the digests of what they belong to.

    Attributes:
        generator_id: Name of the generator.
        generator_digest: Digest of the generator's checkpoint; it covers the bank.
        bank_digest: sha256 of the bank's file.
        edge_model_id: The edge model that the LoRA is for.
        edge_model_digest: Its digest.
        prompt_tokens: Length of the whole prompt, in tokens of the edge model.
        gates: (adapted layers, groups, experts) float32, made canonical by `canonical_gates`; read-only.
        answer: What an answer may look like.
        keys: (choice layers, choices, rank) float32 for the bank's choice head, canonical and read-only like the gates;
            None unless the answer contract has codes.
        residual_prompt: What is left of the prompt, to be put in front of each input as system message; empty for none.
        residual_prompt_tokens: Its length, in tokens of the edge model.

    Raises:
        ContractError: A malformed name, digest, text or count, or gates or keys that are not of the right
            shape or not finite, or keys without codes or codes without keys.
    """

    generator_id: str
    generator_digest: str
    bank_digest: str
    edge_model_id: str
    edge_model_digest: str
    prompt_tokens: int
    gates: NDArray[np.float32]
    answer: AnswerContract = TEXT_ANSWER
    keys: NDArray[np.float32] | None = None
    residual_prompt: str = ""
    residual_prompt_tokens: int = 0

    def __post_init__(self) -> None:
        verify_name(self.generator_id)
        verify_digest(self.generator_digest)
        verify_digest(self.bank_digest)
        verify_model_id(self.edge_model_id)
        verify_digest(self.edge_model_digest)
        verify_count(self.prompt_tokens, "prompt_tokens", 0, MAX_PROMPT_TOKENS)
        verify_counted(self.residual_prompt, self.residual_prompt_tokens)
        object.__setattr__(self, "gates", canonical_gates(self.gates))
        if self.keys is None:
            if self.answer.codes:
                raise FormatError(f"recipe: found {len(self.answer.codes)} codes, and no keys for the choice head")
            return
        object.__setattr__(self, "keys", canonical_keys(self.keys))
        if self.keys.shape[1] != len(self.answer.codes):
            raise FormatError(
                f"recipe: found {len(self.answer.codes)} codes, and keys for {self.keys.shape[1]} choices"
            )

    @property
    def tokens_saved_per_call(self) -> int:
        """Tokens of the edge model that a call no longer carries."""
        return max(0, self.prompt_tokens - self.residual_prompt_tokens)


def canonical_gates(gates: NDArray[np.float32]) -> NDArray[np.float32]:
    """A read-only copy of the gates in which every zero and every subnormal number is +0.0.

    Assembly skips an expert whose gate is zero. A processor that flushes subnormal numbers to zero (torch and some
    libraries switch that on) would skip an expert that another processor adds. Gates below 2**-126 change nothing in
    the LoRA, so they become zero on every machine.

    Returns:
        (adapted layers, groups, experts) float32.

    Raises:
        FormatError, LimitError: Not float32, not three dimensions, or one out of its range.
        NonFiniteError: NaN or infinity.
    """
    if len(gates.shape) != 3 or gates.shape[1] not in GROUP_COUNTS:
        raise FormatError(f"gates: expected (layers, 1 or 3 groups, experts), found {gates.shape}")
    verify_count(gates.shape[0], "layers", 1, MAX_LAYERS)
    verify_count(gates.shape[2], "experts", 1, MAX_EXPERTS)
    return _canonical(gates, "gates")


def canonical_keys(keys: NDArray[np.float32]) -> NDArray[np.float32]:
    """A read-only copy of the keys, in the form of `canonical_gates`.

    Returns:
        (choice layers, choices, rank) float32.

    Raises:
        FormatError, LimitError: Not float32, not three dimensions, or one out of its range.
        NonFiniteError: NaN or infinity.
    """
    if len(keys.shape) != 3:
        raise FormatError(f"keys: expected (layers, choices, rank), found {keys.shape}")
    verify_count(keys.shape[0], "layers", 1, MAX_LAYERS)
    verify_count(keys.shape[1], "choices", 1, MAX_CHOICES)
    verify_count(keys.shape[2], "choice: rank", 1, MAX_RANK)
    return _canonical(keys, "keys")


def gates_digest(gates: NDArray[np.float32], keys: NDArray[np.float32] | None = None) -> str:
    """Digest of gates, and of keys where there are some.

    sha256 of the gates' shape as text (`22,1,8` and a line feed) and the canonical gates, little-endian, C order; then
    the same of the keys.

    Raises:
        ContractError: Gates that `canonical_gates` refuses, or keys that `canonical_keys` does.
    """
    tensors = [canonical_gates(gates)] + ([] if keys is None else [canonical_keys(keys)])
    return sha256_hex(
        b"".join(",".join(map(str, each.shape)).encode("ascii") + b"\n" + each.tobytes() for each in tensors)
    )


def encode_recipe(recipe: Recipe) -> bytes:
    """The bytes of a recipe file; equal recipes give equal bytes.

    Raises:
        LimitError: The file, or the answer contract in it, would be over its limit.
    """
    tensors = {_GATES: recipe.gates} | ({} if recipe.keys is None else {_KEYS: recipe.keys})
    specs = {name: TensorSpec("F32", tensor.shape) for name, tensor in tensors.items()}
    header = encode_header(_KIND, RECIPE_FORMAT, encode_fields(recipe, _FORMS), specs)
    size = len(header) + sum(spec.nbytes for spec in specs.values())
    if size > MAX_RECIPE_BYTES:
        raise LimitError(f"recipe: expected at most {MAX_RECIPE_BYTES} bytes, found {size}")
    return b"".join([header, *(tensors[name].data for name in tensor_order(specs))])


def parse_recipe(data: bytes | memoryview) -> Recipe:
    """Parse a recipe file; `encode_recipe` of the result gives `data` again.

    Raises:
        ContractError: Any bytes that `encode_recipe` could not have made.
    """
    container = parse_container(data, kind=_KIND, version=RECIPE_FORMAT, max_bytes=MAX_RECIPE_BYTES)
    values = parse_fields(container.metadata, _FORMS)
    if container.specs.keys() - {_KEYS} != {_GATES}:
        raise FormatError(
            f"recipe: expected tensors {_GATES} and maybe {_KEYS}, found {len(container.specs)} or others"
        )
    tensors = {name: container.float32(name) for name in container.specs}
    recipe = Recipe(**values, gates=tensors[_GATES], keys=tensors.get(_KEYS))
    if encode_recipe(recipe) != data:
        raise FormatError("recipe: gates or keys hold a negative zero or a subnormal number")
    return recipe


def _canonical(values: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    if values.dtype != np.float32:
        raise FormatError(f"{name}: expected float32, found {values.dtype}")
    copy = np.array(values, order="C")
    bits = copy.view(np.uint32)
    exponents = bits & _EXPONENT
    if (exponents == _EXPONENT).any():
        raise NonFiniteError(f"{name}: expected finite numbers, found NaN or infinity")
    bits[exponents == 0] = 0
    copy.flags.writeable = False
    return copy
