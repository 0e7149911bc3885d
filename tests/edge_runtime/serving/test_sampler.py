"""What is drawn where a grammar refuses most: each token as probable as it is among those that fit."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.serving import sampler as module
from edge_runtime.serving.engine import Sampling
from edge_runtime.serving.llama import LlamaLoader
from edge_runtime.serving.llama_model import LlamaModel
from edge_runtime.serving.sampler import Grammars, TokenSampler

SCHEMA = '{"enum":[1,2,3]}'
DRAWS = 800


@pytest.fixture
def model(tiny_base: Path) -> Iterator[LlamaModel]:
    LlamaLoader(64, 1)
    made = LlamaModel(tiny_base, 0)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("fitting", "likeliest"),
    [
        ((4.0, 3.0, 2.0), 256),  # likely: mostly found by the first draw
        ((1.0, 0.0, 0.5), 16),  # among the others: by further draws, and by asking about all
        ((-9.0, -9.5, -10.0), 64),  # of no likelihood: by asking about all
        ((2.5, -9.0, -9.0), 16),  # one of them among the likeliest
    ],
)
def test_what_fits_is_drawn_as_its_probabilities_are_to_each_other(
    model: LlamaModel, monkeypatch: pytest.MonkeyPatch, fitting: tuple[float, ...], likeliest: int
) -> None:
    monkeypatch.setattr(module, "_LIKELIEST", likeliest)
    tokens = [model.tokens_of[digit][0] for digit in (b"1", b"2", b"3")]
    logits = np.random.default_rng(7).standard_normal(model.vocab_size).astype(np.float32)
    for digit in (b"1", b"2", b"3"):
        logits[model.tokens_of[digit]] = -50  # there may be more than one token of a digit
    logits[tokens] = fitting
    grammars = Grammars(model)
    made = TokenSampler(model, Sampling(schema=SCHEMA, seed=1), grammars)
    counts = Counter(made.choose(logits) for _ in range(DRAWS))
    made.close()
    grammars.close()
    assert set(counts) <= set(tokens)
    weights = np.exp(np.array(fitting))
    for token, share in zip(tokens, weights / weights.sum(), strict=True):
        spread = 4 * np.sqrt(DRAWS * share * (1 - share)) + 1
        assert abs(counts[token] - DRAWS * share) <= spread


def test_likeliest_that_fits_is_taken_greedily(model: LlamaModel) -> None:
    one, two, three = (model.tokens_of[digit][0] for digit in (b"1", b"2", b"3"))
    grammars = Grammars(model)
    made = TokenSampler(model, Sampling(temperature=0, schema=SCHEMA), grammars)
    rng = np.random.default_rng(7)
    for low in (0.0, -30.0):
        logits = rng.standard_normal(model.vocab_size).astype(np.float32)
        logits[[one, two, three]] = low, low + 1, low + 0.5
        assert made.choose(logits) == two
    made.close()
    grammars.close()


def test_what_a_grammar_lets_through_is_utf8(model: LlamaModel) -> None:
    """Half of a character is followed by its other half, whatever the model would like better."""
    grammars = Grammars(model)
    made = TokenSampler(model, Sampling(temperature=0, schema='{"type":"string"}'), grammars)
    quote, half = (model.tokens_of[piece][0] for piece in (b'"', b"\xc3"))
    logits = np.zeros(model.vocab_size, np.float32)
    for wanted in (quote, half, half):  # the last cannot stand behind itself
        logits[:] = 0
        logits[wanted] = 9
        token = made.choose(logits)
        made.accept(token)
    assert model.piece(token)[0] & 0xC0 == 0x80
    made.close()
    grammars.close()
