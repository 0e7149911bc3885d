"""Adapter: how one answer's tokens are chosen, by llama.cpp's samplers.

Rules: a grammar is asked about as few tokens as will do, because asking about a whole vocabulary takes a quarter of the
time of computing a token. First about the one that would be taken without it. Then about the 256 bytes, which rules out
each token that begins with a wrong one. Then about what is left: all at once where that is little, else about a few
that are drawn. A token that does not fit is left out of the next draw.

What is drawn: to draw, to leave out what does not fit and to draw again gives each fitting token its share of all
fitting ones, as if the others had been left out at once. With temperature, biases and penalties that is exact. top_k,
top_p and min_p cut before each draw, and before the first one what does not fit still has a place among the likeliest.
So with them a fitting token that is likely from the start is drawn somewhat more often than if they cut among fitting
tokens alone. llama.cpp's own programs do the same.

What a grammar lets through is UTF-8 where it can be. A JSON answer is closed in time (`json_ends`).
"""

import codecs
import ctypes
import random
import re
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as llama_cpp
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InvalidRequestError, ModelOutputError
from edge_runtime.serving.engine import Likelihood, Sampling
from edge_runtime.serving.grammar import grammar_of
from edge_runtime.serving.json_ends import JsonEnds, room_of_members
from edge_runtime.serving.llama_model import NATIVE_LOG, LlamaModel

_PENALTY_WINDOW = 1_024
"""Generated tokens that penalties look back on."""

_GREEDY_BELOW = 1e-6
"""Temperature under which the most likely token is taken at once: at 1e-38 the quotient overflows float32."""

_MANY = 4_096
"""Tokens that a grammar is not asked about at once while draws may do: that takes as long as a draw among 50,000."""

_DRAWS = 4
"""Tokens that are then drawn and asked about one by one. A draw takes a tenth of the time of asking about all."""

_FOLLOWERS = ("a", "1", " ", '"', "#", "}", "\n")
"""Signs of which a tokenizer takes some together with what stands in front of them."""

_FREE = np.frombuffer(b"ae01", np.uint8)
"""Bytes of which several may come next within a text or a number: four are sooner asked about than all."""

_WORD_AT_THE_END = re.compile(r"[^\W_]+$")

_LONGEST_FORCED = 1_024
"""Bytes of text that are found to be forced at a time; a name has 400 at most."""

_OTHERS_TRIED = 16
"""Tokens that are tried in the place of one that leaves no room to close JSON, or gives an object a name twice."""

_GRAMMARS = 32
"""Compiled grammars that an engine keeps."""

_SEEDS = 0xFFFFFFFF
"""llama.cpp takes the largest number of 32 bits for the wish that it draws a seed itself."""

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)], align=True)
"""llama_token_data."""


class Grammars:
    """The compiled grammars of one engine; those used least recently are dropped.

    Args:
        model: Whose tokens they are made of.
    """

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._compiled: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def start(self, schema: str, beginning: str) -> Any:
        """A sampler at the beginning of a JSON value; the caller frees it.

        Raises:
            InvalidRequestError: llama.cpp takes no such grammar.
        """
        key = (schema, beginning)
        if key not in self._compiled:
            text = grammar_of(schema, beginning).encode()
            NATIVE_LOG.last_error = ""
            compiled = llama_cpp.llama_sampler_init_grammar(self._model.vocab, text, b"root")
            if not compiled:
                raise InvalidRequestError(f"no grammar for this JSON Schema: {NATIVE_LOG.last_error}")
            self._compiled[key] = compiled
            if len(self._compiled) > _GRAMMARS:
                llama_cpp.llama_sampler_free(self._compiled.popitem(last=False)[1])
        self._compiled.move_to_end(key)
        return llama_cpp.llama_sampler_clone(self._compiled[key])

    def close(self) -> None:
        """Give the memory back."""
        for compiled in self._compiled.values():
            llama_cpp.llama_sampler_free(compiled)
        self._compiled.clear()


class TokenSampler:
    """Chooses the tokens of one answer.

    Attributes:
        was_cut: It closed something because no room was left, where the model would have gone on.

    Args:
        model: Whose tokens.
        sampling: How.
        grammars: For a sampling with a schema.

    Raises:
        InvalidRequestError: As for `Grammars.start`.
    """

    def __init__(self, model: LlamaModel, sampling: Sampling, grammars: Grammars) -> None:
        self._model = model
        self.was_cut = False
        self._avoided = list(sampling.avoided)
        self._grammar = grammars.start(sampling.schema, sampling.beginning) if sampling.schema else None
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._ends = JsonEnds(self._room_of(sampling.schema)) if sampling.schema and sampling.ends_in_time else None
        self._is_greedy = sampling.temperature < _GREEDY_BELOW or sampling.top_p == 0
        self._chain = _make_chain(sampling, self._is_greedy, model.vocab_size)
        # Without anything that changes logits or cuts, a token is found in a quarter of the chain's time, and less.
        is_plain = not (sampling.logit_bias or _has_penalties(sampling))
        self._takes_likeliest = self._is_greedy and is_plain
        self._takes_any = is_plain and not (self._is_greedy or sampling.top_k or sampling.top_p < 1 or sampling.min_p)
        self._temperature, self._random = sampling.temperature, random.Random(sampling.seed)

    def choose(self, logits: NDArray[np.float32], only: Sequence[int] | None = None, left: int | None = None) -> int:
        """The next token.

        Args:
            logits: (vocabulary,) float32, finite; left as they are.
            only: The tokens to choose from; None for all.
            left: How many tokens there may be, this one included; None for any number.

        Raises:
            ModelOutputError: None of them fits.
        """
        if only is not None:
            if not only:
                raise ModelOutputError("this model has no tokens that spell any of the choices")
            return self._draw(np.asarray(only, np.int32), logits[list(only)])
        free = logits
        if self._grammar is not None:
            free = logits.copy()
            free[self._model.controls] = -np.inf  # a grammar takes the spelling of such a token for text
        allowed = free
        if self._avoided:
            allowed = free.copy()
            allowed[self._avoided] = -np.inf
        token = self._fitting(allowed)
        if token is None and self._grammar is not None and self._avoided:
            token = self._fitting(free)
        if token is None:
            raise ModelOutputError("this model has no token that goes on with the answer as its schema wants it")
        return token if self._ends is None else self._in_time(token, allowed, left)

    def accept(self, token: int) -> None:
        """Take the token that was chosen; not one that ends the answer."""
        llama_cpp.llama_sampler_accept(self._chain, token)
        if self._grammar is not None:
            llama_cpp.llama_sampler_accept(self._grammar, token)
            if not self._is_text(token):
                self._decoder.reset()
            else:
                self._decoder.decode(self._model.piece(token))
        if self._ends is not None:
            self._ends.push(self._text_of(token))

    @property
    def may_end(self) -> bool:
        """Whether the text so far is a whole value of the schema."""
        return self._grammar is not None and bool(self._model.ends) and bool(self._fits([self._model.ends[0]])[0])

    def must_end(self) -> bool:
        """Whether it is, and no token goes on from here; takes as long as computing a token."""
        return self.may_end and not self._fits(np.setdiff1d(self._model.tokens, self._model.ends)).any()

    def forced(self) -> list[int]:
        """The tokens of the text that the grammar leaves no choice about, such as a name and what stands around it.

        Its end is left to the model as far as that depends on what follows: a tokenizer takes a quotation mark and a
        sign behind it together.
        """
        if self._grammar is None or self._decoder.getstate()[0]:  # nothing is said of the rest of a character
            return []
        text, is_end, following = self._forced_text()
        if not is_end:  # a word is left whole to the model, that may be cut otherwise by what follows
            text = _WORD_AT_THE_END.sub("", text)
        if not text:
            return []
        whole = self._tokens_of(text)
        if is_end:
            return whole
        count = len(whole)
        for follower in {*_FOLLOWERS, *following}:
            other = self._tokens_of(text + follower)
            count = next((at for at in range(min(count, len(other))) if whole[at] != other[at]), min(count, len(other)))
        return whole[:count]

    def close(self) -> None:
        """Give the memory back."""
        llama_cpp.llama_sampler_free(self._chain)
        if self._grammar is not None:
            llama_cpp.llama_sampler_free(self._grammar)

    def _in_time(self, token: int, logits: NDArray[np.float32], left: int | None) -> int:
        """A token, or one that fits better: that closes what has to be closed, or that makes another name."""
        assert self._ends is not None
        ends = self._ends

        def has_room(each: int) -> bool:
            return left is None or ends.has_room_behind(self._text_of(each), left - 1)

        if token in self._model.ends:
            return token
        is_late, first = not has_room(token), token
        if is_late or ends.repeats_itself:
            closings = [each for closing in ends.closings for each in self._model.tokens_of.get(closing, ())[:1]]
            first = next((each for each in closings if self._goes_on(each)), token)
        found: int | None = first
        for _ in range(_OTHERS_TRIED):
            if found is None or (has_room(found) and not ends.gives_name_twice(self._text_of(found))):
                break
            logits[found] = -np.inf
            found = self._fitting(logits)
        found = first if found is None else found
        self.was_cut |= is_late and found != token
        return found

    def _room_of(self, schema: str) -> dict[str, int]:
        """Tokens of the members that a schema requires."""
        return room_of_members(schema, lambda text: len(self._model.tokenize(text, add_special=False, markup=False)))

    def _text_of(self, token: int) -> str:
        return self._model.piece(token).decode("utf-8", "replace")

    def _fitting(self, logits: NDArray[np.float32]) -> int | None:
        tokens = self._model.tokens
        token = self._draw(tokens, logits)
        if self._grammar is None or (np.isfinite(logits[token]) and self._goes_on(token)):
            return token
        finite = np.isfinite(logits)
        tokens, logits = tokens[finite], logits[finite]
        left = self._may_fit(tokens) & (tokens != token)
        tokens, logits = tokens[left], logits[left]
        for _ in range(_DRAWS if len(tokens) > _MANY else 0):
            token = self._draw(tokens, logits)
            if self._goes_on(token):
                return token
            left = tokens != token
            tokens, logits = tokens[left], logits[left]
        fits = self._fits(tokens)
        tokens, logits = tokens[fits], logits[fits]
        drawn = []
        while len(tokens):
            drawn.append(self._draw(tokens, logits))
            if self._is_text(drawn[-1]):
                return drawn[-1]
            tokens, logits = tokens[tokens != drawn[-1]], logits[tokens != drawn[-1]]
        # A model with no token that completes a character goes on all the same.
        return drawn[0] if drawn else None

    def _goes_on(self, token: int) -> bool:
        return bool(self._fits([token])[0]) and self._is_text(token)

    def _may_fit(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether the grammar goes on with the first byte of each token; if it does not, then not with the token.

        Of a token that begins with no byte of its own, or with one that no token spells, nothing is said.
        """
        spelled = self._model.tokens_of_bytes
        known = np.flatnonzero(spelled >= 0)
        goes_on = np.ones(256, np.bool_)
        goes_on[known] = self._fits(spelled[known])
        goes_on[0] = True
        return goes_on[self._model.first_bytes[tokens]] | np.isin(tokens, self._model.ends)

    def _is_text(self, token: int) -> bool:
        """Whether what was written is UTF-8 with this token; a grammar counts characters, and does not see that."""
        state = self._decoder.getstate()
        try:
            self._decoder.decode(self._model.piece(token))
        except UnicodeDecodeError:
            return False
        finally:
            self._decoder.setstate(state)
        return True

    def _forced_text(self) -> tuple[str, bool, str]:
        """What comes next in any case, whether the answer ends there, and the signs of ASCII that may follow."""
        spelled = self._model.tokens_of_bytes
        known = self._model.known_bytes
        if not (self._model.ends and len(known)) or self._fits(spelled[_FREE]).sum() > 1:
            return "", False, ""
        asked = [*spelled[known], self._model.ends[0]]
        text, grammar = bytearray(), None
        try:
            while True:
                found = np.flatnonzero(self._fits(asked, grammar))
                if len(found) != 1 or found[0] == len(known) or len(text) == _LONGEST_FORCED:
                    break
                grammar = grammar or llama_cpp.llama_sampler_clone(self._grammar)
                llama_cpp.llama_sampler_accept(grammar, asked[found[0]])
                text.append(known[found[0]])
        finally:
            if grammar is not None:
                llama_cpp.llama_sampler_free(grammar)
        is_end = len(found) == 1 and found[0] == len(known)
        following = bytes(known[each] for each in found if each < len(known) and known[each] < 128).decode()
        return text.decode("utf-8", "ignore"), is_end, following

    def _tokens_of(self, text: str) -> list[int]:
        """The tokens of a text within an answer; none where this tokenizer adds something to it."""
        tokens = self._model.tokenize(text, add_special=False, markup=False)
        return tokens if b"".join(map(self._model.piece, tokens)) == text.encode() else []

    def _fits(self, tokens: Any, grammar: Any = None) -> NDArray[np.bool_]:
        """Whether a grammar, by default the answer's, goes on with each token."""
        candidates = _candidates(np.asarray(tokens, np.int32), np.zeros(len(tokens), np.float32))
        array = _as_native(candidates)
        llama_cpp.llama_sampler_apply(grammar or self._grammar, ctypes.byref(array))
        return np.isfinite(candidates["logit"])

    def _draw(self, tokens: NDArray[np.int32], logits: NDArray[np.float32]) -> int:
        if self._takes_likeliest:
            return int(tokens[logits.argmax()])
        if self._takes_any:
            shares = np.cumsum(np.exp((logits - logits.max()) / self._temperature), dtype=np.float64)
            return int(tokens[np.searchsorted(shares, self._random.random() * shares[-1], side="right")])
        candidates = _candidates(tokens, logits)
        array = _as_native(candidates)
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)


def likelihoods(model: LlamaModel, logits: NDArray[np.float32], token: int, count: int) -> tuple[Likelihood, ...]:
    """How likely a token is, and after it the `count` likeliest ones, the likeliest first."""
    exact = logits.astype(np.float64)
    logprobs = exact - exact.max()
    logprobs -= np.log(np.exp(logprobs).sum())
    best = np.argpartition(-logits, count)[:count] if count else np.empty(0, np.int64)
    best = best[np.lexsort((best, -logits[best]))]
    return tuple(Likelihood(model.piece(int(each), markup=True), float(logprobs[each])) for each in (token, *best))


def _candidates(tokens: NDArray[np.int32], logits: NDArray[np.float32]) -> NDArray[Any]:
    candidates = np.zeros(len(tokens), _CANDIDATE)
    candidates["id"], candidates["logit"] = tokens, logits
    return candidates


def _as_native(candidates: NDArray[Any]) -> Any:
    data = candidates.ctypes.data_as(llama_cpp.llama_token_data_p)
    return llama_cpp.llama_token_data_array(data=data, size=len(candidates), selected=-1, sorted=False)


def _has_penalties(sampling: Sampling) -> bool:
    return bool(sampling.frequency_penalty or sampling.presence_penalty or sampling.repeat_penalty != 1.0)


def _make_chain(sampling: Sampling, is_greedy: bool, vocab_size: int) -> Any:
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())

    def add(sampler: Any) -> None:
        llama_cpp.llama_sampler_chain_add(chain, sampler)

    if sampling.logit_bias:
        biases = (llama_cpp.llama_logit_bias * len(sampling.logit_bias))(*sampling.logit_bias)
        add(llama_cpp.llama_sampler_init_logit_bias(vocab_size, len(biases), biases))
    if _has_penalties(sampling):
        add(
            llama_cpp.llama_sampler_init_penalties(
                vocab_size,
                _PENALTY_WINDOW,
                sampling.repeat_penalty,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            )
        )
    if is_greedy:
        add(llama_cpp.llama_sampler_init_greedy())
        return chain
    if sampling.top_k:
        add(llama_cpp.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1.0:
        add(llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p:
        add(llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1))
    add(llama_cpp.llama_sampler_init_temp(sampling.temperature))
    seed = secrets.randbelow(_SEEDS) if sampling.seed is None else sampling.seed % _SEEDS
    add(llama_cpp.llama_sampler_init_dist(seed))
    return chain
