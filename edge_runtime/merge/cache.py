"""Finished bytes of the tensors that no generated bundle touches, for use from one merge to the next.

One GGUF file in the cache directory holds the embedding, the output matrix and the attention matrices, quantized. A
bundle that a user imported may touch attention: such a merge takes the other tensors from here. Its
name has the identity of the base GGUF (metadata, size, modification time) and the type, so that a changed base GGUF
never meets old bytes. Its checksum lies beside it; a file without the right checksum is made again. Only the newest
file stays, because a device serves one type.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edge_runtime.checksum import remove_with_checksum, verify_checksum, write_checksum
from edge_runtime.errors import ModelLoadError, OutputError
from edge_runtime.gguf.base_gguf import BaseGguf
from edge_runtime.gguf.quantization import Codec, Quantization, storage_type
from edge_runtime.merge.writer import PlannedTensor, Stored, write_model
from loragen.contract.errors import ContractError
from loragen.contract.gguf_header import TensorInfo, read_header
from loragen.contract.names import gguf_name

_PREFIX, _SUFFIX = "untouched-", ".gguf"


@contextlib.contextmanager
def cached(
    plan: Sequence[PlannedTensor], directory: Path, quantization: Quantization, base_gguf: BaseGguf, codec: Codec
) -> Iterator[list[PlannedTensor]]:
    """Yield `plan` with finished bytes for the kept tensors that this bundle does not touch; make missing ones.

    Raises:
        MergeError: The base GGUF cannot be read, or the cache cannot be written.
    """
    adapted = {gguf_name(*block) for block in base_gguf.shape.blocks()}
    others = [
        tensor if tensor.delta is None else PlannedTensor(tensor.info, storage_type(tensor.info, quantization))
        for tensor in plan
        if tensor.stored is None and tensor.info.name not in adapted
    ]
    # The file is the same whichever bundle is merged: what has its final type in the base GGUF is copied from there.
    untouched = [tensor for tensor in others if tensor.dtype is not tensor.info.type]
    if not untouched:
        yield list(plan)
        return
    path = directory / f"{_PREFIX}{quantization.matrices.name}-{base_gguf.identity()}{_SUFFIX}"
    tensors = _read(path, untouched)
    if tensors is None:
        write_model(path, {}, untouched, base_gguf, codec)
        try:
            write_checksum(path)
        except OSError as e:
            raise OutputError(
                f"cannot write the checksum of {path.name}: {e.strerror or e}", hint="check permissions and the disk"
            ) from e
        _remove_others(path)
        tensors = _read(path, untouched)
    try:
        fileno = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        raise OutputError(f"cannot read back {path.name}: {e.strerror or e}") from e
    if tensors is None:
        os.close(fileno)
        raise OutputError(f"{path.name} is not what was written", hint="check the disk")
    try:
        yield [
            replace(tensor, stored=Stored(fileno, tensors[tensor.info.name]))
            if tensor.delta is None and tensor.info.name in tensors
            else tensor
            for tensor in plan
        ]
    finally:
        os.close(fileno)


def _read(path: Path, untouched: Sequence[PlannedTensor]) -> dict[str, TensorInfo] | None:
    try:
        verify_checksum(path, required=True)
        found = {info.name: info for info in read_header(path).tensors}
    except (ModelLoadError, ContractError, OSError):
        return None
    same = {name: (info.shape, info.type) for name, info in found.items()} == {
        tensor.info.name: (tensor.info.shape, tensor.dtype) for tensor in untouched
    }
    return found if same else None


def _remove_others(path: Path) -> None:
    for other in path.parent.glob(f"{_PREFIX}*{_SUFFIX}"):
        if other != path:
            with contextlib.suppress(OSError):
                remove_with_checksum(other)
