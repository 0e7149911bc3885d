"""Adapter: llama.cpp behind the engine port.

With `serving.llama_model`, `serving.sampler` and `serving.grammar`, of which it is made, it alone imports `llama_cpp`.

It speaks the library's low-level interface, for three reasons: an adapter given to the high-level class switches memory
mapping off; engines that differ only in their adapter can share one model; and the logits are at hand to be checked.
Rules: a model file is mapped, and loaded once for all its adapters. What two prompts in a row have in common at their
beginning is computed once, in whole chunks. The same prompt gives the same logits, whatever was cached. Logits that are
not finite are an error, never a token.
"""

import ctypes
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from edge_runtime.checksum import verify_checksum
from edge_runtime.errors import ContextLengthError, InvalidRequestError, ModelLoadError, ModelOutputError
from edge_runtime.serving.choice import ChoiceGuide
from edge_runtime.serving.engine import Cancelled, ChatMessage, Likelihood, Sampling, Token
from edge_runtime.serving.llama_model import NATIVE_LOG, LlamaModel, adapter_metadata, on_native_log
from edge_runtime.serving.sampler import Grammars, TokenSampler, likelihoods
from edge_runtime.serving.specialization_metadata import parse_metadata, verify_codes
from loragen.contract.chat_format import render_chat

_CHUNK, _LATER_CHUNK = 32, 128
"""Tokens of a prompt in one call of llama_decode, as far as `_LATER_FROM` and from there on.

llama.cpp computes a token with other instructions in a batch of another size, and the last bits differ: by up to 0.6 in
a logit of SmolLM2, enough for another answer at temperature 0. So prompts are always cut at the same places, and only
whole chunks are used again. Small chunks leave less to be computed again, and are slower: 112 tokens/s in batches of
512, 101 of 128, 94 of 64, 81 of 32 (SmolLM2 at Q4_1, two cores)."""

_LATER_FROM = 256


class LlamaEngine:
    """One context on a model, with an adapter attached when there is one. Made by `LlamaLoader`."""

    def __init__(
        self,
        model: LlamaModel,
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
        self._reusable = 0
        self.context_tokens = min(context_tokens, model.trained_context)
        self.vocab_tokens = model.vocab_size
        # Taken before the context, and so given back after it: a context must not outlive what it points to.
        lora = None if adapter is None else self._load_adapter(adapter)
        text_of = model.metadata if lora is None else partial(adapter_metadata, lora)
        metadata = parse_metadata(text_of, adapter or model.path)
        self.answer, self.residual_prompt = metadata.answer, metadata.residual_prompt
        verify_codes(self.answer, adapter or model.path, model.vocab_size)
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = self.context_tokens
        parameters.n_batch = parameters.n_ubatch = min(_LATER_CHUNK, self.context_tokens)
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.no_perf = True
        self._context = llama_cpp.llama_init_from_model(model.handle, parameters)
        if not self._context:
            raise ModelLoadError(f"llama.cpp cannot make a context of {self.context_tokens} tokens: out of memory?")
        owned.callback(llama_cpp.llama_free, self._context)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._grammars = Grammars(model)
        owned.callback(self._grammars.close)
        if lora is not None:
            adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(lora)
            if llama_cpp.llama_set_adapters_lora(self._context, adapters, 1, (ctypes.c_float * 1)(1.0)):
                raise ModelLoadError(f"llama.cpp cannot attach the adapter: {NATIVE_LOG.last_error}")

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

    def tokenize(self, text: str) -> list[int]:
        self._verify_length(text)
        return self._model.tokenize(text, add_special=True, markup=True)

    def tokenize_chat(self, messages: Sequence[ChatMessage]) -> list[int]:
        prompt = self._render(messages)
        self._verify_length(prompt)
        markup = self._model.markup
        marked = [ChatMessage(message.role, markup.mark(message.content)) for message in messages]
        # A template writes BOS itself where the model wants one, as in training; adding another would double it.
        if marked == list(messages):
            return self._model.tokenize(prompt, add_special=False, markup=True)
        tokens: list[int] = []
        for text, is_control in markup.split(self._render(marked)):
            tokens += self._model.tokenize(text, add_special=False, markup=is_control)
        return tokens

    def tokenize_answer(self, text: str) -> list[int]:
        return self._model.tokenize(text, add_special=False, markup=False)

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

    def _render(self, messages: Sequence[ChatMessage]) -> str:
        if not self._model.has_template:
            raise InvalidRequestError(self._model.template_problem, "use /v1/completions", code="chat_template_missing")
        try:
            asked = [{"role": message.role, "content": message.content} for message in messages]
            return render_chat(self._model.apply_template, asked, self._model.bos_text)
        except Exception as error:  # a template is a program of the model's maker: it may raise anything
            if any(message.role == "tool" for message in messages):  # many know no results of calls
                return self._render([ChatMessage("user" if m.role == "tool" else m.role, m.content) for m in messages])
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
        common = _common_prefix(self._tokens[: self._reusable], tokens[:-1]) if self._prefix_cache else 0
        reused = _whole_chunks(common)
        # A sliding window cannot always drop its tail; then the whole prompt is computed.
        if not llama_cpp.llama_memory_seq_rm(self._memory, 0, reused, -1):
            llama_cpp.llama_memory_clear(self._memory, True)
            reused = 0
        self._tokens, self._reusable = tokens[:reused], reused
        while len(self._tokens) < len(tokens) and not cancelled():
            self._evaluate(_chunk(tokens, len(self._tokens)))
            self._reusable = _whole_chunks(len(self._tokens))
        return reused

    def score(self, prompt: Sequence[int], count: int, cancelled: Cancelled) -> list[Token]:
        llama_cpp.llama_memory_clear(self._memory, True)
        self._tokens, self._reusable = [], 0
        scored = [Token(self._model.piece(prompt[0], markup=True))]
        while (start := len(self._tokens)) < len(prompt):
            if cancelled():
                return []
            # Small ones: llama.cpp keeps the logits of a whole chunk, a megabyte for each token of a large vocabulary.
            chunk = list(prompt[start : start + _CHUNK])
            self._evaluate(chunk, all_logits=True)
            following = list(prompt[start + 1 : start + len(chunk) + 1])
            for place in range(len(chunk)):
                logits = self._finite_logits(place)
                token = following[place] if place < len(following) else int(logits.argmax())
                likelihood, *likeliest = likelihoods(self._model, logits, token, count)
                scored.append(Token(likelihood.piece, False, likelihood, tuple(likeliest)))
        return scored

    def probabilities(self, tokens: Sequence[int]) -> list[float]:
        logits = self._finite_logits()[list(tokens)].astype(np.float64)
        weights = np.exp(logits - logits.max())
        return [float(weight) for weight in weights / weights.sum()]

    def decode(self, sampling: Sampling, max_tokens: int, cancelled: Cancelled) -> Iterator[Token]:
        model = self._model
        guide = None
        if sampling.choices and not sampling.codes:
            guide = ChoiceGuide(sampling.choices, model.tokens_of, model.longest_token_bytes)
        with closing(TokenSampler(model, sampling, self._grammars)) as sampler:
            for step in range(max_tokens):
                if cancelled():
                    return
                logits = self._finite_logits()
                only: Sequence[int] | None = sampling.codes or None
                if guide is not None:
                    only = guide.next_tokens() + (model.ends if guide.may_end else [])
                token = sampler.choose(logits, only)
                likelihood: Likelihood | None = None
                likeliest: list[Likelihood] = []
                if sampling.logprobs is not None:
                    likelihood, *likeliest = likelihoods(model, logits, token, sampling.logprobs)
                if sampling.codes:
                    choice = sampling.choices[sampling.codes.index(token)].encode()
                    yield Token(choice, True, likelihood, tuple(likeliest))
                    return
                if token in model.ends:
                    return
                sampler.accept(token)
                piece = model.piece(token)
                if guide is not None:
                    guide.advance(piece)
                yield Token(piece, sampler.may_end if guide is None else guide.may_end, likelihood, tuple(likeliest))
                if sampler.must_end() if guide is None else guide.must_end:
                    return
                if step + 1 < max_tokens:
                    self._evaluate([token])

    def _evaluate(self, tokens: list[int], all_logits: bool = False) -> None:
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        batch = llama_cpp.llama_batch_get_one(array, len(tokens))
        wanted = (ctypes.c_int8 * len(tokens))(*[1] * len(tokens))
        if all_logits:
            batch.logits = ctypes.cast(wanted, ctypes.POINTER(ctypes.c_int8))
        code = llama_cpp.llama_decode(self._context, batch)
        if code != 0:
            llama_cpp.llama_memory_clear(self._memory, True)
            self._tokens = []
            raise ModelOutputError(f"llama_decode returned {code} at {len(tokens)} tokens: {NATIVE_LOG.last_error}")
        self._tokens.extend(tokens)

    def _finite_logits(self, place: int = -1) -> NDArray[np.float32]:
        """The logits of the next token, llama.cpp's own buffer until the next evaluation; not to be changed.

        Args:
            place: After which token of the batch; the last by default.
        """
        pointer = llama_cpp.llama_get_logits_ith(self._context, place)
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
        self._models: dict[Path, tuple[LlamaModel, int]] = {}
        self._verified: dict[Path, tuple[int, int, int]] = {}
        llama_cpp.llama_log_set(on_native_log, ctypes.c_void_p(0))
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

    def _borrow(self, path: Path) -> LlamaModel:
        with self._lock:
            model, users = self._models.get(path) or (LlamaModel(path, self._gpu_layers), 0)
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


def _chunk(tokens: Sequence[int], start: int) -> list[int]:
    """The tokens of the chunk that begins at `start`."""
    return list(tokens[start : start + (_CHUNK if start < _LATER_FROM else _LATER_CHUNK)])


def _whole_chunks(count: int) -> int:
    """How many of the first `count` tokens of a prompt are in whole chunks."""
    return count - count % (_CHUNK if count < _LATER_FROM else _LATER_CHUNK)


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count
