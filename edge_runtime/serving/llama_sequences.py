"""Adapter: the sequences of one context of llama.cpp. Each implements the engine port's sequence for one request.

A step is one batch: either a chunk of one prompt, or what comes next of each answer: a token, and with it the text
that a grammar leaves no choice about. That is cut into tokens as a prompt is, so the model reads what it knows: token
by token it would spell an unlikely name in pieces that it never saw together. A prompt never shares its batch, so its
logits do not depend on other requests. `serving.step_scheduler` decides what a step computes, and
`serving.prefix_cache` which part of a prompt is in the context already.
"""

import itertools
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelOutputError
from edge_runtime.serving.choice import ChoiceGuide
from edge_runtime.serving.engine import Likelihood, Sampling, Steps, Token
from edge_runtime.serving.llama_context import LlamaContext
from edge_runtime.serving.llama_model import LlamaModel
from edge_runtime.serving.prefix_cache import (
    CHUNK,
    CachedSequence,
    best_source,
    choose_place,
    chunk,
    reusable_tokens,
    whole_chunks,
)
from edge_runtime.serving.sampler import Grammars, TokenSampler, likelihoods
from edge_runtime.serving.step_scheduler import StepScheduler


class LlamaSequence:
    """One request's part of a context. Made by `LlamaSequences.open`.

    Attributes:
        place: Where it is; None before its first prompt.
        prompt: What it is to begin with.
        scores: Whether the logits after each token of the prompt are wanted.
        cached: How many tokens of the prompt were not computed for it.
        next_tokens: Tokens of the answer that are to be computed.
        row: Where the logits after the last computed token are in the last batch.
        error: What went wrong in the last step that computed it.
    """

    def __init__(self, owner: "LlamaSequences", model: LlamaModel, context: LlamaContext, grammars: Grammars) -> None:
        self._owner = owner
        self._model = model
        self._context = context
        self._grammars = grammars
        self.place: CachedSequence | None = None
        self.prompt: list[int] = []
        self.scores = False
        self.cached = 0
        self.next_tokens: list[int] = []
        self.row = 0
        self.error: ModelOutputError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all of the prompt is computed."""
        return self.place is not None and len(self.place.tokens) >= len(self.prompt)

    def prefill(self, prompt: Sequence[int], beginning: int = 0) -> Steps[int]:
        self._owner.begin(self, prompt, beginning)
        while not self.is_complete:
            yield from self._step()
        return self.cached

    def extend(self, prompt: Sequence[int], beginning: int = 0) -> Steps[int]:
        present = [] if self.place is None else self.place.tokens
        if not present or len(prompt) <= len(present) or list(prompt[: len(present)]) != present:
            return (yield from self.prefill(prompt, beginning))
        kept = len(present)
        yield from self._compute(prompt[kept:])
        return kept

    def score(self, prompt: Sequence[int], count: int) -> Steps[list[Token]]:
        place = self._owner.begin(self, prompt, scores=True)
        scored = [Token(self._model.piece(prompt[0], markup=True))]
        while (start := len(place.tokens)) < len(prompt):
            while len(place.tokens) == start:
                yield from self._step()
            following = list(prompt[start + 1 : len(place.tokens) + 1])
            for at in range(len(place.tokens) - start):
                logits = self._logits(at)
                token = following[at] if at < len(following) else int(logits.argmax())
                likelihood, *likeliest = likelihoods(self._model, logits, token, count)
                scored.append(Token(likelihood.piece, False, likelihood, tuple(likeliest)))
        return scored

    def probabilities(self, tokens: Sequence[int]) -> list[float]:
        logits = self._logits(self.row)[list(tokens)].astype(np.float64)
        weights = np.exp(logits - logits.max())
        return [float(weight) for weight in weights / weights.sum()]

    def decode(self, sampling: Sampling, max_tokens: int) -> Iterator[Token | None]:
        model = self._model
        guide = None
        if sampling.choices and not sampling.codes:
            guide = ChoiceGuide(sampling.choices, model.tokens_of, model.longest_token_bytes)
        with closing(TokenSampler(model, sampling, self._grammars)) as sampler:
            count = 0
            while count < max_tokens:
                logits = self._logits(self.row)
                only: Sequence[int] | None = sampling.codes or None
                if guide is not None:
                    only = guide.next_tokens() + (model.ends if guide.may_end else [])
                token = sampler.choose(logits, only, max_tokens - count)
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
                piece = model.piece(token, markup=token in sampling.spelled)
                if guide is not None:
                    guide.advance(piece)
                count += 1
                may_end = sampler.may_end if guide is None else guide.may_end
                yield Token(piece, may_end, likelihood, tuple(likeliest), sampler.was_cut)
                if sampler.must_end() if guide is None else guide.must_end:
                    return
                # Without logits nothing could be said of their likelihoods.
                forced = sampler.forced() if sampling.logprobs is None and count < max_tokens else []
                forced = forced[: max_tokens - count]
                for each in forced:
                    sampler.accept(each)
                    count += 1
                    yield Token(model.piece(each), sampler.may_end, was_cut=sampler.was_cut)
                if forced and sampler.must_end():
                    return
                if count < max_tokens:
                    yield from self._compute([token, *forced])

    def close(self) -> None:
        self._owner.release(self)

    def _compute(self, tokens: Sequence[int]) -> Steps[None]:
        """Go on with tokens that are known."""
        self.next_tokens = list(tokens)
        while self.next_tokens:
            yield from self._step()

    def _step(self) -> Steps[None]:
        yield
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def _logits(self, row: int) -> NDArray[np.float32]:
        try:
            return self._context.logits(row)
        except ModelOutputError:
            self._owner.forget(self)
            raise


class LlamaSequences:
    """All sequences of one context.

    Args:
        model: Whose tokens.
        context: Where they are computed.
        count: How many.
        prefix_cache: Use what is in the context again.
    """

    def __init__(self, model: LlamaModel, context: LlamaContext, count: int, prefix_cache: bool) -> None:
        self._model = model
        self._context = context
        self._grammars = Grammars(model)
        self._places = [CachedSequence(number) for number in range(count)]
        self._open: list[LlamaSequence] = []
        self._scheduler: StepScheduler[LlamaSequence] = StepScheduler()
        self._uses = itertools.count(1)
        self._prefix_cache = self._can_copy = prefix_cache

    def open(self) -> LlamaSequence:
        """A sequence for one request; it takes a place with its first prompt."""
        assert len(self._open) < len(self._places)
        sequence = LlamaSequence(self, self._model, self._context, self._grammars)
        self._open.append(sequence)
        return sequence

    def begin(
        self, sequence: LlamaSequence, prompt: Sequence[int], beginning: int = 0, scores: bool = False
    ) -> CachedSequence:
        """Let a sequence begin with `prompt` from the next steps on; the place where it does."""
        sequence.prompt, sequence.scores = list(prompt), scores
        sequence.next_tokens, sequence.error = [], None
        if sequence.place is None:
            sequence.place = choose_place(self._places, sequence.prompt, beginning)
            self._use(sequence.place, is_busy=True)
        place = sequence.place
        kept = reusable_tokens(place, sequence.prompt, beginning) if self._prefix_cache and not scores else 0
        sequence.cached = self._cut(place, kept)
        place.beginning = beginning
        self._scheduler.leave(sequence)
        self._scheduler.join(sequence)
        return place

    def release(self, sequence: LlamaSequence) -> None:
        """Take a sequence's place back; what is in it stays while no other needs the room."""
        self._scheduler.leave(sequence)
        if sequence in self._open:
            self._open.remove(sequence)
            if sequence.place is not None:
                self._use(sequence.place, is_busy=False)

    def forget(self, sequence: LlamaSequence) -> None:
        """Use nothing of a sequence again: something is wrong with it."""
        if sequence.place is not None:
            self._cut(sequence.place, 0)

    def step(self) -> None:
        """Compute one batch."""
        answering = [sequence for sequence in self._open if sequence.next_tokens]
        prompt = self._scheduler.next(bool(answering))
        started = time.perf_counter()
        if prompt is not None:
            count = self._compute_chunk(prompt)
            self._scheduler.prompt_took(prompt, count, time.perf_counter() - started)
            if prompt.is_complete:
                self._scheduler.leave(prompt)
        elif answering:
            self._compute_answers(answering)
            self._scheduler.answers_took(time.perf_counter() - started)

    def close(self) -> None:
        """Give the memory of the grammars back."""
        self._grammars.close()

    def _compute_chunk(self, sequence: LlamaSequence) -> int:
        """Compute the next chunk of a prompt; how many tokens it has."""
        place, prompt = sequence.place, sequence.prompt
        assert place is not None
        if not sequence.scores:
            self._copy_from_another(sequence, place)
        start = len(place.tokens)
        # llama.cpp keeps the logits of a whole chunk to score it, a megabyte for each token of a large vocabulary.
        tokens = prompt[start : start + CHUNK] if sequence.scores else chunk(prompt, start, place.beginning)
        batch = [(place.number, start + at, token) for at, token in enumerate(tokens)]
        wanted = range(len(tokens)) if sequence.scores else [len(tokens) - 1]
        if self._compute(batch, [sequence], wanted):
            place.tokens += tokens
            place.reusable = 0 if sequence.scores else whole_chunks(len(place.tokens), place.beginning)
            sequence.row = len(tokens) - 1
        return len(tokens)

    def _copy_from_another(self, sequence: LlamaSequence, place: CachedSequence) -> None:
        """Take over what another sequence has of this prompt by now, also one whose request is still running."""
        if not self._can_copy:
            return
        others = (each for each in self._places if each is not place)
        source, count = best_source(others, sequence.prompt, place.beginning, more_than=len(place.tokens))
        if source is None:
            return
        self._context.copy(source.number, place.number)
        before, place.tokens = len(place.tokens), list(source.tokens)
        if (kept := self._cut(place, count)) == count:
            sequence.cached += kept - before
        else:
            # A model whose sequences cannot be shortened; trying again would begin the prompt anew each time.
            self._can_copy, sequence.cached = False, 0

    def _compute_answers(self, answering: Sequence[LlamaSequence]) -> None:
        longest = max(1, self._context.batch_tokens // len(answering))
        batch: list[tuple[int, int, int]] = []
        rows = []
        for sequence in answering:
            assert sequence.place is not None
            first = len(sequence.place.tokens)
            tokens = sequence.next_tokens[:longest]
            batch += [(sequence.place.number, first + at, token) for at, token in enumerate(tokens)]
            rows.append(len(batch) - 1)
        if self._compute(batch, answering, rows):
            for sequence, row in zip(answering, rows, strict=True):
                assert sequence.place is not None
                sequence.place.tokens += sequence.next_tokens[:longest]
                del sequence.next_tokens[:longest]
                sequence.row = row

    def _compute(
        self, batch: Sequence[tuple[int, int, int]], sequences: Sequence[LlamaSequence], wanted: Collection[int]
    ) -> bool:
        try:
            self._context.compute(batch, wanted)
        except ModelOutputError as error:
            for sequence in sequences:
                self.forget(sequence)
                self._scheduler.leave(sequence)
                sequence.error = error
            return False
        return True

    def _cut(self, place: CachedSequence, count: int) -> int:
        """Keep the first `count` tokens; how many were kept: all or none."""
        kept = count if self._context.cut(place.number, count) else 0
        place.tokens, place.reusable = place.tokens[:kept], kept
        return kept

    def _use(self, place: CachedSequence, is_busy: bool) -> None:
        place.is_busy, place.used = is_busy, next(self._uses)
