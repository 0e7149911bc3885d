"""Writes GGUF models tensor by tensor: copied, quantized, or quantized with a delta added.

Rules:
- Memory is bounded by a few chunks of rows, however large the model is.
- Two threads read, add and quantize, or one where there is one processor; this one writes their results in order. They
  come behind what answers.
- A file appears whole or not at all (`output.py`).

It leaves to others: which tensor gets which type and delta (`edge_runtime.merge.merger`).
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from gguf.constants import GGMLQuantizationType

from edge_runtime.errors import BaseGgufError
from edge_runtime.gguf.base_gguf import BaseGguf
from edge_runtime.gguf.output import replacing
from edge_runtime.gguf.quantization import Codec
from edge_runtime.merge.delta import Delta
from edge_runtime.processors import usable_processors
from loragen.contract.gguf_header import TensorInfo, Value, lay_out

_THREADS = 2
_NICENESS = 10
"""As the canary's. On a core that writes answers all the time, these were at 86 % of their speed meanwhile, and a merge
took 40 s in place of 3.4; at 19 it took five minutes, and at 0 answers were at a third of their speed (SmolLM2)."""

# 2 MB of float32: stays in the second-level cache between the steps.
_CHUNK_WEIGHTS = 2**19
_CHUNKS_AHEAD = 2 * _THREADS
_COPY_BYTES = 2**23

Progress = Callable[[int, int], None]
"""Called with bytes written and bytes in all; an exception that it raises ends the work and leaves no file."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes to copy as they are: a tensor of an open file."""

    fileno: int
    info: TensorInfo


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """One tensor of the file to be written.

    Attributes:
        info: The tensor in the base GGUF.
        dtype: Its type in the new file.
        delta: What is added to it; None leaves the weights as they are.
        stored: The finished bytes, where they exist already.
    """

    info: TensorInfo
    dtype: GGMLQuantizationType
    delta: Delta | None = None
    stored: Stored | None = None


def merging_threads() -> ThreadPoolExecutor:
    """Threads for the arithmetic of a merge."""
    count = min(_THREADS, usable_processors())
    return ThreadPoolExecutor(count, thread_name_prefix="merge", initializer=_let_others_go_first)


def _let_others_go_first() -> None:
    """Lower the priority of this thread alone, which only Linux can."""
    if sys.platform == "linux":
        with suppress(OSError):
            thread = threading.get_native_id()
            # A process that was started behind others stays there: root could move ahead.
            os.setpriority(os.PRIO_PROCESS, thread, max(os.getpriority(os.PRIO_PROCESS, thread), _NICENESS))


def write_model(
    out: Path,
    metadata: Mapping[str, Value],
    plan: Sequence[PlannedTensor],
    base_gguf: BaseGguf,
    codec: Codec,
    progress: Progress | None = None,
) -> int:
    """Write a GGUF file and return its length in bytes.

    Raises:
        MergeError: The base GGUF cannot be read, a weight is not finite, or the file cannot be written.
    """
    head, header = lay_out([(t.info.name, t.info.shape, t.dtype) for t in plan], metadata)
    total = header.file_bytes
    with replacing(out, total) as file, merging_threads() as pool:
        file.write(head)
        for planned, placed in zip(plan, header.tensors, strict=True):
            file.seek(placed.offset)
            if planned.stored is not None:
                steps = _copy(planned.stored, file)
            else:
                steps = _encode(planned, base_gguf, codec, pool, file)
            for _ in steps:
                if progress:
                    progress(file.tell(), total)
        if progress:
            progress(total, total)
    return total


def _encode(
    planned: PlannedTensor, base_gguf: BaseGguf, codec: Codec, pool: ThreadPoolExecutor, file: BinaryIO
) -> Iterator[None]:
    info = planned.info

    def chunk(start: int, stop: int) -> npt.NDArray[np.uint8]:
        weights = codec.decode(base_gguf.read(info, start, stop), info.type, info.columns)
        if planned.delta is not None:
            weights = weights + planned.delta.rows(slice(start, stop))
        return codec.encode(weights, planned.dtype, info.name)

    # Chunks of rows go to the pool in order, a few ahead of the one that is written: the pool stays busy, and memory
    # bounded.
    step = max(1, _CHUNK_WEIGHTS // info.columns)
    waiting: deque[Future[npt.NDArray[np.uint8]]] = deque()
    try:
        for start in range(0, info.rows, step):
            waiting.append(pool.submit(chunk, start, min(start + step, info.rows)))
            if len(waiting) > _CHUNKS_AHEAD:
                file.write(waiting.popleft().result().data)
                yield
        while waiting:
            file.write(waiting.popleft().result().data)
            yield
    finally:
        for future in waiting:
            future.cancel()


def _copy(stored: Stored, file: BinaryIO) -> Iterator[None]:
    file.flush()
    source, target = stored.info.offset, file.tell()
    end = source + stored.info.nbytes
    while source < end:
        count = _copy_some(stored.fileno, source, file.fileno(), target, min(_COPY_BYTES, end - source))
        source, target = source + count, target + count
        file.seek(target)
        yield


def _copy_some(source: int, source_offset: int, target: int, target_offset: int, count: int) -> int:
    try:
        copied = os.copy_file_range(source, target, count, source_offset, target_offset)
        if copied:
            return copied
    except (AttributeError, OSError):
        # Another file system, or one that cannot do it: through memory, which reports real errors again.
        pass
    data = os.pread(source, count, source_offset)
    if not data:
        raise BaseGgufError("a file became shorter while it was copied")
    return os.pwrite(target, data, target_offset)
