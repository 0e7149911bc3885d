"""Adapter: a model file in llama.cpp, with its vocabulary, its chat template, and llama.cpp's log.

`serving.llama` answers with it.
"""

import ctypes
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import llama_cpp.llama_cpp as llama_cpp
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InvalidRequestError, ModelLoadError
from edge_runtime.serving.call_forms import CallForm, find_call_form
from edge_runtime.serving.chat_template import ChatTemplate
from edge_runtime.serving.engine import TokenizerInfo
from loragen.contract.markup import ControlMarkup

_LOG = logging.getLogger("llama_cpp")

_CONTROL = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
"""Tokens that llama_tokenize finds only when it parses markup. Tokens that a model's maker added for text, such as
`</think>`, are found in any text."""

_NATIVE_ERROR = 4
"""Of ggml_log_level."""


class _NativeLog(threading.local):
    """The last error line of llama.cpp on this thread: the only place where it gives the reason of a failed load."""

    last_error = ""


NATIVE_LOG = _NativeLog()


@llama_cpp.llama_log_callback
def on_native_log(level: int, text: bytes, _user_data: Any) -> None:
    """Note llama.cpp's errors, and log what it says at level debug: its warnings too fill a page for each load."""
    line = text.decode("utf-8", "replace").strip()
    # Errors are reported by the exception that carries them; logging them again would double every refused file.
    if level == _NATIVE_ERROR and line:
        NATIVE_LOG.last_error = line
    if line:
        _LOG.debug(line)


class LlamaModel:
    """A mapped model file and its vocabulary, shared by the engines that use it.

    Attributes:
        tokens: (vocabulary,) int32, all of them.
        longest_token_bytes: Of the longest spelling of a token.
        first_bytes: (vocabulary,) uint8, the first byte of each token's spelling; 0 where there is none.
        tokens_of_bytes: (256,) int32, a token that is spelled as this one byte and ends nothing; -1 for none.
    """

    def __init__(self, path: Path, gpu_layers: int, repack: bool = True) -> None:
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = gpu_layers
        parameters.load_mode = llama_cpp.LLAMA_LOAD_MODE_MMAP
        parameters.use_extra_bufts = repack
        NATIVE_LOG.last_error = ""
        self.handle = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self.handle:
            raise ModelLoadError(
                f"llama.cpp cannot load {path.name}: {NATIVE_LOG.last_error or 'no reason given'}",
                "the file is damaged, or of an architecture that this build does not know",
            )
        self.path = path
        self.vocab = llama_cpp.llama_model_get_vocab(self.handle)
        self.vocab_size: int = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.tokens = np.arange(self.vocab_size, dtype=np.int32)
        self.trained_context: int = llama_cpp.llama_model_n_ctx_train(self.handle)
        self.markup = ControlMarkup(
            self._token_text(token)
            for token in range(self.vocab_size)
            if llama_cpp.llama_vocab_get_attr(self.vocab, token) & _CONTROL
        )
        self._read_spellings()
        template = llama_cpp.llama_model_chat_template(self.handle, None)
        self._call_form: CallForm | Literal["unread"] | None = "unread"
        self._templates: dict[bool, ChatTemplate] = {}  # by whether the answer's beginning is rendered too
        self.tokenizer = TokenizerInfo(
            self._token_text(llama_cpp.llama_vocab_bos(self.vocab)),
            self._token_text(llama_cpp.llama_vocab_eos(self.vocab)),
            template.decode("utf-8", "replace") if template else "",
        )
        self.template_problem = ""
        self.use_template(self.tokenizer.chat_template)

    def _read_spellings(self) -> None:
        self.longest_token_bytes = 1
        self.first_bytes = np.zeros(self.vocab_size, np.uint8)
        self.tokens_of_bytes = np.full(256, -1, np.int32)
        for token in range(self.vocab_size):
            piece = self.piece(token, markup=True)
            self.longest_token_bytes = max(self.longest_token_bytes, len(piece))
            if piece:
                self.first_bytes[token] = piece[0]
            if len(piece) == 1 and not llama_cpp.llama_vocab_is_eog(self.vocab, token):
                self.tokens_of_bytes[piece[0]] = token

    def use_template(self, template: str) -> None:
        """Render chats by this template; an empty one, and one that does not compile, refuse them, and nothing else."""
        self._templates.clear()
        self._call_form = "unread"
        if not template:
            self.template_problem = "this model's file has no chat template"
            return
        try:
            for answer in (True, False):
                self._templates[answer] = ChatTemplate(template, self.tokenizer.eos, self.tokenizer.bos, answer)
            self.template_problem = ""
        except Exception as error:  # it is a program of the model's maker
            self._templates.clear()
            self.template_problem = f"the chat template of this model's file does not compile: {error}"[:500]

    @property
    def bos_text(self) -> str:
        """The token that begins every text; empty for none."""
        return self.tokenizer.bos

    @property
    def has_template(self) -> bool:
        """Whether the file has a chat template."""
        return bool(self._templates)

    @property
    def call_form(self) -> CallForm | None:
        """How the chat template writes calls; None when it knows none."""
        if isinstance(self._call_form, str):
            self._call_form = find_call_form(lambda messages, tools: self.apply_template(messages, False, tools=tools))
        return self._call_form

    def apply_template(self, messages: Sequence[Mapping[str, Any]], answer: bool, **variables: Any) -> str:
        """Render messages, and the beginning of an answer; what the template raises goes through."""
        return self._templates[answer].render(messages, **variables)

    def _token_text(self, token: int) -> str:
        return "" if token < 0 else str(llama_cpp.llama_vocab_get_text(self.vocab, token).decode("utf-8", "replace"))

    def tokenize(self, text: str, *, add_special: bool, markup: bool) -> list[int]:
        """Tokens of a text.

        Args:
            text: The text.
            add_special: Prepend BOS where the tokenizer does.
            markup: Obey the markup of control tokens; otherwise it is text.
        """
        data = text.encode("utf-8", "replace")
        # A token stands for at least one byte, save for BOS and EOS, so that one call is enough.
        room = len(data) + 2
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), tokens, room, add_special, markup)
        if count < 0:
            raise InvalidRequestError(f"cannot tokenize {len(data)} bytes into {room} tokens: the model needs {-count}")
        return list(tokens[:count])

    def piece(self, token: int, *, markup: bool = False) -> bytes:
        """The bytes that a token stands for; a control token stands for none, or for its `markup`."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            written = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, size, 0, markup)
            if written >= 0:
                return bytes(buffer.raw[:written])
            size = -written

    def metadata(self, key: str) -> str | None:
        """The text under a key of the file's metadata; None when there is none."""
        return _metadata(partial(llama_cpp.llama_model_meta_val_str, self.handle), key)

    def context_bytes(self, tokens: int) -> int:
        """Memory that a sequence of so many tokens takes, at most; a model with sliding windows may take less."""
        # llama.cpp gives room for a multiple of 256 tokens, in float16.
        tokens += -tokens % 256
        width = llama_cpp.llama_model_n_embd(self.handle) // max(1, llama_cpp.llama_model_n_head(self.handle))
        arch = self.metadata("general.architecture")
        widths = [self.metadata(f"{arch}.attention.{part}_length") or "" for part in ("key", "value")]
        both = sum(int(each) if each.isdecimal() else width for each in widths)
        heads = llama_cpp.llama_model_n_head_kv(self.handle)
        return max(1, 2 * tokens * llama_cpp.llama_model_n_layer(self.handle) * heads * both)

    @cached_property
    def tokens_of(self) -> dict[bytes, list[int]]:
        """Tokens by the bytes that each stands for; only choices need it, and a large vocabulary takes a second."""
        found: dict[bytes, list[int]] = {}
        for token in range(self.vocab_size):
            if piece := self.piece(token):
                found.setdefault(piece, []).append(token)
        return found

    @cached_property
    def known_bytes(self) -> NDArray[np.intp]:
        """The bytes that a token is spelled as; none where a token begins with another, or one of ASCII is missing."""
        known = np.flatnonzero(self.tokens_of_bytes >= 0)
        is_complete = np.isin(self.first_bytes, [0, *known]).all() and np.isin(np.arange(32, 127), known).all()
        return known if is_complete else known[:0]

    @cached_property
    def ends(self) -> list[int]:
        """End-of-generation tokens."""
        return [token for token in range(self.vocab_size) if llama_cpp.llama_vocab_is_eog(self.vocab, token)]

    @cached_property
    def controls(self) -> list[int]:
        """Control tokens that do not end a generation: they stand for no text."""
        found = range(self.vocab_size)
        return [
            token
            for token in found
            if llama_cpp.llama_vocab_get_attr(self.vocab, token) & _CONTROL and token not in self.ends
        ]

    def close(self) -> None:
        """Give the memory back."""
        llama_cpp.llama_model_free(self.handle)


def adapter_metadata(lora: Any, key: str) -> str | None:
    """The text under a key of a loaded adapter's metadata; None when there is none."""
    return _metadata(partial(llama_cpp.llama_adapter_meta_val_str, lora), key)


def _metadata(read: Callable[[bytes, Any, int], int], key: str) -> str | None:
    size = 4_096
    while True:
        buffer = ctypes.create_string_buffer(size)
        length = read(key.encode(), buffer, size)
        if length < size:
            return None if length < 0 else buffer.value.decode("utf-8", "replace")
        size = length + 1
