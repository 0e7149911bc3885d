"""Adapter: llama.cpp behind the engine port.

With `serving.llama_context`, `serving.llama_model`, `serving.sampler` and `serving.grammar`, of which it is made, it
alone imports `llama_cpp`.

It speaks the library's low-level interface, for four reasons: an adapter given to the high-level class switches memory
mapping off; engines that differ only in their adapter can share one model; several requests are computed together; and
the logits are at hand to be checked.
Rules: a model file is mapped, and loaded once for all its adapters. What prompts have in common at their beginning is
computed once, in whole chunks. The same prompt gives the same logits, whatever was cached or runs beside it. Logits
that are not finite are an error, never a token.
"""

import ctypes
import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama_cpp

from edge_runtime.checksum import verify_checksum
from edge_runtime.errors import ContextLengthError, InvalidRequestError, ModelLoadError, ServingError
from edge_runtime.serving.call_forms import CallForm
from edge_runtime.serving.chat import PLAIN_RENDERING, ChatMessage, Rendering
from edge_runtime.serving.chat_prompt import call_form_of, chat_prompt
from edge_runtime.serving.engine import TokenizerInfo
from edge_runtime.serving.llama_context import LlamaContext
from edge_runtime.serving.llama_model import NATIVE_LOG, LlamaModel, adapter_metadata, on_native_log
from edge_runtime.serving.llama_sequences import LlamaSequence, LlamaSequences
from edge_runtime.serving.prefix_cache import LATER_CHUNK
from edge_runtime.serving.specialization_metadata import parse_metadata, verify_codes
from edge_runtime.serving.thread_budget import ThreadBudget, ThreadShare
from edge_runtime.serving.thread_choice import best_threads


@dataclass(frozen=True, slots=True)
class ContextLimits:
    """What a context may take.

    Attributes:
        context_tokens: Longest sequence; the model's own limit, when shorter, wins.
        threads: Threads that compute.
        sequences: Most of them.
        context_bytes: Most memory of the context; there are fewer sequences when they would take more, at least one.
        prefix_cache: Use what is in the context again; off only to measure what it saves.
    """

    context_tokens: int
    threads: int
    sequences: int
    context_bytes: int
    prefix_cache: bool


_BEGINNINGS = 32
"""System messages of which an engine remembers the tokens."""


class LlamaEngine:
    """One context on a model, with an adapter attached when there is one. Made by `LlamaLoader`."""

    def __init__(
        self, model: LlamaModel, adapter: Path | None, limits: ContextLimits, share: ThreadShare, owned: ExitStack
    ) -> None:
        self._model = model
        self._share = share
        self._threads = limits.threads
        self._owned = owned
        self.context_tokens = min(limits.context_tokens, model.trained_context)
        self.vocab_tokens = model.vocab_size
        # Taken before the context, and so given back after it: a context must not outlive what it points to.
        lora = None if adapter is None else self._load_adapter(adapter)
        text_of = model.metadata if lora is None else partial(adapter_metadata, lora)
        metadata = parse_metadata(text_of, adapter or model.path)
        self.answer, self.residual_prompt = metadata.answer, metadata.residual_prompt
        verify_codes(self.answer, adapter or model.path, model.vocab_size)
        fitting = limits.context_bytes // model.context_bytes(self.context_tokens)
        self.sequences = max(1, min(limits.sequences, fitting))
        batch_tokens = max(LATER_CHUNK, self.sequences)
        context = LlamaContext(model, lora, self.context_tokens, self.sequences, batch_tokens, limits.threads, owned)
        self._context, self.step_seconds = context, context.step_seconds
        self._beginnings: dict[tuple[str, Rendering], Sequence[int]] = {}
        self._sequences = LlamaSequences(model, context, self.sequences, limits.prefix_cache)
        owned.callback(self._sequences.close)

    def _load_adapter(self, path: Path) -> Any:
        NATIVE_LOG.last_error = ""
        lora = llama_cpp.llama_adapter_lora_init(self._model.handle, os.fsencode(path))
        if not lora:
            raise ModelLoadError(f"llama.cpp refuses the adapter {path.name}: {NATIVE_LOG.last_error}")
        self._owned.callback(llama_cpp.llama_adapter_lora_free, lora)
        return lora

    @property
    def chat_problem(self) -> str:
        return self._model.template_problem

    @property
    def tokenizer(self) -> TokenizerInfo:
        return self._model.tokenizer

    def tokenize(self, text: str, bos: bool = True) -> list[int]:
        self._verify_length(text)
        return self._model.tokenize(text, add_special=bos, markup=True)

    def detokenize(self, tokens: Sequence[int]) -> str:
        return b"".join(self._model.piece(token, markup=True) for token in tokens).decode("utf-8", "replace")

    @property
    def call_form(self) -> CallForm:
        return call_form_of(self._model)

    def tokenize_chat(self, messages: Sequence[ChatMessage], rendering: Rendering = PLAIN_RENDERING) -> list[int]:
        markup = self._model.markup
        prompt = self._render(messages, rendering)
        parts = list(markup.split(prompt)) if markup.is_marked(prompt) else [(prompt, True)]
        self._verify_length("".join(text for text, _ in parts))
        # A template writes BOS itself where the model wants one, as in training; adding another would double it.
        tokens: list[int] = []
        for text, is_control in parts:
            tokens += self._model.tokenize(text, add_special=False, markup=is_control)
        return tokens

    def chat_beginning(self, system: str, rendering: Rendering = PLAIN_RENDERING) -> Sequence[int]:
        if (found := self._beginnings.get((system, rendering))) is None:
            chats = ([ChatMessage("system", system), ChatMessage("user", text)] for text in ("a", "1"))
            try:
                one, other = (self.tokenize_chat(chat, rendering) for chat in chats)
            except ServingError:  # not of this request, which may have another form
                one, other = [], []
            differ = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
            found = one[:differ]
            if len(self._beginnings) >= _BEGINNINGS:
                self._beginnings.clear()
            self._beginnings[system, rendering] = found
        return found

    def tokenize_answer(self, text: str, markup: bool = False) -> list[int]:
        return self._model.tokenize(text, add_special=False, markup=markup)

    def _verify_length(self, text: str) -> None:
        # Tokenizing takes time that grows with the text, and this engine answers no other request meanwhile.
        size = len(text.encode("utf-8", "replace"))
        least = -(-size // self._model.longest_token_bytes)
        if least >= self.context_tokens:
            raise ContextLengthError(
                f"the prompt of {size} bytes has at least {least} tokens, the context of this model "
                f"{self.context_tokens}, and at least one must be left for the answer",
                f"shorten the prompt to {self.context_tokens - 1} tokens",
            )

    def _render(self, messages: Sequence[ChatMessage], rendering: Rendering) -> str:
        """The prompt, with a mark before each control token that a client wrote."""
        if not self._model.has_template:
            raise InvalidRequestError(self._model.template_problem, "use /v1/completions", code="chat_template_missing")
        try:
            own_calls = self.answer.kind == "tool_calls"
            return chat_prompt(self._model, messages, rendering, self._model.markup.mark, own_calls)
        except Exception as error:  # a template is a program of the model's maker: it may raise anything
            raise InvalidRequestError(
                f"the model's chat template refuses these messages: {error}",
                "most templates want user and assistant in turn, after at most one system message",
                code="chat_template_refused",
            ) from error

    def open(self) -> LlamaSequence:
        return self._sequences.open()

    def use_threads(self, threads: int) -> None:
        """Compute with so many threads from now on."""
        self._threads = threads
        self._context.use_threads(threads)

    def step(self) -> None:
        with self._share.taken(self._threads):
            self._sequences.step()

    def close(self) -> None:
        self._owned.close()


_MANY = 1 << 20

_Version = tuple[int, int, int]
"""Inode, size and time of the last change, in nanoseconds."""

_File = tuple[Path, _Version]
"""What a model in memory was loaded from: a file that was made anew under its path is another one."""


class LlamaLoader:
    """Loads engines, and shares one model between those that differ only in their adapter.

    Args:
        context_tokens: As in `ContextLimits`.
        threads: Threads of one engine; the most of them where they are measured.
        gpu_layers: Layers to put on an accelerator, when the llama.cpp build has one.
        prefix_cache: As in `ContextLimits`.
        sequences: Most of one engine.
        context_bytes: As in `ContextLimits`.
        repack: Let llama.cpp copy matrices into a faster order; off, every matrix stays in its mapped file.
        measures_threads: With the first model find out how many threads pay, and use so many for all.
        processors: How many threads of all engines together compute at a time; 0 for those of one engine.
    """

    def __init__(
        self,
        context_tokens: int,
        threads: int,
        gpu_layers: int = 0,
        prefix_cache: bool = True,
        sequences: int = 1,
        context_bytes: int = 1 << 62,
        repack: bool = True,
        measures_threads: bool = False,
        processors: int = 0,
    ) -> None:
        # On an accelerator the threads have next to nothing to do.
        self._budget = ThreadBudget(max(processors, threads) if gpu_layers == 0 else _MANY)
        self._threads = None if measures_threads and gpu_layers == 0 else threads
        self._measuring = threading.Lock()
        self._limits = ContextLimits(context_tokens, threads, sequences, context_bytes, prefix_cache)
        self._repack = repack
        self._gpu_layers = gpu_layers
        self._lock = threading.Lock()
        self._models: dict[_File, tuple[LlamaModel, int]] = {}
        self._verified: dict[Path, _Version] = {}
        llama_cpp.llama_log_set(on_native_log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()

    @property
    def threads(self) -> int:
        """Threads of one engine."""
        return self._threads or self._limits.threads

    def load(self, model: Path, adapter: Path | None) -> LlamaEngine:
        versions = [self._verify(path) for path in (model, adapter) if path is not None]
        file = (model, versions[0])
        with ExitStack() as owned:
            shared = self._borrow(file)
            owned.callback(self._return, file)
            share = self._budget.share()
            owned.callback(share.close)
            engine = LlamaEngine(shared, adapter, self._limits, share, owned)
            with self._measuring:
                if self._threads is None:
                    self._threads = best_threads(self._limits.threads, engine.step_seconds)
            engine.use_threads(self._threads)
            # Now the engine's close() frees what it owns. After a failure above, leaving the block frees it.
            engine._owned = owned.pop_all()
            return engine

    def _verify(self, path: Path) -> _Version:
        if not path.is_file():
            raise ModelLoadError(f"{path.name} does not exist")
        # Once for each file that was written: a slot that gives way and comes back is not read through again.
        status = path.stat()
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._verified.get(path) != version:
            verify_checksum(path)
            self._verified[path] = version
        return version

    def _borrow(self, file: _File) -> LlamaModel:
        with self._lock:
            model, users = self._models.get(file) or (LlamaModel(file[0], self._gpu_layers, self._repack), 0)
            self._models[file] = (model, users + 1)
            return model

    def _return(self, file: _File) -> None:
        with self._lock:
            model, users = self._models[file]
            if users > 1:
                self._models[file] = (model, users - 1)
            else:
                del self._models[file]
                model.close()
