"""Base training: packed rows, weights of the loss, growing a model."""

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.training.models import SIZE, tiny_model
from training.data.episodes import Mixture
from training.fit.pretrain import (
    CONTEXT_WEIGHT,
    PackedRows,
    PretrainSettings,
    grow_model,
    make_optimizers,
    new_language_model,
    pretrain,
    sample_paragraphs,
)

SETTINGS = PretrainSettings(steps=4, rows=6, length=96)


@pytest.fixture(scope="module")
def rows(mixture: Mixture, tokenizer: PreTrainedTokenizerFast) -> PackedRows:
    return PackedRows(mixture, ["prose about ships"], tokenizer, SETTINGS)


def test_rows_of_a_step_are_always_the_same_and_differ_between_steps(
    rows: PackedRows, mixture: Mixture, tokenizer: PreTrainedTokenizerFast
) -> None:
    again = PackedRows(mixture, ["prose about ships"], tokenizer, SETTINGS)
    for step in (3, 0):
        for first, second in zip(rows.draw(step), again.draw(step), strict=True):
            assert first.shape == (6, 97)
            assert torch.equal(first, second)
    assert not torch.equal(rows.draw(0)[0], rows.draw(1)[0])


def test_answers_weigh_one_and_everything_else_less(rows: PackedRows, tokenizer: PreTrainedTokenizerFast) -> None:
    """An answer is what stands between <|assistant|> and <|end|>, its end included."""
    assistant = tokenizer.convert_tokens_to_ids("<|assistant|>")
    ids, weights = (tensor.flatten().tolist() for tensor in rows.draw(0))
    answering, answered = False, 0
    for token, weight in zip(ids, weights, strict=True):
        assert weight == pytest.approx(1.0 if answering else CONTEXT_WEIGHT)
        answering = (answering or token == assistant) and token != tokenizer.eos_token_id
        answered += weight == 1
    assert 20 < answered < len(ids) / 2


def test_rows_hold_prose_and_conversations_with_and_without_a_system_prompt(
    rows: PackedRows, tokenizer: PreTrainedTokenizerFast
) -> None:
    text = "".join(tokenizer.decode(rows.draw(step)[0].flatten()) for step in range(8))
    assert "<|bos|>prose about ships<|end|>" in text
    assert "<|bos|><|system|>" in text
    assert "<|bos|><|user|>" in text


def test_pretraining_lowers_the_loss(tmp_path: Path, rows: PackedRows, tokenizer: PreTrainedTokenizerFast) -> None:
    model = new_language_model(SIZE, tokenizer, seed=0)
    settings = PretrainSettings(steps=12, rows=6, length=96, warmup=2, learning_rate=1e-2)
    losses = pretrain(model, rows, settings, tmp_path / "run", "test", compiled=False)
    assert len(losses) == 12
    assert losses[-1] < losses[0] - 0.5


def test_grown_model_repeats_layers_in_the_order_given(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model(tokenizer)
    grown = grow_model(model, [0, 1, 1])
    assert grown.config.num_hidden_layers == 3
    for target, source in enumerate((0, 1, 1)):
        for name, value in model.model.layers[source].state_dict().items():
            assert torch.equal(grown.model.layers[target].state_dict()[name], value)
    ids = torch.tensor([[1, 50, 60]])
    assert grown.lm_head.weight is grown.model.embed_tokens.weight
    same = grow_model(model, [0, 1])
    assert torch.equal(same.eval()(ids).logits, model(ids).logits)


def test_every_parameter_has_one_optimizer(tokenizer: PreTrainedTokenizerFast) -> None:
    """Muon takes the matrices of the layers, AdamW embeddings and norms."""
    model = new_language_model(SIZE, tokenizer, seed=0)
    muon, adam = ({id(p) for g in o.param_groups for p in g["params"]} for o in make_optimizers(model, 1e-3))
    assert not muon & adam
    assert muon | adam == {id(p) for p in model.parameters()}
    assert muon == {id(p) for p in model.model.layers.parameters() if p.ndim == 2}


def test_prose_comes_from_both_sources_and_is_the_same_in_every_run(data: Path) -> None:
    chosen = sample_paragraphs(data, 12, seed=0)
    assert len(chosen) == 12
    assert chosen == sample_paragraphs(data, 12, seed=0)
