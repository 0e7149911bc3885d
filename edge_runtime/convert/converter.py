"""Hugging Face model directory -> base GGUF, with its tokenizer, its chat template and its digest.

Rules:
- numpy only, row by row: memory does not grow with the model.
- A base GGUF carries the id and the digest (`loragen.contract.digest.model_digest`) of the model that it was made from;
  bundles are bound to that digest.
- Every tensor of the checkpoint is accounted for: one that is missing, unknown or beyond float16 stops the conversion.

It leaves to others: families (`architectures.py`), tokenizers (`vocabulary.py`), the file itself (`edge_runtime.gguf`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf.constants import GGML_QUANT_VERSION, GGMLQuantizationType, GGUFType, Keys

from edge_runtime.convert.architectures import Architecture, describe_model
from edge_runtime.convert.hf_checkpoint import StoredTensor, load_json, load_tensors
from edge_runtime.convert.multimodal import text_config, text_tensors
from edge_runtime.convert.vocabulary import load_vocabulary
from edge_runtime.errors import ConversionError
from edge_runtime.gguf.output import replacing
from edge_runtime.gguf.quantization import FloatType
from loragen.contract.digest import model_digest
from loragen.contract.gguf_header import Value, lay_out, text, uint32
from loragen.contract.names import BASE_MODEL_DIGEST, BASE_MODEL_ID, verify_model_id

CHUNK_WEIGHTS = 2**22


def convert_model(
    hf_directory: Path,
    out: Path,
    matrix_type: FloatType,
    model_id: str,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Make a base GGUF of a model of one of `EDGE_FAMILIES`, or of the text part of a Gemma 3 that reads images.

    Args:
        hf_directory: Holds `config.json`, `*.safetensors` and the tokenizer.
        out: Where the base GGUF goes; replaced as a whole.
        matrix_type: Type of the matrices.
        model_id: Id of the edge model, recorded in the base GGUF.
        progress: Called with bytes written and bytes in all.

    Raises:
        ConversionError: The model or its tokenizer is not supported, or the directory is damaged.
        OutputError: The base GGUF cannot be written.
        ContractError: `model_id` is not a model id.
    """
    verify_model_id(model_id)
    whole = load_json(hf_directory / "config.json")
    config = text_config(whole)
    architecture = describe_model(config)
    stored = load_tensors(hf_directory)
    if config is not whole:
        stored = text_tensors(stored)
    _verify_names(architecture, stored)
    vocabulary = load_vocabulary(hf_directory, config, architecture.vocabulary)
    metadata = {
        Keys.General.ARCHITECTURE: text(architecture.name),
        Keys.General.TYPE: text(GGUFType.MODEL),
        Keys.General.NAME: text(model_id),
        Keys.General.FILE_TYPE: uint32(matrix_type.file_type),
        Keys.General.QUANTIZATION_VERSION: uint32(GGML_QUANT_VERSION),
        BASE_MODEL_ID: text(model_id),
        BASE_MODEL_DIGEST: text(model_digest(hf_directory)),
        **architecture.metadata,
        **vocabulary.metadata(),
    }
    _write(out, metadata, architecture, stored, GGMLQuantizationType[matrix_type.value], progress)


def _verify_names(architecture: Architecture, stored: Mapping[str, StoredTensor]) -> None:
    # Older checkpoints carry the rotary frequencies, which follow from the configuration.
    found = {name for name in stored if not name.endswith("rotary_emb.inv_freq")} - architecture.ignored
    if missing := architecture.tensors.keys() - found:
        raise ConversionError(f"{len(missing)} tensors are missing from the checkpoint, the first is {min(missing)!r}")
    if unknown := found - architecture.tensors.keys():
        raise ConversionError(
            f"{len(unknown)} tensors are unknown for {architecture.name}, the first is {min(unknown)!r}"
        )
    embedding = stored["model.embed_tokens.weight"]
    if embedding.shape[0] != architecture.vocabulary:
        raise ConversionError(
            f"vocab_size is {architecture.vocabulary}, but the embedding has {embedding.shape[0]} rows"
        )


def _write(
    out: Path,
    metadata: Mapping[str, Value],
    architecture: Architecture,
    stored: Mapping[str, StoredTensor],
    matrix_type: GGMLQuantizationType,
    progress: Callable[[int, int], None] | None,
) -> None:
    plan = [
        (gguf, stored[hf].shape, matrix_type if len(stored[hf].shape) > 1 else GGMLQuantizationType.F32)
        for hf, gguf in architecture.tensors.items()
    ]
    factors = architecture.rope_factors
    if factors is not None:
        plan.append(("rope_freqs.weight", factors.shape, GGMLQuantizationType.F32))
    head, header = lay_out(plan, metadata)
    total = header.file_bytes
    with replacing(out, total) as file:
        file.write(head)
        for (hf, _), info in zip(architecture.tensors.items(), header.tensors, strict=False):
            file.write(bytes(info.offset - file.tell()))
            for rows in _rows(architecture, hf, stored[hf]):
                file.write(encode_float(rows, info.type, info.name))
                if progress:
                    progress(file.tell(), total)
        if factors is not None:
            file.write(bytes(header.tensors[-1].offset - file.tell()))
            file.write(factors.tobytes())


def _rows(architecture: Architecture, name: str, tensor: StoredTensor) -> Iterator[npt.NDArray[np.float32]]:
    rows = tensor.shape[0]
    order = architecture.row_order(name, rows)
    offset = architecture.norm_offset if name.endswith("norm.weight") else 0.0
    step = max(1, CHUNK_WEIGHTS // max(1, tensor.data[0].size))
    for start in range(0, rows, step):
        taken = tensor.rows(slice(start, start + step) if order is None else order[start : start + step])
        yield taken + np.float32(offset) if offset else taken


def encode_float(rows: npt.NDArray[np.float32], dtype: GGMLQuantizationType, name: str) -> bytes:
    """Encode weights as F32, F16 or BF16.

    Raises:
        ConversionError: A weight is NaN, infinite, or too large for the type.
    """
    if dtype is GGMLQuantizationType.F16:
        with np.errstate(over="ignore"):
            half = rows.astype(np.float16)
        if not np.isfinite(half).all():
            raise ConversionError(
                f"tensor {name!r} holds weights that are not finite or beyond float16",
                hint="convert with type BF16 or F32",
            )
        return half.tobytes()
    if not np.isfinite(rows).all():
        raise ConversionError(f"tensor {name!r} holds NaN or infinity")
    if dtype is GGMLQuantizationType.BF16:
        bits = rows.view(np.uint32)
        # Round to nearest, ties to even.
        return ((bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16).astype(np.uint16).tobytes()
    return rows.tobytes()
