"""Hugging Face checkpoints on disk: `config.json` and safetensors weights, read with numpy alone.

Rules:
- Weights are mapped, not loaded: a caller takes rows, and only those rows take memory.
- bfloat16, which numpy lacks, becomes float32 here, so that callers meet float32 only.
- Pickled checkpoints are refused.

It leaves to others: what the tensors mean (`architectures.py`), and the tokenizer (`vocabulary.py`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_runtime.errors import ConversionError

# The limit that the safetensors library itself sets.
MAX_SAFETENSORS_HEADER_BYTES = 100_000_000
MAX_JSON_BYTES = 64 * 2**20

_DTYPES: dict[str, type[np.generic]] = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a checkpoint.

    Attributes:
        shape: Row-major shape.
        dtype: Safetensors name of the type: `F32`, `F16` or `BF16`.
        data: The mapped file, viewed in `shape`; bfloat16 as uint16.
    """

    shape: tuple[int, ...]
    dtype: str
    data: npt.NDArray[Any]

    def rows(self, index: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Copy rows (entries, for a vector) as float32."""
        taken = self.data[index]
        if self.dtype == "BF16":
            return (taken.astype(np.uint32) << 16).view(np.float32)
        return taken.astype(np.float32)


def load_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ConversionError: The file is missing, too long, or not a JSON object.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ConversionError(f"{path.name} is longer than {MAX_JSON_BYTES} bytes")
        value = json.loads(path.read_bytes())
    except OSError as e:
        raise ConversionError(f"cannot read {path.name}: {e.strerror or e}") from e
    except (ValueError, RecursionError) as e:
        raise ConversionError(f"{path.name} is not valid JSON: {e}") from e
    if not isinstance(value, dict):
        raise ConversionError(f"{path.name} must hold a JSON object, found {type(value).__name__}")
    return value


def load_tensors(directory: Path) -> Mapping[str, StoredTensor]:
    """Map all tensors of the safetensors files in a directory.

    Raises:
        ConversionError: No such file, or one is malformed, or two hold the same tensor.
    """
    paths = sorted(directory.glob("*.safetensors"))
    if not paths:
        raise ConversionError(
            f"no *.safetensors file in {directory.name}",
            hint="save the model with safe serialization; pickled checkpoints are not read",
        )
    tensors: dict[str, StoredTensor] = {}
    for path in paths:
        found = _map_file(path)
        if twice := tensors.keys() & found.keys():
            raise ConversionError(f"tensor {min(twice)!r} is in two files; the second is {path.name}")
        tensors.update(found)
    return tensors


def _map_file(path: Path) -> dict[str, StoredTensor]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= MAX_SAFETENSORS_HEADER_BYTES:
                raise ConversionError(f"{path.name} is not a safetensors file: its header would be {length} bytes long")
            header = json.loads(file.read(length))
        mapped = np.memmap(path, np.uint8, mode="r", offset=8 + length)
        return {name: _tensor(name, entry, mapped) for name, entry in header.items() if name != "__metadata__"}
    except OSError as e:
        raise ConversionError(f"cannot read {path.name}: {e.strerror or e}") from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise ConversionError(f"{path.name} is not a well-formed safetensors file: {e}") from e


def _tensor(name: str, entry: Mapping[str, Any], mapped: npt.NDArray[np.uint8]) -> StoredTensor:
    dtype, shape = entry["dtype"], tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if dtype not in _DTYPES:
        raise ConversionError(f"tensor {name!r} is stored as {dtype}; F32, F16 or BF16 expected")
    expected = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
    if end - begin != expected or not 0 <= begin <= end <= mapped.size:
        raise ConversionError(f"tensor {name!r} does not lie inside its file: is it truncated?")
    # Safetensors promises no alignment; numpy reads unaligned views correctly.
    return StoredTensor(shape, dtype, mapped[begin:end].view(_DTYPES[dtype]).reshape(shape))
