"""Adapter: a context of llama.cpp with room for several sequences.

Each sequence has its own part of the memory. A shared part would take less memory, but then the last bits of a prompt's
logits would depend on the other sequences. `serving.llama` decides what is computed.
"""

import ctypes
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import Any

import llama_cpp.llama_cpp as llama_cpp
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelLoadError, ModelOutputError
from edge_runtime.serving.llama_model import NATIVE_LOG, LlamaModel

_STEPS = 4
"""Of which the fastest tells how fast a step is."""


class LlamaContext:
    """What was computed for each sequence.

    Args:
        model: Of which model.
        lora: Adapter to attach; None for none.
        context_tokens: Longest sequence.
        sequences: How many.
        batch_tokens: Most tokens of one `compute`.
        threads: Threads that compute.
        owned: Frees what is made here.

    Attributes:
        batch_tokens: As given.

    Raises:
        ModelLoadError: llama.cpp refuses.
    """

    def __init__(
        self,
        model: LlamaModel,
        lora: Any,
        context_tokens: int,
        sequences: int,
        batch_tokens: int,
        threads: int,
        owned: ExitStack,
    ) -> None:
        self.batch_tokens = batch_tokens
        self._row = ctypes.c_float * model.vocab_size
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = context_tokens * sequences
        parameters.n_seq_max = sequences
        parameters.n_batch = parameters.n_ubatch = batch_tokens
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.no_perf = True
        self._handle = llama_cpp.llama_init_from_model(model.handle, parameters)
        if not self._handle:
            raise ModelLoadError(
                f"llama.cpp cannot make a context of {sequences} times {context_tokens} tokens: out of memory?"
            )
        owned.callback(llama_cpp.llama_free, self._handle)
        self._memory = llama_cpp.llama_get_memory(self._handle)
        self._batch = llama_cpp.llama_batch_init(batch_tokens, 0, 1)
        owned.callback(llama_cpp.llama_batch_free, self._batch)
        if lora is not None:
            adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(lora)
            if llama_cpp.llama_set_adapters_lora(self._handle, adapters, 1, (ctypes.c_float * 1)(1.0)):
                raise ModelLoadError(f"llama.cpp cannot attach the adapter: {NATIVE_LOG.last_error}")

    def compute(self, tokens: Sequence[tuple[int, int, int]], wanted: Collection[int]) -> None:
        """Compute tokens that go on with their sequences.

        Args:
            tokens: Of each its sequence, its position there, and itself; at most `batch_tokens`.
            wanted: After which of them, by their places here, the logits are kept.

        Raises:
            ModelOutputError: llama.cpp failed; what is in those sequences is not known any more.
        """
        batch = self._batch
        batch.n_tokens = len(tokens)
        for place, (sequence, position, token) in enumerate(tokens):
            batch.token[place], batch.pos[place] = token, position
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
            batch.logits[place] = place in wanted
        if code := llama_cpp.llama_decode(self._handle, batch):
            raise ModelOutputError(f"llama_decode returned {code} at {len(tokens)} tokens: {NATIVE_LOG.last_error}")

    def use_threads(self, threads: int) -> None:
        """Compute with so many threads from now on."""
        llama_cpp.llama_set_n_threads(self._handle, threads, threads)

    def step_seconds(self, threads: int) -> float:
        """What computing one token takes with so many threads, when nothing disturbs it; in an unused context.

        Raises:
            ModelOutputError: As for `compute`.
        """
        self.use_threads(threads)
        seconds = []
        for position in range(_STEPS):
            started = time.perf_counter()
            self.compute([(0, position, 0)], wanted=[0])
            seconds.append(time.perf_counter() - started)
        self.cut(0, 0)
        return min(seconds[1:])  # the first one makes the threads, and reads the file

    def logits(self, place: int) -> NDArray[np.float32]:
        """The logits after a token of the last batch: llama.cpp's own buffer until the next one; not to be changed.

        Raises:
            ModelOutputError: They are not finite.
        """
        pointer = llama_cpp.llama_get_logits_ith(self._handle, place)
        # np.ctypeslib.as_array makes a type each time, which takes longer than to find the likeliest token.
        row = self._row.from_address(ctypes.addressof(pointer.contents))
        logits = np.frombuffer(memoryview(row), np.float32)
        # The extremes are finite exactly when all are: NaN and the infinities come through min and max.
        if not np.isfinite(logits.max() - logits.min()):
            raise ModelOutputError("the model's logits are not finite")
        return logits

    def cut(self, sequence: int, count: int) -> bool:
        """Keep the first `count` tokens of a sequence; False when it can keep none: a sliding window, a state."""
        if llama_cpp.llama_memory_seq_rm(self._memory, sequence, count, -1):
            return True
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return False

    def copy(self, source: int, target: int) -> None:
        """Let one sequence have what another has; as fast as memory can be copied."""
        # Only whole ones can be copied, and into an empty one.
        llama_cpp.llama_memory_seq_rm(self._memory, target, -1, -1)
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)
