"""Export of a bundle to a GGUF adapter that llama.cpp attaches at run time.

llama.cpp loads an adapter full of NaN without complaint, and one for another base model as long as the shapes agree.
So the numbers are checked here, and the file names the digest of its base model for the device to compare.
"""

from pathlib import Path

import gguf

from loragen.contract.answer import encode_answer
from loragen.contract.atomic import atomic_path
from loragen.contract.bundle import Bundle
from loragen.contract.names import (
    ANSWER_CONTRACT,
    BASE_MODEL_DIGEST,
    BASE_MODEL_ID,
    RESIDUAL_PROMPT,
    SIDES,
    gguf_name,
)


def write_gguf_adapter(bundle: Bundle, path: Path, architecture: str = "llama") -> None:
    """Write a GGUF adapter, whole or not at all; equal bundles give equal files.

    Example:
        write_gguf_adapter(parse_bundle(data), Path("mail.gguf"))  # then: llama-cli --lora mail.gguf

    Args:
        bundle: What to export.
        path: Where to.
        architecture: `general.architecture` of the base GGUF; llama.cpp refuses any other.

    Raises:
        NonFiniteError: A factor holds NaN or infinity.
        OSError: The file cannot be written.
    """
    lora = bundle.lora
    lora.verify_finite()
    with atomic_path(path) as temporary:
        writer = gguf.GGUFWriter(temporary, architecture)
        try:
            writer.add_type(gguf.GGUFType.ADAPTER)
            writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
            # The scale is alpha / rank of each tensor, and 1 when alpha is 0. A bundle has the scale in B.
            writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 0.0)
            writer.add_string(BASE_MODEL_ID, bundle.header.edge_model_id)
            writer.add_string(BASE_MODEL_DIGEST, bundle.header.edge_model_digest)
            writer.add_string(ANSWER_CONTRACT, encode_answer(bundle.header.answer))
            if bundle.header.residual_prompt:
                writer.add_string(RESIDUAL_PROMPT, bundle.header.residual_prompt)
            for block in lora.ranks:
                for side, factor in zip(SIDES, lora.factors[block], strict=True):
                    writer.add_tensor(f"{gguf_name(*block)}.lora_{side.lower()}", factor)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
