"""Helper: an engine that answers one request, driven step by step."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_runtime.serving.engine import Sampling, Steps, Token
from edge_runtime.serving.llama import LlamaEngine
from edge_runtime.serving.llama_sequences import LlamaSequence

ResultT = TypeVar("ResultT")


def only(engine: LlamaEngine) -> LlamaSequence:
    """The sequence that is open, or a new one."""
    return engine._sequences._open[0] if engine._sequences._open else engine.open()


def taken(engine: LlamaEngine, steps: Steps[ResultT]) -> ResultT:
    """The result of something that takes steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: ResultT = end.value
            return result
        engine.step()


def prefill(engine: LlamaEngine, prompt: Sequence[int], beginning: int = 0) -> int:
    return taken(engine, only(engine).prefill(prompt, beginning))


def score(engine: LlamaEngine, prompt: Sequence[int], count: int) -> list[Token]:
    return taken(engine, only(engine).score(prompt, count))


def decode(engine: LlamaEngine, sampling: Sampling, max_tokens: int) -> Iterator[Token]:
    for token in only(engine).decode(sampling, max_tokens):
        if token is None:
            engine.step()
        else:
            yield token


def probabilities(engine: LlamaEngine, tokens: Sequence[int]) -> list[float]:
    return only(engine).probabilities(tokens)


def logits(engine: LlamaEngine) -> NDArray[np.float32]:
    """Of the next token."""
    sequence = only(engine)
    return sequence._logits(sequence.row).copy()
