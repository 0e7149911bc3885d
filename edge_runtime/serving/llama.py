"""Adapter: llama.cpp behind the engine port. The only file that imports `llama_cpp`.

It speaks the library's low-level interface, for three reasons: an adapter given to the high-level class switches memory
mapping off; engines that differ only in their adapter can share one model; and the logits are at hand to be checked.
Rules: a model file is mapped, and loaded once for all its adapters. The longest common prefix of two prompts in a row
is computed once. Logits that are not finite are an error, never a token.
"""

import ctypes
import logging
import os
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from numpy.typing import NDArray

from edge_runtime.checksum import verify_checksum
from edge_runtime.errors import ContextLengthError, InvalidRequestError, ModelLoadError, ModelOutputError
from edge_runtime.serving.choice import ChoiceGuide
from edge_runtime.serving.engine import Cancelled, ChatMessage, Sampling
from loragen.contract.chat_format import Messages, render_chat
from loragen.contract.markup import ControlMarkup

_LOG = logging.getLogger("llama_cpp")

_PREFILL_BATCH = 512
"""Tokens in one call of llama_decode, llama.cpp's own default; a cancelled prefill goes on for at most as many."""

_PENALTY_WINDOW = 1_024
"""Generated tokens that frequency and presence penalties look back on."""

_GREEDY_BELOW = 1e-6
"""Temperature under which the most likely token is taken at once: at 1e-38 the quotient overflows float32."""

_CONTROL = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
"""Tokens that llama_tokenize finds only when it parses markup. Tokens that a model's maker added for text, such as
`</think>`, are found in any text."""

_LOG_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}
"""ggml_log_level (debug, info, warn, error) to the level of our log; llama.cpp's info is a page for each load."""


class _NativeLog(threading.local):
    """The last error line of llama.cpp on this thread: the only place where it gives the reason of a failed load."""

    last_error = ""


_NATIVE_LOG = _NativeLog()


@llama_cpp.llama_log_callback
def _on_native_log(level: int, text: bytes, _user_data: Any) -> None:
    line = text.decode("utf-8", "replace").strip()
    if level == 4 and line:
        _NATIVE_LOG.last_error = line
    # Errors are reported by the exception that carries them; logging them again would double every refused file.
    if line:
        _LOG.log(min(_LOG_LEVELS.get(level, logging.DEBUG), logging.INFO), line)


class _Model:
    """A mapped model file and its vocabulary, shared by the engines that use it."""

    def __init__(self, path: Path, gpu_layers: int) -> None:
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = gpu_layers
        parameters.load_mode = llama_cpp.LLAMA_LOAD_MODE_MMAP
        _NATIVE_LOG.last_error = ""
        self.handle = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self.handle:
            raise ModelLoadError(
                f"llama.cpp cannot load {path.name}: {_NATIVE_LOG.last_error or 'no reason given'}",
                "the file is damaged, or of an architecture that this build does not know",
            )
        self.vocab = llama_cpp.llama_model_get_vocab(self.handle)
        self.vocab_size: int = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.trained_context: int = llama_cpp.llama_model_n_ctx_train(self.handle)
        self.markup = ControlMarkup(
            self._token_text(token)
            for token in range(self.vocab_size)
            if llama_cpp.llama_vocab_get_attr(self.vocab, token) & _CONTROL
        )
        self.longest_token_bytes = max([1, *(len(self.piece(token, markup=True)) for token in range(self.vocab_size))])
        template = llama_cpp.llama_model_chat_template(self.handle, None)
        self._templates: dict[bool, Jinja2ChatFormatter] = {}  # by whether the answer's beginning is rendered too
        self.bos_text = self._token_text(llama_cpp.llama_vocab_bos(self.vocab))
        self.use_template(template.decode("utf-8") if template else None)

    def use_template(self, template: str | None) -> None:
        """Render chats by this template; None refuses them."""
        self._templates.clear()
        if not template:
            return
        eos_text = self._token_text(llama_cpp.llama_vocab_eos(self.vocab))
        for answer in (True, False):
            self._templates[answer] = Jinja2ChatFormatter(
                template, eos_text, self.bos_text, add_generation_prompt=answer
            )

    @property
    def has_template(self) -> bool:
        """Whether the file has a chat template."""
        return bool(self._templates)

    def apply_template(self, messages: Messages, answer: bool) -> str:
        """Render messages, and the beginning of an answer; what the template raises goes through."""
        return str(self._templates[answer](messages=list(messages)).prompt)

    def _token_text(self, token: int) -> str:
        return "" if token < 0 else str(llama_cpp.llama_vocab_get_text(self.vocab, token).decode("utf-8", "replace"))

    def piece(self, token: int, *, markup: bool = False) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            written = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, size, 0, markup)
            if written >= 0:
                return bytes(buffer.raw[:written])
            size = -written

    @cached_property
    def tokens_of(self) -> dict[bytes, list[int]]:
        """Tokens by the bytes that each stands for; only choices need it, and a large vocabulary takes a second."""
        found: dict[bytes, list[int]] = {}
        for token in range(self.vocab_size):
            if piece := self.piece(token):
                found.setdefault(piece, []).append(token)
        return found

    @cached_property
    def ends(self) -> list[int]:
        """End-of-generation tokens."""
        return [token for token in range(self.vocab_size) if llama_cpp.llama_vocab_is_eog(self.vocab, token)]

    def close(self) -> None:
        llama_cpp.llama_model_free(self.handle)


class LlamaEngine:
    """One context on a model, with an adapter attached when there is one. Made by `LlamaLoader`."""

    def __init__(
        self,
        model: _Model,
        adapter: Path | None,
        context_tokens: int,
        threads: int,
        prefix_cache: bool,
        owned: ExitStack,
    ) -> None:
        self._model = model
        self._owned = owned
        self._prefix_cache = prefix_cache
        self._tokens: list[int] = []
        self.context_tokens = min(context_tokens, model.trained_context)
        self.vocab_tokens = model.vocab_size
        # Taken before the context, and so given back after it: a context must not outlive what it points to.
        lora = None if adapter is None else self._load_adapter(adapter)
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = self.context_tokens
        parameters.n_batch = parameters.n_ubatch = min(_PREFILL_BATCH, self.context_tokens)
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.no_perf = True
        self._context = llama_cpp.llama_init_from_model(model.handle, parameters)
        if not self._context:
            raise ModelLoadError(f"llama.cpp cannot make a context of {self.context_tokens} tokens: out of memory?")
        owned.callback(llama_cpp.llama_free, self._context)
        self._memory = llama_cpp.llama_get_memory(self._context)
        if lora is not None:
            adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(lora)
            if llama_cpp.llama_set_adapters_lora(self._context, adapters, 1, (ctypes.c_float * 1)(1.0)):
                raise ModelLoadError(f"llama.cpp cannot attach the adapter: {_NATIVE_LOG.last_error}")

    def _load_adapter(self, path: Path) -> Any:
        _NATIVE_LOG.last_error = ""
        lora = llama_cpp.llama_adapter_lora_init(self._model.handle, os.fsencode(path))
        if not lora:
            raise ModelLoadError(f"llama.cpp refuses the adapter {path.name}: {_NATIVE_LOG.last_error}")
        self._owned.callback(llama_cpp.llama_adapter_lora_free, lora)
        return lora

    def tokenize(self, text: str) -> list[int]:
        self._verify_length(text)
        return self._tokens_of(text, add_special=True, markup=True)

    def tokenize_chat(self, messages: Sequence[ChatMessage]) -> list[int]:
        prompt = self._render(messages)
        self._verify_length(prompt)
        markup = self._model.markup
        marked = [ChatMessage(message.role, markup.mark(message.content)) for message in messages]
        # A template writes BOS itself where the model wants one, as in training; adding another would double it.
        if marked == list(messages):
            return self._tokens_of(prompt, add_special=False, markup=True)
        tokens: list[int] = []
        for text, is_control in markup.split(self._render(marked)):
            tokens += self._tokens_of(text, add_special=False, markup=is_control)
        return tokens

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

    def _tokens_of(self, text: str, *, add_special: bool, markup: bool) -> list[int]:
        data = text.encode("utf-8", "replace")
        # A token stands for at least one byte, save for BOS and EOS, so that one call is enough.
        room = len(data) + 2
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self._model.vocab, data, len(data), tokens, room, add_special, markup)
        if count < 0:
            raise InvalidRequestError(f"cannot tokenize {len(data)} bytes into {room} tokens: the model needs {-count}")
        return list(tokens[:count])

    def _render(self, messages: Sequence[ChatMessage]) -> str:
        if not self._model.has_template:
            raise InvalidRequestError(
                "this model's file has no chat template", "use /v1/completions", code="chat_template_missing"
            )
        try:
            asked = [{"role": message.role, "content": message.content} for message in messages]
            return render_chat(self._model.apply_template, asked, self._model.bos_text)
        except Exception as error:  # a template is a program of the model's maker: it may raise anything
            if [message.role for message in messages[:2]] == ["system", "user"]:  # Gemma's knows no system role
                system, user, *others = messages
                return self._render([ChatMessage("user", f"{system.content}\n\n{user.content}"), *others])
            raise InvalidRequestError(
                f"the model's chat template refuses these messages: {error}",
                "most templates want user and assistant in turn, after at most one system message",
                code="chat_template_refused",
            ) from error

    def prefill(self, prompt: Sequence[int], cancelled: Cancelled) -> int:
        tokens = list(prompt)
        reused = _common_prefix(self._tokens, tokens[:-1]) if self._prefix_cache else 0
        # A sliding window cannot always drop its tail; then the whole prompt is computed.
        if not llama_cpp.llama_memory_seq_rm(self._memory, 0, reused, -1):
            llama_cpp.llama_memory_clear(self._memory, True)
            reused = 0
        self._tokens = tokens[:reused]
        for start in range(reused, len(tokens), _PREFILL_BATCH):
            if cancelled():
                return reused
            self._evaluate(tokens[start : start + _PREFILL_BATCH])
        return reused

    def decode(self, sampling: Sampling, max_tokens: int, cancelled: Cancelled) -> Iterator[bytes]:
        model = self._model
        guide = ChoiceGuide(sampling.choices, model.tokens_of, model.longest_token_bytes) if sampling.choices else None
        sampler = _make_sampler(sampling, self._model.vocab_size)
        try:
            for step in range(max_tokens):
                if cancelled():
                    return
                logits = self._finite_logits()
                if guide is not None:
                    self._keep_only(logits, guide.next_tokens() + (self._model.ends if guide.may_end else []))
                token = llama_cpp.llama_sampler_sample(sampler, self._context, -1)
                if llama_cpp.llama_vocab_is_eog(self._model.vocab, token):
                    return
                piece = self._model.piece(token)
                yield piece
                if guide is not None:
                    guide.advance(piece)
                    if guide.must_end:
                        return
                if step + 1 < max_tokens:
                    self._evaluate([token])
        finally:
            llama_cpp.llama_sampler_free(sampler)

    def _evaluate(self, tokens: list[int]) -> None:
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        code = llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(array, len(tokens)))
        if code != 0:
            llama_cpp.llama_memory_clear(self._memory, True)
            self._tokens = []
            raise ModelOutputError(f"llama_decode returned {code} at {len(tokens)} tokens: {_NATIVE_LOG.last_error}")
        self._tokens.extend(tokens)

    def _keep_only(self, logits: NDArray[np.float32], tokens: list[int]) -> None:
        if not tokens:
            raise ModelOutputError("this model has no tokens that spell any of the choices")
        allowed = logits[tokens]
        logits.fill(-np.inf)
        logits[tokens] = allowed

    def _finite_logits(self) -> NDArray[np.float32]:
        """The logits of the next token, llama.cpp's own buffer, from which it samples."""
        pointer = llama_cpp.llama_get_logits_ith(self._context, -1)
        logits = np.ctypeslib.as_array(pointer, shape=(self._model.vocab_size,))
        # The extremes are finite exactly when all are: NaN and the infinities come through min and max.
        if not np.isfinite(logits.max() - logits.min()):
            llama_cpp.llama_memory_clear(self._memory, True)
            self._tokens = []
            raise ModelOutputError("the model's logits are not finite")
        return logits

    def close(self) -> None:
        self._owned.close()


class LlamaLoader:
    """Loads engines, and shares one model between those that differ only in their adapter.

    Args:
        context_tokens: Longest context; the model's own, when shorter, wins.
        threads: Threads of one engine.
        gpu_layers: Layers to put on an accelerator, when the llama.cpp build has one.
        prefix_cache: Reuse the context of the prompt before; off only to measure what it saves.
    """

    def __init__(self, context_tokens: int, threads: int, gpu_layers: int = 0, prefix_cache: bool = True) -> None:
        self._context_tokens = context_tokens
        self._threads = threads
        self._gpu_layers = gpu_layers
        self._prefix_cache = prefix_cache
        self._lock = threading.Lock()
        self._models: dict[Path, tuple[_Model, int]] = {}
        self._verified: dict[Path, tuple[int, int, int]] = {}
        llama_cpp.llama_log_set(_on_native_log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()

    def load(self, model: Path, adapter: Path | None) -> LlamaEngine:
        for path in (model, adapter):
            if path is not None and not path.is_file():
                raise ModelLoadError(f"{path.name} does not exist")
        self._verify(model)
        with ExitStack() as owned:
            shared = self._borrow(model)
            owned.callback(self._return, model)
            engine = LlamaEngine(shared, adapter, self._context_tokens, self._threads, self._prefix_cache, owned)
            # Now the engine's close() frees what it owns. After a failure above, leaving the block frees it.
            engine._owned = owned.pop_all()
            return engine

    def _verify(self, path: Path) -> None:
        # Once for each file that was written: a slot that gives way and comes back is not read through again.
        status = path.stat()
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._verified.get(path) != version:
            verify_checksum(path)
            self._verified[path] = version

    def _borrow(self, path: Path) -> _Model:
        with self._lock:
            model, users = self._models.get(path) or (_Model(path, self._gpu_layers), 0)
            self._models[path] = (model, users + 1)
            return model

    def _return(self, path: Path) -> None:
        with self._lock:
            model, users = self._models[path]
            if users > 1:
                self._models[path] = (model, users - 1)
            else:
                del self._models[path]
                model.close()


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count


def _make_sampler(sampling: Sampling, vocab_size: int) -> Any:
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    if sampling.frequency_penalty or sampling.presence_penalty:
        penalties = llama_cpp.llama_sampler_init_penalties(
            vocab_size, _PENALTY_WINDOW, 1.0, sampling.frequency_penalty, sampling.presence_penalty
        )
        llama_cpp.llama_sampler_chain_add(chain, penalties)
    if sampling.temperature < _GREEDY_BELOW:
        llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_greedy())
        return chain
    if sampling.top_p < 1.0:
        llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1))
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_temp(sampling.temperature))
    seed = secrets.randbits(32) if sampling.seed is None else sampling.seed & 0xFFFFFFFF
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_dist(seed))
    return chain
