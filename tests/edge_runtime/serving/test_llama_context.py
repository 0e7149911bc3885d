"""A context of llama.cpp on a tiny real model: sequences are computed apart, cut and copied."""

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import llama_cpp
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.errors import ModelLoadError, ModelOutputError
from edge_runtime.serving.llama_context import LlamaContext
from edge_runtime.serving.llama_model import LlamaModel

TOKENS = (20, 30, 40, 50)


@pytest.fixture
def owned() -> Iterator[ExitStack]:
    llama_cpp.llama_backend_init()
    with ExitStack() as owned:
        yield owned


@pytest.fixture
def model(tiny_base: Path, owned: ExitStack) -> LlamaModel:
    model = LlamaModel(tiny_base, 0)
    owned.callback(model.close)
    return model


@pytest.fixture
def context(model: LlamaModel, owned: ExitStack) -> LlamaContext:
    return LlamaContext(model, None, context_tokens=64, sequences=2, batch_tokens=8, threads=1, owned=owned)


def _computed(context: LlamaContext, sequence: int, tokens: tuple[int, ...], first: int = 0) -> NDArray[np.float32]:
    """The logits after tokens that go on with a sequence."""
    context.compute([(sequence, first + place, token) for place, token in enumerate(tokens)], wanted=[len(tokens) - 1])
    return context.logits(len(tokens) - 1).copy()


def test_sequences_do_not_see_each_other(context: LlamaContext) -> None:
    expected = _computed(context, 0, TOKENS)
    _computed(context, 1, (60, 70))
    context.cut(0, 0)
    assert np.array_equal(_computed(context, 0, TOKENS), expected)
    assert not np.array_equal(_computed(context, 1, TOKENS, first=2), expected)


def test_what_was_kept_or_copied_is_as_if_it_were_computed(context: LlamaContext) -> None:
    expected = _computed(context, 0, TOKENS)
    assert context.cut(0, 3)
    again = _computed(context, 0, TOKENS[3:], first=3)
    assert np.allclose(again, expected, atol=1e-2)
    assert context.cut(0, 3)
    _computed(context, 1, (60,))  # what a copy replaces
    context.copy(0, 1)
    assert np.array_equal(_computed(context, 1, TOKENS[3:], first=3), again)


def test_logits_are_kept_after_each_token_where_they_are_wanted(context: LlamaContext) -> None:
    context.compute([(0, place, token) for place, token in enumerate(TOKENS)], wanted=range(len(TOKENS)))
    each = [context.logits(place).copy() for place in range(4)]
    context.cut(0, 0)
    for count in range(1, 5):
        assert np.allclose(_computed(context, 0, TOKENS[:count]), each[count - 1], atol=1e-4)
        context.cut(0, 0)


def test_batch_that_llama_cpp_refuses_is_an_error(context: LlamaContext, model: LlamaModel) -> None:
    with pytest.raises(ModelOutputError, match="llama_decode returned -1 at 1 tokens"):
        context.compute([(0, 0, model.vocab_size)], wanted=[0])


def test_logits_that_are_not_finite_are_an_error(context: LlamaContext, monkeypatch: pytest.MonkeyPatch) -> None:
    finite = _computed(context, 0, TOKENS)
    for bad in (np.nan, np.inf, -np.inf):
        row = finite.copy()
        row[len(row) // 2] = bad
        pointer = row.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        monkeypatch.setattr(llama_cpp.llama_cpp, "llama_get_logits_ith", lambda *_, pointer=pointer: pointer)
        with pytest.raises(ModelOutputError, match="not finite"):
            context.logits(0)


def test_context_that_cannot_be_made_says_how_large_it_was_to_be(
    model: LlamaModel, owned: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp.llama_cpp, "llama_init_from_model", lambda *_: None)
    with pytest.raises(ModelLoadError, match="a context of 2 times 64 tokens: out of memory"):
        LlamaContext(model, None, 64, 2, 8, 1, owned)
