"""Export of a bundle to a GGUF adapter that llama.cpp attaches at run time.

llama.cpp loads an adapter full of NaN without complaint, and one for another base model as long as the shapes agree.
So the numbers are checked here, and the file names the digest of its base model for the device to compare.

llama.cpp has the rows of some matrices in another order than Hugging Face: `gguf_factors` turns factors into its order,
for adapters here and for merging on a device.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gguf.constants import GGUFType, Keys

from loragen.contract.answer import encode_answer
from loragen.contract.atomic import atomic_path
from loragen.contract.errors import FormatError, MismatchError
from loragen.contract.gguf_header import Header
from loragen.contract.lora import FactorPair, Lora
from loragen.contract.names import (
    ANSWER_CONTRACT,
    BASE_MODEL_DIGEST,
    BASE_MODEL_ID,
    RESIDUAL_PROMPT,
    SIDES,
    gguf_name,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from loragen.contract.bundle import Bundle

_PAIRED_ROWS = frozenset({"llama", "smollm3", "granite"})
"""Architectures for which llama.cpp rotates neighbouring rows of queries and keys; Hugging Face rotates halves."""


@dataclass(frozen=True, slots=True)
class GgufModel:
    """What decides how a LoRA looks in llama.cpp's form of an edge model.

    Attributes:
        architecture: `general.architecture` of the base GGUF; llama.cpp refuses an adapter for any other.
        heads: Heads of the queries.
        key_value_heads: Heads of the keys and values.
    """

    architecture: str
    heads: int = 1
    key_value_heads: int = 1

    @classmethod
    def of(cls, header: Header) -> Self:
        """The model of a GGUF file.

        Raises:
            FormatError: The header names no architecture.
        """
        architecture = header.string(Keys.General.ARCHITECTURE)
        if not architecture:
            raise FormatError("a GGUF file without general.architecture is no model")
        heads = header.integer(Keys.Attention.HEAD_COUNT.format(arch=architecture)) or 1
        return cls(architecture, heads, header.integer(Keys.Attention.HEAD_COUNT_KV.format(arch=architecture)) or heads)


def paired_rows(rows: int, heads: int) -> NDArray[np.int64]:
    """For each row that llama.cpp has of a rotated matrix, the row of Hugging Face's to take.

    Within a head: (2 halves, size / 2) -> (size / 2, 2), so that the two rows that rotate together are neighbours.

    Raises:
        MismatchError: The rows cannot be divided among this number of heads.
    """
    import numpy as np

    if rows % (2 * heads):
        raise MismatchError(f"expected rows of {heads} heads of even size, found {rows} rows")
    return np.arange(rows, dtype=np.int64).reshape(heads, 2, -1).swapaxes(1, 2).reshape(-1)


def gguf_factors(lora: Lora, model: GgufModel) -> dict[str, FactorPair]:
    """The factors by the GGUF name of the weight that they act on, with rows in llama.cpp's order.

    Raises:
        MismatchError: The factors are for another number of heads.
    """
    heads = {"q": model.heads, "k": model.key_value_heads} if model.architecture in _PAIRED_ROWS else {}
    found = {}
    for layer, projection in lora.ranks:
        a, b = lora.factors[layer, projection]
        if projection in heads:
            b = b[paired_rows(len(b), heads[projection])]
        found[gguf_name(layer, projection)] = (a, b)
    return found


def write_gguf_adapter(bundle: Bundle, path: Path, model: GgufModel) -> None:
    """Write a GGUF adapter, whole or not at all; equal bundles give equal files.

    Example:
        model = GgufModel.of(read_header(Path("base.gguf")))
        write_gguf_adapter(parse_bundle(data), Path("mail.gguf"), model)  # then: llama-cli --lora mail.gguf

    Args:
        bundle: What to export.
        path: Where to.
        model: The bundle's edge model, as llama.cpp has it.

    Raises:
        NonFiniteError: A factor holds NaN or infinity.
        MismatchError: The factors are for another number of heads.
        OSError: The file cannot be written.
    """
    from gguf.gguf_writer import GGUFWriter

    lora = bundle.lora
    lora.verify_finite()
    factors = gguf_factors(lora, model)
    with atomic_path(path) as temporary:
        writer = GGUFWriter(temporary, model.architecture)
        try:
            writer.add_type(GGUFType.ADAPTER)
            writer.add_string(Keys.Adapter.TYPE, "lora")
            # The scale is alpha / rank of each tensor, and 1 when alpha is 0. A bundle has the scale in B.
            writer.add_float32(Keys.Adapter.LORA_ALPHA, 0.0)
            writer.add_string(BASE_MODEL_ID, bundle.header.edge_model_id)
            writer.add_string(BASE_MODEL_DIGEST, bundle.header.edge_model_digest)
            writer.add_string(ANSWER_CONTRACT, encode_answer(bundle.header.answer))
            if bundle.header.residual_prompt:
                writer.add_string(RESIDUAL_PROMPT, bundle.header.residual_prompt)
            for name, pair in factors.items():
                for side, factor in zip(SIDES, pair, strict=True):
                    writer.add_tensor(f"{name}.lora_{side.lower()}", factor)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
